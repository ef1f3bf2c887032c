"""Writing: leaves to the ends of segment files, small blocks to packs, each batch whole or not.

First everything is planned and counted, then the bytes are written, then one journal record makes
the batch count, and last the catalog learns of it. A failure on the way leaves all as it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import trio

from hausd.blocks import metrics, packs, trailer
from hausd.blocks.catalog import Volume, on_disk
from hausd.blocks.files import Files, Write
from hausd.blocks.holding import span_of
from hausd.blocks.journal import Appended
from hausd.blocks.layout import FileKind, pack_name, segment_name
from hausd.blocks.quota import below_reserve, over_quota, over_small, shortfall, small_bytes
from hausd.blocks.remover import Remover
from hausd.blocks.state import State
from hausd.blocks.table import DIGEST_BYTES, Table
from hausd.core.cid import CID, Codec
from hausd.core.ids import RoomId
from hausd.core.live import FileRange
from hausd.core.storage import Append, Close, SegmentKey

_RECORD_BYTES = 160
"""What a journal record takes at most beside its leaves."""
_LEAF_RECORD_BYTES = DIGEST_BYTES + 4
_INDEX_SLACK_BYTES = 32 * 1024
"""Kept free within the quota for what index and journal round up and note on the way."""
_MAX_JOURNAL_BYTES = 64 * 1024 * 1024
"""The journal only grows so far where the index can't be written."""


@dataclass(slots=True)
class _Stage:
    """What a batch does to one segment: ``table`` are the leaves it adds."""

    name: str
    volume: Volume | None
    start: int
    table: Table = field(default_factory=Table)
    buffers: list[bytes | memoryview] = field(default_factory=list)
    close: Close | None = None
    whole: Table | None = None
    trailer: bytes = b""

    @property
    def end(self) -> int:
        return self.table.end or self.start


@dataclass(slots=True)
class _Packing:
    """What a batch adds to a room's pack, and the full pack that it closes before."""

    pack: Volume
    new: bool
    table: Table = field(default_factory=Table)
    buffers: list[bytes] = field(default_factory=list)
    full: Volume | None = None
    full_trailer: bytes = b""


