"""Pins: rooms, or the newest so much of them, and CIDs that are never evicted.

They are the operator's word, so they have a file of their own, small and replaced whole, with the
one before beside it; the index may be lost without them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import trio

from hausd.blocks.catalog import Volume
from hausd.blocks.errors import StoreError
from hausd.core.cid import CID, CIDError
from hausd.core.ids import RoomId, parse_room_id
from hausd.policy.depth import WHOLE, Depth

MAX_PINS = 10_000
_VERSION = 2
"""1 knew no depths; its pins hold all."""
_MAX_FILE_BYTES = 16 * 1024 * 1024


class _Entry(msgspec.Struct, frozen=True):
    target: str
    created_ms: int
    last_ms: int | None = None
    until_ms: int | None = None


class _Version(msgspec.Struct, frozen=True):
    version: int


class _File(msgspec.Struct, frozen=True):
    version: int
    pins: list[_Entry]


@dataclass(slots=True)
class Pin:
    """Something pinned. Of a CID: the files that hold what is reachable from it.

    ``depth``: how much of a room; of a CID always all, until its date. ``sure``: False where
    something on the way could not be looked at, so that nobody knows what more it holds.
    """

    target: RoomId | CID
    created_ms: int
    depth: Depth = WHOLE
    held: set[Volume] = field(default_factory=set)
    complete: bool = True
    sure: bool = True
    walking: trio.Lock = field(default_factory=trio.Lock, repr=False, compare=False)
    """One look at what it holds at a time, so that the newest has the last word."""


class BadTarget(ValueError):
    """What was to be pinned is neither a room id nor a CID."""


def parse_target(untrusted: str) -> RoomId | CID:
    """Reads what is to be pinned; raises BadTarget that says what it can be."""
    with contextlib.suppress(CIDError):
        return CID.parse(untrusted)
    try:
        return parse_room_id(untrusted)
    except ValueError as fault:
        text = f"{untrusted!r} can't be pinned: give a CID (b…), or a room: {fault}"
        raise BadTarget(text) from None


class Pins:
    """All pins. ``trusted`` is False where their file was lost: then everything counts as pinned
    until someone pins or unpins, since nobody knows better.

    Never read in a thread, since tasks change them at any time; added under the state's lock,
    under which files are removed.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.targets: dict[str, Pin] = {}
        self.trusted = True

    def load(self) -> list[str]:
        """Reads the file; tells what was wrong, in plain words. Raises OSError, StoreError."""
        for path, message in (
            (self._path, ""),
            (f"{self._path}.old", "the list of pins was damaged; the one before it was taken"),
        ):
            try:
                with open(path, "rb") as file:
                    untrusted = file.read(_MAX_FILE_BYTES)
            except FileNotFoundError:
                if path == self._path and not os.path.exists(f"{self._path}.old"):
                    return []
                continue
            try:
                if msgspec.json.decode(untrusted, type=_Version).version > _VERSION:
                    raise StoreError(
                        f"{path} was written by a newer hausd: use that one, or another store.path"
                    )
                found = msgspec.json.decode(untrusted, type=_File)
                self.targets = {
                    entry.target: Pin(
                        parse_target(entry.target),
                        entry.created_ms,
                        Depth(entry.last_ms, entry.until_ms),
                    )
                    for entry in found.pins
                }
            except (msgspec.DecodeError, ValueError):
                continue
            return [message] if message else []
        self.trusted = False
        return [
            "the list of pins could not be read: nothing is evicted until you pin or unpin "
            "something (hausctl pins add|remove)"
        ]

    def encoded(self) -> bytes:
        """What ``save`` writes."""
        entries = [
            _Entry(target, pin.created_ms, pin.depth.last_ms, pin.depth.until_ms)
            for target, pin in self.targets.items()
        ]
        return msgspec.json.encode(_File(_VERSION, entries))

    def save(self, encoded: bytes) -> None:
        """Replaces the file, durably; raises OSError. In a thread."""
        fresh = f"{self._path}.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        if self.trusted:
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._path, f"{self._path}.old")
        os.replace(fresh, self._path)
        folder = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.trusted = True

    @property
    def sure(self) -> bool:
        """Whether everything that is pinned is known; where not, all counts as pinned."""
        return self.trusted and all(pin.sure for pin in self.targets.values())

    def depths(self) -> dict[RoomId, Depth]:
        """What of which rooms is pinned."""
        return {
            RoomId(pin.target): pin.depth
            for pin in self.targets.values()
            if not isinstance(pin.target, CID)
        }

    def holding(self, room: RoomId, volumes: Sequence[Volume]) -> tuple[str, ...]:
        """Pins that hold a room or any of its files."""
        if not self.trusted:
            return ("(the list of pins could not be read)",)
        own = set(volumes)
        return tuple(
            target
            for target, pin in self.targets.items()
            if pin.target == room or (isinstance(pin.target, CID) and pin.held & own)
        )

    def held(self) -> set[Volume]:
        """Files that pins of CIDs hold."""
        return {volume for pin in self._of_cids() for volume in pin.held}

    def forget(self, volume: Volume) -> None:
        """A file is gone."""
        for pin in self._of_cids():
            if volume in pin.held:
                pin.held.discard(volume)
                pin.complete = False

    def _of_cids(self) -> list[Pin]:
        return [pin for pin in self.targets.values() if isinstance(pin.target, CID)]
