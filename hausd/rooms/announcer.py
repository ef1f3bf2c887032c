"""What an origin states about its room: the manifest, and signed announcements of every tick.

A tick is closed by a part of the run's leading rendition: the first to begin (most often the
source, or the sound where there is no picture), and once that is shed another. It lists every part
that became ready since the tick before, so a slow encoder's part comes in a later tick and holds
nothing back. No I/O: who carries announcements reads ``recent``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from hausd.core.cid import CID
from hausd.core.clock import Clock
from hausd.core.gating import EpochFrom, EpochId, ObjectSeal
from hausd.core.ids import RoomId, SessionId
from hausd.core.keys import SigningKey
from hausd.core.live import RoomState
from hausd.core.manifest import Manifest, SegmentRecord
from hausd.core.media import Rendition
from hausd.core.peers import PeerAddress
from hausd.rooms.free import FreeKeys
from hausd.rooms.live import Span
from hausd.rooms.opening import Place
from hausd.rooms.packing import Block, Leaf
from hausd.rooms.records import RoomRecord
from hausd.wire.announce import Signed, pack, sign
from hausd.wire.seals import TrackSeal
from hausd.wire.statements import (
    MAX_TICK_GAPS,
    MAX_TICK_PARTS,
    End,
    Head,
    Statement,
    Tick,
    TickGap,
    TickGop,
    TickPart,
    Track,
)
from hausd.wire.worker import PartMade

_RECENT = 64
"""Ticks kept for who joins late or missed some: about 25 s."""


@dataclass(frozen=True, slots=True)
class PlaylistTerms:
    """What of the configuration a follower's playlists share with the origin's."""

    target_s: int
    window_ms: int


@dataclass(frozen=True, slots=True)
class InitMade:
    """An init segment as it is stored; ``seal``: in a gated room, how."""

    cid: CID
    size: int
    seal: ObjectSeal | None = None


class PartPlaced(msgspec.Struct, frozen=True):
    """A part in the room's time: number ``index`` of its GOP, in archive segment ``segment``.

    ``place``: in a gated room, where it was sealed.
    """

    rendition: Rendition
    span: Span
    segment: int
    index: int
    program_time_ms: int
    made: PartMade
    leaves: tuple[Leaf, ...]
    place: Place | None = None


class _Ready(msgspec.Struct, frozen=True):
    """A part for the next tick."""

    msn: int
    run: int
    segment: int
    epoch: EpochId | None
    part: TickPart


class Announcer:
    """Keeps the manifest and signs what followers need."""

    def __init__(self, record: RoomRecord, clock: Clock, terms: PlaylistTerms) -> None:
        self.recent: deque[Signed[Tick | End]] = deque(maxlen=_RECENT)
        self.head: Signed[Head] | None = None
        self.pictures: CID | None = None
        """Poster and storyboard, of the next head on."""
        self.holders: tuple[PeerAddress, ...] = ()
        """Who gives the keys, where the room is gated."""
        self.epochs: tuple[EpochFrom, ...] = ()
        """Of a session that is gated: those in force, and the next."""
        self.free = FreeKeys()
        """Keys that are for everybody: tracks name those that it takes to play them."""
        self.free_list: CID | None = None
        """The list of them, of the next head and manifest on."""
        self.on_stated: Callable[[Signed[Statement]], None] | None = None
        """Is told each statement as it is signed."""
        self._room = RoomId(record.id)
        self._record = record
        self._clock = clock
        self._terms = terms
        self._key = SigningKey(record.seed)
        self._tree = Manifest(self._room, record.state)
        self._session: SessionId | None = None
        self._ticks = self._tracks = self._heads = 0
        self._before: bytes | None = None
        self._tracked: dict[str, Signed[Track]] = {}
        self._leading = ""
        self._parts: list[_Ready] = []
        self._gaps: list[TickGap] = []

    @property
    def in_session(self) -> bool:
        """Whether anything can be signed now."""
        return self._session is not None

    @property
    def manifest(self) -> CID:
        """The newest manifest."""
        return self._tree.cid

    @property
    def tracks(self) -> list[Signed[Track]]:
        """The newest statement of each rendition of this session."""
        return list(self._tracked.values())

    def message(self) -> bytes | None:
        """The newest tick as it would be gossiped, with those before it; None before the first."""
        newest, *earlier = reversed(self.recent) if self.recent else (None,)
        if newest is None:
            return None
        return pack(newest, [one for one in earlier if one is not None])

    # -- what the origin tells --

    def begin_session(
        self,
        session: SessionId,
        target_s: int | None = None,
        epochs: tuple[EpochFrom, ...] = (),
    ) -> None:
        """Everything signed from here on is numbered within this session."""
        self.epochs = epochs
        self._terms = replace(self._terms, target_s=target_s or self._terms.target_s)
        self._session = session
        self._ticks = self._tracks = self._heads = 0
        self._before = None
        self._tracked.clear()
        self._parts.clear()
        self._gaps.clear()
        self.recent.clear()

    def run_started(self) -> None:
        """The first rendition that comes now leads the ticks."""
        self._leading = ""

    def track(self, rendition: Rendition, run: int, init: InitMade, part_target_ms: int) -> None:
        """A rendition has a new init segment."""
        self._close_tick()
        self._leading = self._leading or rendition.name
        self._state_track(
            Track(
                self._room,
                self._of_session(),
                n=self._tracks,
                tick=self._ticks,
                run=run,
                rendition=rendition,
                init=init.cid,
                init_size=init.size,
                active=True,
                target_s=self._terms.target_s,
                part_target_ms=part_target_ms,
                window_ms=self._terms.window_ms,
                peak_bps=rendition.bandwidth_bps,
                average_bps=rendition.bandwidth_bps,
                seal=self._seal(init.seal, rendition.name) if init.seal is not None else None,
            )
        )

    def epochs_changed(self, epochs: tuple[EpochFrom, ...]) -> None:
        """Another epoch will follow: who may watch gets its key meanwhile. Or other keys are for
        everybody: who follows hears that before the next segment is recorded."""
        self.epochs = epochs
        self.repeat_tracks()
        if self.free_list is not None:
            self._state_head()

    def init_epochs(self) -> set[EpochId]:
        """The epochs in which the inits of this session's renditions are sealed."""
        seals = [told.statement.seal for told in self._tracked.values()]
        return {seal.init.epoch.id for seal in seals if seal is not None}

    def repeat_tracks(self) -> None:
        """What is said of how they are sealed has changed."""
        for told in list(self._tracked.values()):
            if self._session is not None and told.statement.active:
                self._repeat(told.statement)

    def track_stopped(self, rendition: str) -> None:
        """A rendition has no more parts for now."""
        told = self._tracked.get(rendition)
        if told is not None:
            self._close_tick()
            self._repeat(told.statement, active=False)
            if rendition == self._leading:
                self._leading = self._next_leading(told.statement.run)

    def part(self, placed: PartPlaced) -> None:
        """A part is there; one of the leading rendition closes the tick."""
        made, place = placed.made, placed.place
        self._parts.append(
            _Ready(
                placed.span.msn,
                placed.span.run,
                placed.segment,
                place.epoch if place is not None else None,
                TickPart(
                    rendition=placed.rendition.name,
                    index=placed.index,
                    program_time_ms=placed.program_time_ms,
                    duration=made.duration,
                    size=sum(len(leaf) for _, leaf in placed.leaves),
                    leaves=tuple(cid for cid, _ in placed.leaves),
                    independent=made.independent,
                    ends_gop=made.ends_gop,
                    leaf=place.leaf if place is not None else None,
                ),
            )
        )
        if placed.rendition.name == self._leading or len(self._parts) >= MAX_TICK_PARTS:
            self._tick()

    def gap(self, rendition: str, span: Span, duration: int) -> None:
        """A rendition has nothing for a span that others have."""
        if len(self._gaps) >= MAX_TICK_GAPS:
            self._tick()
        self._gaps.append(TickGap(rendition, span.msn, span.run, span.program_time_ms, duration))

    def run_ended(self) -> None:
        """Whatever follows begins with a discontinuity."""
        if self._session is not None and (self._ticks or self._parts):
            self._tick(ends_run=True)

    def restore(self, records: Sequence[SegmentRecord]) -> tuple[Block, ...]:
        """Takes up segments recorded earlier, by their numbers; gives the manifest's blocks."""
        return tuple(self._tree.append(*records, free=self.free_list))

    def recorded(self, record: SegmentRecord, peak_bps: int, average_bps: int) -> tuple[Block, ...]:
        """Appends a recorded segment, signs the head; gives the manifest's new blocks."""
        state = self._record.state
        blocks = tuple(self._tree.append(record, state=state, free=self.free_list))
        told = self._tracked.get(record.rendition.name)
        if told is not None:
            self._repeat(told.statement, peak_bps=peak_bps, average_bps=average_bps)
        self._state_head()
        return blocks

    def end(self, state: Literal[RoomState.ENDED, RoomState.CLOSED]) -> tuple[Block, ...]:
        """The session is over; gives the manifest's new blocks."""
        blocks = tuple(self._tree.append(state=state, free=self.free_list))
        if self._session is not None:
            end = End(
                self._room,
                self._session,
                self._ticks,
                self._before,
                self._clock.now_ms(),
                state,
            )
            self._state_head()
            self.recent.append(sign(end, self._key))
            self._stated(self.recent[-1])
            self._session = None
        return blocks

    # -- details --

    def _of_session(self) -> SessionId:
        if self._session is None:
            raise ValueError("nothing is stated outside of a session")
        return self._session

    def _close_tick(self) -> None:
        """What came before a track is stated is in a tick before the one it holds from."""
        if self._session is not None and (self._parts or self._gaps):
            self._tick()

    def _next_leading(self, run: int) -> str:
        """Another rendition that is made; none where the next one to begin leads."""
        tracks = (told.statement for told in self._tracked.values())
        made = (track.rendition.name for track in tracks if track.active and track.run == run)
        return next(made, "")

    def _tick(self, *, ends_run: bool = False) -> None:
        gops: dict[tuple[int, int, int, EpochId | None], list[TickPart]] = {}
        for one in sorted(self._parts, key=lambda one: one.msn):
            gops.setdefault((one.msn, one.run, one.segment, one.epoch), []).append(one.part)
        tick = Tick(
            self._room,
            self._of_session(),
            self._ticks,
            self._before,
            self._clock.now_ms(),
            tuple(
                TickGop(msn, run, segment, tuple(parts), epoch)
                for (msn, run, segment, epoch), parts in gops.items()
            ),
            tuple(self._gaps),
            ends_run,
        )
        self._parts.clear()
        self._gaps.clear()
        signed = sign(tick, self._key, check=False)
        self._ticks += 1
        self._before = signed.digest
        self.recent.append(signed)
        self._stated(signed)

    def _seal(self, init: ObjectSeal, rendition: str) -> TrackSeal:
        ids = [init.epoch.id, *(begun.epoch.id for begun in self.epochs)]
        return TrackSeal(init, self.epochs, self.free.of_track(ids, rendition))

    def _repeat(self, told: Track, **changes: int | bool) -> None:
        name = told.rendition.name
        seal = self._seal(told.seal.init, name) if told.seal is not None else None
        told = replace(told, n=self._tracks, tick=self._ticks, seal=seal)
        self._state_track(
            replace(
                told,
                active=bool(changes.get("active", told.active)),
                peak_bps=int(changes.get("peak_bps", told.peak_bps)),
                average_bps=int(changes.get("average_bps", told.average_bps)),
            )
        )

    def _state_track(self, track: Track) -> None:
        signed = self._tracked[track.rendition.name] = sign(track, self._key)
        self._tracks += 1
        self._stated(signed)

    def _state_head(self) -> None:
        if self._session is None:
            return
        head = Head(
            self._room,
            self._session,
            self._heads,
            self._tree.cid,
            self._tree.state,
            self._clock.now_ms(),
            self.pictures,
            self.holders if self.epochs or self._record.gated or self._record.sealed else (),
            self.free_list,
        )
        self.head = sign(head, self._key)
        self._heads += 1
        self._stated(self.head)

    def _stated(self, signed: Signed[Statement]) -> None:
        if self.on_stated is not None:
            self.on_stated(signed)
