"""The origin's side of a room: what a media worker makes becomes live edge and recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from msgspec.structs import replace as changed

from hausd.core.cid import CID
from hausd.core.gating import ObjectSeal, SegmentSeal
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import ArchiveSegment, LivePart, Media
from hausd.core.manifest import SegmentRecord
from hausd.core.media import Kind, Rendition
from hausd.core.storage import SegmentKey
from hausd.rooms.announcer import Announcer, InitMade, PartPlaced
from hausd.rooms.leaftable import LeafTable
from hausd.rooms.live import LiveTrack, Span, StoredPart
from hausd.rooms.metrics import PART_BYTES, PARTS, REASONS, RUNS
from hausd.rooms.opening import Opener, Place
from hausd.rooms.packing import Packer
from hausd.rooms.recorder import Recorder
from hausd.rooms.sealing import Sealing
from hausd.rooms.timeline import Timeline
from hausd.wire.leafseal import ObjectClass
from hausd.wire.worker import PartMade, RunEnded, RunStarted, TrackStarted, TrackStopped

MAX_RENDITIONS = 16
_LATE_GOPS = 4
"""How far an encoder may be behind at the beginning of a run: what may wait in front of it is 6 s
of video (``media.ladder.WAITING_S``), and no GOP but the first is much shorter than its target."""


@dataclass(slots=True)
class _OpenSegment:
    key: SegmentKey
    rendition: Rendition
    run: int
    program_time_ms: int
    init: CID
    again: bool
    """Whether it was closed before: what is recorded of it stands, the rest is not recorded."""
    seal: SegmentSeal | None = None
    ticks: int = 0


@dataclass(frozen=True, slots=True)
class _Init:
    """A run's init segment as it is stored, and in clear; the same where the room is open."""

    cid: CID
    data: bytes
    run: int
    clear: bytes
    seal: ObjectSeal | None = None


@dataclass(slots=True)
class _Track:
    """One rendition: its live window, and the archive segment that is open."""

    live: LiveTrack
    init: _Init
    timescale: int
    packer: Packer = field(default_factory=Packer)
    open: _OpenSegment | None = None
    number: int = -1
    """The newest archive segment that was opened."""
    msn: int | None = None
    parts: int = 0
    """Of the live segment ``msn``."""
    begun: bool = False
    """Whether a part of this run came."""


class UntrustedWorker(Exception):
    """A worker said something that can't be; it is treated as a crash."""


