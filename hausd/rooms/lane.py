"""One rendition of a followed room: from announced parts to its live window and its recording.

Parts enter in the order of the origin's ticks, each as soon as it is here; one that does not come
by its deadline leaves a gap, and the next goes on. What is done here in which order is what
``rooms.origin`` does for the same part, so that playlists and segments come out the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog
import trio

from hausd.core.forms import MAX_TIME_MS
from hausd.core.gating import SegmentSeal
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import LivePart, Media
from hausd.core.media import Kind
from hausd.core.peers import PeerId
from hausd.core.storage import SegmentKey
from hausd.rooms.live import LiveTrack, Span, StoredPart
from hausd.rooms.metrics import PART_BYTES, PARTS, PARTS_LOST
from hausd.rooms.opening import Opener, Place
from hausd.rooms.pulling import Pull, Puller
from hausd.rooms.steps import Entry, Step
from hausd.rooms.taping import Tape
from hausd.wire.leafseal import ObjectClass
from hausd.wire.statements import TickGap, TickGop, TickPart, Track

log = structlog.get_logger("hausd.rooms")

MAX_STEPS = 512
"""Ticks that wait in a lane (200 s)."""
_MAX_TRACKS = 32
"""Statements about a rendition that wait for their tick."""
_INIT_AGAIN_S = 0.25
MAX_GOP_PARTS = 512
MAX_GOP_BYTES = 128 * 1024 * 1024
"""Of a live segment. What is announced beyond it is left out: it would have to be in memory."""
MAX_WINDOW_GOPS = 2048
MAX_WINDOW_BYTES = 256 * 1024 * 1024
_MAX_WINDOW_PARTS = 8192
"""Of a live window, the bytes and parts as far as they are in memory. It is as long as its
segments' durations say, and those may be signed as next to nothing: past this it begins anew."""
_MAX_GAPS = 64
"""Missing live segments that are listed as gaps; past it the playlist begins anew."""


