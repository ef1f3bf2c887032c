"""Writes a room's parts to the block store and tells its archive.

The live path only ever queues here and never waits. A full or failing store stops the recording,
in plain words, and it is tried again at a later segment; the live stream goes on from memory. What
an origin signed and no store takes ends the recording of that segment, and nothing else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.ids import RoomId
from hausd.core.live import FileRange
from hausd.core.manifest import SegmentRecord, encode_record
from hausd.core.storage import Append, Close, RecordingStopped, SegmentKey
from hausd.rooms.live import StoredPart
from hausd.rooms.metrics import RECORDING_STOPPED, RECORDINGS_REFUSED
from hausd.rooms.packing import Leaf
from hausd.rooms.ports import BlockStore
from hausd.telemetry import count_swallowed

log = structlog.get_logger("hausd.rooms")

MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""More than this waiting for the disk means that the disk is too slow to record."""
MAX_OWED_BYTES = 8 * 1024 * 1024
"""Of blocks that the store did not take and that are put later. Beyond it the largest are left out:
pictures."""
_SMALL_BYTES = 64 * 1024
"""Inits and manifest nodes have some KB, and no segment plays without them. Pictures are larger,
and no reason to stop the recording."""
_BATCH = 64
_RETRY_AFTER_S = 5.0


@dataclass(slots=True)
class _PartJob:
    key: SegmentKey
    leaves: tuple[Leaf, ...]
    part: StoredPart


@dataclass(slots=True)
class _CloseJob:
    key: SegmentKey
    nodes: tuple[tuple[CID, bytes], ...]
    record: SegmentRecord


@dataclass(slots=True)
class _PutJob:
    blocks: tuple[tuple[CID, bytes], ...]
    then: list[Callable[[], None]]

    @property
    def size(self) -> int:
        return sum(len(block) for _, block in self.blocks)

    @property
    def key(self) -> tuple[CID, ...]:
        return tuple(cid for cid, _ in self.blocks)


_Job = _PartJob | _CloseJob | _PutJob
_Change = tuple[_PartJob | _CloseJob, Append | Close]


