"""Keeps a followed room's archive what the origin's manifest says it is.

Lanes record what they saw whole; the rest (what was before joining, what was missed) is fetched
here: head, then segment records, then leaves, at low priority and a bounded number at a time. A
segment is listed once it is here and all before it are, so the archive only ever grows at its end,
as the origin's does. What a lane recorded must be what the manifest says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import islice

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.following import LeafMissing
from hausd.core.forms import MAX_RENDITIONS
from hausd.core.manifest import (
    FANOUT,
    MAX_NODE_BYTES,
    ManifestError,
    SegmentRecord,
    read_root,
    records,
)
from hausd.core.peers import PeerId
from hausd.core.storage import RecordingStopped, SegmentKey
from hausd.core.unixfs import Getter, UnixFsError
from hausd.policy.depth import WHOLE, Depth, Span, holds
from hausd.rooms.fetching import Fetcher
from hausd.rooms.heads import Heads
from hausd.rooms.mending import Mending
from hausd.rooms.metrics import FILLS_FAILED, SEGMENTS_FILLED
from hausd.wire.announce import Signed
from hausd.wire.statements import Head

log = structlog.get_logger("hausd.rooms")

FILLS_AT_ONCE = 2
"""Segments of one room that are fetched at a time."""
MAX_PLANNED = 40_000
"""Segments of all renditions, an equal share of each, that are known of and not listed yet (27 h
of four); the rest is read later."""
_LOOK_AT_ONCE = 1024
"""Of the plan, for one to fetch: some ms."""
_AGAIN_S = 5.0
_AGAIN_MAX_S = 160.0
_GIVE_UP_AFTER = 5
"""Tries, after which a segment that nobody has is left out, if later ones could be had."""


@dataclass(slots=True)
class _Trouble:
    tries: int = 0
    again_at_s: float = 0.0


@dataclass(slots=True)
class Archivist:
    """``run`` owns the fetching; ``list_segment`` gets segments in order, each once."""

    fetcher: Fetcher
    listed: dict[str, int]
    """Number of the newest segment listed of each rendition; the room's record keeps it."""
    recording: Callable[[SegmentKey], bool]
    """Whether a lane records this segment."""
    list_segment: Callable[[SegmentRecord], None]
    mending: Mending
    list_late: Callable[[SegmentRecord], None]
    """Gets what had been passed over, in any order."""
    on_complete: Callable[[Signed[Head]], None]
    """All that a head's manifest names is listed."""
    notice: Callable[[str, str], None]
    on_read: Callable[[Signed[Head]], None]
    """What a head names is known, and its manifest is here for who asks."""
    ask_others: Callable[[], Awaitable[None]]
    """Asks what others know, as nobody has what the newest head names."""
    free: Callable[[CID, PeerId | None], None] = lambda root, told_by: None
    """Gets the list of free keys of a manifest that the chain alone names: no head links to it."""
    depth: Callable[[], Depth] = lambda: WHOLE
    """How far back from the newest segment anything is fetched."""
    wanted: Callable[[], bool] = lambda: True
    """Whether anything is."""
    heads: Heads = field(default_factory=Heads)
    _trees: dict[str, tuple[int, CID]] = field(default_factory=dict)
    _stored: dict[SegmentKey, SegmentRecord] = field(default_factory=dict)
    """Closed in the store and not listed yet."""
    _plan: dict[str, deque[SegmentRecord]] = field(default_factory=dict)
    """What the manifest names and is not listed yet."""
    _filling: set[SegmentKey] = field(default_factory=set)
    _troubles: dict[SegmentKey, _Trouble] = field(default_factory=dict)
    _given_up: set[SegmentKey] = field(default_factory=set)
    _evicted: set[SegmentKey] = field(default_factory=set)
    """Of these, what the store needed the place of."""
    _wrong: set[SegmentKey] = field(default_factory=set)
    """Closed in the store, and not what the manifest says."""
    _looked: dict[str, int] = field(default_factory=dict)
    """How many of a plan were found to be none to fetch now, since ``_looked_at_s``."""
    _looked_at_s: float = 0.0
    _missing: int | None = None
    """As it was counted last, until something of it changes."""
    _newest_ms: int = 0
    """Where what is known of ends; it only grows, so what is too far back stays so."""
    _reading: bool = False
    _completed: Signed[Head] | None = None
    _bad: Signed[Head] | None = None
    _work: trio.Event = field(default_factory=trio.Event)

    # -- what the room does --

    def head(self, head: Signed[Head], told_by: PeerId | None) -> None:
        """A newer verified head."""
        self.heads.came(head, told_by)
        self._notify()

    def kept_by(self, peer: PeerId | None, head: Signed[Head]) -> None:
        """A verified head, perhaps not the newest, whose manifest ``peer`` has."""
        if self.heads.kept_by(peer, head):
            self._notify()

    def stored(self, record: SegmentRecord) -> None:
        """A segment is whole on disk."""
        self._newest_ms = max(self._newest_ms, _span(record).end_ms)
        if not self._is_listed(record):
            self._stored[record.key] = record
            self._missing = None
        self._advance()

    def opened(self) -> None:
        """Somebody asks for the recording."""
        self._notify()

    def claims(self, key: SegmentKey) -> bool:
        """Whether a segment is here or being fetched, so that no lane may write it."""
        listed = key.number <= self.listed.get(key.rendition, -1)
        return listed or key in self._filling or key in self._stored

    def over(self) -> None:
        """The room's state changed: ``on_complete`` is told again if all is here."""
        self._completed = None
        self._advance()

    def evicted(self, key: SegmentKey) -> None:
        """The store needed its place; it is not fetched again."""
        if self._stored.pop(key, None) is not None:
            self._given_up.add(key)
            self._evicted.add(key)
            self._missing = None
            self._advance()

    @property
    def missing(self) -> int:
        """Segments that the manifest names and that are yet to be fetched."""
        if self._missing is None:
            self._missing = sum(
                record.key not in self._stored and record.key not in self._given_up
                for plan in self._plan.values()
                for record in plan
            )
        return self._missing + len(self.mending)

    async def run(self) -> None:
        """Reads heads and fetches what is missing, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(FILLS_AT_ONCE):
                nursery.start_soon(self._fill_on)
            nursery.start_soon(self.mending.run, self._known, self._is_wanted, self._notify)
            while True:
                if self.wanted() and await self._read_next():
                    continue
                with trio.move_on_after(_AGAIN_S):
                    await self._work.wait()

    async def _read_next(self) -> bool:
        """Reads the head that is due; False where there is nothing to do now."""
        due = self.heads.due()
        if due is None:
            return False
        if await self._read_manifest(due):
            self.heads.was_read(due)
            self.on_read(due)
            self._advance()
            await self._sweep()
            return True
        if not self.heads.gave_up(due):
            await self.ask_others()
        return self.heads.due() not in (None, due)

    # -- the manifest --

    async def _read_manifest(self, head: Signed[Head]) -> bool:
        """Plans what is new in a manifest; False where it is to be tried again."""
        manifest, told_by = head.statement.manifest, self.heads.told_by
        faults: list[Exception] = []

        async def get(cid: CID) -> bytes:
            return await self.fetcher.node(cid, told_by, MAX_NODE_BYTES)

        async def read(name: str, tree: tuple[int, CID]) -> None:
            try:
                if await self._read_tree(manifest, get, name, share):
                    self._trees[name] = tree
            except (LeafMissing, ManifestError) as fault:
                faults.append(fault)

        try:
            root = await read_root(manifest, get)
            if root.room != self.fetcher.room:
                raise ManifestError("it is another room's")
            if len(self.listed.keys() | self._plan.keys() | root.trees.keys()) > MAX_RENDITIONS:
                raise ManifestError(f"a room has at most {MAX_RENDITIONS} renditions in all")
            if root.free is not None and not head.encoded:
                self.free(root.free, told_by)
        except (LeafMissing, ManifestError) as fault:
            return self._unread(head, fault)
        share = MAX_PLANNED // max(1, len(root.trees))
        self._reading = True
        try:
            async with trio.open_nursery() as nursery:
                for name, tree in root.trees.items():
                    if self._trees.get(name) != tree:
                        nursery.start_soon(read, name, tree)
        finally:
            self._reading = False
        if faults:
            return self._unread(head, faults[0])
        return all(self._trees.get(name) == tree for name, tree in root.trees.items())

    def _unread(self, head: Signed[Head], fault: Exception) -> bool:
        """Whether there is no use in trying again."""
        if isinstance(fault, ManifestError):
            self.notice("bad-manifest", f"The origin signed a manifest that is none: {fault}.")
            self._bad = head
            return True
        log.info("manifest-unread", room=self.fetcher.room, because=str(fault))
        return False

    async def _read_tree(self, manifest: CID, get: Getter, name: str, most: int) -> bool:
        """Plans a rendition's new segments, as they are read; False where there are more."""
        plan = self._plan.setdefault(name, deque())
        async for record in records(manifest, get, name, self._planned(name) + 1):
            plan.append(record)
            self._missing = None
            self._newest_ms = max(self._newest_ms, _span(record).end_ms)
            if len(plan) % FANOUT == 0:
                self._advance()
            if len(plan) >= most or sum(map(len, self._plan.values())) >= MAX_PLANNED:
                return False
        return True

    def _planned(self, name: str) -> int:
        plan = self._plan.get(name)
        return plan[-1].segment.number if plan else self.listed.get(name, -1)

    def _advance(self) -> None:
        """Lists what is next and here."""
        for name, plan in self._plan.items():
            while plan and self._next_is_settled(plan):
                record = plan.popleft()
                self._looked[name] = max(0, self._looked.get(name, 0) - 1)
                self._missing = None
                self.listed[name] = record.segment.number
                self._troubles.pop(record.key, None)
                if record.key in self._given_up:
                    self._given_up.discard(record.key)
                    if record.key not in self._evicted:
                        self.mending.passes(record)
                    self._evicted.discard(record.key)
                else:
                    del self._stored[record.key]
                    self.list_segment(record)
        self._notify()
        head = self.heads.read
        if head is None or head is self._completed or head is self._bad:
            return
        if not any(self._plan.values()):
            self._completed = head
            self.on_complete(head)

    def _next_is_settled(self, plan: deque[SegmentRecord]) -> bool:
        record = plan[0]
        key = record.key
        if key not in self._stored and key not in self._filling and not self._is_wanted(record):
            self._given_up.add(key)
            self._missing = None
        if key in self._given_up:
            return True
        held = self._stored.get(key)
        if held is None:
            return self._hopeless(plan)
        if held == record:
            return True
        # both are signed by the origin: the ticks it was made of, and the manifest
        del self._stored[key]
        self._missing = None
        self._wrong.add(key)
        self.notice(
            "archive-differs",
            f"Segment {key.number} of {key.rendition} was announced otherwise than the manifest "
            "has it; it is fetched again as the manifest says.",
        )
        return False

    def _is_wanted(self, record: SegmentRecord) -> bool:
        """Whether it is not further back than this node keeps; what is left out stays so."""
        depth = self.depth()
        if depth.last_ms is None or self.recording(record.key):
            return True
        return holds(depth, _span(record), self._newest_ms, 0)

    def _hopeless(self, plan: deque[SegmentRecord]) -> bool:
        record = plan[0]
        trouble = self._troubles.get(record.key)
        if trouble is None or trouble.tries < _GIVE_UP_AFTER:
            return False
        name, last = record.rendition.name, plan[-1].segment.number
        if not any(
            key.rendition == name and record.segment.number < key.number <= last
            for key in self._stored
        ):
            return False  # nobody is there to be asked
        self._given_up.add(record.key)
        self._missing = None
        self.notice(
            "segment-missing",
            f"Segment {record.segment.number} of {record.rendition.name} is nowhere to be had; "
            "the archive goes on without it.",
        )
        return True

    async def _sweep(self) -> None:
        """Removes what no manifest names and none will: remains of an origin that crashed."""
        recorder, store = self.fetcher.recorder, self.fetcher.store
        await recorder.drained()
        named = {record.key for plan in self._plan.values() for record in plan}
        begun = [one.key for one in store.unclosed(self.fetcher.room)]
        past = [
            key
            for key in (*begun, *self._stored)
            if key.number <= self._planned(key.rendition)
            and key not in named
            and key not in self._filling
            and not self.recording(key)
        ]
        for key in past:
            self._stored.pop(key, None)
            self._missing = None
        if past:
            log.info("remains-removed", room=self.fetcher.room, segments=len(past))
            try:
                await store.discard(past)
            except OSError as fault:
                log.error("remains-not-removed", room=self.fetcher.room, error=fault.strerror)

    # -- filling --

    async def _fill_on(self) -> None:
        while True:
            record = await self._next_to_fill()
            if record is None:
                with trio.move_on_after(_AGAIN_S):
                    await self._work.wait()
                continue
            self._filling.add(record.key)
            try:
                done = await self._fill(record)
            finally:
                self._filling.discard(record.key)
            if done:
                SEGMENTS_FILLED.inc()
                self._filled(record)

    async def _next_to_fill(self) -> SegmentRecord | None:
        """The oldest that is missing, in any rendition, and may be tried now.

        Nearly all of a long plan may be in trouble, so it is not looked through at once, nor from
        its beginning each time.
        """
        if self._reading and self.depth().last_ms is not None:
            return None  # where the manifest ends is not known yet, nor what is too far back
        if trio.current_time() >= self._looked_at_s + _AGAIN_S:
            self._looked, self._looked_at_s = {}, trio.current_time()
        while True:
            candidates = [found for name in self._plan if (found := self._look(name)) is not None]
            if candidates:
                return min(candidates, key=lambda one: one.segment.program_time_ms)
            if all(self._looked[name] >= len(plan) for name, plan in self._plan.items()):
                return self.mending.take()
            await trio.lowlevel.checkpoint()

    def _look(self, name: str) -> SegmentRecord | None:
        """The next of a rendition that may be tried; looks at a few that may not."""
        plan, at, now = self._plan[name], self._looked.get(name, 0), trio.current_time()
        for record in islice(plan, at, at + _LOOK_AT_ONCE // len(self._plan)):
            key = record.key
            trouble = self._troubles.get(key)
            if (
                not self.claims(key)
                and key not in self._given_up
                and not (trouble is not None and now < trouble.again_at_s)
                and not self.recording(key)
            ):
                break
            at += 1
        else:
            record = None
        self._looked[name] = at
        return record

    async def _fill(self, record: SegmentRecord) -> bool:
        # what a lane has written of it is on disk after this
        await self.fetcher.recorder.drained()
        passed = record in self.mending
        if record.key in self._stored or (self._is_listed(record) and not passed):
            return False
        try:
            if record.key in self._wrong:
                await self.fetcher.store.discard([record.key])
                self._wrong.discard(record.key)
            await self.fetcher.segment(record, self.heads.told_by)
        except (LeafMissing, RecordingStopped, ValueError, OSError) as fault:
            if isinstance(fault, ValueError) and not isinstance(fault, ManifestError | UnixFsError):
                self._wrong.add(record.key)  # the store has it closed, and otherwise
            trouble = _Trouble() if passed else self._troubles.setdefault(record.key, _Trouble())
            pause_s = min(_AGAIN_S * 2**trouble.tries, _AGAIN_MAX_S)
            if not isinstance(fault, RecordingStopped | OSError):
                trouble.tries += 1
            trouble.again_at_s = trio.current_time() + pause_s
            FILLS_FAILED.inc()
            log.info(
                "segment-not-fetched",
                room=record.room,
                rendition=record.rendition.name,
                number=record.segment.number,
                because=str(fault),
            )
            self._advance()
            return False
        return True

    def _filled(self, record: SegmentRecord) -> None:
        if record in self.mending:
            self.mending.came(record)
            self.list_late(record)
        else:
            self.stored(record)

    def _known(self) -> tuple[CID, PeerId | None] | None:
        """The newest manifest that was read, and who told of it."""
        read = self.heads.read
        return (read.statement.manifest, self.heads.told_by) if read is not None else None

    def _is_listed(self, record: SegmentRecord) -> bool:
        return record.segment.number <= self.listed.get(record.rendition.name, -1)

    def _notify(self) -> None:
        work, self._work = self._work, trio.Event()
        work.set()


def _span(record: SegmentRecord) -> Span:
    segment = record.segment
    return Span(segment.program_time_ms, segment.program_time_ms + segment.duration_ms)
