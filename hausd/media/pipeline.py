"""FLV tags in, runs of CMAF parts out: what the source is now, and when a new run begins.

A run begins when its tracks are known, and ends where its parts could not be played on: at other
codec parameters, a jump in time, a track that comes or goes. Belongs to one thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from hausd.media.audio import AudioTranscoder
from hausd.media.ladder import LadderFailed
from hausd.media.run import AudioTrack, Outcome, Plan, Run, VideoTrack, slowest_frame_ms
from hausd.media.units import VIDEO_TIMESCALE, SourceVideo
from hausd.policy.cut import part_target_ms
from hausd.policy.timeline import observed_rate, standard_rate
from hausd.wire import flv, nal
from hausd.wire.audio import AudioFormat, Mp3Format, read_aac, read_mp3, read_opus
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
_MOST_WAITING_FRAMES = 2000
_MOST_WAITING_BYTES = 32 * 1024 * 1024
_OBSERVED_FRAMES = 9
_MOST_NOTICES = 64


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A frame that waits for its run to begin."""

    video: bool
    ms: int
    pts_ms: int
    keyframe: bool
    data: bytes


class Pipeline:
    """The whole of a worker but its process.

    ``emit`` is called with every message and its body, from this thread and from the ladder's.
    """

    def __init__(self, config: WorkerConfig, emit: Callable[[FromWorker, bytes], None]) -> None:
        self._config = config
        self._emit = emit
        self._unwrapper = flv.Unwrapper()
        self._metadata: flv.Metadata | None = None
        self._video_config: flv.VideoConfig | None = None
        self._video: VideoTrack | None = None
        self._audio_config: flv.AudioConfig | None = None
        self._sound: AudioFormat | None = None
        self._mp3: Mp3Format | None = None
        self._run: Run | None = None
        self._next_run = config.first_run
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
        self._told: dict[tuple[str, str], None] = {}
        self.frames_in = 0
        self.frames_dropped = 0
        self.media_ms = 0

    @property
    def run(self) -> Run | None:
        """The run that is being made, if one is."""
        return self._run

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
                    self._metadata = unit
                case flv.Unsupported():
                    self._tell("unsupported", f"The encoder sends {unit.what}, which is left out.")

    def finish(self) -> None:
        """No more comes: emits everything that is left."""
        if self._run is None and self._waiting:
            self._start(self._waiting[0])
        self._end_run("end")

    # What the source is

    def _new_video(self, config: flv.VideoConfig) -> None:
        if config == self._video_config:
            return
        if self._run is not None or any(waiting.video for waiting in self._waiting):
            self._break("video-parameters")
        self._video_config = config
        self._video = None
        if config.codec == "av1" and len(config.record) == 4:
            return  # the sequence header comes with the first keyframe
        self._read_video(config)

    def _read_video(self, config: flv.VideoConfig) -> None:
        try:
            match config.codec:
                case "h264":
                    picture = nal.read_avcc(config.record)
                case "hevc":
                    picture = nal.read_hvcc(config.record)
                case "av1":
                    picture = nal.read_av1c(config.record)
        except nal.BadRecord as error:
            self._tell("unsupported", f"The encoder's video can't be read: {error}.")
            return
        stated = None if self._metadata is None else self._metadata.values.get("framerate")
        rate = standard_rate(stated) if isinstance(stated, float) else None
        rate = rate or standard_rate(picture.frame_rate)
        source = SourceVideo(config.codec, config.record, picture.width, picture.height, rate)
        plays = picture.codec == "av1" or (
            picture.codec == "h264" and (picture.chroma, picture.bit_depth) == (1, 8)
        )
        if not plays:
            name = {"h264": "this kind of H.264", "hevc": "HEVC"}.get(config.codec, config.codec)
            self._tell(
                "transcoding",
                f"Browsers don't play {name}, so this node encodes the video again. "
                "Set the encoder to H.264 (8 bit, 4:2:0) to save the work.",
            )
        self._video = VideoTrack(source, picture, encode=not plays)

    def _new_audio(self, config: flv.AudioConfig) -> None:
        if config == self._audio_config:
            return
        self._audio_config = config
        self._sound = None
        self._mp3 = None
        self._waiting = deque(waiting for waiting in self._waiting if waiting.video)
        self._waiting_bytes = sum(len(waiting.data) for waiting in self._waiting)
        try:
            if config.codec == "aac":
                self._sound = read_aac(config.record)
            elif config.codec == "opus":
                self._sound = read_opus(config.record)
        except nal.BadRecord as error:
            self._tell("unsupported", f"The encoder's audio can't be read: {error}.")
        if self._run is not None and self._run.plan.audio is not None:
            if self._run.plan.video is None:
                self._end_run("audio-parameters")
            else:
                self._restart = "audio-parameters"

    def _says(self, kind: str) -> bool | None:
        """Whether the metadata promises ``Video`` or ``Audio``; None where it does not say."""
        values = {} if self._metadata is None else self._metadata.values
        stated = values.get(f"has{kind}")
        if stated is not None:
            return bool(stated)
        if values.get(f"{kind.lower()}codecid"):
            return True
        other = "audiocodecid" if kind == "Video" else "videocodecid"
        return False if values.get(other) else None

    # Frames

    def _video_frame(self, frame: flv.VideoFrame) -> None:
        self.frames_in += 1
        config = self._video_config
        if config is not None and self._video is None and frame.keyframe and config.codec == "av1":
            self._video_from_frame(config, frame.data)
        if self._video is None or not frame.data:
            self.frames_dropped += 1
            return
        ms = self._time(frame.timestamp_ms)
        before, self._video_ms = self._video_ms, ms
        if before is not None and (self._run is None or self._run.plan.video is not None):
            rate = self._video.source.frame_rate
            most_ms = max(_HOLE_MS, 3000 // rate) if rate else _HOLE_MS
            if not -_BACK_MS <= ms - before <= most_ms:
                self._break("jump")
            elif self._audio_is_lost(ms):
                self._restart = self._restart or "audio-lost"
        self.media_ms = max(self.media_ms, ms)
        pts_ms = ms + frame.composition_ms
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
            self._to_run(run, ms, pts_ms, frame.keyframe, frame.data)

    def _audio_frame(self, frame: flv.AudioFrame) -> None:
        if self._audio_config is None or not frame.data:
            return
        if self._sound is None and self._audio_config.codec == "mp3":
            self._read_mp3(frame.data)
        if self._sound is None:
            return
        self._audio_gone = False
        ms = self._time(frame.timestamp_ms)
        before, self._audio_ms = self._audio_ms, ms
        self.media_ms = max(self.media_ms, ms)
        hole = before is not None and not -_HOLE_MS <= ms - before <= _HOLE_MS
        run = self._run
        if run is None:
            if hole and not any(waiting.video for waiting in self._waiting):
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
        first = next((waiting for waiting in self._waiting if waiting.video), None)
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

    def _video_from_frame(self, config: flv.VideoConfig, data: bytes) -> None:
        """AV1's record need not have the sequence header; a keyframe has."""
        header = nal.av1_sequence_obu(data)
        if header is not None:
            self._read_video(replace(config, record=config.record[:4] + header))

    def _read_mp3(self, data: bytes) -> None:
        try:
            found = read_mp3(data)
        except nal.BadRecord:
            return
        self._sound = self._transcoder(found).sound
        self._mp3 = found

    def _transcoder(self, found: Mp3Format) -> AudioTranscoder:
        return AudioTranscoder(found.sample_rate_hz, found.channels, self._config.audio_bps)

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
            f"{self._config.gop_target_ms / 1000:g} s (OBS: Settings > Output > Streaming > "
            "Keyframe Interval).",
        )
        self._long_gops = True
        kept, shown_until = old.kept, old.shown_until
        self._end_run("long-gop")
        run = self._begin(first.ms)
        shift = (old.plan.origin_ms - first.ms) * VIDEO_TIMESCALE // 1000
        run.prime(kept, shift, shown_until + shift)
        self._to_run(run, first.ms, first.pts_ms, first.keyframe, first.data)

    # Runs

    def _wait(self, frame: _Waiting) -> None:
        """Keeps a frame until its run can begin, and begins it if it can."""
        if self._waiting_since_ms is None or frame.ms < self._waiting_since_ms:
            self._waiting_since_ms = frame.ms
        if frame.video and not frame.keyframe and not any(w.video for w in self._waiting):
            self.frames_dropped += 1
            return
        if frame.video and not any(w.video for w in self._waiting):
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
        video = self._video
        if video is not None and video.source.frame_rate is None and pictures < _OBSERVED_FRAMES:
            return False
        return self._sound is not None or self._audio_gone or self._says("Audio") is False

    def _audio_may_start(self, waited_ms: int) -> bool:
        if self._video is None:
            return self._says("Video") is False or waited_ms >= self._wait_ms
        if self._video_ms is not None and (self._audio_ms or 0) - self._video_ms < _STALL_MS:
            return waited_ms >= _KEYFRAME_WAIT_MS
        return waited_ms >= max(self._wait_ms, _RETURN_MS)

    def _start(self, first: _Waiting) -> None:
        """Begins a run with what waits, from ``first`` on."""
        waiting, self._waiting = self._waiting, deque()
        self._waiting_bytes = 0
        self._waiting_since_ms = None
        self._wait_ms = _RETURN_MS
        has_video = first.video
        if has_video and self._video is not None and self._video.source.frame_rate is None:
            rate = observed_rate([w.ms for w in waiting if w.video])
            self._video = replace(self._video, source=replace(self._video.source, frame_rate=rate))
        if has_video and self._video is not None and self._video.source.codec == "h264":
            seen = any(nal.has_captions(w.data) for w in waiting if w.video)
            self._captions = self._captions or seen
        self._begin(min(first.ms, first.pts_ms), video=has_video)
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
        track = self._video if video else None
        if track is not None and self._long_gops and self._config.reencode_long_gops:
            track = replace(track, encode=True)
        sound = self._audio_track()
        if not self._part_target_ms:
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
            video_bps=self._stated_bps("videodatarate"),
        )
        self._next_run += 1
        self._restart = None
        self._audio_ms = None
        self._run = Run(plan, self._config, self._emit)
        return self._run

    def _audio_track(self) -> AudioTrack | None:
        if self._sound is None or self._audio_gone:
            return None
        if self._mp3 is not None:
            transcoder = self._transcoder(self._mp3)
            return AudioTrack(transcoder.sound, self._config.audio_bps, transcoder)
        return AudioTrack(self._sound, self._stated_bps("audiodatarate"))

    def _stated_bps(self, name: str) -> int:
        stated = None if self._metadata is None else self._metadata.values.get(name)
        if not isinstance(stated, float) or not 1 <= stated <= 1_000_000:
            return 0
        return int(stated * 1000)

    def _end_run(self, reason: str) -> None:
        self._reason = reason
        self._restart = None
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run.finish()
        except LadderFailed as failure:
            self._tell("ladder-failed", f"The encoders of the ladder stopped: {failure}.")
        self.frames_dropped += run.frames_dropped
        self._captions = self._captions or run.captions

    def _tell(self, code: str, text: str) -> None:
        """A notice, once each; so many different ones that something else is wrong are cut off."""
        if (code, text) in self._told or len(self._told) >= _MOST_NOTICES:
            return
        self._told[code, text] = None
        self._emit(Notice(code, text), b"")
