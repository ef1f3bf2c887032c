"""The live edge of one rendition: a window of GOPs, each a run of parts.

Only the room's task changes it; HTTP reads snapshots and waits for the next one. Bytes stay in
memory until the recorder says where they lie on disk, so a dead disk never stops the live
stream.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec
import trio
from msgspec.structs import replace as changed

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.live import FileRange, LivePart, LivePlaylist, LiveSegment, Media, Variant
from hausd.core.media import Kind, Rendition
from hausd.rooms.opening import Opener, Piece, Place

_IN_MEMORY_SEGMENTS = 3
"""Newest complete segments whose bytes stay in memory even when they are on disk: nearly every
request is for these, and memory is a system call cheaper than a file."""
MAX_SEGMENTS = 1_200
"""In a window, and as many that left it a moment ago: what an origin says of how long they are is
no bound. Ten minutes, the longest window, of segments of half a second."""
MAX_UNSTORED_BYTES = 256 * 1024 * 1024
"""Of segments that no disk has, as where it is full."""
_RATE_WINDOW = 32
"""Complete segments over which peak and average bandwidth are measured."""


@dataclass(slots=True)
class StoredPart:
    """A part in the window; ``stored`` is set once it is on disk.

    ``place``: in a gated room, where it opens; all else is of what is sealed.
    """

    cid: CID
    size: int
    data: bytes | None
    stored: FileRange | None = None
    place: Place | None = None


@dataclass(slots=True)
class _Segment:
    msn: int
    session: SessionId
    run: int
    program_time_ms: int
    gap: bool = False
    complete: bool = False
    duration: int = 0
    size: int = 0
    shown: list[LivePart] = field(default_factory=list)
    parts: list[StoredPart | None] = field(default_factory=list)
    """None for a part that never came."""
    cid: CID | None = None
    frozen: LiveSegment | None = None

    @property
    def stored(self) -> bool:
        """Whether all that came of it is on disk."""
        return all(part is None or part.stored is not None for part in self.parts)

    def snapshot(self) -> LiveSegment:
        if self.frozen is not None:
            return self.frozen
        made = LiveSegment(
            msn=self.msn,
            session=self.session,
            run=self.run,
            program_time_ms=self.program_time_ms,
            duration=self.duration,
            size=self.size,
            parts=tuple(self.shown),
            complete=self.complete,
            gap=self.gap,
        )
        if self.complete:
            self.frozen = made
        return made


class Span(msgspec.Struct, frozen=True):
    """Where a live segment stands in the room's time: same in every rendition."""

    msn: int
    session: SessionId
    run: int
    program_time_ms: int


