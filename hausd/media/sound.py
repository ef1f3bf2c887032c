"""The sound of one run: waits for the picture's cuts, and is cut where the picture is.

Belongs to the worker's main thread. Frames wait until no cut of the video can come before them,
which with a constant frame rate is hardly ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hausd.core.media import Kind
from hausd.media.audio import AudioTranscoder
from hausd.media.packager import Packager
from hausd.media.units import VIDEO_TIMESCALE
from hausd.policy.cut import Cut, Cutter
from hausd.policy.timeline import SampleClock
from hausd.wire.audio import AudioFormat, opus_samples, silence
from hausd.wire.fmp4_init import audio_init
from hausd.wire.worker import FromWorker, TrackStarted

AUDIO = "audio"
_MOST_HELD_FRAMES = 1024
_MOST_SILENCE_S = 2
"""Sound that is missing for longer is lost, not late."""


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """The publisher's audio; ``transcoder`` makes AAC of what browsers can't play."""

    sound: AudioFormat
    bandwidth_bps: int = 0
    transcoder: AudioTranscoder | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run's sound belongs: run, part target, and the run's begin on the session's time
    line. ``alone``: there is no picture, the sound itself is cut."""

    run: int
    part_target_ms: int
    base_ms: int
    alone: bool


class Sound:
    """One run's sound in the making. ``cutter`` is the run's; times of cuts are the video's ticks,
    or where it is alone its own."""

    def __init__(
        self,
        track: AudioTrack,
        place: Place,
        cutter: Cutter,
        emit: Callable[[FromWorker, bytes], None],
    ) -> None:
        self._track = track
        self._alone = place.alone
        self._cutter = cutter
        self.rate = rate = track.sound.sample_rate_hz
        self.frames_dropped = 0
        self._samples = SampleClock(rate)
        self._held: deque[tuple[int, int, bytes]] = deque()
        self._cuts: deque[Cut] = deque(maxlen=_MOST_HELD_FRAMES)
        self._first_pts: int | None = None
        self._due = 0
        self._announce(place.run, emit)
        self._packager = Packager(
            AUDIO,
            place.run,
            place.part_target_ms * rate // 1000,
            emit,
            reorders=False,
            base=place.base_ms * rate // 1000,
        )

    @property
    def end(self) -> int:
        """Where the newest frame ends, in samples since the run began."""
        return self._packager.end or 0

    def push(self, at_ms: int, data: bytes) -> None:
        """Takes the next frame."""
        track = self._track
        if track.transcoder is None:
            self._place(at_ms, track.sound.frame_samples or opus_samples(data), data)
        else:
            for later_ms, coded in track.transcoder.push(at_ms, data):
                self._place(later_ms, track.sound.frame_samples, coded)

    def cut(self, cut: Cut) -> None:
        """The picture is cut here."""
        if self._first_pts is None:
            self._first_pts = cut.pts
        self._cuts.append(cut)
        if self._cuts and not self._held:
            # No more sound comes before the next cut once the next frame would begin after it.
            self._packager.close_before(-(-self._cuts[0].pts * self.rate // VIDEO_TIMESCALE))

    def release(self, due: int) -> None:
        """The picture's next frame is due then (ticks of the video): what is before can go."""
        self._due = due
        self._release()

    def flush_full(self) -> None:
        """The picture's part is closed here: so is the sound's, if it is long enough for one."""
        self._packager.flush_full()

    def finish(self, until: int) -> None:
        """Sends everything that is left. ``until``: the picture's end, in ticks of the video."""
        track = self._track
        if track.transcoder is not None:
            for later_ms, coded in track.transcoder.flush():
                self._place(later_ms, track.sound.frame_samples, coded)
        self._release(everything=True)
        if not self._alone:
            self._end_with_silence(until * self.rate // VIDEO_TIMESCALE)
        self._packager.flush(ends_gop=True)

    def _announce(self, run: int, emit: Callable[[FromWorker, bytes], None]) -> None:
        sound = self._track.sound
        emit(
            TrackStarted(
                rendition=AUDIO,
                run=run,
                kind=Kind.AUDIO,
                codecs=sound.codecs,
                timescale=sound.sample_rate_hz,
                bandwidth_bps=self._track.bandwidth_bps,
                sample_rate_hz=sound.sample_rate_hz,
                channels=sound.channels,
            ),
            audio_init(sound),
        )

    def _place(self, at_ms: int, samples: int, data: bytes) -> None:
        at = self._samples.place(at_ms, samples) if samples else None
        if at is None or at < 0 or len(self._held) >= _MOST_HELD_FRAMES:
            self.frames_dropped += 1
            return
        self._held.append((at, samples, data))
        self._release()

    def _release(self, everything: bool = False) -> None:
        """Hands on the frames before which no cut can come any more."""
        held, rate, scale = self._held, self.rate, VIDEO_TIMESCALE
        if self._alone:
            self._release_alone()
            return
        while held:
            at, samples, data = held[0]
            if at * scale >= self._due * rate and not everything:
                return
            held.popleft()
            if self._first_pts is None or at * scale < self._first_pts * rate:
                self.frames_dropped += 1
                continue
            if at * scale >= self._due * rate:
                # The picture has ended before the sound: the clock cuts what is left.
                cut = self._cutter.clock(at * scale // rate, samples * scale // rate)
                if cut is not None:
                    self._cuts.append(cut)
            self._add(at, samples, data)

    def _add(self, at: int, samples: int, data: bytes) -> None:
        packager, rate, scale = self._packager, self.rate, VIDEO_TIMESCALE
        while self._cuts and at * scale >= self._cuts[0].pts * rate:
            cut = self._cuts.popleft()
            # Where sound is missing before the cut, nothing is stretched past it.
            cut_at = -(-cut.pts * rate // scale)
            packager.begin(cut, at if at < cut_at + samples else cut_at)
        ends_at = None
        if self._cuts:
            ends_at = -(-self._cuts[0].pts * rate // scale)
        packager.add(at, at, at + samples, True, data, ends_at)

    def _end_with_silence(self, until: int) -> None:
        """Sound that ends a few frames before its picture, as where an encoder is cut off, goes on
        in silence until the picture ends: players stall where the sound has a hole before the
        next run (hls.js 1.7 in Chromium: from one frame on)."""
        end, silent = self._packager.end, silence(self._track.sound)
        if end is None or silent is None or until - end > _MOST_SILENCE_S * self.rate:
            return
        samples, frame = silent
        while end < until:
            self._add(end, samples, frame)
            end += samples

    def _release_alone(self) -> None:
        while self._held:
            at, samples, data = self._held.popleft()
            cut = self._cutter.clock(at, samples)
            if cut is not None:
                self._packager.begin(cut, at)
            ends_at = at + samples if self._cutter.cuts_clock(at + samples, samples) else None
            self._packager.add(at, at, at + samples, True, data, ends_at)