@dataclass(slots=True)
class Lane:
    """One rendition in one session. ``run`` owns it; others only push."""

    room: RoomId
    session: SessionId
    name: str
    puller: Puller
    tape: Tape
    opener: Opener
    fetch_init: Callable[[Track, PeerId | None], Pull]
    on_change: Callable[[], None]
    on_missing: Callable[[], None]
    """A part came of a run that nothing is known of yet."""
    live: LiveTrack | None = None
    done_tick: int = -1
    track: Track | None = None
    """The newest statement that was applied."""
    newest: Track | None = None
    """The newest statement that was heard."""
    waits_for_track: bool = False
    joined_late: bool = False
    """Whether the session had begun before."""
    _steps: deque[Step] = field(default_factory=deque)
    _tracks: list[tuple[Track, Pull]] = field(default_factory=list)
    _wake: trio.Event = field(default_factory=trio.Event)
    _msn: int | None = None
    _next: int = 0
    """Index of the part that comes next in that GOP."""
    _gop_bytes: int = 0
    _spoiled: bool = False
    """Whether a part of the open GOP is missing: what builds on it can't be shown."""
    _missed: int = 0  # parts, since the last GOP that came whole
    _begun: int = 0
    """GOPs since it was looked how many the window has."""
    _held: list[StoredPart] = field(default_factory=list)
    """Parts that the window may have in memory."""
    _held_bytes: int = 0

    # -- what the follower does --

    @property
    def run_number(self) -> int:
        """The newest run in which this rendition began; -1 before the first."""
        return self.track.run if self.track is not None else -1

    def state(self, track: Track, told_by: PeerId | None) -> None:
        """A verified statement about this rendition, in any order."""
        if self.newest is not None and track.n <= self.newest.n:
            if any(track.n == known.n for known, _ in self._tracks):
                return
        else:
            self.newest = track
        self._tracks.append((track, self.fetch_init(track, told_by)))
        self._tracks.sort(key=lambda one: one[0].n)
        del self._tracks[:-_MAX_TRACKS]
        self._wake.set()

    def push(self, step: Step) -> None:
        """What the next tick has. A lane that is too far behind leaves out what waits."""
        if len(self._steps) >= MAX_STEPS:
            for late in list(self._steps)[1:]:  # the first is being taken
                self._steps.pop()
                for entry in late.entries:
                    if isinstance(entry, Entry) and entry.pull is not None:
                        self.puller.taken(entry.pull)
            step = replace(step, lost=True)
        self._steps.append(step)
        self._wake.set()

    def recording(self, key: SegmentKey) -> bool:
        """Whether this lane writes a segment, or may come to it yet."""
        if key.session != self.session or key.rendition != self.name:
            return False
        if self.tape.writes(key.number):
            return True
        if self.tape.number is not None and key.number <= self.tape.number:
            return False
        waiting = (
            entry.gop.segment
            for step in self._steps
            for entry in step.entries
            if isinstance(entry, Entry)
        )
        return any(number == key.number for number in waiting)

    async def run(self) -> None:
        """Brings in what is pushed, until the session is over."""
        over = False
        while not over:
            while not self._steps:
                await self._apply_tracks(self.done_tick)
                if not self._steps:
                    await self._woken()
            step = self._steps[0]
            over = await self._take(step)
            self._steps.popleft()
            self.done_tick = step.tick

    # -- steps --

    async def _take(self, step: Step) -> bool:
        await self._apply_tracks(step.tick)
        if step.lost:
            self.tape.lost()
        for entry in step.entries:
            if isinstance(entry, TickGap):
                self._gap(entry)
            else:
                await self._bring(entry, step)
        if step.ends_run or step.ends:
            self._end_run()
        if step.ends and self.live is not None:
            self.live.end()
        if step.ends_run or step.ends:
            self.on_change()
        return step.ends

    async def _bring(self, entry: Entry, step: Step) -> None:
        """One part, at its place; what can't be placed is left out."""
        gop, part, pull = entry.gop, entry.part, entry.pull
        if pull is None or (self.live is None and part.index):
            # a playlist begins with a GOP
            self.tape.skip(gop.segment)
        elif await self._track_for(gop.run, step.deadline_s):
            data = await pull.wait()
            if self._place(gop, part):
                self._add(gop, part, pull if data is not None else None)
        else:
            PARTS_LOST.inc()
            self.tape.lost()
        if pull is not None:
            self.puller.taken(pull)

    # -- tracks --

    async def _track_for(self, run: int, deadline_s: float) -> bool:
        """Whether what is said of the rendition in this run is known, now or by the deadline."""
        with trio.move_on_at(deadline_s):
            while not self._ready_for(run):
                # who joins late hears the newest statement only, which may be of a later tick
                fitting = (
                    at
                    for at, (track, _) in enumerate(self._tracks)
                    if track.run == run and track.active
                )
                at = next(fitting, None)
                if at is None:
                    self.waits_for_track = True
                    self.on_missing()
                    await self._woken()
                elif not await self._apply(at):
                    await trio.sleep(_INIT_AGAIN_S)
        self.waits_for_track = False
        return self._ready_for(run)

    def _ready_for(self, run: int) -> bool:
        return self.track is not None and self.track.run == run and self.track.active

    async def _apply_tracks(self, tick: int) -> None:
        """All that holds from this tick on, in the order in which it was said."""
        while self._tracks and self._tracks[0][0].tick <= tick:
            if not await self._apply(0):
                return

    async def _apply(self, at: int) -> bool:
        """Applies a statement that waits; False where its init segment did not come in time."""
        track, init = self._tracks[at]
        known = self.track
        if known is not None and track.n <= known.n:
            del self._tracks[at]
            return True
        anew = known is None or known.run != track.run or known.init != track.init
        returns = known is not None and not known.active
        if track.active and (anew or returns or self.live is None):
            data = await init.wait()
            # while waiting another may have come before it
            places = (i for i, (waiting, _) in enumerate(self._tracks) if waiting.n == track.n)
            found = next(places, None)
            if found is None:
                return True
            at = found
            if data is None:
                log.warning("init-missing", room=self.room, rendition=self.name, run=track.run)
                self._tracks[at] = (track, self.fetch_init(track, None))
                return False
            self._start(track, data)
        elif not track.active and self.live is not None and self.live.active:
            self.live.active = False
            self._close_gop()
            self._close_archive()
            self.on_change()
        del self._tracks[at]
        self.track = track
        return True

    def _start(self, track: Track, init: bytes) -> None:
        """A new init segment holds from here on."""
        self.tape.recorder.put(((track.init, init),))
        self._close_archive()
        if self.live is None:
            self.live = self._window_of(track)
        content_type = "video/mp4" if track.rendition.kind is Kind.VIDEO else "audio/mp4"
        media = Media(track.init, content_type, len(init), (init,))
        if track.seal is not None:
            seal, kind = track.seal.init, ObjectClass.INIT
            media = self.opener.object(track.init, content_type, kind, seal, init)
        self.live.start_run(track.rendition, self.session, track.run, media)
        self.on_change()

    # -- parts --

    def _place(self, gop: TickGop, part: TickPart) -> bool:
        """Brings the window to where the part belongs; False where it is there already."""
        live = self._window()
        last = live.last_msn
        if self._msn is not None and gop.msn < self._msn:
            return False
        span = Span(gop.msn, self.session, gop.run, part.program_time_ms)
        if self._msn is None or gop.msn > self._msn:
            self._close_gop()
            if last is not None and gop.msn > last + 1:
                self._fill_gaps(last + 1, span)
            elif self._missed and not self._spoiled:
                log.info("parts-came-again", room=self.room, of=self.name, missed=self._missed)
                self._missed = 0
            self._bound_window()
            self._msn, self._spoiled, self._gop_bytes, self._next = gop.msn, False, 0, 0
        if part.index < self._next:
            return False
        self._gop_bytes += part.size
        if part.index >= MAX_GOP_PARTS or self._gop_bytes > MAX_GOP_BYTES:
            self._spoiled = True
            self.tape.spoil()
            return False
        self._open_archive(gop, part)
        for _ in range(part.index - self._next):
            self._lose(span, part.duration, ends=False)
        self._next = part.index + 1
        return True

    def _add(self, gop: TickGop, part: TickPart, pull: Pull | None) -> None:
        live = self._window()
        span = Span(gop.msn, self.session, gop.run, part.program_time_ms)
        if pull is None or (self._spoiled and live.rendition.kind is Kind.VIDEO):
            self._lose(span, part.duration, ends=part.ends_gop)
            if part.ends_gop:
                self._close_gop()
            return
        cut = pull.cut()
        stored = StoredPart(self.tape.place(cut), part.size, pull.data)
        if gop.epoch is not None and part.leaf is not None:
            stored.place = Place(gop.epoch, gop.segment, part.leaf)
        shown = LivePart(part.duration, part.independent, part.size)
        first = live.last_msn is None
        if live.takes(gop.msn):  # else the origin too can only record it
            live.add_part(span, shown, stored, ends_segment=part.ends_gop)
            self._held.append(stored)
            self._held_bytes += part.size
        self.tape.append(cut, stored, part.duration)
        if part.ends_gop:
            self._close_gop()
        kind = live.rendition.kind
        PARTS[kind].inc()
        PART_BYTES[kind].inc(part.size)
        if first:
            self.on_change()

    def _lose(self, span: Span, duration: int, *, ends: bool) -> None:
        PARTS_LOST.inc()
        if not self._missed:
            log.warning("parts-missing", room=self.room, of=self.name, since=span.msn)
        self._missed += 1
        self._spoiled = True
        self.tape.spoil()
        live = self._window()
        if live.takes(span.msn):
            live.add_missing(span, duration, ends_segment=ends)

    def _gap(self, gap: TickGap) -> None:
        """The origin has nothing here either."""
        live = self.live
        if live is None or (live.last_msn is not None and gap.msn <= live.last_msn):
            return
        span = Span(gap.msn, self.session, gap.run, gap.program_time_ms)
        self._close_gop()
        if live.last_msn is not None and gap.msn > live.last_msn + 1:
            self._fill_gaps(live.last_msn + 1, span)
        self._bound_window()
        live = self._window()
        live.add_gap(span, gap.duration / live.rendition.timescale)

    def _fill_gaps(self, first: int, before: Span) -> None:
        """Live segments that nobody could tell of: they last until the next that is known."""
        live = self._window()
        count = before.msn - first
        if count > _MAX_GAPS:
            self._begin_anew()
            return
        self._begun += count
        newest = live.playlist().segments[-1]
        scale = live.rendition.timescale
        end_ms = newest.program_time_ms + newest.duration * 1000 / scale
        each_s = max((before.program_time_ms - end_ms) / 1000 / count, 1 / scale)
        each_s = min(each_s, live.playlist().target_s)
        for at in range(count):
            program_ms = min(round(end_ms + at * each_s * 1000), MAX_TIME_MS)
            live.add_gap(Span(first + at, self.session, before.run, program_ms), each_s)

    def _bound_window(self) -> None:
        """Before another GOP is placed."""
        self._begun += 1
        if self._begun >= MAX_WINDOW_GOPS:
            self._begun = len(self._window().playlist().segments) + 1
        if self._is_too_much():
            self._held = [part for part in self._held if part.data is not None]
            self._held_bytes = sum(part.size for part in self._held)
        if self._begun >= MAX_WINDOW_GOPS or self._is_too_much():
            log.warning("window-too-large", room=self.room, rendition=self.name)
            self._begin_anew()

    def _is_too_much(self) -> bool:
        return self._held_bytes > MAX_WINDOW_BYTES or len(self._held) > _MAX_WINDOW_PARTS

    def _begin_anew(self) -> None:
        """So much is missing, or there, that players do better with a new playlist."""
        self._begun, self._held, self._held_bytes = 0, [], 0
        track, old = self.track, self._window()
        assert track is not None  # a window was made from it
        self.live = self._window_of(track)
        init = old.init(self.session.counter, track.run)
        if init is not None:
            self.live.start_run(track.rendition, self.session, track.run, init)

    def _window(self) -> LiveTrack:
        assert self.live is not None  # nothing is placed before its track was applied
        return self.live

    # -- ends --

    def _end_run(self) -> None:
        self._close_gop()
        self._close_archive()
        if self.live is not None:
            self.live.end_run()

    def _close_gop(self) -> None:
        if self.live is not None:
            self.live.close_segment()
        cid = self.tape.end_gop()
        if cid is not None and self._msn is not None and self.live is not None:
            self.live.name_segment(self._msn, cid)

    # -- the recording --

    def _open_archive(self, gop: TickGop, part: TickPart) -> None:
        assert self.track is not None  # nothing is placed before its track was applied
        key = SegmentKey(self.room, self.session, self.name, gop.segment)
        if self.tape.holds_other(key):
            self._close_archive()
        seal = self._seal_of(gop)
        self.tape.open(key, gop.run, part.program_time_ms, self.track.init, part.index, seal)
        if seal is None and gop.epoch is not None:
            self.tape.spoil()  # no statement here tells of the epoch: the manifest will

    def _seal_of(self, gop: TickGop) -> SegmentSeal | None:
        """How the GOP's segment is sealed, as its rendition's statements say."""
        track, newest = self.track, self.newest
        if track is None or track.seal is None:
            return None
        told = newest.seal if newest is not None and newest.seal is not None else track.seal
        epochs = (begun.epoch for begun in (*track.seal.epochs, *told.epochs))
        found = next((epoch for epoch in epochs if epoch.id == gop.epoch), None)
        return SegmentSeal(found, track.seal.init) if found is not None else None

    def _close_archive(self) -> None:
        if self.live is not None:
            self.tape.close(self.live.rendition)

    # -- details --

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake = trio.Event()

    def _window_of(self, track: Track) -> LiveTrack:
        return LiveTrack(
            track.rendition,
            target_s=track.target_s,
            part_target_ms=track.part_target_ms,
            window_s=track.window_ms / 1000,
            opener=self.opener,
        )
