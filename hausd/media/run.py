"""One run: from a discontinuity to the next. Frames in, parts out.

Belongs to the worker's main thread. The sound has its own class; ladder renditions come from the
ladder's threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import ceil

from av.video.frame import VideoFrame

from hausd.core.media import Kind
from hausd.media.encoded import EncodedTracks
from hausd.media.images import Images
from hausd.media.ladder import Ladder, LadderFailed
from hausd.media.packager import Packager
from hausd.media.sound import AudioTrack, Place, Sound
from hausd.media.units import VIDEO_TIMESCALE, CodedVideo, SourceVideo
from hausd.policy.cut import FIRST_MS, Cut, Cutter, Grown, RegularGops
from hausd.policy.ladder import SOURCE, rungs_for, source_rung
from hausd.policy.timeline import FrameClock
from hausd.wire.av1 import av1_sample
from hausd.wire.fmp4_init import video_init
from hausd.wire.nal import avcc_parameter_sets, has_captions
from hausd.wire.picture import PictureFormat
from hausd.wire.worker import FromWorker, RunEnded, RunStarted, TrackStarted, WorkerConfig

_MOST_KEPT_BYTES = 32 * 1024 * 1024
_MOST_KEPT_FRAMES = 1000
_FLUSH_S = 4.0
"""How long encoders may take over what is left: less than the node waits for a worker's end."""


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The publisher's video, and what is to be done about it."""

    source: SourceVideo
    picture: PictureFormat
    encode: bool
    """Whether browsers can't play it, or not in time: ``source`` is encoded then."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run begins with. Times of frames are milliseconds since ``origin_ms``.

    ``base_ms`` is where that is on the session's time line, so that runs follow each other.
    """

    run: int
    reason: str
    part_target_ms: int
    origin_ms: int
    video: VideoTrack | None
    audio: AudioTrack | None
    captions: bool = False
    video_bps: int = 0
    base_ms: int = 0
    opens: bool = False
    """Whether this is a session's first run: players wait for its first segment."""


class Outcome(Enum):
    """What became of a video frame."""

    TAKEN = "taken"
    LONG_GOP = "long-gop"
    """Not taken: the source's GOP outgrows what a live segment may be."""


