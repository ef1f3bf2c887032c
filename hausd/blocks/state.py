"""What the parts of the store share: the catalog, the files beside it, and who may change them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
import trio

from hausd.blocks import metrics, trailer
from hausd.blocks.catalog import Catalog, Volume
from hausd.blocks.errors import Damaged, explain
from hausd.blocks.index import Index, Row
from hausd.blocks.journal import Journal
from hausd.blocks.layout import Layout
from hausd.blocks.quota import StoreLimits
from hausd.blocks.table import Table
from hausd.core.clock import Clock
from hausd.core.ids import RoomId
from hausd.core.storage import RecordingStopped, RoomRating, SegmentKey

log = structlog.get_logger("hausd.blocks")

_CACHED_BYTES = 16 * 1024 * 1024
"""Tables have some 10 KB each, those of a stranger's segment up to many MB; the least recently
used one goes."""
_READERS = 8

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and out of how much."""
EvictedHook = Callable[[Sequence[SegmentKey]], None]
"""Told which segments are not there any more."""


@dataclass(slots=True)
class State:
    """``lock`` is held by who changes files or the catalog; reading needs none."""

    layout: Layout
    limits: StoreLimits
    clock: Clock
    catalog: Catalog
    index: Index
    journal: Journal
    next_id: int
    lost: dict[str, int]
    """Files in lost+found with their sizes."""
    evicted: EvictedHook
    repaired: list[str] = field(default_factory=list)
    ratings: dict[RoomId, RoomRating] = field(default_factory=dict)
    lock: trio.Lock = field(default_factory=trio.Lock)
    index_lock: trio.Lock = field(default_factory=trio.Lock)
    writers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))
    readers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(_READERS))
    pending: dict[int, tuple[Row, bytes]] = field(default_factory=dict)
    """Files closed, by id, that the index does not know yet."""
    gone: dict[int, str] = field(default_factory=dict)
    """Files removed, by id, that the index still knows."""
    dirty: set[str] = field(default_factory=set)
    """Files and folders written since they were last brought safely to disk."""
    unsure: set[str] = field(default_factory=set)
    """Of these, what a sync that failed was to bring there: the next one may succeed without it."""
    found_corrupt: set[tuple[int, int]] = field(default_factory=set)
    healed: set[tuple[int, int]] = field(default_factory=set)
    suspects: set[Volume] = field(default_factory=set)
    """Files whose trailers could not be read; the keeper looks after them."""
    trouble: str = ""
    """Why the disk can't be trusted with more until the next sync succeeds."""
    index_bytes: int = 0
    _tables: OrderedDict[int, Table] = field(default_factory=OrderedDict)
    _table_bytes: int = 0

    def new_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def path(self, volume: Volume) -> str:
        return self.layout.path(volume.kind, volume.name)

    def used_bytes(self) -> int:
        """All that counts against the quota, what the index will soon need included."""
        return (
            self.catalog.used_bytes
            + self.index_bytes
            + 2 * sum(len(encoded) for _, encoded in self.pending.values())
            + self.journal.end
            + sum(self.lost.values())
        )

    def used_files(self) -> int:
        return self.catalog.used_files + len(self.lost)

    def free_bytes(self) -> int:
        """On the disk; 0 where the disk can't even tell that."""
        try:
            found = os.statvfs(self.layout.root)
        except OSError as fault:
            log.error("free-space-unknown", reason=str(fault))
            return 0
        return found.f_bavail * found.f_frsize

    def table(self, volume: Volume) -> Table | None:
        """What lies where in a file; None where that can't be read. May read a few KB."""
        if volume.table is not None:
            return volume.table
        table = self._tables.get(volume.handle)
        if table is not None:
            self._tables.move_to_end(volume.handle)
            return table
        try:
            table = self.read_table(volume)
            reason = "damaged or gone"
        except OSError as fault:  # tells of the disk or of this process, nothing of the file
            table, reason = None, explain(fault, self.layout.root)
        if table is None:
            if volume not in self.suspects:
                log.error("trailer-unreadable", file=volume.name, reason=reason)
            self.suspects.add(volume)
            return None
        self.remember(volume, table)
        return table

    def read_table(self, volume: Volume) -> Table | None:
        """The same, past what is kept at hand; None where the file is damaged or gone, and
        OSError where nobody can tell. May be called in any thread."""
        if volume.table is not None:
            return volume.table
        try:
            return trailer.read_path(self.path(volume), volume.kind, volume.name)[0].table
        except (FileNotFoundError, Damaged):
            return None

    def remember(self, volume: Volume, table: Table) -> None:
        """Keeps a closed file's table at hand."""
        self._drop_table(volume.handle)
        self._tables[volume.handle] = table
        self._table_bytes += table.weight
        while self._table_bytes > _CACHED_BYTES and len(self._tables) > 1:
            self._drop_table(next(iter(self._tables)))

    def forget(self, volume: Volume) -> None:
        """Drops what was kept about a file that changed or is about to go."""
        self._drop_table(volume.handle)
        self.suspects.discard(volume)

    def _drop_table(self, handle: int) -> None:
        table = self._tables.pop(handle, None)
        if table is not None:
            self._table_bytes -= table.weight

    def enlist(self, volume: Volume, table: Table, record: bytes, encoded: bytes) -> None:
        """A file was closed: the index learns of it with the next sync."""
        self.pending[volume.id] = (_row(volume, table, record), encoded)

    def read_row(self, volume: Volume) -> tuple[Row, bytes] | None:
        """What the index should know of a closed file, read from it; in any thread."""
        try:
            contents, encoded = trailer.read_path(self.path(volume), volume.kind, volume.name)
        except (OSError, Damaged):
            return None
        return _row(volume, contents.table, contents.record), encoded

    def mark_corrupt(self, volume: Volume, block: int) -> None:
        """A block's bytes are not its CID's: it is not served any more."""
        metrics.CORRUPT_BLOCKS.inc()
        volume.corrupt.add(block)
        self.healed.discard((volume.id, block))
        self.found_corrupt.add((volume.id, block))
        log.error("block-corrupt", file=volume.name, block=block)

    def mark_healed(self, volume: Volume, block: int) -> None:
        volume.corrupt.discard(block)
        self.found_corrupt.discard((volume.id, block))
        self.healed.add((volume.id, block))

    def refuse(self, reason: str, text: str) -> RecordingStopped:
        """Counts a refusal; the caller raises it."""
        metrics.REFUSED.labels(reason).inc()
        return RecordingStopped(text)

    def refuse_disk(self, fault: OSError) -> RecordingStopped:
        """The disk refused."""
        log.warning("write-failed", reason=str(fault))
        return self.refuse("disk", explain(fault, self.layout.root))

    def dirtied(self, path: str, *, folder: bool = False) -> None:
        """Remembers to bring a file to disk, and its name where it is new or gone."""
        self.dirty.add(path)
        if folder:
            self.dirty.add(os.path.dirname(path))

    def touch(self, volume: Volume) -> None:
        account = self.catalog.rooms.get(volume.room)
        if account is not None:
            account.last_use_ms = self.clock.now_ms()


def _row(volume: Volume, table: Table, record: bytes) -> Row:
    return Row(
        id=volume.id,
        kind=volume.kind,
        name=volume.name,
        size=volume.size,
        content=volume.content,
        blocks=volume.blocks,
        closed_ms=volume.closed_ms,
        prints=table.prints(),
        record=record,
    )
