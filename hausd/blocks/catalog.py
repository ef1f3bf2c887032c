"""What the store holds, in memory: files by room, blocks by digest, sums.

Only the task that runs the store's code changes it, so nothing here waits or locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hausd.blocks.layout import FileKind, parse_pack_name, parse_segment_name
from hausd.blocks.prints import MAX_HANDLE, Prints
from hausd.blocks.table import Table
from hausd.core.ids import RoomId
from hausd.core.storage import SegmentKey
from hausd.policy.depth import Span

_DISK_BLOCK_BYTES = 4096


def on_disk(size: int) -> int:
    """What a file of this size takes of the quota: whole disk blocks."""
    return -(-size // _DISK_BLOCK_BYTES) * _DISK_BLOCK_BYTES


@dataclass(slots=True, eq=False)
class Volume:
    """A file of the store.

    ``size`` is that of the file, ``content`` where its last block ends. ``table`` is kept here
    while the file is open; a closed one's is read from its trailer.
    ``span``: when a closed segment was streamed, as far as that was looked up.
    ``fresh``: begun since the store was opened. ``corrupt`` are blocks found bad, by number.
    """

    id: int
    kind: FileKind
    name: str
    size: int = 0
    blocks: int = 0
    content: int = 0
    closed_ms: int = 0
    span: Span | None = None
    table: Table | None = None
    fresh: bool = False
    corrupt: set[int] = field(default_factory=set)
    handle: int = -1

    @property
    def room(self) -> RoomId:
        return RoomId(self.name.partition("/")[0])

    @property
    def closed(self) -> bool:
        return self.table is None

    def key(self) -> SegmentKey:
        """Of a segment."""
        return parse_segment_name(self.name)


@dataclass(slots=True)
class RoomAccount:
    """What a room has in the store, in bytes on disk, files and blocks."""

    segments: dict[SegmentKey, Volume] = field(default_factory=dict)
    packs: dict[int, Volume] = field(default_factory=dict)
    size: int = 0
    blocks: int = 0
    last_use_ms: int = 0
    saved_use_ms: int = 0

    @property
    def files(self) -> int:
        return len(self.segments) + len(self.packs)

    @property
    def small_bytes(self) -> int:
        """What its packs take on disk."""
        return sum(on_disk(pack.size) for pack in self.packs.values())

    def volumes(self) -> Iterator[Volume]:
        yield from self.segments.values()
        yield from self.packs.values()


class Catalog:
    """All files and blocks. At most ``MAX_HANDLE`` files, which the quota keeps far away."""

    def __init__(self) -> None:
        self.prints = Prints()
        self.rooms: dict[RoomId, RoomAccount] = {}
        self.used_bytes = 0
        self.used_files = 0
        self.blocks = 0
        self.removals = 0
        """Grows with every file removed, so that a slow walk sees that it has to begin again."""
        self._volumes: list[Volume | None] = []
        self._free: list[int] = []

    def add(self, volume: Volume, digests: Iterable[bytes] = ()) -> None:
        """Enters a file with these blocks (whose number ``volume.blocks`` states)."""
        self.enter(volume)
        for digest in digests:
            self.prints.add(digest, volume.handle)

    def enter(self, volume: Volume) -> None:
        """Enters a file whose blocks the caller adds to ``prints``."""
        if self._free:
            volume.handle = self._free.pop()
            self._volumes[volume.handle] = volume
        elif len(self._volumes) <= MAX_HANDLE:
            volume.handle = len(self._volumes)
            self._volumes.append(volume)
        else:
            raise OverflowError(f"the store can't hold more than {MAX_HANDLE} files")
        account = self.rooms.setdefault(volume.room, RoomAccount())
        if volume.kind is FileKind.SEGMENT:
            account.segments[volume.key()] = volume
        else:
            account.packs[parse_pack_name(volume.name)[1]] = volume
        self.used_files += 1
        self._count(account, on_disk(volume.size), volume.blocks)

    def grow(self, volume: Volume, size: int, digests: Iterable[bytes]) -> None:
        """A file has now ``size`` bytes and these blocks more."""
        added = 0
        for digest in digests:
            self.prints.add(digest, volume.handle)
            added += 1
        account = self.rooms[volume.room]
        self._count(account, on_disk(size) - on_disk(volume.size), added)
        volume.size = size
        volume.blocks += added

    def remove(self, volume: Volume, digests: Iterable[bytes] | None) -> None:
        """Takes a file out. ``digests`` are its blocks, None where they can't be told."""
        if digests is None:
            self.prints.forget(volume.handle)
        else:
            for digest in digests:
                self.prints.remove(digest, volume.handle)
        self._volumes[volume.handle] = None
        self._free.append(volume.handle)
        account = self.rooms[volume.room]
        if volume.kind is FileKind.SEGMENT:
            del account.segments[volume.key()]
        else:
            del account.packs[parse_pack_name(volume.name)[1]]
        self.used_files -= 1
        self.removals += 1
        self._count(account, -on_disk(volume.size), -volume.blocks)
        if not account.files:
            del self.rooms[volume.room]

    def candidates(self, digest: bytes) -> list[Volume]:
        """Files that may hold a block."""
        volumes = (self._volumes[handle] for handle in self.prints.find(digest))
        return list(dict.fromkeys(volume for volume in volumes if volume is not None))

    def segment(self, key: SegmentKey) -> Volume | None:
        account = self.rooms.get(key.room)
        return account.segments.get(key) if account is not None else None

    def volumes(self) -> list[Volume]:
        """All files, room by room."""
        return [volume for account in self.rooms.values() for volume in account.volumes()]

    def holds(self, volume: Volume) -> bool:
        """Whether this file has not been removed."""
        return 0 <= volume.handle < len(self._volumes) and self._volumes[volume.handle] is volume

    def _count(self, account: RoomAccount, size: int, blocks: int) -> None:
        account.size += size
        account.blocks += blocks
        self.used_bytes += size
        self.blocks += blocks