@dataclass(slots=True)
class Recorder:
    """The queue between a room and the store. ``run`` owns the writing."""

    room: RoomId
    store: BlockStore
    on_recorded: Callable[[SegmentRecord], None]
    on_stopped: Callable[[str], None]
    on_resumed: Callable[[], None]
    stopped_because: str = ""
    _jobs: deque[_Job] = field(default_factory=deque)
    _queued_bytes: int = 0
    _wake: trio.Event = field(default_factory=trio.Event)
    _idle: trio.Event = field(default_factory=trio.Event)
    _broken: set[SegmentKey] = field(default_factory=set)
    _owed: dict[tuple[CID, ...], _PutJob] = field(default_factory=dict)
    """What is to be put, by its CIDs, until it is."""
    _retry_at_s: float = 0.0

    def append(self, key: SegmentKey, leaves: tuple[Leaf, ...], part: StoredPart) -> None:
        """Queues a part's leaves for the end of a segment's file."""
        if key in self._broken:
            return
        if self.stopped_because:
            if trio.current_time() < self._retry_at_s:
                self._break(key)
                return
        elif self._queued_bytes + part.size > MAX_QUEUED_BYTES:
            self._stop("the disk is too slow: more waits to be written than memory may hold")
            self._break(key)
            return
        self._queued_bytes += part.size
        self._push(_PartJob(key, leaves, part))

    def close(self, nodes: tuple[tuple[CID, bytes], ...], record: SegmentRecord) -> None:
        """Queues the end of a segment; nothing happens where its parts were not all written."""
        if record.key in self._broken:
            self._broken.discard(record.key)
            return
        self._push(_CloseJob(record.key, nodes, record))

    def put(
        self, blocks: tuple[tuple[CID, bytes], ...], then: Callable[[], None] | None = None
    ) -> None:
        """Queues small blocks; ``then`` is called once they are on disk.

        Where the store takes none now, they are put as soon as it does, up to ``MAX_OWED_BYTES``.
        """
        job = _PutJob(blocks, [then] if then is not None else [])
        self._queued_bytes += job.size
        self._push(job)

    async def run(self) -> None:
        """Writes what is queued, in order, until cancelled."""
        while True:
            while not self._jobs:
                self._idle.set()
                with trio.move_on_after(_RETRY_AFTER_S if self._owed else math.inf) as pause:
                    await self._wake.wait()
                    self._wake = trio.Event()
                if pause.cancelled_caught:
                    break
            batch = [self._jobs.popleft() for _ in range(min(_BATCH, len(self._jobs)))]
            await self._write(batch)

    async def drained(self) -> None:
        """Returns when nothing waits to be written, but for what the store does not take."""
        await self._idle.wait()

    async def _write(self, batch: list[_Job]) -> None:
        changes: list[_Change] = []
        for job in batch:
            match job:
                case _PartJob():
                    self._queued_bytes -= job.part.size
                    if job.key not in self._broken:
                        changes.append((job, Append(job.key, job.leaves)))
                case _CloseJob():
                    if job.key in self._broken:
                        self._broken.discard(job.key)
                    else:
                        changes.append((job, Close(job.key, job.nodes, encode_record(job.record))))
                case _PutJob():
                    self._queued_bytes -= job.size
                    self._owe(job)
        small = [job for job in self._owed.values() if job.size <= _SMALL_BYTES]
        try:
            await self._put(small)
            await self._change(changes)
        except RecordingStopped as stopped:
            self._stop(str(stopped))
            for change, _ in changes:
                self._break(change.key)
            self._bound_owed()
            return
        if self._owed:
            try:
                await self._put(list(self._owed.values()))
            except RecordingStopped:
                self._bound_owed()  # the parts' own trouble is told, once they have any

    async def _change(self, left: list[_Change]) -> None:
        """Has changes written and takes them off the list: all at once, or, where one of them is
        none that a store takes, one after the other."""
        try:
            await self._write_first(len(left), left)
        except ValueError:
            while left:
                try:
                    await self._write_first(1, left)
                except ValueError as fault:
                    self._refuse(left, fault)

    async def _write_first(self, count: int, left: list[_Change]) -> None:
        if not count:
            return
        places = await self.store.write([change for _, change in left[:count]])
        written = [job for job, _ in left[:count]]
        del left[:count]
        if self.stopped_because:
            self.stopped_because = ""
            self.on_resumed()
        for job, place in zip(written, places, strict=True):
            self._written(job, place)

    def _refuse(self, left: list[_Change], fault: ValueError) -> None:
        """Gives up the segment of the first change, whatever else there is of it."""
        key = left[0][0].key
        RECORDINGS_REFUSED.inc()
        log.warning(
            "segment-refused",
            room=self.room,
            rendition=key.rendition,
            number=key.number,
            because=str(fault),
        )
        if not any(job.key == key and isinstance(job, _CloseJob) for job, _ in left):
            self._break(key)
        left[:] = [one for one in left if one[0].key != key]

    async def _put(self, jobs: list[_PutJob]) -> None:
        blocks = [block for job in jobs for block in job.blocks]
        try:
            if blocks:
                await self.store.put(blocks, self.room)
        except ValueError as fault:
            if len(jobs) > 1:
                for job in jobs:
                    await self._put([job])
                return
            RECORDINGS_REFUSED.inc()
            log.warning("blocks-refused", room=self.room, because=str(fault))
            del self._owed[jobs[0].key]
            return
        for job in jobs:
            del self._owed[job.key]
            for then in job.then:
                then()

    def _owe(self, job: _PutJob) -> None:
        """The same blocks are put once; everybody who waits for them is told."""
        known = self._owed.setdefault(job.key, job)
        if known is not job:
            known.then += job.then

    def _bound_owed(self) -> None:
        over = sum(job.size for job in self._owed.values()) - MAX_OWED_BYTES
        for job in sorted(self._owed.values(), key=lambda job: job.size, reverse=True):
            if over <= 0:
                break
            over -= job.size
            del self._owed[job.key]
            log.warning("blocks-not-stored", room=self.room, bytes=job.size)

    def _written(self, job: _PartJob | _CloseJob, place: FileRange) -> None:
        match job:
            case _PartJob():
                job.part.stored = place
            case _CloseJob():
                try:
                    self.on_recorded(job.record)
                except Exception as fault:  # the door of what a room makes of a segment; counted
                    count_swallowed("recorded", fault)
                    log.exception("segment-not-listed", room=self.room, rendition=job.key.rendition)

    def _stop(self, reason: str) -> None:
        self._retry_at_s = trio.current_time() + _RETRY_AFTER_S
        if reason == self.stopped_because:
            return
        self.stopped_because = reason
        RECORDING_STOPPED.inc()
        self.on_stopped(reason)

    def _break(self, key: SegmentKey) -> None:
        """Drops the rest of this segment; recording resumes with a later one."""
        self._broken = {
            known
            for known in self._broken
            if known.rendition != key.rendition or known.number == key.number
        }
        self._broken.add(key)

    def _push(self, job: _Job) -> None:
        self._jobs.append(job)
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        self._wake.set()
