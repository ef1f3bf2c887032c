"""Reading: where a block or file lies, and blocks that were compared with their CIDs."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
import trio

from hausd.blocks import files
from hausd.blocks.catalog import Volume
from hausd.blocks.errors import explain
from hausd.blocks.state import State
from hausd.blocks.table import Table
from hausd.core.cid import CID, Codec
from hausd.core.live import FileRange

log = structlog.get_logger("hausd.blocks")


class RangeReader:
    """Implements ``rooms.ports.RangeReader``."""

    def __init__(self, descriptor: int, place: FileRange, limiter: trio.CapacityLimiter) -> None:
        self._descriptor = descriptor
        self._place = place
        self._limiter = limiter

    async def fill(self, at: int, into: memoryview) -> bool:
        """Reads what begins ``at`` in the range; False where it has not so much any more.

        What is in memory is read at once, without a checkpoint. Raises OSError.
        """
        if at + len(into) > self._place.length:
            return False
        at += self._place.offset
        read = files.read_cached(self._descriptor, at, into)
        if read < len(into):
            read += await trio.to_thread.run_sync(
                files.read_into, self._descriptor, at + read, into[read:], limiter=self._limiter
            )
        return read == len(into)


class Reader:
    """Needs no lock: a file that is removed meanwhile is simply not there."""

    def __init__(self, state: State) -> None:
        self._state = state

    def has(self, cid: CID) -> bool:
        """Whether a block is here. Looks at 52 bits of its digest and never at the disk."""
        return any(
            not volume.corrupt or self._serves(volume, cid.digest)
            for volume in self._state.catalog.candidates(cid.digest)
        )

    def locate(self, cid: CID) -> FileRange | None:
        """See ``BlockStore.locate``. May read a few KB of a file's table.

        What is found corrupt is not located. A file may be evicted after it was located; who
        opened it before can read on.
        """
        for volume in self._state.catalog.candidates(cid.digest):
            table = self._state.table(volume)
            if table is None:
                continue
            place = _place(volume, table, cid)
            if place is not None:
                self._state.touch(volume)
                return FileRange(self._state.path(volume), *place)
        return None

    async def block(self, cid: CID) -> bytes | None:
        """See ``BlockStore.block``. Where one copy is bad, another is taken."""
        for volume in self._state.catalog.candidates(cid.digest):
            found = await self._block_in(volume, cid)
            if found is not None:
                self._state.touch(volume)
                return found
        return None

    async def records(self, volumes: Sequence[Volume]) -> dict[Volume, bytes]:
        """The records of closed segments, of those that can be told."""
        pending = self._state.pending
        found = {one: pending[one.id][0].record for one in volumes if one.id in pending}
        wanted = [volume for volume in volumes if volume not in found]
        if wanted:
            async with self._state.index_lock:
                found |= await trio.to_thread.run_sync(self._records, wanted)
        return found

    def _records(self, volumes: Sequence[Volume]) -> dict[Volume, bytes]:
        """In a thread. Where the index can't tell, the files can."""
        try:
            told = self._state.index.records(volume.id for volume in volumes)
        except sqlite3.Error as fault:
            log.error("index-unreadable", reason=str(fault))
            told = {}
        found = {volume: told[volume.id] for volume in volumes if volume.id in told}
        for volume in volumes:
            if volume not in found:
                row = self._state.read_row(volume)
                if row is not None:
                    found[volume] = row[0].record
        return found

    async def read(self, place: FileRange) -> bytes | None:
        """The bytes of a range, not compared with any CID; None where the file is gone or short.

        Raises OSError where the disk fails.
        """
        try:
            data = await trio.to_thread.run_sync(
                files.read_at, place.path, place.offset, place.length, limiter=self._state.readers
            )
        except FileNotFoundError:
            return None
        return data if len(data) == place.length else None

    @contextmanager
    def reading(self, place: FileRange) -> Iterator[RangeReader]:
        """See ``BlockStore.reading``."""
        descriptor = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield RangeReader(descriptor, place, self._state.readers)
        finally:
            os.close(descriptor)

    async def _block_in(self, volume: Volume, cid: CID) -> bytes | None:
        state = self._state
        table = state.table(volume)
        if table is None:
            return None
        node = table.nodes.get(cid.digest)
        if node is not None and cid.matches(node[1]):
            return node[1]
        for index in self._places(volume, cid.digest):
            try:
                data = await trio.to_thread.run_sync(
                    read_block,
                    state.path(volume),
                    table.offsets[index],
                    table.lengths[index],
                    cid.digest,
                    limiter=state.readers,
                )
            except OSError as fault:
                reason = explain(fault, state.layout.root)
                log.error("read-failed", file=volume.name, reason=reason)
                return None
            if data is not None:
                return data
            if state.catalog.holds(volume):
                state.mark_corrupt(volume, index)
        return None

    def _places(self, volume: Volume, digest: bytes) -> Iterator[int]:
        """Numbers of a block's good copies in a file, as far as they are asked for."""
        table = self._state.table(volume)
        if table is not None:
            yield from (index for index in table.find(digest) if index not in volume.corrupt)

    def _serves(self, volume: Volume, digest: bytes) -> bool:
        """The same with nodes, for a file of which something is corrupt."""
        table = self._state.table(volume)
        if table is None:
            return False
        return digest in table.nodes or any(True for _ in self._places(volume, digest))


def read_block(path: str, offset: int, length: int, digest: bytes) -> bytes | None:
    """A block's bytes; None where they are others, gone, or on a bad place of the disk.

    Raises any other OSError, which says nothing of the block (no descriptors left, permission
    denied for a while). In a thread.
    """
    try:
        data = files.read_at(path, offset, length)
    except FileNotFoundError:
        return None
    except OSError as fault:
        if fault.errno != errno.EIO:
            raise
        # Until a verification can read it again: nobody else is asked for it otherwise.
        log.error("read-failed", path=path, reason=fault.strerror)
        return None
    return data if CID(Codec.RAW, digest).matches(data) else None


def _place(volume: Volume, table: Table, cid: CID) -> tuple[int, int] | None:
    """Offset and length of a raw or other block, or of a UnixFS file's content."""
    if cid.codec is Codec.DAG_PB:
        span = table.span(cid.digest) if cid.digest in table.nodes else None
        if span is None or not volume.corrupt.isdisjoint(range(*span)):
            return None
        first, last = span
        offset = table.offsets[first]
        return offset, table.offsets[last - 1] + table.lengths[last - 1] - offset
    for index in table.find(cid.digest):
        if index not in volume.corrupt:
            return table.offsets[index], table.lengths[index]
    return None
