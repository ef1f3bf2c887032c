"""What keys at rest are wrapped by: a file of mode 0600, the system's keyring, or a command.

The key that wraps (32 random bytes) is made once. In a file it lies as it is. The system's keyring
keeps it as base64 under the service ``hausd`` and the node's peer id. A command keeps it for us,
so that a token can hold what unwraps it: ``COMMAND wrap`` reads the key on standard input and
writes anything of at most 4 KiB, which is kept in a file; ``COMMAND unwrap`` reads that and writes
the 32 bytes. Exit status 0, within a minute.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import os
import shlex
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
COMMAND_S = 60
_MAX_WRAPPED = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SERVICE = "hausd"


class WrapFault(Exception):
    """The key that wraps can't be had; ``args[0]`` says why, ``hint`` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Wrapper:
    """Wraps and unwraps; shows nothing of its key. A nonce is 96 random bits: they may serve for
    2^32 wrappings (NIST SP 800-38D, 8.3), and a node makes some thousands."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def wrap(self, clear: bytes, about: bytes) -> bytes:
        """Nonce, ciphertext, tag; opens only with the same ``about``."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, clear, about)

    def unwrap(self, wrapped: bytes, about: bytes) -> bytes | None:
        """None where it was wrapped by another key, about something else, or is damaged."""
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], about)
        except (InvalidTag, ValueError):
            return None

    def __repr__(self) -> str:
        return "Wrapper()"


@dataclass(frozen=True, slots=True)
class WrapTerms:
    """``name``: the node's, in the keyring. ``command``: without a shell."""

    by: Literal["file", "keyring", "command"]
    folder: Path
    name: str
    command: str = ""


def open_wrapper(terms: WrapTerms) -> Wrapper:
    """Finds or makes the key that wraps. Blocks: a command has a minute. Raises WrapFault."""
    match terms.by:
        case "file":
            return Wrapper(_from_file(terms.folder / "wrap.key"))
        case "keyring":
            return Wrapper(_from_keyring(terms.name))
        case "command":
            return Wrapper(_from_command(terms))


def _from_file(path: Path) -> bytes:
    hint = f"put {path} back from a backup: without it the keys of gated rooms are lost"
    key = _read(path, hint)
    if key is None:
        key = os.urandom(KEY_BYTES)
        _write(path, key)
    if len(key) != KEY_BYTES:
        raise WrapFault(f"{path} has {len(key)} bytes, not {KEY_BYTES}", hint)
    return key


def _from_keyring(name: str) -> bytes:
    try:
        keyring: Any = importlib.import_module("keyring")
        errors: Any = importlib.import_module("keyring.errors")
    except ImportError:
        hint = 'pip install keyring, or choose keys.wrap = "file"'
        raise WrapFault("the system's keyring needs the package keyring", hint) from None
    hint = 'unlock the system\'s keyring, or choose keys.wrap = "file"'
    try:
        found = keyring.get_password(_SERVICE, name)
        if found is None:
            keyring.set_password(_SERVICE, name, base64.b64encode(os.urandom(KEY_BYTES)).decode())
            found = keyring.get_password(_SERVICE, name)
    except (errors.KeyringError, RuntimeError, OSError) as fault:
        # whatever is behind it: its words may hold anything, so only their kind is told
        raise WrapFault(f"the system's keyring fails ({type(fault).__name__})", hint) from None
    try:
        key = base64.b64decode(found or "", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise WrapFault(f"the keyring's entry {_SERVICE}/{name} is no key of hausd's", hint)
    return key


def _from_command(terms: WrapTerms) -> bytes:
    path = terms.folder / "wrap.token"
    hint = "look at keys.wrap_command: what it wrapped has to be unwrapped by the same token"
    wrapped = _read(path, hint)
    if wrapped is None:
        key = os.urandom(KEY_BYTES)
        wrapped = _run(terms.command, "wrap", key)
        if not 0 < len(wrapped) <= _MAX_WRAPPED or key in wrapped:
            raise WrapFault("keys.wrap_command does not wrap what it is given", hint)
        if _run(terms.command, "unwrap", wrapped) != key:
            raise WrapFault("keys.wrap_command does not unwrap what it wrapped", hint)
        _write(path, wrapped)
        return key
    key = _run(terms.command, "unwrap", wrapped)
    if len(key) != KEY_BYTES:
        raise WrapFault(f"keys.wrap_command unwraps {len(key)} bytes, not {KEY_BYTES}", hint)
    return key


def _run(command: str, what: str, given: bytes) -> bytes:
    hint = "keys.wrap_command names a program that takes wrap or unwrap: see docs/keys.md"
    try:
        words = shlex.split(command)
    except ValueError as fault:
        raise WrapFault(f"keys.wrap_command can't be read ({fault})", hint) from None
    try:
        done = subprocess.run(
            [*words, what], input=given, stdout=subprocess.PIPE, timeout=COMMAND_S, check=True
        )
    except (OSError, IndexError) as fault:
        raise WrapFault(f"keys.wrap_command can't be run ({type(fault).__name__})", hint) from None
    except subprocess.TimeoutExpired:
        raise WrapFault(f"keys.wrap_command took longer than {COMMAND_S} s", hint) from None
    except subprocess.CalledProcessError as fault:
        message = f"keys.wrap_command {what} ends with exit status {fault.returncode}"
        raise WrapFault(message, hint) from None
    return done.stdout


def _read(path: Path, hint: str) -> bytes | None:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise WrapFault(f"other users may read {path}", f"chmod 600 {path}")
            return file.read(_MAX_WRAPPED + 1)
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise WrapFault(f"{path} can't be read ({fault.strerror})", hint) from None


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and never over what is there."""
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        os.link(draft, path)
        draft.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as fault:
        message = f"{path} can't be written ({fault.strerror})"
        raise WrapFault(message, "free some space, or look at who may write there") from None