class Run:
    """One run in the making."""

    def __init__(
        self,
        plan: Plan,
        config: WorkerConfig,
        emit: Callable[[FromWorker, bytes], None],
    ) -> None:
        self.plan = plan
        self._config = config
        self._emit = emit
        video, audio = plan.video, plan.audio
        main_rate = VIDEO_TIMESCALE
        if video is None and audio is not None:
            main_rate = audio.sound.sample_rate_hz
        first_ms = FIRST_MS if plan.opens else 0
        self._cutter = Cutter(config.gop_target_ms, config.segment_ms, main_rate, first_ms)
        self._first_pts: int | None = None
        self._last_pts = 0
        self._usual = VIDEO_TIMESCALE // 30
        self._regular = RegularGops()
        self.tag_ms = 0
        """Time of the tag that is being taken, as it came."""
        self._part_ticks = plan.part_target_ms * VIDEO_TIMESCALE // 1000
        self._reorder = 0
        self._kept: list[CodedVideo] = []
        self._kept_bytes = 0
        self.captions = plan.captions
        """Whether captions were seen; those that begin later are announced by the next run."""
        self._ladder: Ladder | None = None
        self._images: Images | None = None
        self._source: Packager | None = None
        self._sound: Sound | None = None
        self._clock = FrameClock(video.source.frame_rate if video else None, VIDEO_TIMESCALE)
        emit(RunStarted(plan.run, plan.reason, plan.part_target_ms), b"")
        part_ticks = self._part_ticks
        base = plan.base_ms * VIDEO_TIMESCALE // 1000
        self._encoded = EncodedTracks(plan.run, part_ticks, emit, base, captions=plan.captions)
        if video is not None:
            if not video.encode:
                self._announce_source(video)
                source = video.source
                headers = avcc_parameter_sets(source.record) if source.codec == "h264" else b""
                self._source = Packager(
                    SOURCE,
                    plan.run,
                    part_ticks,
                    emit,
                    base=base,
                    headers=headers,
                    next_tag_ms=self._next_tag_ms,
                )
            if config.images:
                self._images = Images(plan.run, emit)
            self._start_ladder(video)
        if audio is not None:
            place = Place(plan.run, plan.part_target_ms, plan.base_ms, alone=video is None)
            self._sound = Sound(audio, place, self._cutter, emit)

    @property
    def frames_dropped(self) -> int:
        """Frames that have no place in this run."""
        return self._sound.frames_dropped if self._sound is not None else 0

    @property
    def ladder(self) -> Ladder | None:
        """The ladder of this run, if anything is encoded."""
        return self._ladder

    @property
    def kept(self) -> list[CodedVideo]:
        """The frames since the source's last keyframe, for a decoder that begins late."""
        return self._kept

    @property
    def shown_until(self) -> int:
        """Up to where the video that was taken is shown (ticks of this run)."""
        return self._last_pts + self._usual

    def prime(self, kept: list[CodedVideo], shift: int, shown_until: int) -> None:
        """Gives the decoder what came before this run (of encoded video), which is not shown.

        ``shift`` is added to the older run's ticks; frames from ``shown_until`` on are new.
        """
        if self._ladder is None:
            return
        self._first_cut(shown_until)
        for unit in kept:
            self._ladder.push(
                CodedVideo(
                    dts=unit.dts + shift,
                    pts=unit.pts + shift,
                    duration=unit.duration,
                    keyframe=unit.keyframe,
                    force_key=False,
                    data=unit.data,
                    skip=True,
                )
            )

    def video(self, dts_ms: int, pts_ms: int, keyframe: bool, data: bytes) -> Outcome:
        """Takes the next video frame in decoding order; the first is a keyframe or primed for."""
        video = self.plan.video
        assert video is not None
        at, due = self._clock.place(dts_ms)
        pts = self._clock.show(pts_ms)
        if due is not None:
            self._usual = due - at
        while bridge := self._cutter.bridge(pts, self._usual, self.shown_until):
            self._new_cut(bridge, None)
        cut = None
        if video.encode:
            cut = self._cutter.clock(pts, self._usual)
        elif keyframe:
            cut = self._cutter.keyframe(pts, self._usual)
        elif (cut := self._cutter.early(min(pts, self.shown_until), self._usual)) is None:
            grown = self._cutter.grown(pts, self._usual)
            if grown is Grown.KEYFRAMES_TOO_RARE and self._config.reencode_long_gops:
                return Outcome.LONG_GOP
            if grown is not Grown.NO:
                cut = self._cutter.force(pts)
        if cut is not None:
            self._new_cut(cut, at)
        part_left = False
        self._last_pts = max(self._last_pts, pts)
        if video.source.codec == "av1":
            data = av1_sample(data)
        if self._source is not None:
            if keyframe:
                self._reorder = pts - at
            last_of_gop = self._regular.frame(keyframe) and self._cutter.cuts_keyframe(
                at + self._usual + self._reorder, self._usual
            )
            parts = self._source.parts
            self._source.add(at, pts, due, keyframe, data)
            if last_of_gop and due is not None:
                # Known by the regularity of the source only: the part need not wait for proof,
                # the end of the GOP does.
                self._source.flush()
            part_left = self._source.parts > parts and not last_of_gop
            if keyframe and not self.captions:
                self.captions = video.source.codec == "h264" and has_captions(data)
        self._to_ladder(at, pts, keyframe, cut, data)
        if keyframe and self._images is not None:
            self._images.offer_keyframe(video.source, data, pts * 1000 // VIDEO_TIMESCALE)
        if self._sound is not None:
            self._sound.release(at + 1 if due is None else due)
            if part_left:
                # One tick, one part of each: who waits for them wakes up once. At the end of a GOP
                # there may be more to come, which the next keyframe closes.
                self._sound.flush_full()
        return Outcome.TAKEN

    def audio(self, at_ms: int, data: bytes) -> None:
        """Takes the next audio frame."""
        if self._sound is not None:
            self._sound.push(at_ms, data)

    @property
    def end_ms(self) -> int:
        """Where the newest frame ends, on the session's time line."""
        ends = [Fraction(self._encoded.end, VIDEO_TIMESCALE)]
        if self._source is not None:
            ends.append(Fraction(self._source.end or 0, VIDEO_TIMESCALE))
        if self._sound is not None:
            ends.append(Fraction(self._sound.end, self._sound.rate))
        return self.plan.base_ms + ceil(max(ends) * 1000)

    def finish(self) -> str | None:
        """Sends everything that is left, and the run's end. Gives why the ladder failed, if so."""
        if self._sound is not None:
            self._sound.finish(self.shown_until)
        if self._source is not None:
            self._source.flush(ends_gop=True)
        failure = None
        if self._ladder is not None:
            try:
                self._ladder.flush(_FLUSH_S)
            except LadderFailed as error:
                failure = str(error)
            self._ladder.close()
        self._encoded.flush()
        if self._images is not None:
            self._images.close()
        self._emit(RunEnded(self.plan.run), b"")
        return failure

    def abandon_ladder(self) -> None:
        """The ladder failed: what passes through goes on without it."""
        ladder, self._ladder = self._ladder, None
        if ladder is not None:
            ladder.close()
            self._encoded.stop("ladder-failed")

    # Video

    def _start_ladder(self, video: VideoTrack) -> None:
        config, source = self._config, video.source
        rungs = rungs_for(source.width, source.height, config.ladder)
        if video.encode:
            whole = source_rung(source.width, source.height, source.frame_rate, self.plan.video_bps)
            rungs = (whole, *rungs)
        if rungs:
            self._ladder = Ladder(
                source,
                rungs,
                self._encoded.take,
                preset=config.preset,
                cores=max(config.threads, 1),
                on_picture=None if self._images is None else self._show,
            )

    def _next_tag_ms(self) -> int | None:
        """When the next part of the source closes, where its pace is regular and nothing else
        waits for its frames."""
        ahead = self._regular.ahead
        if ahead is None or self._ladder is not None:
            return None
        frames = max(1, min(ahead, self._part_ticks // self._usual))
        return (self.tag_ms + frames * self._usual * 1000 // VIDEO_TIMESCALE) % (1 << 32)

    def _show(self, picture: VideoFrame, pts: int) -> None:
        """A picture that was decoded anyway; comes from the ladder's thread."""
        if self._images is not None:
            self._images.offer_frame(picture, pts * 1000 // VIDEO_TIMESCALE)

    def _announce_source(self, video: VideoTrack) -> None:
        plan = self.plan
        picture, rate = video.picture, video.source.frame_rate
        self._emit(
            TrackStarted(
                rendition=SOURCE,
                run=plan.run,
                kind=Kind.VIDEO,
                codecs=picture.codecs,
                timescale=VIDEO_TIMESCALE,
                bandwidth_bps=plan.video_bps,
                width=picture.width,
                height=picture.height,
                frame_rate=None if rate is None else (rate.numerator, rate.denominator),
                closed_captions=plan.captions,
            ),
            video_init(picture, video.source.record, VIDEO_TIMESCALE),
        )

    def _first_cut(self, pts: int) -> None:
        self._new_cut(self._cutter.force(pts), pts)

    def _new_cut(self, cut: Cut, at: int | None) -> None:
        if self._first_pts is None:
            self._first_pts = cut.pts
        if self._source is not None:
            self._source.begin(cut, at)
        self._encoded.cut(cut)
        if self._sound is not None:
            self._sound.cut(cut)

    def _to_ladder(self, at: int, pts: int, keyframe: bool, cut: Cut | None, data: bytes) -> None:
        video = self.plan.video
        if video is None or (self._ladder is None and not self._config.reencode_long_gops):
            return
        early = self._first_pts is not None and pts < self._first_pts
        lead = 0 if cut is None else pts - cut.pts
        forced = cut is not None
        unit = CodedVideo(at, pts, self._usual, keyframe, forced, data, skip=early, key_lead=lead)
        if self._ladder is not None:
            self._ladder.push(unit)
        if not video.encode and self._config.reencode_long_gops:
            if keyframe:
                self._kept = []
                self._kept_bytes = 0
            if len(self._kept) < _MOST_KEPT_FRAMES and self._kept_bytes < _MOST_KEPT_BYTES:
                self._kept.append(unit)
                self._kept_bytes += len(data)


def slowest_frame_ms(video: VideoTrack | None, audio: AudioTrack | None) -> Fraction:
    """How long a frame of the slowest track is; an unknown frame rate counts as 24."""
    slowest = Fraction(0)
    if audio is not None:
        sound = audio.sound
        slowest = Fraction((sound.frame_samples or 960) * 1000, sound.sample_rate_hz)
    if video is not None:
        slowest = max(slowest, 1000 / (video.source.frame_rate or Fraction(24)))
    return slowest
