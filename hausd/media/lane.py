"""One rendition's encoder in a thread of its own.

The ladder's thread hands over pictures, at most ``LANE_FRAMES`` ahead, and waits when there are
more: what waits then is small coded frames in the ladder, not large pictures here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import msgspec
from av.video.frame import VideoFrame

from hausd.media.encoder import Encoder, Look
from hausd.media.units import Encoded, EncodedStopped, EncodedTrack
from hausd.policy.ladder import Rung

LANE_FRAMES = 6


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a lane encodes from its next start on: one in ``every`` pictures."""

    rung: Rung
    preset: str
    frame_rate: Fraction | None
    look: Look
    threads: int
    every: int = 1


class _Picture(msgspec.Struct, frozen=True):
    frame: VideoFrame
    pts: int
    duration: int
    key: bool


@dataclass(frozen=True, slots=True)
class _Start:
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class _Stop:
    shed: bool
    reason: str


class Lane:
    """A rendition's thread and encoder. Every method is the ladder's thread's alone, but
    ``join``; ``on_encoded`` is called from the lane's own thread, in order."""

    def __init__(self, name: str, on_encoded: Callable[[Encoded], None]) -> None:
        self.name = name
        self.busy_s = 0.0
        """Time spent encoding; grows."""
        self.failed: str | None = None
        """Why this lane encodes no more; for good."""
        self.crashed: str | None = None
        """What its thread died of, which is a fault of this program."""
        self._on_encoded = on_encoded
        self._work: deque[_Picture | _Start | _Stop | None] = deque()
        self._changed = threading.Condition()
        self._pictures = 0
        self._quiet = False
        self._encoder: Encoder | None = None
        self._announced: EncodedTrack | None = None
        self._thread = threading.Thread(target=self._guarded, name=f"encode-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Pictures that wait or are being encoded."""
        return self._pictures

    def start(self, recipe: Recipe) -> None:
        """From the next picture on (which has to be a key), encode like this."""
        self._put(_Start(recipe))

    def stop(self, reason: str, *, shed: bool) -> None:
        """Forget what waits, and make no more frames until started again."""
        with self._changed:
            self._work.clear()
            self._pictures = 0
            self._work.append(_Stop(shed, reason))
            self._changed.notify_all()

    def offer(self, frame: VideoFrame, pts: int, duration: int, key: bool, wait_s: float) -> bool:
        """Hands a picture over; False where there was no room for it within ``wait_s``."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._pictures < LANE_FRAMES, wait_s):
                return False
            self._pictures += 1
            self._work.append(_Picture(frame, pts, duration, key))
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """No more will come: what waits is encoded, the encoder flushed, the thread ends."""
        self._put(None)

    def discard(self) -> None:
        """Forget what waits and say nothing more; ``close`` still has to be called."""
        with self._changed:
            self._quiet = True
            self._work.clear()

    def join(self, timeout_s: float | None) -> bool:
        """Waits for the thread to end; whether it did."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, item: _Start | _Stop | None) -> None:
        with self._changed:
            self._work.append(item)
            self._changed.notify_all()

    def _guarded(self) -> None:
        try:
            self._run()
        except Exception as failure:  # noqa: BLE001 - the thread's door; the ladder tells it on
            self.crashed = f"{type(failure).__name__} while encoding {self.name}: {failure}"

    def _run(self) -> None:
        recipe: Recipe | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._work))
                item = self._work.popleft()
            match item:
                case None:
                    self._end_encoder()
                    return
                case _Start(recipe):
                    self._end_encoder()
                case _Stop(shed, reason):
                    if self._end_encoder():
                        self._announced = None
                        self._on_encoded(EncodedStopped(self.name, shed, reason))
                case _Picture():
                    if recipe is not None and self.failed is None:
                        self._encode(item, recipe)
                    with self._changed:
                        self._pictures = max(self._pictures - 1, 0)
                        self._changed.notify_all()

    def _encode(self, picture: _Picture, recipe: Recipe) -> None:
        began_s = time.perf_counter()
        try:
            if self._encoder is None:
                self._encoder = Encoder(
                    recipe.rung,
                    preset=recipe.preset,
                    frame_rate=recipe.frame_rate,
                    look=recipe.look,
                    threads=recipe.threads,
                )
                self._announce(self._encoder.track)
            encoded = self._encoder.encode(
                picture.frame, picture.pts, picture.duration, picture.key
            )
        except (av.FFmpegError, MemoryError) as failure:
            self._encoder = None
            self.failed = f"the encoder failed: {failure}"
            self._on_encoded(EncodedStopped(self.name, False, self.failed))
            return
        self.busy_s += time.perf_counter() - began_s
        for frame in encoded:
            self._on_encoded(frame)

    def _announce(self, track: EncodedTrack) -> None:
        # An encoder swapped for a cheaper one with the same parameter sets goes on in its track.
        if track != self._announced:
            self._announced = track
            self._on_encoded(track)

    def _end_encoder(self) -> bool:
        if self._encoder is None:
            return False
        encoder, self._encoder = self._encoder, None
        if self._quiet:
            return False
        for frame in encoder.flush():
            self._on_encoded(frame)
        return True