class LiveTrack:
    """One rendition's window. Implements ``http.ports.LiveView``."""

    def __init__(
        self,
        rendition: Rendition,
        *,
        target_s: int,
        part_target_ms: int,
        window_s: float,
        opener: Opener | None = None,
    ) -> None:
        self.rendition = rendition
        self._opener = opener
        self.active = True
        self._target_s = target_s
        self._part_target_ms = part_target_ms
        self._window_s = window_s
        self._segments: deque[_Segment] = deque()
        self._gone: deque[_Segment] = deque()
        """Segments that left the playlist: still to be had from disk for as long as a playlist
        that named them may be in a player's hands (RFC 8216bis, section 6.2.2)."""
        self._inits: dict[tuple[int, int], tuple[Media, Rendition]] = {}
        """Init segments of the runs in the window, and what the rendition was in them."""
        self._rates: deque[tuple[int, float]] = deque(maxlen=_RATE_WINDOW)
        self._between_runs = True
        self._ended = False
        self._version = 1
        self._snapshot: LivePlaylist | None = None
        self._changed = trio.Event()

    # -- what the room does --

    def start_run(self, rendition: Rendition, session: SessionId, run: int, init: Media) -> None:
        """A new init segment holds from here on."""
        self.close_segment()
        if rendition.timescale != self.rendition.timescale:
            self._rescale(self.rendition.timescale, rendition.timescale)
        self.rendition = rendition
        self.active = True
        self._ended = False
        self._inits[session.counter, run] = init, rendition
        self._touch()

    def add_part(
        self, span: Span, shown: LivePart, part: StoredPart, *, ends_segment: bool
    ) -> None:
        """Appends a part to the segment that ``span`` names, opening it if it is new.

        Only where ``takes`` says so."""
        self._add(span, shown, part, ends_segment=ends_segment)

    def add_missing(self, span: Span, duration: int, *, ends_segment: bool) -> None:
        """The same for a part that never came: listed, so that what follows keeps its number."""
        shown = LivePart(duration, independent=False, size=0, gap=True)
        self._add(span, shown, None, ends_segment=ends_segment)

    def _add(
        self, span: Span, shown: LivePart, part: StoredPart | None, *, ends_segment: bool
    ) -> None:
        self._between_runs = False
        last = self._segments[-1] if self._segments else None
        if last is None or last.msn != span.msn or last.complete:
            self.close_segment()
            last = self._open(span)
        last.shown.append(shown)
        last.parts.append(part)
        last.duration += shown.duration
        last.size += shown.size
        if ends_segment:
            self.close_segment()
        self._touch()

    def add_gap(self, span: Span, duration_s: float) -> int:
        """Says that this rendition has nothing for a span that others have; gives its ticks."""
        self.close_segment()
        gap = self._open(span)
        gap.gap = True
        gap.duration = round(duration_s * self.rendition.timescale)
        gap.complete = True
        self._trim()
        self._touch()
        return gap.duration

    def close_segment(self) -> None:
        """The newest segment gets no more parts."""
        if not self._segments or self._segments[-1].complete:
            return
        last = self._segments[-1]
        last.complete = True
        last.gap = None in last.parts
        seconds = last.duration / self.rendition.timescale
        if seconds > 0 and not last.gap:
            self._rates.append((last.size, seconds))
        self._trim()
        self._touch()

    def name_segment(self, msn: int, cid: CID) -> None:
        """Tells under which CID a complete segment is known."""
        segment = self._find(msn)
        if segment is not None:
            segment.cid = cid

    def end_run(self) -> None:
        """Whatever follows begins with a discontinuity; players learn it now."""
        self.close_segment()
        if self._segments:
            self._between_runs = True
        self._touch()

    def end(self) -> None:
        """Nothing will follow."""
        self.end_run()
        self._ended = True
        self._touch()

    # -- what the room asks --

    @property
    def last_msn(self) -> int | None:
        return self._segments[-1].msn if self._segments else None

    def takes(self, msn: int) -> bool:
        """Whether a part of this segment can be listed.

        What a playlist said stays (RFC 8216bis, 6.2.1): nothing is added to a segment that is
        over, and one that was called a gap is none later.
        """
        newest = self._segments[-1] if self._segments else None
        return newest is None or msn > newest.msn or (msn == newest.msn and not newest.complete)

    def duration_of(self, msn: int) -> float | None:
        """Seconds of a complete segment in the window."""
        segment = self._find(msn)
        if segment is None or not segment.complete:
            return None
        return segment.duration / self.rendition.timescale

    def span_of(self, msn: int) -> Span | None:
        """Where a segment in the window stands."""
        segment = self._find(msn)
        if segment is None:
            return None
        return Span(msn, segment.session, segment.run, segment.program_time_ms)

    def peak_bps(self) -> int:
        """Highest bit rate of a segment, measured; what was declared where nothing was yet."""
        if self._rates:
            return max(round(size * 8 / seconds) for size, seconds in self._rates)
        return self._first_rate() or self.rendition.bandwidth_bps

    def average_bps(self) -> int:
        """Mean bit rate of the segments measured."""
        if self._rates:
            seconds = sum(s for _, s in self._rates)
            return round(sum(size for size, _ in self._rates) * 8 / seconds)
        return self._first_rate() or self.rendition.bandwidth_bps

    def variant(self) -> Variant:
        """What the multivariant playlist says of this rendition."""
        shown = {(s.session.counter, s.run) for s in self._segments if not s.gap}
        forms = (form for key, (_, form) in reversed(self._inits.items()) if key in shown)
        earlier = dict.fromkeys(form for form in forms if form != self.rendition)
        return Variant(self.rendition, self.peak_bps(), self.average_bps(), tuple(earlier))

    # -- what viewers ask --

    def playlist(self) -> LivePlaylist:
        if self._snapshot is None:
            segments = tuple(segment.snapshot() for segment in self._segments)
            self._snapshot = LivePlaylist(
                rendition=self.rendition,
                target_s=self._target_s,
                part_target_ms=self._part_target_ms,
                discontinuity_sequence=segments[0].run if segments else 0,
                segments=segments,
                between_runs=self._between_runs,
                ended=self._ended,
                version=self._version,
            )
        return self._snapshot

    async def changed(self, version: int) -> None:
        while self._version == version:
            await self._changed.wait()

    def part(self, session: int, msn: int, part: int) -> Media | None:
        segment = self._find(msn) or self._find_gone(msn)
        if segment is None or segment.session.counter != session:
            return None
        if not 0 <= part < len(segment.parts):
            return None
        found = segment.parts[part]
        if found is None:
            return None
        if found.place is not None:
            return self._open_parts(found.cid, segment, [found])
        body = found.stored if found.data is None else (found.data,)
        if body is None:
            return None
        return Media(found.cid, self._content_type, found.size, body)

    def segment(self, session: int, msn: int) -> Media | None:
        segment = self._find(msn) or self._find_gone(msn)
        if segment is None or segment.session.counter != session:
            return None
        parts = [part for part in segment.parts if part is not None]
        if not segment.complete or segment.gap or not parts or segment.cid is None:
            return None
        if parts[0].place is not None:
            return self._open_parts(segment.cid, segment, parts)
        body: tuple[bytes, ...] | FileRange
        first = parts[0].stored
        if all(part.data is not None for part in parts):
            body = tuple(part.data for part in parts if part.data is not None)
        elif first is not None and segment.stored:
            body = FileRange(first.path, first.offset, segment.size)
        else:
            return None
        return Media(segment.cid, self._content_type, segment.size, body)

    def init(self, session: int, run: int) -> Media | None:
        found = self._inits.get((session, run))
        return found[0] if found is not None else None

    # -- details --

    def _open_parts(self, cid: CID, of: _Segment, parts: list[StoredPart]) -> Media | None:
        """Parts of a gated room, to be opened; None where one is nowhere any more."""
        pieces: list[Piece] = []
        for part in parts:
            body = part.stored if part.data is None else part.data
            if body is None or part.place is None:
                return None
            pieces.append(Piece(part.place, part.size, body))
        if self._opener is None:
            return None
        name = self.rendition.name
        return self._opener.parts(cid, self._content_type, of.session, name, pieces)

    @property
    def _content_type(self) -> str:
        return "video/mp4" if self.rendition.kind is Kind.VIDEO else "audio/mp4"

    def _rescale(self, old: int, new: int) -> None:
        """An encoder may return with another sample rate; a playlist has one time scale."""
        for segment in (*self._gone, *self._segments):
            segment.frozen = None
            segment.duration = round(segment.duration * new / old)
            segment.shown = [
                changed(part, duration=round(part.duration * new / old)) for part in segment.shown
            ]

    def _open(self, span: Span) -> _Segment:
        if self._segments and span.msn != self._segments[-1].msn + 1:
            # Players number segments by their place: a playlist has no hole, it begins behind it.
            while self._segments:
                self._leave()
        opened = _Segment(span.msn, span.session, span.run, span.program_time_ms)
        self._segments.append(opened)
        return opened

    def _find(self, msn: int) -> _Segment | None:
        if not self._segments:
            return None
        index = msn - self._segments[0].msn
        if not 0 <= index < len(self._segments):
            return None
        return self._segments[index]  # a playlist has no hole

    def _find_gone(self, msn: int) -> _Segment | None:
        return next((segment for segment in self._gone if segment.msn == msn), None)

    def _gone_s(self) -> float:
        return sum(segment.duration for segment in self._gone) / self.rendition.timescale

    def _first_rate(self) -> int:
        if not self._segments or not self._segments[-1].duration:
            return 0
        newest = self._segments[-1]
        return round(newest.size * 8 * self.rendition.timescale / newest.duration)

    def _leave(self) -> None:
        """The oldest segment leaves the playlist."""
        gone = self._segments.popleft()
        for part in gone.parts:
            if part is not None:
                part.data = None
        self._gone.append(gone)

    def _trim(self) -> None:
        held = sum(segment.duration for segment in self._segments) / self.rendition.timescale
        while len(self._segments) > _IN_MEMORY_SEGMENTS:
            first = self._segments[0]
            seconds = first.duration / self.rendition.timescale
            if held - seconds < self._window_s and not self._holds_too_much():
                break
            held -= seconds
            self._leave()
        while self._gone and (self._gone_s() > self._window_s or len(self._gone) > MAX_SEGMENTS):
            self._gone.popleft()
        newest_kept = len(self._segments) - _IN_MEMORY_SEGMENTS
        for index, segment in enumerate(self._segments):
            if index >= newest_kept:
                break
            if segment.stored:  # a segment is served from one place: memory, or a file
                for part in segment.parts:
                    if part is not None:
                        part.data = None
        runs = {(s.session.counter, s.run) for s in (*self._gone, *self._segments)}
        newest = max(self._inits, default=None)
        for key in list(self._inits):
            if key not in runs and key != newest:
                del self._inits[key]

    def _holds_too_much(self) -> bool:
        unstored = sum(segment.size for segment in self._segments if not segment.stored)
        return len(self._segments) > MAX_SEGMENTS or unstored > MAX_UNSTORED_BYTES

    def _touch(self) -> None:
        self._version += 1
        self._snapshot = None
        changed, self._changed = self._changed, trio.Event()
        changed.set()
