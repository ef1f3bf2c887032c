"""Reading every block again, and mending what can be mended.

A bad block is mended where another file holds a good copy; a bad trailer from the index's copy of
it. What stays bad is not served.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
import trio

from hausd.blocks import trailer
from hausd.blocks.catalog import Volume
from hausd.blocks.errors import Damaged, disk_failed, explain, unreadable
from hausd.blocks.index import Row
from hausd.blocks.layout import FileKind
from hausd.blocks.reader import read_block
from hausd.blocks.recover import move_to_lost, write_trailer
from hausd.blocks.state import Progress, State
from hausd.blocks.table import Table
from hausd.core.shapes import VerifyShape
from hausd.core.storage import SegmentKey

log = structlog.get_logger("hausd.blocks")


@dataclass(slots=True)
class _Checked:
    """What reading one file found, by block number. ``damaged``: the trailer is unreadable.

    ``fault``: the disk or the process let nobody look, and nothing is known.
    """

    fault: OSError | None = None
    gone: bool = False
    damaged: bool = False
    corrupt: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    bad_nodes: int = 0


class Mender:
    """Repairs single files."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def mend_trailer(self, volume: Volume) -> bool:
        """Writes a damaged trailer again; False where its copy is no better.

        Raises OSError where nobody can tell just now whether it is damaged, or mend it.
        """
        state = self._state
        async with state.index_lock, state.lock:
            if volume.table is not None or not state.catalog.holds(volume):
                state.suspects.discard(volume)
                return True
            mended = False
            if await trio.to_thread.run_sync(state.read_table, volume) is None:
                if not await trio.to_thread.run_sync(self._write_copy, volume):
                    return False
                mended = True
            state.forget(volume)
            if mended:
                log.info("trailer-mended", file=volume.name)
            return True

    async def set_aside(self, volume: Volume) -> SegmentKey | None:
        """Moves a file that tells nothing of itself to lost+found, and forgets it.

        Gives its key where a segment is gone.
        """
        state = self._state
        async with state.lock:
            if not state.catalog.holds(volume):
                return None
            log.error("file-lost", file=volume.name)
            try:
                path, size = await trio.to_thread.run_sync(
                    move_to_lost, state.layout, state.path(volume), volume.name
                )
                state.lost[path] = size
            except OSError as fault:
                log.warning("not-moved", file=volume.name, reason=str(fault))
            state.forget(volume)
            state.pending.pop(volume.id, None)
            state.gone[volume.id] = volume.name
            state.catalog.remove(volume, None)
            return volume.key() if volume.kind is FileKind.SEGMENT else None

    async def heal(self, volume: Volume, block: int) -> bool:
        """Writes a bad block again where another file holds a good copy."""
        state = self._state
        table = state.table(volume)
        if table is None:
            return False
        digest, length = table.digest(block), table.lengths[block]
        for other in state.catalog.candidates(digest):
            own = state.table(other)
            for index in own.find(digest) if own is not None else ():
                if own is None or (other is volume and index == block) or index in other.corrupt:
                    continue
                try:
                    data = await trio.to_thread.run_sync(
                        read_block, state.path(other), own.offsets[index], length, digest
                    )
                except OSError:  # another copy, or another time
                    continue
                if data is not None and await self.write_again(volume, block, data):
                    return True
        return False

    async def write_again(self, volume: Volume, block: int, data: bytes) -> bool:
        """Writes the right bytes over a bad block."""
        state = self._state
        table = state.table(volume)
        if table is None or table.lengths[block] != len(data):
            return False
        async with state.lock:
            if not state.catalog.holds(volume):
                return False
            try:
                await trio.to_thread.run_sync(
                    _overwrite, state.path(volume), table.offsets[block], data
                )
            except OSError as fault:
                log.warning("not-mended", file=volume.name, reason=str(fault))
                return False
            state.mark_healed(volume, block)
            state.dirtied(state.path(volume))
        return True

    def _write_copy(self, volume: Volume) -> bool:
        state = self._state
        try:
            pending = state.pending.get(volume.id)
            encoded = pending[1] if pending is not None else state.index.trailer(volume.id)
            contents = trailer.decode(encoded or b"")
        except Damaged:
            return False
        except sqlite3.Error as fault:
            if disk_failed(fault) or not unreadable(fault):
                raise OSError(errno.EIO, str(fault)) from fault
            return False
        if encoded is None or (contents.kind, contents.name) != (volume.kind, volume.name):
            return False
        return write_trailer(state.path(volume), contents.table, encoded, volume.size)


