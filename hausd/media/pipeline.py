"""FLV tags in, runs of CMAF parts out: what the source is now, and when a new run begins.

A run begins when its tracks are known, and ends where its parts could not be played on: at other
codec parameters, a jump in time, a track that comes or goes. Belongs to one thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import msgspec

from hausd.media.ladder import LadderFailed
from hausd.media.run import Outcome, Plan, Run, slowest_frame_ms
from hausd.media.source import Source
from hausd.media.units import VIDEO_TIMESCALE
from hausd.policy.cut import part_target_ms
from hausd.policy.gops import KeyframeGaps
from hausd.wire import flv, nal
from hausd.wire.unwrap import Unwrapper
from hausd.wire.worker import FromWorker, Notice, WorkerConfig

WAIT_MS = 1000
"""How long the first run waits for a track that may come."""
_RETURN_MS = 3000
"""How long a run waits for a track that was there before."""
_KEYFRAME_WAIT_MS = 10_000
_HOLE_MS = 1000
_BACK_MS = 200
_LOST_MS = 2000
"""So far behind the video, the audio is gone."""
_STALL_MS = 3000
"""So far behind the audio, the video is gone."""
_LEAST_OFFSET_MS, _MOST_OFFSET_MS = -1000, 2000
"""Between decoding and showing a frame; no encoder needs more."""
_MOST_WAITING_FRAMES = 2000
_MOST_WAITING_BYTES = 32 * 1024 * 1024
_OBSERVED_FRAMES = 9
_MOST_NOTICES = 64


class _Waiting(msgspec.Struct, frozen=True, gc=False):
    """A frame that waits for its run to begin."""

    video: bool
    ms: int
    pts_ms: int
    keyframe: bool
    data: bytes


_BASE_STEP_MS = 40
"""44.1 kHz and its halves have whole numbers of samples in this time, and so do all others."""


class Pipeline:
    """The whole of a worker but its process.

    ``emit`` is called with every message and its body, from this thread and from the ladder's.
    """

    def __init__(self, config: WorkerConfig, emit: Callable[[FromWorker, bytes], None]) -> None:
        self._config = config
        self._emit = emit
        self._unwrapper = Unwrapper()
        self._source = Source(config.audio_bps, self._tell)
        self._run: Run | None = None
        self._next_run = config.first_run
        self._base_ms = _next_base(config.first_time_ms)
        self._part_target_ms = config.part_target_ms
        self._reason = "start"
        self._restart: str | None = None
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._waiting_since_ms: int | None = None
        self._wait_ms = WAIT_MS
        self._video_ms: int | None = None
        self._audio_ms: int | None = None
        self._audio_gone = False
        self._long_gops = False
        self._captions = False
        self._gaps = KeyframeGaps()
        self._told: dict[tuple[str, str], None] = {}
        self.frames_in = 0
        self.frames_dropped = 0
        self.media_ms = 0

    @property
    def run(self) -> Run | None:
        """The run that is being made, if one is."""
        return self._run

    @property
    def gop_ms(self) -> int:
        """The source's longest GOP; 0 until it is known."""
        return self._gaps.longest_ms(self._config.gop_target_ms)

    def push(self, tag: flv.Tag) -> None:
        """Takes the next tag, untrusted. Every part that it completes is emitted before return."""
        for unit in flv.parse(tag):
            match unit:
                case flv.VideoFrame():
                    self._video_frame(unit)
                case flv.AudioFrame():
                    self._audio_frame(unit)
                case flv.VideoConfig():
                    self._new_video(unit)
                case flv.AudioConfig():
                    self._new_audio(unit)
                case flv.Metadata():
                    self._source.describe(unit)
                case flv.Unsupported():
                    self._tell("unsupported", f"The encoder sends {unit.what}, which is left out.")

    def finish(self) -> None:
        """No more comes: emits everything that is left."""
        if self._run is None and self._waiting:
            self._start(self._first_picture() or self._waiting[0])
        self._end_run("end")

    def _new_video(self, config: flv.VideoConfig) -> None:
        if not self._source.is_new(config):
            return
        if self._run is not None or self._first_picture() is not None:
            self._break("video-parameters")
        self._source.set_video(config)

    def _new_audio(self, config: flv.AudioConfig) -> None:
        if not self._source.is_new(config):
            return
        self._source.set_audio(config)
        self._waiting = deque(waiting for waiting in self._waiting if waiting.video)
        self._waiting_bytes = sum(len(waiting.data) for waiting in self._waiting)
        if self._run is not None and self._run.plan.audio is not None:
            if self._run.plan.video is None:
                self._end_run("audio-parameters")
            else:
                self._restart = "audio-parameters"

    # Frames

    def _video_frame(self, frame: flv.VideoFrame) -> None:
        self.frames_in += 1
        if self._source.lacks_header(frame):
            self.frames_dropped += 1
            return
        if frame.keyframe:
            self._source.look_at_keyframe(frame.data)
        video = self._source.video
        if video is None or not frame.data:
            self.frames_dropped += 1
            return
        ms = self._time(frame.timestamp_ms)
        before, self._video_ms = self._video_ms, ms
        if before is not None and (self._run is None or self._run.plan.video is not None):
            rate = video.source.frame_rate
            if _is_jump(ms - before, rate):
                self._break("jump")
            elif self._audio_is_lost(ms):
                self._restart = self._restart or "audio-lost"
        self.media_ms = max(self.media_ms, ms)
        if frame.keyframe:
            self._gaps.keyframe(ms)
        pts_ms = ms + max(_LEAST_OFFSET_MS, min(frame.composition_ms, _MOST_OFFSET_MS))
        run = self._run
        if run is not None and frame.keyframe and (self._restart or run.plan.video is None):
            self._audio_gone = self._restart == "audio-lost"
            self._end_run(self._restart or "video-started")
            if self._audio_gone:
                self._wait_ms = 0
            run = None
        if run is None:
            self._wait(_Waiting(True, ms, pts_ms, frame.keyframe, frame.data))
        elif run.plan.video is None:
            self.frames_dropped += 1
        else:
            run.tag_ms = frame.timestamp_ms
            self._to_run(run, ms, pts_ms, frame.keyframe, frame.data)

    def _audio_frame(self, frame: flv.AudioFrame) -> None:
        if self._source.lacks_header(frame):
            return
        self._source.look_at_sound(frame.data)
        if self._source.sound is None or not frame.data:
            return
        self._audio_gone = False
        ms = self._time(frame.timestamp_ms)
        before, self._audio_ms = self._audio_ms, ms
        self.media_ms = max(self.media_ms, ms)
        hole = before is not None and not -_HOLE_MS <= ms - before <= _HOLE_MS
        run = self._run
        if run is None:
            if hole and self._first_picture() is None:
                self._break("jump")
            self._wait(_Waiting(False, ms, ms, True, frame.data))
            return
        video_ms = self._video_ms
        if run.plan.video is not None and video_ms is not None and ms - video_ms > _STALL_MS:
            self._end_run("video-lost")
            self._wait_ms = _RETURN_MS
            self._wait(_Waiting(False, ms, ms, True, frame.data))
            return
        if run.plan.audio is None:
            self._restart = self._restart or "audio-started"
            return
        if self._restart == "audio-parameters":
            self.frames_dropped += 1
            return
        if hole:
            if run.plan.video is None:
                self._end_run("jump")
                self._wait(_Waiting(False, ms, ms, True, frame.data))
                return
            self._restart = self._restart or "audio-hole"
        run.audio(ms - run.plan.origin_ms, frame.data)

    def _time(self, timestamp_ms: int) -> int:
        placed = self._unwrapper.unwrap(timestamp_ms)
        if placed.jump_ms:
            self._break("jump")
        return placed.ms

    def _break(self, reason: str) -> None:
        """What came so far, waiting or not, is over: what comes next is another run's."""
        self._gaps.broken()
        first = self._first_picture()
        if first is not None:
            self._start(first)
        self.frames_dropped += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._waiting_since_ms = None
        self._end_run(reason)

    def _audio_is_lost(self, video_ms: int) -> bool:
        run = self._run
        if run is None or run.plan.audio is None:
            return False
        latest = run.plan.origin_ms if self._audio_ms is None else self._audio_ms
        return video_ms - max(latest, run.plan.origin_ms) > _LOST_MS

    def _to_run(self, run: Run, ms: int, pts_ms: int, keyframe: bool, data: bytes) -> None:
        origin_ms = run.plan.origin_ms
        try:
            outcome = run.video(ms - origin_ms, pts_ms - origin_ms, keyframe, data)
        except LadderFailed as failure:
            self._tell("ladder-failed", f"The encoders of the ladder stopped: {failure}.")
            run.abandon_ladder()
            if run.plan.video is not None and run.plan.video.encode:
                self._end_run("ladder-failed")
            return
        if outcome is Outcome.LONG_GOP:
            self._reencode_from(run, _Waiting(True, ms, pts_ms, keyframe, data))

    def _reencode_from(self, old: Run, first: _Waiting) -> None:
        """The source's GOPs are too long for live segments: it is encoded from here on."""
        self._tell(
            "long-gop",
            "The encoder sends keyframes too rarely, so this node encodes the video again, at "
            f"the cost of quality and CPU. Set its keyframe interval to "
            f"{self._config.gop_target_ms / 1000:g} s (OBS: Settings > Output > Output Mode: "
            "Advanced > Keyframe Interval).",
        )
        self._long_gops = True
        kept, shown_until = old.kept, old.shown_until
        self._end_run("long-gop")
        run = self._begin(first.ms)
        shift = (old.plan.origin_ms - first.ms) * VIDEO_TIMESCALE // 1000
        run.prime(kept, shift, shown_until + shift)
        self._to_run(run, first.ms, first.pts_ms, first.keyframe, first.data)

    # Runs

    def _first_picture(self) -> _Waiting | None:
        return next((waiting for waiting in self._waiting if waiting.video), None)

    def _wait(self, frame: _Waiting) -> None:
        """Keeps a frame until its run can begin, and begins it if it can."""
        if self._waiting_since_ms is None or frame.ms < self._waiting_since_ms:
            self._waiting_since_ms = frame.ms
        if frame.video and self._first_picture() is None:
            if not frame.keyframe:
                self.frames_dropped += 1
                return
            # A wait for other tracks counts from the first picture.
            self._waiting_since_ms = frame.ms
        self._waiting.append(frame)
        self._waiting_bytes += len(frame.data)
        full = (
            len(self._waiting) > _MOST_WAITING_FRAMES or self._waiting_bytes > _MOST_WAITING_BYTES
        )
        pictures = [w for w in self._waiting if w.video]
        waited_ms = frame.ms - self._waiting_since_ms
        if pictures:
            if full or self._video_may_start(waited_ms, len(pictures)):
                self._start(pictures[0])
        elif full or self._audio_may_start(waited_ms):
            self._start(self._waiting[0])

    def _video_may_start(self, waited_ms: int, pictures: int) -> bool:
        if waited_ms >= self._wait_ms:
            return True
        video = self._source.video
        if video is not None and video.source.frame_rate is None and pictures < _OBSERVED_FRAMES:
            return False
        if self._source.sound is not None or self._audio_gone:
            return True
        return self._source.promises("Audio") is False

    def _audio_may_start(self, waited_ms: int) -> bool:
        if self._source.video is None:
            return self._source.promises("Video") is False or waited_ms >= self._wait_ms
        if self._video_ms is not None and (self._audio_ms or 0) - self._video_ms < _STALL_MS:
            return waited_ms >= _KEYFRAME_WAIT_MS
        return waited_ms >= max(self._wait_ms, _RETURN_MS)

    def _start(self, first: _Waiting) -> None:
        """Begins a run with what waits, from ``first`` on."""
        waiting, self._waiting = self._waiting, deque()
        self._waiting_bytes = 0
        self._waiting_since_ms = None
        self._wait_ms = _RETURN_MS
        if first.video:
            self._source.observe_rate([w.ms for w in waiting if w.video])
            if not self._captions:
                self._captions = any(nal.has_captions(w.data) for w in waiting if w.video)
        self._begin(min(first.ms, first.pts_ms), video=first.video)
        for frame in waiting:
            # A run may end, and another begin, with each of them.
            run = self._run
            if run is None:
                self._wait(frame)
            elif not frame.video:
                run.audio(frame.ms - run.plan.origin_ms, frame.data)
            elif run.plan.video is not None:
                self._to_run(run, frame.ms, frame.pts_ms, frame.keyframe, frame.data)
            else:
                self.frames_dropped += 1

    def _begin(self, origin_ms: int, *, video: bool = True) -> Run:
        track = self._source.video if video else None
        if track is not None and self._long_gops and self._config.reencode_long_gops:
            track = replace(track, encode=True)
        sound = None if self._audio_gone else self._source.audio_track()
        if opens := not self._part_target_ms:
            self._part_target_ms = part_target_ms(
                self._config.part_ms, slowest_frame_ms(track, sound)
            )
        plan = Plan(
            run=self._next_run,
            reason=self._reason,
            part_target_ms=self._part_target_ms,
            origin_ms=origin_ms,
            video=track,
            audio=sound,
            captions=self._captions,
            video_bps=self._source.stated_bps("videodatarate"),
            base_ms=self._base_ms,
            opens=opens,
        )
        self._next_run += 1
        self._restart = self._audio_ms = None
        self._run = Run(plan, self._config, self._emit)
        return self._run

    def _end_run(self, reason: str) -> None:
        self._reason = reason
        self._restart = None
        run, self._run = self._run, None
        if run is None:
            return
        failure = run.finish()
        if failure is not None:
            self._tell("ladder-failed", f"The encoders of the ladder stopped: {failure}.")
        self._base_ms = _next_base(run.end_ms)
        self.frames_dropped += run.frames_dropped
        self._captions = self._captions or run.captions

    def _tell(self, code: str, text: str) -> None:
        """A notice, once each; so many different ones that something else is wrong are cut off."""
        if (code, text) in self._told or len(self._told) >= _MOST_NOTICES:
            return
        self._told[code, text] = None
        self._emit(Notice(code, text), b"")


def _is_jump(step_ms: int, rate: Fraction | None) -> bool:
    """Whether frames so far apart are not of one stretch: a second, or three frames if longer."""
    if -_BACK_MS <= step_ms <= _HOLE_MS:
        return False
    return step_ms < 0 or not rate or step_ms > 3000 // rate


def _next_base(end_ms: int) -> int:
    """Where a run begins after one that ended there: a whole number of ticks at every rate."""
    return -(-end_ms // _BASE_STEP_MS) * _BASE_STEP_MS
