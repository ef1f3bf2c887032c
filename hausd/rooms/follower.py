"""The follower's side of a room: verified statements become lanes that pull and record.

No task of its own: ``hear`` and ``told`` take what came, in whatever order, and every lane gets
what each tick has for it, in the origin's order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.following import Ask, Told
from hausd.core.forms import MAX_RENDITIONS
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import Variant
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import PeerId
from hausd.core.storage import SegmentKey
from hausd.rooms.archive import rank
from hausd.rooms.door import Door
from hausd.rooms.lane import Lane
from hausd.rooms.live import LiveTrack
from hausd.rooms.metrics import STATEMENTS_LOST
from hausd.rooms.opening import Opener
from hausd.rooms.pulling import Pull, Puller
from hausd.rooms.recorder import Recorder
from hausd.rooms.steps import Entry, Step
from hausd.rooms.taping import Tape
from hausd.wire.announce import Signed, advances
from hausd.wire.follow import KEPT, Fork, Held, InOrder, SignedTick, TickChain
from hausd.wire.statements import End, Head, Statement, Tick, TickGap, TickGop, TickPart, Track

log = structlog.get_logger("hausd.rooms")

PART_DEADLINE_S = 4.0
"""From hearing of a part to giving it up: within what players hold back (6 s)."""
JOIN_GOPS = 1
"""Whole GOPs before the open one that who joins late begins with."""
_EARLY_SESSIONS = 4
_EARLY_TRACKS = 64
"""Tracks of a session whose first tick did not come yet."""


@dataclass(slots=True)
class Events:
    """What the room is told."""

    on_session: Callable[[], None]
    on_tick: Callable[[Tick | End], None]
    on_track: Callable[[Track], None]
    on_head: Callable[[Signed[Head], PeerId | None], None]
    on_kept: Callable[[PeerId | None, Signed[Head]], None]
    on_change: Callable[[], None]
    on_lane: Callable[[Lane], None]
    on_missing: Callable[[], None]
    on_contradiction: Callable[[Signed[Statement], Signed[Statement]], None]
    may_record: Callable[[SegmentKey], bool]


class Follower:
    """One room's statements, put in order and acted upon."""

    def __init__(
        self,
        room: RoomId,
        chain: TickChain,
        door: Door,
        puller: Puller,
        recorder: Recorder,
        events: Events,
        opener: Opener,
    ) -> None:
        self._opener = opener
        self.lanes: dict[str, Lane] = {}
        self.head: Signed[Head] | None = None
        self.session: SessionId | None = None
        self._room = room
        self._chain = chain
        self._door = door
        self._puller = puller
        self._recorder = recorder
        self._events = events
        self._first_msn: int | None = None
        self._tracks: dict[str, Signed[Track]] = {}
        self._early: OrderedDict[SessionId, list[tuple[Signed[Track], PeerId | None]]] = (
            OrderedDict()
        )
        self._inits: dict[CID, Pull] = {}
        self._lost = False

    def take_up(self, head: bytes, read: bytes) -> None:
        """The newest head of the time before this node's start, and the one that was read."""
        self._learn_all((head,), None)
        self._learn_kept(read, None)

    # -- what can be played --

    @property
    def tracks(self) -> dict[str, LiveTrack]:
        """The live edge of each rendition."""
        return {name: lane.live for name, lane in self.lanes.items() if lane.live is not None}

    def variants(self) -> list[Variant]:
        """Videos from best to least, then audio, as the origin offers them.

        What has not begun in the newest run, such as a video that was lost, is not among them.
        """
        run = max((lane.run_number for lane in self.lanes.values()), default=-1)
        made = [
            _variant(lane, lane.live)
            for lane in self.lanes.values()
            if lane.live is not None and lane.live.active and lane.live.last_msn is not None
            if lane.run_number == run
        ]
        return sorted(made, key=rank)

    # -- what came --

    def hear(self, message: bytes, told_by: PeerId) -> None:
        """A message that the door accepted."""
        for signed in reversed(self._door.take(message)):
            self._learn(signed, told_by)

    def told(self, told: Told) -> None:
        """An answer; what is not the authority's is left out."""
        if told.untrusted_head is not None:
            self._learn_all((told.untrusted_head,), told.by)
        if told.untrusted_kept is not None:
            self._learn_kept(told.untrusted_kept, told.by)
        self._learn_all(told.untrusted_tracks, told.by)
        verified = (self._door.verified(untrusted) for untrusted in told.untrusted_ticks)
        ticks = [tick for one in verified if one is not None and (tick := _tick_of(one))]
        if self._chain.session is None:
            self._chain.from_first = not ticks
            self._join([one.statement for one in ticks if isinstance(one.statement, Tick)])
        for signed in sorted(ticks, key=lambda one: one.statement.n):
            self._accept(signed, told.by)

    def skip(self) -> None:
        """Gives up the ticks that are missing first."""
        outcome = self._chain.skip()
        if isinstance(outcome, InOrder):
            self._in_order(outcome, None)

    # -- for other nodes --

    def tell(self, ask: Ask, read: Signed[Head] | None) -> Told:
        """The newest tracks and head, the head that was ``read``, and the ticks asked for."""
        chain = self._chain
        first = chain.next if not ask.recent else max(0, chain.next - min(ask.recent, KEPT))
        ticks = chain.recent(first, chain.next)
        if ask.session == chain.session:
            earlier = chain.recent(max(0, chain.next - KEPT), first - 1)
            missing = [
                one for one in earlier if any(one.statement.n in span for span in ask.missing)
            ]
            ticks = [*missing, *ticks]
        return Told(
            tuple(one.encoded for one in self._tracks.values()),
            self.head.encoded if self.head is not None else None,
            tuple(one.encoded for one in ticks),
            untrusted_kept=read.encoded if read is not None and read != self.head else None,
        )

    # -- statements --

    def _learn_kept(self, untrusted: bytes, told_by: PeerId | None) -> None:
        signed = self._door.verified(untrusted)
        if signed is not None and isinstance(signed.statement, Head):
            self._events.on_kept(told_by, Signed(signed.statement, signed.encoded, signed.digest))

    def _learn_all(self, untrusted: Iterable[bytes], told_by: PeerId | None) -> None:
        for encoded in untrusted:
            signed = self._door.verified(encoded)
            if signed is not None:
                self._learn(signed, told_by)

    def _learn(self, signed: Signed[Statement], told_by: PeerId | None) -> None:
        said = signed.statement
        match said:
            case Track():
                if self._door.remember(signed):
                    self._events.on_track(said)
                    self._learn_track(Signed(said, signed.encoded, signed.digest), told_by)
            case Head():
                old = self.head.statement if self.head is not None else None
                if self._door.remember(signed) and advances(old, said):
                    self.head = Signed(said, signed.encoded, signed.digest)
                    self._events.on_head(self.head, told_by)
            case Tick() | End():
                tick = _tick_of(signed)
                if tick is not None:
                    self._learn_tick(tick, told_by)

    def _learn_track(self, signed: Signed[Track], told_by: PeerId | None) -> None:
        track = signed.statement
        if track.session != self.session:
            if self.session is None or track.session.counter >= self.session.counter:
                early = self._early.setdefault(track.session, [])
                early.append((signed, told_by))
                del early[:-_EARLY_TRACKS]
                while len(self._early) > _EARLY_SESSIONS:
                    self._early.popitem(last=False)
            return
        name = track.rendition.name
        known = self._tracks.get(name)
        if known is None or track.n > known.statement.n:
            self._tracks[name] = signed
        lane = self._lane(name)
        if lane is not None:
            lane.state(track, told_by)

    def _learn_tick(self, signed: SignedTick, told_by: PeerId | None) -> None:
        chain = self._chain
        if chain.session is None and isinstance(signed.statement, Tick) and not chain.from_first:
            self._join([signed.statement])
        self._accept(signed, told_by)

    def _accept(self, signed: SignedTick, told_by: PeerId | None) -> None:
        outcome = self._chain.accept(signed)
        match outcome:
            case InOrder():
                self._in_order(outcome, told_by)
            case Held():
                if isinstance(signed.statement, Tick) and signed.statement.session == self.session:
                    self._fetch_ahead(signed.statement, told_by)
            case Fork(first, second):
                self._events.on_contradiction(first, second)
        if self._chain.missing():
            self._events.on_missing()

    def _join(self, ticks: list[Tick]) -> None:
        """Sets where the playlists of who joins in the middle begin."""
        newest = max(ticks, key=_age, default=None)
        ticks = [tick for tick in ticks if newest is not None and tick.session == newest.session]
        gops = [gop for tick in ticks for gop in tick.gops]
        self._first_msn = None
        if gops:
            run = max(gop.run for gop in gops)
            msns = [gop.msn for gop in gops if gop.run == run]
            first = max(max(msns) - JOIN_GOPS, min(msns))
            if min(tick.n for tick in ticks) or first > min(gop.msn for gop in gops):
                self._first_msn = first

    def _in_order(self, outcome: InOrder, told_by: PeerId | None) -> None:
        if outcome.lost:
            STATEMENTS_LOST.inc(outcome.lost)
            log.warning("ticks-lost", room=self._room, count=outcome.lost)
        self._lost = self._lost or outcome.lost > 0
        for signed in outcome.ticks:
            said = signed.statement
            if said.session != self.session:
                self._begin_session(said)
            self._advance(said, told_by)
            self._events.on_tick(said)

    def _begin_session(self, first: Tick | End) -> None:
        if self.session is not None:
            self._first_msn = None
        self.session = first.session
        self._puller.drop_all()
        self.lanes = {}
        self._tracks = {}
        self._inits = {}
        self._events.on_session()
        for signed, told_by in self._early.pop(first.session, []):
            self._learn_track(signed, told_by)

    def _advance(self, said: Tick | End, told_by: PeerId | None) -> None:
        """Gives every lane what the tick has for it, in the order of media sequence numbers."""
        deadline_s = trio.current_time() + PART_DEADLINE_S
        listed: dict[str, list[tuple[int, Entry | TickGap]]] = {name: [] for name in self.lanes}
        if isinstance(said, Tick):
            for gop in said.gops:
                for part in gop.parts:
                    if self._lane(part.rendition) is None:
                        continue  # more renditions than a room may have
                    entry = Entry(gop, part, self._pull(gop, part, told_by, deadline_s))
                    listed.setdefault(part.rendition, []).append((gop.msn, entry))
            for gap in said.gaps:
                listed.setdefault(gap.rendition, []).append((gap.msn, gap))
        for name, entries in listed.items():
            lane = self._lane(name)
            if lane is None:
                continue
            entries.sort(key=lambda one: one[0])
            lane.push(
                Step(
                    said.n,
                    tuple(entry for _, entry in entries),
                    deadline_s,
                    ends_run=isinstance(said, Tick) and said.ends_run,
                    ends=isinstance(said, End),
                    lost=self._lost,
                )
            )
        self._lost = False

    # -- pulls --

    def _fetch_ahead(self, tick: Tick, told_by: PeerId | None) -> None:
        """What waits for a tick before it is fetched meanwhile."""
        deadline_s = trio.current_time() + PART_DEADLINE_S
        for gop in tick.gops:
            for part in gop.parts:
                if self._lane(part.rendition) is not None:
                    self._pull(gop, part, told_by, deadline_s)

    def _pull(
        self, gop: TickGop, part: TickPart, told_by: PeerId | None, deadline_s: float
    ) -> Pull | None:
        if self._first_msn is not None and gop.msn < self._first_msn:
            return None
        return self._puller.want(part.leaves, part.size, told_by, deadline_s)

    def _init(self, track: Track, told_by: PeerId | None) -> Pull:
        known = self._inits.get(track.init)
        if known is not None and not (known.done.is_set() and known.data is None):
            return known
        deadline_s = trio.current_time() + PART_DEADLINE_S
        size = min(track.init_size, LEAF_BYTES)
        pull = self._puller.want((track.init,), size, told_by, deadline_s)
        self._puller.taken(pull)  # small, and kept for the session
        if len(self._inits) >= _EARLY_TRACKS:
            self._inits.clear()
        self._inits[track.init] = pull
        return pull

    def _lane(self, name: str) -> Lane | None:
        """The lane of a rendition, made when first heard of."""
        lane = self.lanes.get(name)
        if lane is None and self.session is not None and len(self.lanes) < MAX_RENDITIONS:
            late = self._first_msn is not None
            lane = self.lanes[name] = Lane(
                room=self._room,
                session=self.session,
                name=name,
                puller=self._puller,
                tape=Tape(self._recorder, self._events.may_record, unsure=late),
                fetch_init=self._init,
                on_change=self._events.on_change,
                on_missing=self._events.on_missing,
                opener=self._opener,
                joined_late=late,
            )
            self._events.on_lane(lane)
        return lane


def _variant(lane: Lane, live: LiveTrack) -> Variant:
    """Who joined late measured too little, and says what it was told."""
    variant = live.variant()
    if lane.joined_late and lane.track is not None:
        told = lane.track
        return replace(variant, peak_bps=told.peak_bps, average_bps=told.average_bps)
    return variant


def _age(tick: Tick) -> tuple[int, int, int]:
    return tick.session.counter, tick.time_ms, tick.n


def _tick_of(signed: Signed[Statement]) -> SignedTick | None:
    """A statement of the sequence of ticks."""
    match signed.statement:
        case Tick() as tick:
            return Signed(tick, signed.encoded, signed.digest)
        case End() as end:
            return Signed(end, signed.encoded, signed.digest)
        case _:
            return None