class Verifier:
    """Reads files through; takes no lock for longer than it mends one."""

    def __init__(self, state: State, mender: Mender) -> None:
        self._state = state
        self._mender = mender

    async def verify(self, volumes: Sequence[Volume], progress: Progress) -> VerifyShape:
        """``corrupt`` counts all that was found so, ``repaired`` those of them that are good
        again, ``missing`` blocks whose bytes are not there."""
        state = self._state
        total = sum(volume.blocks for volume in volumes)
        checked = corrupt = missing = repaired = 0
        for volume in volumes:
            progress("verifying", checked, total)
            if not state.catalog.holds(volume):
                continue
            found = await self._check(volume)
            if found.damaged and not found.gone:
                try:
                    mended = await self._mender.mend_trailer(volume)
                except OSError as fault:
                    found.fault = fault
                else:
                    corrupt += 1
                    if mended:
                        repaired += 1
                        found = await self._check(volume)
            if not state.catalog.holds(volume):
                continue
            if found.fault is not None:
                reason = explain(found.fault, state.layout.root)
                log.error("not-verified", file=volume.name, reason=reason)
                continue
            checked += volume.blocks
            if found.gone or found.damaged:
                missing += volume.blocks
                await self._lose(volume)
                continue
            corrupt += len(found.corrupt) + found.bad_nodes
            missing += len(found.missing)
            for block in sorted(volume.corrupt.difference(found.corrupt, found.missing)):
                state.mark_healed(volume, block)
            for block in (*found.corrupt, *found.missing):
                if block not in volume.corrupt:
                    state.mark_corrupt(volume, block)
            for block in found.corrupt:
                repaired += await self._mender.heal(volume, block)
            if await self._keep_copy(volume):
                corrupt += 1
                repaired += 1
        progress("verifying", total, total)
        return VerifyShape(checked=checked, corrupt=corrupt, missing=missing, repaired=repaired)

    async def _check(self, volume: Volume) -> _Checked:
        state = self._state
        table = volume.table.copy() if volume.table is not None else None
        path = state.path(volume)
        return await trio.to_thread.run_sync(
            _read_through, path, volume.kind, volume.name, table, limiter=state.readers
        )

    async def _lose(self, volume: Volume) -> None:
        key = await self._mender.set_aside(volume)
        if key is not None:
            self._state.evicted([key])

    async def _keep_copy(self, volume: Volume) -> bool:
        """Sees that the index has a good copy of a closed file's trailer."""
        state = self._state
        if volume.table is not None or volume.id in state.pending:
            return False
        async with state.index_lock:
            fresh = await trio.to_thread.run_sync(_compare_copy, state, volume)
        if fresh is None or not state.catalog.holds(volume):
            return False
        state.pending[volume.id] = fresh
        return True


def _read_through(path: str, kind: FileKind, name: str, table: Table | None) -> _Checked:
    found = _Checked()
    if table is None:
        try:
            table = trailer.read_path(path, kind, name)[0].table
        except FileNotFoundError:
            found.gone = True
            return found
        except Damaged:
            found.damaged = True
            return found
        except OSError as fault:
            found.fault = fault
            return found
    found.bad_nodes = sum(not cid.matches(block) for cid, block in table.nodes.values())
    try:
        with open(path, "rb", buffering=0) as file:
            for index in range(len(table)):
                _read_one(file.fileno(), table, index, found)
    except FileNotFoundError:
        found.gone = True
    except OSError as fault:
        found.fault = fault
    return found


def _read_one(descriptor: int, table: Table, index: int, found: _Checked) -> None:
    length = table.lengths[index]
    try:
        data = os.pread(descriptor, length, table.offsets[index])
    except OSError as fault:
        if fault.errno != errno.EIO:
            raise
        found.corrupt.append(index)
        return
    if len(data) < length:
        found.missing.append(index)
    elif hashlib.sha256(data).digest() != table.digest(index):
        found.corrupt.append(index)


def _compare_copy(state: State, volume: Volume) -> tuple[Row, bytes] | None:
    """What the index should know where it knows otherwise; in a thread, under the index's lock."""
    fresh = state.read_row(volume)
    try:
        if fresh is None or state.index.trailer(volume.id) == fresh[1]:
            return None
    except sqlite3.Error as fault:
        log.error("index-unreadable", reason=str(fault))
        return None
    return fresh


def _overwrite(path: str, offset: int, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            offset += written
            view = view[written:]
    finally:
        os.close(descriptor)