class Origin:
    """Turns a worker's words into live tracks and recorded segments. No I/O, no waiting."""

    def __init__(
        self,
        room: RoomId,
        recorder: Recorder,
        *,
        target_s: int,
        window_s: float,
        now_ms: Callable[[], int],
        announcer: Announcer,
        leaves: LeafTable | None = None,
        opener: Opener | None = None,
    ) -> None:
        self.sealing: Sealing | None = None
        """Of a session that is gated."""
        self.tracks: dict[str, _Track] = {}
        self.timeline: Timeline | None = None
        self.part_target_ms = 0
        self.media_end_ms = 0
        """Where the newest part ends, on the time line of the session's media."""
        self.begun: dict[str, SegmentRecord] = {}
        """Renditions that began since the room last looked (see ``RoomRecord.begun``)."""
        self._room = room
        self._recorder = recorder
        self._target_s = target_s
        self._window_s = window_s
        self._now_ms = now_ms
        self._announcer = announcer
        self._leaves = leaves
        self._opener = opener

    def begin_session(
        self,
        session: SessionId,
        *,
        next_msn: int,
        next_run: int,
        next_segment: int,
        target_s: int | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        """A new session: fresh live windows, its own part target, and where given live target.

        ``sealing``: the session is gated."""
        self.sealing = sealing
        self._target_s = target_s or self._target_s
        self.tracks = {}
        self.part_target_ms = self.media_end_ms = 0
        self.timeline = Timeline(session, next_msn, next_run, next_segment)

    def live(self, rendition: str) -> LiveTrack | None:
        track = self.tracks.get(rendition)
        return track.live if track is not None else None

    # -- a worker's words --

    def run_started(self, message: RunStarted) -> None:
        timeline = self._timeline()
        self.end_run()
        if message.run < timeline.next_run or message.part_target_ms <= 0:
            raise UntrustedWorker(f"run {message.run} was started out of order")
        timeline.start_run(message.run)
        self._announcer.run_started()
        self.part_target_ms = self.part_target_ms or message.part_target_ms
        for track in self.tracks.values():
            track.live.active = False
        RUNS.labels(REASONS.label(message.reason)).inc()

    def track_started(self, message: TrackStarted, init: bytes) -> None:
        timeline = self._timeline()
        if message.run != timeline.run or message.timescale <= 0:
            raise UntrustedWorker(f"{message.rendition} was started outside of its run")
        rendition = Rendition(
            name=message.rendition,
            kind=message.kind,
            codecs=message.codecs,
            timescale=message.timescale,
            bandwidth_bps=message.bandwidth_bps,
            width=message.width,
            height=message.height,
            frame_rate=Fraction(*message.frame_rate) if message.frame_rate else None,
            sample_rate_hz=message.sample_rate_hz,
            channels=message.channels,
            closed_captions=message.closed_captions,
        )
        track = self.tracks.get(rendition.name)
        kept = track.init if track is not None and track.init.run == message.run else None
        if kept is not None and kept.clear != init:
            # players keep what an init's name stood for
            raise UntrustedWorker(f"{message.rendition} changed its parameters within a run")
        made = kept or self._init(init, message.run)
        self._recorder.put(((made.cid, made.data),))
        if self._leaves is not None:
            self._leaves.add(((made.cid, made.data),))
        if track is None:
            if len(self.tracks) >= MAX_RENDITIONS:
                raise UntrustedWorker("more renditions than a room can have")
            live = LiveTrack(
                rendition,
                target_s=self._target_s,
                part_target_ms=self.part_target_ms,
                window_s=self._window_s,
                opener=self._opener,
            )
            track = self.tracks[rendition.name] = _Track(live, made, rendition.timescale)
        else:
            self._close_archive(track)
            track.init, track.timescale, track.begun = made, rendition.timescale, False
        content_type = "video/mp4" if rendition.kind is Kind.VIDEO else "audio/mp4"
        media = self._shown(made, content_type)
        track.live.start_run(rendition, timeline.session, message.run, media)
        init_ = InitMade(made.cid, len(made.data), made.seal)
        self._announcer.track(rendition, message.run, init_, self.part_target_ms)

    def track_stopped(self, message: TrackStopped) -> None:
        track = self.tracks.get(message.rendition)
        if track is not None:
            track.live.active = False
            self._close_gop(track)
            self._close_archive(track)
            self._announcer.track_stopped(message.rendition)

    def part_made(self, message: PartMade, data: bytes) -> None:
        timeline = self._timeline()
        track = self.tracks.get(message.rendition)
        if track is None or message.run != timeline.run or not data or message.duration <= 0:
            raise UntrustedWorker(f"a part of {message.rendition} came outside of its run")
        scale = track.timescale
        span, number = timeline.place(
            gop=message.gop,
            segment=message.segment,
            start_ms=message.start * 1000 / scale,
            duration_ms=message.duration * 1000 / scale,
            now_ms=self._now_ms(),
        )
        end_ms = -(-(message.start + message.duration) * 1000 // scale)
        self.media_end_ms = max(self.media_end_ms, end_ms)
        if track.msn is not None and span.msn != track.msn:
            if span.msn < track.msn:
                raise UntrustedWorker(f"a part of {message.rendition} came after its GOP was over")
            self._close_gop(track)
        if span.msn != track.msn:
            track.msn, track.parts = span.msn, 0
        self._open_archive(track, span, number)
        if not track.begun and track.open is not None:
            self._begin(track, track.open)
        self._fill_gaps(track, span)
        place = None
        if self.sealing is not None:
            sealed = self.sealing.part(track.live.rendition.name, number, data)
            data, place = sealed.data, Place(sealed.epoch.id, number, sealed.leaf)
        cut, cid = track.packer.add(data)
        if self._leaves is not None:
            self._leaves.add(cut)
        part = StoredPart(cid, len(data), data, place=place)
        if track.live.takes(span.msn):
            shown = LivePart(message.duration, message.independent, len(data))
            track.live.add_part(span, shown, part, ends_segment=message.ends_gop)
        index, track.parts = track.parts, track.parts + 1
        if track.open is not None and not track.open.again:
            track.open.ticks += message.duration
            self._recorder.append(track.open.key, cut, part)
        if message.ends_gop:
            self._close_gop(track)
        kind = track.live.rendition.kind
        PARTS[kind].inc()
        PART_BYTES[kind].inc(len(data))
        self._announcer.part(
            PartPlaced(
                track.live.rendition,
                span,
                number,
                index,
                span.program_time_ms,
                message,
                cut,
                place,
            )
        )

    def run_ended(self, message: RunEnded) -> None:
        if message.run == self._timeline().run:
            self.end_run()

    # -- ends --

    def end_run(self) -> None:
        """Closes what is open; what follows begins with a discontinuity."""
        for track in self.tracks.values():
            self._close_gop(track)
            self._close_archive(track)
            track.live.end_run()
        if self.timeline is not None and self.timeline.run is not None:
            self.timeline.end_run()
            self._announcer.run_ended()

    def end(self) -> None:
        """Nothing follows: playlists get their end."""
        self.end_run()
        for track in self.tracks.values():
            track.live.end()

    # -- details --

    def _init(self, init: bytes, run: int) -> _Init:
        if self.sealing is None:
            return _Init(CID.of(init), init, run, init)
        seal, data = self.sealing.object(ObjectClass.INIT, init)
        return _Init(CID.of(data), data, run, init, seal)

    def _shown(self, init: _Init, content_type: str) -> Media:
        if init.seal is None or self._opener is None:
            return Media(init.cid, content_type, len(init.data), (init.data,))
        kind = ObjectClass.INIT
        return self._opener.object(init.cid, content_type, kind, init.seal, init.data)

    def _timeline(self) -> Timeline:
        if self.timeline is None:
            raise UntrustedWorker("nothing was begun yet")
        return self.timeline

    def _fill_gaps(self, track: _Track, span: Span) -> None:
        """What this rendition missed while it was shed, others have: their spans as gaps."""
        last = track.live.last_msn
        if last is None or span.msn <= last + 1:
            return
        for msn in range(max(last + 1, span.msn - 64), span.msn):
            self._gap(track, msn, span)

    def _gap(self, track: _Track, msn: int, like: Span) -> None:
        seconds, span = float(self._target_s), changed(like, msn=msn)
        for other in self.tracks.values():
            found, there = other.live.duration_of(msn), other.live.span_of(msn)
            if found is not None and there is not None and other is not track:
                # With its run: discontinuities have the same numbers in all (RFC 8216bis, 6.2.4).
                seconds, span = found, there
                break
        duration = track.live.add_gap(span, seconds)
        self._announcer.gap(track.live.rendition.name, span, duration)

    def _close_gop(self, track: _Track) -> None:
        track.live.close_segment()
        packed = track.packer.end_gop()
        if packed is not None and track.msn is not None:
            track.live.name_segment(track.msn, packed.cid)
            self._gap_the_shed(track)

    def _gap_the_shed(self, done: _Track) -> None:
        """Players on a rendition that is shed see gaps, not a playlist that stands still.

        So does who watches what was lost altogether, while the sound goes on. A rendition of
        which nothing was heard in this run may only be late.
        """
        reference = next((track for track in self.tracks.values() if track.live.active), None)
        if done is not reference or done.msn is None:
            return
        edge = done.live.playlist().segments[-1]
        span = Span(edge.msn, edge.session, edge.run, edge.program_time_ms)
        timeline = self._timeline()
        early = edge.msn < timeline.first_msn + _LATE_GOPS
        for track in self.tracks.values():
            last = track.live.last_msn
            if track.live.active or (early and track.init.run != timeline.run):
                continue
            if last is not None and last < edge.msn:
                self._fill_gaps(track, span)
                self._gap(track, edge.msn, span)

    def _open_archive(self, track: _Track, span: Span, number: int) -> None:
        if track.open is not None:
            if track.open.key.number == number:
                return
            self._close_archive(track)
        rendition = track.live.rendition
        if number < track.number:
            raise UntrustedWorker(f"a part of {rendition.name} came after its segment was over")
        again, track.number = number == track.number, number
        key = SegmentKey(self._room, span.session, rendition.name, number)
        seal = None
        if self.sealing is not None and track.init.seal is not None:
            seal = SegmentSeal(self.sealing.epoch_of(number), track.init.seal)
        track.open = _OpenSegment(
            key, rendition, span.run, span.program_time_ms, track.init.cid, again, seal
        )

    def _begin(self, track: _Track, opened: _OpenSegment) -> None:
        track.begun = True
        segment = ArchiveSegment(
            number=opened.key.number,
            session=opened.key.session,
            run=opened.run,
            program_time_ms=max(0, self._timeline().zero_ms),
            duration_ms=0,
            cid=track.init.cid,
            size=0,
            init=track.init.cid,
            seal=opened.seal,
        )
        self.begun[opened.rendition.name] = SegmentRecord.of(opened.key, segment, opened.rendition)

    def _close_archive(self, track: _Track) -> None:
        opened, track.open = track.open, None
        packed = track.packer.end_segment()
        if opened is None or packed is None or opened.again:
            return
        segment = ArchiveSegment(
            number=opened.key.number,
            session=opened.key.session,
            run=opened.run,
            program_time_ms=opened.program_time_ms,
            duration_ms=round(opened.ticks * 1000 / track.timescale),
            cid=packed.cid,
            size=packed.size,
            init=opened.init,
            seal=opened.seal,
        )
        record = SegmentRecord.of(opened.key, segment, opened.rendition)
        self._recorder.close(packed.nodes, record)
