"""What is to be kept elsewhere, and how far that is: one small file in the home, mode 0600.

It is replaced whole and atomically. It holds no secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec

FILE_NAME = "remote-pins.json"
MAX_PINS = 10_000
_MAX_FILE_BYTES = 16 << 20


class PinState(StrEnum):
    """How far a recording is at one place."""

    QUEUED = "queued"
    PINNING = "pinning"
    PINNED = "pinned"
    FAILED = "failed"
    """It is tried again at ``next_try_ms``."""
    REMOVING = "removing"
    REMOVED = "removed"
    """By hand: it is not pinned there again by itself."""


class RemotePin(msgspec.Struct, kw_only=True):
    """A room's recording at one place.

    ``cid`` is its finished directory, ``size`` that of all blocks below it, ``manifest`` the
    room's when it was made. ``request_id`` is the service's name for its pin of ``asked_cid``;
    where manifests are kept too, ``asked_manifest`` is there.
    ``detail`` is what the service says of it, ``because`` why the last try failed. ``sent_bytes``
    counts what was handed over so far, where this node sends it.
    """

    to: str
    room: str
    title: str
    cid: str
    size: int
    manifest: str
    since_ms: int
    state: PinState = PinState.QUEUED
    request_id: str = ""
    asked_cid: str = ""
    asked_manifest: str = ""
    sent_bytes: int = 0
    detail: str = ""
    because: str = ""
    tries: int = 0
    next_try_ms: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.to, self.room


class _File(msgspec.Struct):
    version: int
    pins: list[RemotePin]


class PinTable:
    """The file. Its calls block on the disk: not for the event loop."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE_NAME

    def load(self) -> list[RemotePin]:
        """What was kept; raises OSError, ValueError where the file is there and can't be read."""
        try:
            if self._path.stat().st_size > _MAX_FILE_BYTES:
                raise ValueError(f"{self._path} is larger than it can be")
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        try:
            found = msgspec.json.decode(content, type=_File)
        except msgspec.DecodeError as fault:
            raise ValueError(f"{self._path} is damaged ({fault})") from fault
        if found.version != 1:
            raise ValueError(f"{self._path} was written by a newer hausd")
        return found.pins

    def set_aside(self) -> Path:
        """Leaves a file that can't be read to its owner. Raises OSError."""
        return self._path.replace(self._path.with_suffix(".unread"))

    def write(self, encoded: bytes) -> None:
        """Replaces the file with what ``encode`` gave, durably. Raises OSError."""
        draft = self._path.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def encode(pins: Iterable[RemotePin]) -> bytes:
    """All pins as the file holds them."""
    return msgspec.json.encode(_File(1, list(pins)))
