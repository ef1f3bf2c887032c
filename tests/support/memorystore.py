"""A block store in memory that keeps ``rooms.ports.BlockStore``: for tests under a virtual clock.

The real store writes in threads, for which a virtual clock does not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from hausd.core.cid import CID
from hausd.core.ids import RoomId
from hausd.core.live import FileRange
from hausd.core.storage import (
    Append,
    Close,
    RecordingStopped,
    RoomRating,
    SegmentKey,
    StoredSegment,
    UnclosedSegment,
)
from hausd.policy.depth import Depth


@dataclass
class _File:
    leaves: list[tuple[CID, bytes]] = field(default_factory=list)
    size: int = 0
    nodes: dict[CID, bytes] = field(default_factory=dict)
    record: bytes | None = None

    @property
    def content(self) -> bytes:
        return b"".join(leaf for _, leaf in self.leaves)


class MemoryRange:
    """Implements ``rooms.ports.RangeReader``."""

    def __init__(self, store: MemoryStore, place: FileRange) -> None:
        self._store, self._place = store, place

    async def fill(self, at: int, into: memoryview) -> bool:
        content = await self._store.read_range(self._place)
        found = (content or b"")[at : at + len(into)]
        into[: len(found)] = found
        return len(found) == len(into)


class MemoryStore:
    """Refuses what the real one refuses: to append behind a close, and whatever while ``full``."""

    def __init__(self) -> None:
        self.files: dict[SegmentKey, _File] = {}
        self.small: dict[CID, bytes] = {}
        self._blocks: dict[CID, bytes] = {}
        self._places: dict[CID, FileRange] = {}
        self.ratings: dict[RoomId, RoomRating | None] = {}
        self.full = False
        self.evicted: Callable[[Sequence[SegmentKey]], None] = lambda keys: None
        self.pins: dict[RoomId, Depth] = {}

    async def write(self, changes: Sequence[Append | Close]) -> list[FileRange]:
        for _ in range(3):  # a disk takes longer than what goes on meanwhile
            await trio.lowlevel.checkpoint()
        if self.full:
            raise RecordingStopped("the disk is full")
        places = []
        for change in changes:
            file = self.files.setdefault(change.key, _File())
            if file.record is not None:
                raise ValueError(f"{change.key} is closed")
            if isinstance(change, Append):
                at = file.size
                for cid, leaf in change.leaves:
                    self._places[cid] = FileRange(_path(change.key), file.size, len(leaf))
                    self._blocks[cid] = bytes(leaf)
                    file.leaves.append((cid, self._blocks[cid]))
                    file.size += len(leaf)
                places.append(FileRange(_path(change.key), at, file.size - at))
            else:
                file.nodes = dict(change.nodes)
                file.record = change.record
                self._blocks |= file.nodes
                places.append(FileRange(_path(change.key), 0, file.size))
                for cid in list(file.nodes)[-1:]:
                    self._places[cid] = places[-1]
        return places

    async def put(self, blocks: Sequence[tuple[CID, bytes]], room: RoomId) -> None:
        await trio.lowlevel.checkpoint()
        if self.full:
            raise RecordingStopped("the disk is full")
        for cid, block in blocks:
            assert cid.matches(block)
            self.small[cid] = block

    def rooms(self) -> list[RoomId]:
        """Rooms of which something is here."""
        return sorted({key.room for key in self.files})

    def has(self, cid: CID) -> bool:
        return self._find(cid) is not None

    def locate(self, cid: CID) -> FileRange | None:
        if cid in self._places:
            return self._places[cid]
        block = self.small.get(cid)
        return FileRange(str(cid), 0, len(block)) if block is not None else None

    async def block(self, cid: CID) -> bytes | None:
        return self._find(cid)

    async def segments(self, room: RoomId) -> list[StoredSegment]:
        return [
            StoredSegment(key, len(file.content), 0, file.record)
            for key, file in sorted(self.files.items())
            if key.room == room and file.record is not None
        ]

    async def read_range(self, place: FileRange) -> bytes | None:
        whole = next(
            (file.content for key, file in self.files.items() if _path(key) == place.path), None
        )
        if whole is None:
            whole = next((b for cid, b in self.small.items() if str(cid) == place.path), None)
        return whole[place.offset : place.offset + place.length] if whole is not None else None

    @contextmanager
    def reading(self, place: FileRange) -> Iterator[MemoryRange]:
        yield MemoryRange(self, place)

    def unclosed(self, room: RoomId) -> list[UnclosedSegment]:
        return [
            UnclosedSegment(key, tuple((cid, len(leaf)) for cid, leaf in file.leaves))
            for key, file in sorted(self.files.items())
            if key.room == room and file.record is None
        ]

    async def discard(self, keys: Sequence[SegmentKey]) -> None:
        for key in keys:
            file = self.files.pop(key, None)
            for cid in [*(cid for cid, _ in file.leaves), *file.nodes] if file else ():
                self._blocks.pop(cid, None)
                self._places.pop(cid, None)

    def pinned(self, room: RoomId) -> Depth | None:
        return self.pins.get(room)

    async def shrink(self, room: RoomId, most_bytes: int) -> None:
        """The real one keeps what is live as well."""
        own = sorted((key.number, key) for key in self.files if key.room == room)
        while own and sum(self.files[key].size for _, key in own) > most_bytes:
            gone = [key for number, key in own if number == own[0][0]]
            await self.discard(gone)
            self.evicted(gone)
            own = [one for one in own if one[1] in self.files]

    def rate(self, room: RoomId, rating: RoomRating | None) -> None:
        self.ratings[room] = rating

    def _find(self, cid: CID) -> bytes | None:
        return self.small.get(cid) or self._blocks.get(cid)


def _path(key: SegmentKey) -> str:
    return f"{key.session}/{key.rendition}/{key.number}"
