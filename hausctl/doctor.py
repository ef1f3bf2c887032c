"""What ``hausctl doctor`` looks at, with or without a running node, and how to mend it.

The configuration is asked of the daemon's own program, so that both read it alike; a running
node adds what only it can tell. A check is a dictionary of CheckShape's form.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hausctl.client import SOCKET_NAME, Client, NotRunning, Refused
from hausctl.words import size

Check = dict[str, str]

_LISTENERS = ("http.listen", "rtmp.listen", "rtmp.tls_listen", "p2p.listen")
_OWN_CHAIN = "chain.listen"
_ENOUGH_FILES = 4096
_FEWEST_FILES = 1024
_MOST_FILES = 65_536
"""A node takes as many as it may have, up to this."""
_CERT_SOON_S = 14 * 86_400
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_SYS_LANDLOCK_CREATE_RULESET = 444  # the same number on every architecture
_LANDLOCK_VERSION_FLAG = 1
_PR_GET_SECCOMP = 21
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check(name: str, state: str, found: str, mend: str = "") -> Check:
    """One thing that was looked at."""
    return {"name": name, "state": state, "found": found, "mend": mend}


def examine(client: Client, home: Path) -> list[Check]:
    """Everything, in the order in which one would mend it."""
    status: Mapping[str, Any] | None = None
    node_says: list[Check] = []
    options: Mapping[str, Any] = {}
    checks: list[Check] = []
    try:
        status = client.get("status")
        node_says = client.get("doctor")
        options = {option["key"]: option["value"] for option in client.get("config")}
    except NotRunning as gone:
        checks.append(_silence(home, gone))
    except Refused as refused:
        hint = refused.hint or "look into its log"
        checks.append(check("node", "fail", f"the node is there but failing: {refused}", hint))
    else:
        running = f"process {status['pid']} runs in {home}" if status else ""
        checks.append(check("node", "ok", running))
    if not options:
        options, faults = _configuration(home)
        for fault in faults:
            checks.append(check("config", "fail", fault, "then check with: hausd --check"))
        if not faults:
            checks.append(check("config", "ok", "the configuration is right"))
    checks += _home(home)
    checks += _ports(options, status)
    checks += _disk(options, status)
    checks += _tls(options)
    checks += _clock()
    checks += _files(status["pid"] if status else None)
    checks += _kernel()
    return checks + node_says


def _silence(home: Path, gone: NotRunning) -> Check:
    if (home / SOCKET_NAME).exists():
        said = gone.message
        if said.startswith("this user"):
            return check("node", "fail", said, gone.hint)
        return check("node", "warn", f"{said}; a dead one left its socket", gone.hint)
    return check("node", "warn", gone.message, gone.hint)


def _configuration(home: Path) -> tuple[Mapping[str, Any], list[str]]:
    """What a node in this home would start with, as ``section.key``, and its faults."""
    asked = [sys.executable, "-m", "hausd.config", "show", "--home", str(home)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {}, [f"hausd can't be asked for its configuration ({last})"]
    values = told["values"] or {}
    return {f"{s}.{k}": v for s, keys in values.items() for k, v in keys.items()}, told["faults"]


def _home(home: Path) -> Iterator[Check]:
    if not home.exists():
        yield check("home", "ok", f"{home} will be made by the first start")
        return
    if not home.is_dir():
        yield check("home", "fail", f"{home} is not a directory", "name another with --home")
        return
    if not os.access(home, os.W_OK | os.X_OK):
        owner = "the user that owns it"
        yield check("home", "fail", f"this user may not write to {home}", f"work as {owner}")
        return
    yield check("home", "ok", f"{home} can be written to")
    keys = home / "keys"
    secrets = [home / "node.key", keys, home / "rooms", home / SOCKET_NAME]
    with contextlib.suppress(OSError):
        secrets += sorted(keys.iterdir())
    loose = 0
    for path in secrets:
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue
        if mode & _OTHERS:
            loose += 1
            wanted = "700" if stat.S_ISDIR(mode) else "600"
            found = f"other users may reach {path} (mode {stat.S_IMODE(mode):o})"
            yield check("keys", "fail", found, f"chmod {wanted} {path}")
    if not loose:
        yield check("keys", "ok", "nobody else may read the keys or use the socket")


def _ports(options: Mapping[str, Any], status: Mapping[str, Any] | None) -> Iterator[Check]:
    held = _held(status) if status else frozenset()
    for key, address in _listened(options):
        host, _, port = address.rpartition(":")
        taken = _taken(host.strip("[]"), int(port))
        if not taken:
            if status:
                found = f"the node doesn't listen on {address} ({key})"
                yield check("ports", "warn", found, "it was changed, or failed: restart the node")
            else:
                yield check("ports", "ok", f"{address} is free ({key})")
            continue
        if status and (int(port) in held or _holder(int(port)) == status["pid"]):
            yield check("ports", "ok", f"{address} is held by this node ({key})")
            continue
        pid = _holder(int(port))
        who = f"process {pid} ({_name(pid)})" if pid else "another program"
        mend = f"stop it, or choose another port: {key} in hausd.toml"
        if "ermission" in taken:
            mend = f"choose a port from 1024 on: {key} in hausd.toml"
            yield check("ports", "fail", f"this user may not listen on {address} ({key})", mend)
        elif "in use" in taken:
            yield check("ports", "fail", f"{address} is taken by {who} ({key})", mend)
        else:
            yield check("ports", "fail", f"{address} can't be listened on: {taken} ({key})", mend)


def _held(status: Mapping[str, Any]) -> frozenset[int | None]:
    """The ports that a running node tells of."""
    held = {urlsplit(str(status.get(name) or "")).port for name in ("http", "rtmp")}
    chain = status.get("chain") or {}
    if chain.get("embedded") and (port := urlsplit(str(chain.get("url"))).port):
        held |= {port, port + 1}
    return frozenset(held)


def _listened(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """``HOST:PORT`` of each port that the node listens on, with the option that says so; without
    those that the system chooses."""
    for key in (*_LISTENERS, _OWN_CHAIN):
        if key == _OWN_CHAIN and options.get("chain.rpc_url"):
            continue  # it uses another
        address = _host_and_port(str(options.get(key) or ""))
        host, _, port = address.rpartition(":")
        if not port.isdigit() or port == "0":
            continue
        yield key, address
        if key == _OWN_CHAIN:  # its WebSocket
            yield key, f"{host}:{int(port) + 1}"


def _host_and_port(listen: str) -> str:
    """``HOST:PORT`` of what an option says, which may also be a multiaddr."""
    words = listen.split("/")
    if len(words) != 5:
        return listen
    _, kind, host, _, port = words
    return f"[{host}]:{port}" if kind == "ip6" else f"{host}:{port}"


def _taken(host: str, port: int) -> str:
    """Why this address can't be listened on; empty where it can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], found[1]) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(found[4])
            trial.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    except OverflowError:
        return "there is no such port"
    return ""


