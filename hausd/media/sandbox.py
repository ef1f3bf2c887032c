"""What a media process gives up before it reads the first byte that a stranger sent.

No network, no new processes, no file but the program's own and those it is there for to be read, no
signals to others, bounded memory. A worker writes no file, an export in one folder alone. Each
limit is one of the kernel's; where a kernel lacks one the others still hold, and the node says
which.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import hausd

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]  # checked before each use
try:
    import pyseccomp
except (ImportError, OSError, RuntimeError):  # no libseccomp on this machine
    pyseccomp = None


ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
"""What such a process is started with: nothing of the node's own, which may have secrets in it."""


@dataclass(frozen=True, slots=True)
class Files:
    """What may be reached besides the program's own: folders or files to be ``read``, a folder in
    which files may be made, written, renamed and removed."""

    read: frozenset[Path] = frozenset()
    write: Path | None = None


def enter(
    memory_bytes: int,
    nice: int,
    files: Files = Files(),
    on_orphaned: Callable[[], None] = lambda: None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Gives up all that can be given up, for good; never raises.

    ``memory_bytes`` bounds what the process may allocate (0: no bound), ``nice`` is added to its
    niceness. It ends with the node; ``on_orphaned`` is called before. Gives the names of the limits
    that hold, and those that don't as ``name: reason``. To be called once, before the first thread
    begins, with every library loaded. Files that are open stay open.
    """
    holds: list[str] = []
    missing: list[str] = []
    parent = _parent()
    for name, limit in _limits(memory_bytes, nice, files):
        try:
            limit()
        except _Missing as lack:
            missing.append(f"{name}: {lack}")
        except OSError as failure:
            missing.append(f"{name}: {os.strerror(failure.errno or 0)}")
        else:
            holds.append(name)
    if parent is not None:
        end = partial(_end_with, parent, on_orphaned)
        threading.Thread(target=end, name="parent", daemon=True).start()
    return tuple(holds), tuple(missing)


class _Missing(Exception):
    """Why a limit can't be had here."""


def _limits(memory_bytes: int, nice: int, files: Files) -> Iterable[tuple[str, Callable[[], None]]]:
    yield "nice", lambda: _be_nice(nice)
    yield "rlimits", lambda: _set_rlimits(memory_bytes, writes=files.write is not None)
    yield "no-new-privileges", _no_new_privileges
    yield "landlock", lambda: _enter_landlock(files)
    yield "capabilities", _drop_capabilities
    # The last one: it forbids what the others are made with.
    yield "seccomp", _enter_seccomp


# Process


def _be_nice(nice: int) -> None:
    if nice <= 0:
        return
    before = os.nice(0)
    if os.nice(nice) < min(before + nice, 19):
        raise _Missing("the priority did not change")


# Threads of libraries and the pipe to the node need few; what is open already stays.
_MORE_FILES = 32


def _set_rlimits(memory_bytes: int, *, writes: bool) -> None:
    if resource is None:
        raise _Missing("this system has none")
    limits = [(resource.RLIMIT_CORE, 0)]
    if not writes:
        limits.append((resource.RLIMIT_FSIZE, 0))
    files = Path("/proc/self/fd")
    if files.is_dir():
        highest = max((int(name) for name in os.listdir(files)), default=2)
        limits.append((resource.RLIMIT_NOFILE, highest + 1 + _MORE_FILES))
    if memory_bytes > 0:
        # Allocated memory, not address space: every thread reserves much that it never touches.
        limits.append((resource.RLIMIT_DATA, memory_bytes))
    for which, most in limits:
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(which, (most, most))


def _parent() -> int | None:
    """A handle that tells when the node is gone. Not PR_SET_PDEATHSIG, which already fires when
    the *thread* that started this process ends."""
    try:
        return os.pidfd_open(os.getppid())
    except (AttributeError, OSError):
        return None


def _end_with(parent: int, on_orphaned: Callable[[], None]) -> None:
    poll = select.poll()
    poll.register(parent, select.POLLIN)
    poll.poll()
    with suppress(OSError):
        on_orphaned()
    os._exit(1)


# prctl and capset: linux/prctl.h, linux/capability.h

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522


def _libc() -> ctypes.CDLL:
    if sys.platform != "linux":
        raise _Missing("only Linux has it")
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EOPNOTSUPP):
            raise _Missing("this kernel does not have it, or it is switched off")
        raise OSError(number, os.strerror(number))
    return result