class Writer:
    """The only one who writes blocks."""

    def __init__(self, state: State, remover: Remover, files: Files) -> None:
        self._state = state
        self._remover = remover
        self._files = files

    async def write(self, changes: Sequence[Append | Close]) -> list[FileRange]:
        """See ``BlockStore.write``. Raises ValueError where the batch makes no sense."""
        state = self._state
        async with state.lock:
            stages, ranges = self._plan(changes)
            await self._admit(
                sum(_growth(stage) for stage in stages),
                sum(stage.volume is None for stage in stages),
                [stage.volume for stage in stages if stage.volume is not None],
            )
            writes = [self._write_of(stage) for stage in stages]
            told = [
                Appended(
                    stage.name,
                    bytes(stage.table.digests),
                    stage.table.lengths,
                    stage.close is not None,
                )
                for stage in stages
            ]
            try:
                await trio.to_thread.run_sync(
                    self._write_segments, writes, told, limiter=state.writers
                )
            except OSError as fault:
                raise state.refuse_disk(fault) from fault
            for stage in stages:
                self._commit(stage)
        return ranges

    async def put(self, blocks: Sequence[tuple[CID, bytes]], room: RoomId) -> None:
        """See ``BlockStore.put``. What the room has already is not written again."""
        state = self._state
        async with state.lock:
            packing = self._plan_pack(blocks, room)
            if packing is None:
                return
            size = sum(len(buffer) for buffer in packing.buffers)
            self._bound_small(room, size)
            # Room for the trailer that the pack gets one day is counted now.
            need = on_disk(packing.pack.size + size) - on_disk(packing.pack.size)
            need += on_disk(len(packing.full_trailer))
            held = [packing.pack] if not packing.new else []
            await self._admit(need, int(packing.new), held)
            try:
                await trio.to_thread.run_sync(self._write_pack, packing, limiter=state.writers)
            except OSError as fault:
                raise state.refuse_disk(fault) from fault
            self._commit_pack(packing)

    def _bound_small(self, room: RoomId, size: int) -> None:
        """Raises RecordingStopped where a stranger's room has more small blocks than any needs."""
        state = self._state
        account = state.catalog.rooms.get(room)
        most = small_bytes(state.limits)
        held = account.small_bytes if account is not None else 0
        if held + size > most and not self._remover.wanted(room):
            raise state.refuse("small", over_small(room, most))

    async def _admit(self, need_bytes: int, need_files: int, held: Sequence[Volume]) -> None:
        """Makes room for so much; raises RecordingStopped where that can't be."""
        state = self._state
        if state.trouble:
            raise state.refuse("disk", state.trouble)
        if state.journal.end > _MAX_JOURNAL_BYTES:
            raise state.refuse("disk", "the store's index can't be written: see the log")
        reserve = state.limits.reserve_bytes
        free = state.free_bytes() if reserve else 0
        if reserve and free - need_bytes < reserve:
            raise state.refuse("reserve", below_reserve(state.limits, free, state.layout.root))
        used_bytes = state.used_bytes() + _INDEX_SLACK_BYTES
        over_bytes = shortfall(used_bytes, need_bytes, state.limits.quota_bytes)
        over_files = shortfall(state.used_files(), need_files, state.limits.quota_files)
        try:
            fits = not (over_bytes or over_files) or await self._remover.make_room(
                over_bytes, over_files, held
            )
        except OSError as fault:
            raise state.refuse_disk(fault) from fault
        if not fits:
            raise state.refuse(
                "quota", over_quota(state.limits, state.used_bytes(), state.used_files())
            )

    def _plan(self, changes: Sequence[Append | Close]) -> tuple[list[_Stage], list[FileRange]]:
        stages: dict[SegmentKey, _Stage] = {}
        ranges = []
        for change in changes:
            stage = stages.get(change.key)
            if stage is None:
                stage = stages[change.key] = self._stage(change.key)
            if stage.close is not None:
                raise ValueError(f"segment {stage.name} is closed")
            path = self._state.layout.path(FileKind.SEGMENT, stage.name)
            if isinstance(change, Append):
                start = stage.end
                for cid, leaf in change.leaves:
                    if cid.codec is not Codec.RAW or not leaf:
                        raise ValueError("a leaf is a raw block of at least a byte")
                    stage.table.append(cid.digest, stage.end, len(leaf))
                    stage.buffers.append(leaf)
                ranges.append(FileRange(path, start, stage.end - start))
            else:
                self._plan_close(stage, change)
                ranges.append(FileRange(path, 0, stage.end))
        return list(stages.values()), ranges

    def _stage(self, key: SegmentKey) -> _Stage:
        volume = self._state.catalog.segment(key)
        if volume is None:
            return _Stage(segment_name(key), None, 0)
        if volume.table is None:
            raise ValueError(f"segment {volume.name} is closed")
        return _Stage(volume.name, volume, volume.size)

    def _plan_close(self, stage: _Stage, close: Close) -> None:
        before = stage.volume.table if stage.volume is not None else None
        whole = before.copy() if before is not None else Table()
        whole.digests += stage.table.digests
        whole.offsets.extend(stage.table.offsets)
        whole.lengths.extend(stage.table.lengths)
        if not whole.lengths:
            raise ValueError(f"segment {stage.name} has no leaves to close")
        whole.nodes.update((cid.digest, (cid, block)) for cid, block in close.nodes)
        stage.close, stage.whole = close, whole
        stage.trailer = trailer.encode(
            trailer.Contents(
                FileKind.SEGMENT, stage.name, self._state.clock.now_ms(), whole, close.record
            )
        )

    def _write_of(self, stage: _Stage) -> Write:
        return Write(
            path=self._state.layout.path(FileKind.SEGMENT, stage.name),
            offset=stage.start,
            buffers=[*stage.buffers, stage.trailer],
            new=stage.volume is None,
            last=stage.close is not None,
        )

    def _write_segments(self, writes: Sequence[Write], told: Sequence[Appended]) -> None:
        self._files.write(writes)
        try:
            self._state.journal.write_batch(told)
        except OSError:
            self._files.undo(writes)
            raise

    def _commit(self, stage: _Stage) -> None:
        state, volume = self._state, stage.volume
        now_ms = state.clock.now_ms()
        if volume is None:
            volume = Volume(state.new_id(), FileKind.SEGMENT, stage.name, table=Table(), fresh=True)
            state.catalog.add(volume)
            state.dirtied(state.path(volume), folder=True)
        table = volume.table
        if table is None:
            raise RuntimeError(f"segment {stage.name} was closed by someone else")
        table.digests += stage.table.digests
        table.offsets.extend(stage.table.offsets)
        table.lengths.extend(stage.table.lengths)
        state.catalog.grow(volume, stage.end, _digests(stage.table))
        state.catalog.rooms[volume.room].last_use_ms = now_ms
        state.dirtied(state.path(volume))
        metrics.MEDIA_BYTES.inc(stage.end - stage.start)
        metrics.MEDIA_BLOCKS.inc(len(stage.table))
        if stage.close is not None and stage.whole is not None:
            volume.table, volume.closed_ms, volume.content = None, now_ms, volume.size
            volume.span = span_of(stage.close.record)
            size = volume.size + len(stage.trailer)
            state.catalog.grow(volume, size, stage.whole.nodes)
            state.remember(volume, stage.whole)
            state.enlist(volume, stage.whole, stage.close.record, stage.trailer)
            metrics.OVERHEAD_BYTES.inc(len(stage.trailer))

    def _plan_pack(self, blocks: Sequence[tuple[CID, bytes]], room: RoomId) -> _Packing | None:
        state = self._state
        pack_name(room, 0)
        fresh: dict[bytes, tuple[CID, bytes]] = {}
        for cid, block in blocks:
            if len(block) > packs.MAX_BLOCK_BYTES:
                raise ValueError(f"{cid} has more than {packs.MAX_BLOCK_BYTES} bytes")
            if not cid.matches(block):
                raise ValueError(f"the bytes are not those of {cid}")
            if cid.digest not in fresh and not self._has_packed(cid.digest, room):
                fresh[cid.digest] = (cid, block)
        if not fresh:
            return None
        account = state.catalog.rooms.get(room)
        newest = account.packs[max(account.packs)] if account and account.packs else None
        if newest is not None and newest.table is not None and newest.size < packs.PACK_BYTES:
            packing = _Packing(newest, new=False)
        else:
            number = max(account.packs) + 1 if account and account.packs else 0
            # one that a start could not read was left where it is
            while os.path.lexists(state.layout.path(FileKind.PACK, pack_name(room, number))):
                number += 1
            name = pack_name(room, number)
            packing = _Packing(Volume(0, FileKind.PACK, name, table=Table(), fresh=True), new=True)
            if newest is not None and newest.table is not None:
                packing.full = newest
                packing.full_trailer = trailer.encode(
                    trailer.Contents(FileKind.PACK, newest.name, state.clock.now_ms(), newest.table)
                )
        at = packing.pack.size
        for cid, block in fresh.values():
            packing.buffers += [packs.head(cid, len(block)), block]
            packing.table.append(cid.digest, at + packs.HEAD_BYTES, len(block))
            at += packs.HEAD_BYTES + len(block)
        return packing

    def _has_packed(self, digest: bytes, room: RoomId) -> bool:
        for volume in self._state.catalog.candidates(digest):
            if volume.room == room and volume.kind is FileKind.PACK:
                table = self._state.table(volume)
                if table is not None and any(
                    index not in volume.corrupt for index in table.find(digest)
                ):
                    return True
        return False

    def _write_pack(self, packing: _Packing) -> None:
        state = self._state
        if packing.new:
            state.journal.write_created(packing.pack.name)
        else:
            state.journal.open_run()
        writes = []
        if packing.full is not None:
            full = packing.full
            writes.append(
                Write(state.path(full), full.size, [packing.full_trailer], new=False, last=True)
            )
        writes.append(
            Write(state.path(packing.pack), packing.pack.size, packing.buffers, packing.new)
        )
        self._files.write(writes)

    def _commit_pack(self, packing: _Packing) -> None:
        state, pack = self._state, packing.pack
        if packing.full is not None and packing.full.table is not None:
            full, whole = packing.full, packing.full.table
            full.table, full.closed_ms, full.content = None, state.clock.now_ms(), full.size
            state.catalog.grow(full, full.size + len(packing.full_trailer), ())
            state.remember(full, whole)
            state.enlist(full, whole, b"", packing.full_trailer)
            state.dirtied(state.path(full))
            metrics.OVERHEAD_BYTES.inc(len(packing.full_trailer))
        if packing.new:
            pack.id = state.new_id()
            state.catalog.add(pack)
            state.dirtied(state.path(pack), folder=True)
        table = pack.table
        if table is None:
            raise RuntimeError(f"pack {pack.name} was closed by someone else")
        table.digests += packing.table.digests
        table.offsets.extend(packing.table.offsets)
        table.lengths.extend(packing.table.lengths)
        written = sum(len(buffer) for buffer in packing.buffers)
        state.catalog.grow(pack, pack.size + written, _digests(packing.table))
        state.dirtied(state.path(pack))
        heads = packs.HEAD_BYTES * len(packing.table)
        metrics.SMALL_BYTES.inc(written - heads)
        metrics.SMALL_BLOCKS.inc(len(packing.table))
        metrics.OVERHEAD_BYTES.inc(heads)


def _growth(stage: _Stage) -> int:
    """Bytes on disk that a stage adds, with its journal record and entry in the index."""
    before = stage.volume.size if stage.volume is not None else 0
    data = on_disk(stage.end + len(stage.trailer)) - on_disk(before)
    entry = 2 * len(stage.trailer) + _RECORD_BYTES + _LEAF_RECORD_BYTES * len(stage.table)
    return data + entry


def _digests(table: Table) -> Iterator[bytes]:
    return (table.digest(index) for index in range(len(table)))
