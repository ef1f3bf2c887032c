"""A node's home directory: its key, its store, its socket, and the lock that keeps it one node's.

Layout: ``hausd.toml``, ``node.key`` (Ed25519, PKCS #8 PEM, 0600), ``keys/`` (0700, keys of gated
rooms: ``keys.sqlite``, and what wraps them; ``playbacks.sqlite``, who watches them), ``rooms/``
(0700, each room's file with its stream key and seed), ``store/``, ``admin.sock`` (0600),
``hausd.lock`` (the process id of who runs here).
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from hausd.config.load import CONFIG_NAME
from hausd.config.template import commented_toml

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class HomeError(Exception):
    """The home can't be used; ``args[0]`` says why, ``hint`` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def default_home() -> Path:
    """``~/.hausd``."""
    return Path("~/.hausd").expanduser()


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything of one node lies. Paths are absolute."""

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / CONFIG_NAME

    @property
    def node_key_file(self) -> Path:
        return self.path / "node.key"

    @property
    def keys_dir(self) -> Path:
        return self.path / "keys"

    @property
    def rooms_dir(self) -> Path:
        return self.path / "rooms"

    @property
    def admin_socket(self) -> Path:
        return self.path / "admin.sock"

    @property
    def lock_file(self) -> Path:
        return self.path / "hausd.lock"


@contextmanager
def open_home(path: Path) -> Iterator[Home]:
    """Makes what is missing, checks who may read it, and keeps a second node out.

    Raises HomeError.
    """
    home = Home(path.absolute())
    with ExitStack() as stack:
        try:
            home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            home.keys_dir.mkdir(mode=0o700, exist_ok=True)
            stack.enter_context(_locked(home))
            _check_modes(home)
            write_new(home.config_file, commented_toml().encode(), 0o644)
        except (FileExistsError, NotADirectoryError) as error:
            message = f"{error.filename or home.path} is not a directory"
            raise HomeError(message, "name another home with --home") from error
        except OSError as error:
            reason = error.strerror or "it fails"
            message = f"{error.filename or home.path} can't be used ({reason})"
            hint = "mend it, start as its owner, or name another home with --home"
            raise HomeError(message, hint) from error
        yield home


def node_key(home: Home) -> Ed25519PrivateKey:
    """The node's key; made at the first call. Raises HomeError when the file holds no such key."""
    made = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    write_new(home.node_key_file, made, 0o600)
    hint = "put back the right file, or move it away: the next start makes a new identity"
    try:
        found = load_pem_private_key(home.node_key_file.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise HomeError(f"{home.node_key_file} holds no key", hint) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise HomeError(f"{home.node_key_file} holds no Ed25519 key", hint)
    return found


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Writes a file that doesn't exist yet; whole or not at all, also across a power cut."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    draft.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    """Holds the home's lock; the kernel lets go of it however the process ends."""
    handle = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            message = f"another node (process {holder}) runs in {home.path}"
            hint = "stop it, or give this one its own home with --home"
            raise HomeError(message, hint) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _check_modes(home: Home) -> None:
    """Refuses keys that others may read. The home's own mode is left to its owner."""
    secret = [home.node_key_file, home.keys_dir, *sorted(home.keys_dir.iterdir()), home.rooms_dir]
    for path in secret:
        if not path.exists():
            continue
        if path.stat().st_mode & _OTHERS:
            wanted = "700" if path.is_dir() else "600"
            message = f"other users may reach {path}, which holds secret keys"
            raise HomeError(message, f"chmod {wanted} {path}")