def _no_new_privileges() -> None:
    libc = _libc()
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    # Other processes of this user can't read its memory, nor attach to it.
    _checked(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def _drop_capabilities() -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _checked(_libc().capset(header, bytes(24)))


# Landlock: linux/landlock.h, https://docs.kernel.org/userspace-api/landlock.html

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 5, 1 << 8, 1 << 14
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
# How many file system rights each ABI knows, from 1 on; they are numbered from bit 0.
_FS_RIGHTS = (13, 14, 15, 15, 16)
_NET_ABI, _NET_RIGHTS = 4, 0b11
_SCOPE_ABI, _SCOPES = 6, 0b11


def _enter_landlock(files: Files) -> None:
    if threading.active_count() > 1:
        raise _Missing("threads run already, and it would not hold for them")
    libc = _libc()
    abi = _checked(libc.syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION))
    filesystem = (1 << _FS_RIGHTS[min(abi, len(_FS_RIGHTS)) - 1]) - 1
    attributes = struct.pack(
        "=QQQ",
        filesystem,
        _NET_RIGHTS if abi >= _NET_ABI else 0,
        _SCOPES if abi >= _SCOPE_ABI else 0,
    )
    # Older kernels take the shorter structure that they know.
    size = 24 if abi >= _SCOPE_ABI else 16 if abi >= _NET_ABI else 8
    rules = _checked(libc.syscall(_CREATE_RULESET, attributes, size, 0))
    try:
        for path in _readable() | files.read:
            _allow(libc, rules, path, filesystem & _READ)
        if files.write is not None:
            _allow(libc, rules, files.write, filesystem & _WRITE)
        _checked(libc.syscall(_RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)
    if _can_list("/"):
        raise _Missing("it was taken, but does not hold")


def _readable() -> set[Path]:
    """Where modules are that may yet be imported, and what libraries ask about the machine."""
    prefixes = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)}
    folders = {prefix / name for prefix in prefixes for name in ("lib", "lib64")}
    folders |= {Path("/lib"), Path("/lib64"), Path("/sys/devices/system/cpu")}
    folders |= {Path(entry) for entry in sys.path if entry.endswith("-packages")}
    return folders | {Path(hausd.__file__).resolve().parent}


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not here, so nothing can be read in it
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _READ_FILE
        rule = struct.pack("=Qi", rights, handle)
        _checked(libc.syscall(_ADD_RULE, rules, _RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(handle)


def _can_list(folder: str) -> bool:
    try:
        os.listdir(folder)
    except OSError:
        return False
    return True


# seccomp

_CLONE_THREAD = 0x00010000
_TIOCSTI = 0x5412
_FORBIDDEN: Final = (
    # the network (what is connected stays so)
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
    # other processes
    *("fork", "vfork", "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev"),
    *("kcmp", "pidfd_getfd", "pidfd_send_signal", "tkill", "rt_sigqueueinfo"),
    *("rt_tgsigqueueinfo", "process_madvise", "setpgid", "setsid", "prlimit64"),
    # files, where Landlock has no say
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr"),
    *("setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
    *("name_to_handle_at", "open_by_handle_at", "fallocate", "sync", "syncfs"),
    # the machine, and the wide doors into the kernel
    *("mount", "umount2", "open_tree", "open_tree_attr", "move_mount", "mount_setattr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "pivot_root", "chroot", "setns", "unshare"),
    *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter"),
    *("io_uring_register", "keyctl", "add_key", "request_key", "init_module", "finit_module"),
    *("delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct"),
    *("quotactl", "quotactl_fd", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime"),
    *("sethostname", "setdomainname", "iopl", "ioperm", "personality", "syslog", "vhangup"),
    *("fanotify_init", "mq_open", "msgget", "semget", "shmget", "modify_ldt", "lookup_dcookie"),
)


def _enter_seccomp() -> None:
    if pyseccomp is None:
        raise _Missing("pyseccomp or libseccomp is not installed")
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    no = pyseccomp.ERRNO(errno.EPERM)
    for name in _FORBIDDEN:
        if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) >= 0:
            rules.add_rule(no, name)
    # Threads may begin, processes may not. What clone3 is asked for can't be seen from here, so
    # it is said to be missing, and clone is used.
    process = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, 0)
    rules.add_rule(no, "clone", process)
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    # abort() signals itself.
    other = pyseccomp.Arg(0, pyseccomp.NE, os.getpid())
    rules.add_rule(no, "kill", other)
    rules.add_rule(no, "tgkill", other)
    rules.add_rule(no, "ioctl", pyseccomp.Arg(1, pyseccomp.EQ, _TIOCSTI))
    rules.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)
    rules.load()
    try:
        socket.socket().close()
    except OSError:
        return
    raise _Missing("it was taken, but does not hold")