def _holder(port: int) -> int | None:
    """The process that listens on a port, where this user may know."""
    import psutil

    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    for each in connections:
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port:
            return each.pid
    return None


def _name(pid: int) -> str:
    import psutil

    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "unknown"


def _disk(options: Mapping[str, Any], status: Mapping[str, Any] | None) -> Iterator[Check]:
    if not options:
        return
    path = Path(str(options["store.path"]))
    place = next(each for each in (path, *path.parents) if each.exists())
    room = os.statvfs(place)
    free = room.f_bavail * room.f_frsize
    quota, reserve = int(options["store.quota"]), int(options["store.reserve_free"])
    used = int(status["store"]["used_bytes"]) if status else 0
    found = f"{size(free)} free for {path}"
    if free <= reserve:
        mend = "free some space, or lower store.reserve_free"
        yield check("disk", "fail", f"{found}: nothing is recorded below {size(reserve)}", mend)
    elif quota - used > free - reserve:
        mend = "free some space, or lower store.quota"
        yield check("disk", "warn", f"{found}, and the quota is {size(quota)}", mend)
    else:
        yield check("disk", "ok", f"{found}, the quota is {size(quota)}")
    if used > quota * 0.95:
        mend = "hausctl store gc, unpin rooms, or raise store.quota"
        yield check("quota", "warn", f"{size(used)} of {size(quota)} are used", mend)
    if room.f_files and room.f_favail < 10_000:
        mend = "remove small files from this disk"
        yield check("disk", "warn", f"only {room.f_favail} more files fit on this disk", mend)


def _tls(options: Mapping[str, Any]) -> Iterator[Check]:
    from datetime import UTC, datetime

    for key in ("http.tls_cert", "rtmp.tls_cert"):
        path = options.get(key)
        if not path:
            continue
        from cryptography import x509

        try:
            certificate = x509.load_pem_x509_certificate(Path(str(path)).read_bytes())
        except (OSError, ValueError) as error:
            yield check("tls", "fail", f"{path} can't be read: {error}", f"mend {key}")
            continue
        ends = certificate.not_valid_after_utc
        left_s = (ends - datetime.now(UTC)).total_seconds()
        state = "fail" if left_s <= 0 else "warn" if left_s < _CERT_SOON_S else "ok"
        verb = "ended" if left_s <= 0 else "is valid until"
        yield check("tls", state, f"{path} {verb} {ends:%Y-%m-%d}", f"renew it ({key})")
        secret = options.get(key.replace("_cert", "_key"))
        with contextlib.suppress(OSError):
            if secret and Path(str(secret)).stat().st_mode & stat.S_IRWXO:
                found = f"every user may read {secret}"
                yield check("tls", "fail", found, f"chmod 600 {secret}")


def _clock() -> Iterator[Check]:
    mend = "set the clock, and switch time synchronisation on: timedatectl set-ntp true"
    made = Path(__file__).stat().st_mtime
    if time.time() < made - 86_400:
        yield check("clock", "fail", "the clock stands before this program was installed", mend)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "adjtimex"):
        return
    timex = ctypes.create_string_buffer(512)  # struct timex; all zero: only ask
    if libc.adjtimex(timex) == _TIME_ERROR:
        yield check("clock", "warn", "the clock is not synchronised with a time server", mend)
    else:
        yield check("clock", "ok", "the clock is synchronised")


def _files(pid: int | None) -> Iterator[Check]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if pid is not None:
        with contextlib.suppress(OSError):
            allowed, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    found = f"{allowed:,} open files are allowed"
    mend = "ulimit -Hn 65536 before the start, or LimitNOFILE=65536 in the systemd unit"
    if allowed < _FEWEST_FILES:
        yield check("files", "fail", found, mend)
    elif allowed < _ENOUGH_FILES:
        yield check("files", "warn", f"{found}: many viewers need more", mend)
    else:
        yield check("files", "ok", found)


def _kernel() -> Iterator[Check]:
    if sys.platform != "linux":
        found = "workers are fenced in by landlock and seccomp on Linux only"
        yield check("sandbox", "warn", found, "stream only from people you trust")
        return
    libc = ctypes.CDLL(None, use_errno=True)
    ask = (None, ctypes.c_size_t(0), ctypes.c_uint(_LANDLOCK_VERSION_FLAG))
    landlock = libc.syscall(ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET), *ask)
    if landlock > 0:
        yield check("sandbox", "ok", f"the kernel has landlock (version {landlock})")
    else:
        mend = "a kernel from 5.13 on, started with lsm=landlock,…"
        yield check("sandbox", "warn", "the kernel has no landlock", mend)
    if libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0:
        yield check("sandbox", "ok", "the kernel has seccomp")
    else:
        mend = "a kernel with CONFIG_SECCOMP_FILTER"
        yield check("sandbox", "warn", "the kernel has no seccomp", mend)
