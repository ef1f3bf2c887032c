"""The ladder: decodes the source once, scales it step by step, encodes each rung in a thread.

One thread decodes and scales (1080 to 720 to 480 and so on: each picture from the next larger
one), one thread per rung encodes. Coded frames wait in front of the decoder, bounded in time and
bytes; when more waits than ``policy.ladder`` allows, renditions are shed. The source that is
passed through never comes here, so nothing here can slow it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from hausd.media.encoder import (
    TIME_BASE,
    Look,
    encoder_threads,
    open_decoder,
)
from hausd.media.lane import Lane, Recipe
from hausd.media.meter import LOOK_EVERY_S, Meter
from hausd.media.rendition import RungPipe, cheaper_forms
from hausd.media.units import VIDEO_TIMESCALE, CodedVideo, Encoded, SourceVideo
from hausd.policy.ladder import SOURCE, Restore, Rung, Saving, Shed, Shedder, savings_for

WAITING_S = 6
"""Media that may wait in front of the decoder; beyond, frames go up to the next keyframe."""
WAITING_BYTES = 64 * 1024 * 1024
# A frame whose place was lost leaves its order behind; this many are kept at most.
_MOST_ORDERS = 4096
# So many frames in a row that give no picture are no accident.
_MOST_FRUITLESS = 150


class LadderFailed(Exception):
    """The ladder's own thread died, or its source is made no more; ``args[0]`` says of what.

    A new ladder is needed.
    """


@dataclass(frozen=True, slots=True)
class LadderStats:
    """How the ladder fares; counts since its start, rates over the last seconds.

    ``speed`` is media time decoded per wall time; ``headroom`` media time per busy time of the
    busiest thread, None while none works.
    """

    frames_in: int
    frames_dropped: int
    decode_errors: int
    fps: float
    speed: float
    headroom: float | None
    behind_ms: int
    encoding: tuple[str, ...]
    shed: tuple[str, ...]


class Ladder:
    """Encodes a source into ``rungs``. A rung named ``source`` is never shed, only made cheaper;
    where its encoder fails, the ladder has failed.

    ``push`` and ``flush`` belong to one thread. ``on_encoded`` is called from the ladder's
    threads, in order per rendition. Every encoder starts at a frame with ``force_key`` (or at the
    first), and makes keyframes at such frames and nowhere else. After EncodedStopped a rendition
    comes back with an EncodedTrack.

    ``on_picture(picture, pts)`` gets the smallest picture of every frame that is decoded, in the
    ladder's own thread: it shall be quick, and not change the picture.
    """

    def __init__(
        self,
        source: SourceVideo,
        rungs: Sequence[Rung],
        on_encoded: Callable[[Encoded], None],
        *,
        preset: str = "veryfast",
        cores: int = 1,
        on_picture: Callable[[VideoFrame, int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        shedder: Shedder | None = None,
    ) -> None:
        self._source = source
        self._rungs = sorted(rungs, key=lambda rung: rung.pixels, reverse=True)
        self._on_picture = on_picture
        self._clock = clock
        self._preset = preset
        self._cores = cores
        self._source_forms = cheaper_forms(preset) if any(r.name == SOURCE for r in rungs) else []
        self._shedder = shedder or Shedder(savings_for(self._rungs, len(self._source_forms)))
        self._source_level = 0
        self._units: deque[CodedVideo] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._finishing = False
        self._failure: str | None = None
        self._to_keyframe = True
        self._overflowed = False
        self._frames_in = self._dropped = self._errors = self._fruitless = 0
        self._decoder: VideoCodecContext | None = None
        self._orders: dict[int, CodedVideo] = {}
        self._last_pts: int | None = None
        self._key_due_pts: int | None = None
        self._pipes = [RungPipe(rung, Lane(rung.name, on_encoded)) for rung in self._rungs]
        self._meter = Meter(clock())
        self._thread = threading.Thread(target=self._guarded, name="ladder", daemon=True)
        self._thread.start()

    def push(self, unit: CodedVideo) -> None:
        """Takes the next frame; never waits. Raises LadderFailed."""
        self._check()
        with self._changed:
            self._frames_in += 1
            # What only primes the decoder comes all at once, and is soon worked off.
            counts = bool(self._units) and not self._units[0].skip
            waiting = unit.dts - self._units[0].dts if counts else 0
            full = (
                waiting > WAITING_S * VIDEO_TIMESCALE
                or self._bytes + len(unit.data) > WAITING_BYTES
            )
            if full and not self._to_keyframe:
                self._to_keyframe = self._overflowed = True
            if self._to_keyframe:
                if full or not unit.keyframe:
                    self._dropped += 1
                    return
                self._to_keyframe = False
            self._units.append(unit)
            self._bytes += len(unit.data)
            self._changed.notify_all()

    def flush(self, timeout_s: float | None = None) -> bool:
        """No more will come: encodes all there is. Whether that was done within ``timeout_s``.

        Raises LadderFailed.
        """
        self._check()
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        for join in (self._join, *(pipe.lane.join for pipe in self._pipes)):
            left_s = None if until_s is None else max(until_s - time.monotonic(), 0)
            if not join(left_s):
                return False
        self._check()
        return True

    def close(self) -> None:
        """Ends every thread, dropping what was not flushed."""
        with self._changed:
            self._closing = self._finishing = True
            self._units.clear()
            self._changed.notify_all()
        self._join(None)
        for pipe in self._pipes:
            pipe.lane.join(None)

    def __enter__(self) -> Ladder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stats(self) -> LadderStats:
        """How it fares now. May be called from any thread."""
        rates = self._meter.rates
        shed = tuple(dict.fromkeys(saving.rendition for saving in self._shedder.shed))
        return LadderStats(
            frames_in=self._frames_in,
            frames_dropped=self._dropped,
            decode_errors=self._errors,
            fps=rates.fps,
            speed=rates.speed,
            headroom=rates.headroom,
            behind_ms=int(self._behind_ms()),
            encoding=tuple(p.rung.name for p in self._pipes if p.active),
            shed=tuple(name for name in shed if name != SOURCE),
        )

    def _check(self) -> None:
        """A rung may fail by itself; without the source there is no stream."""
        faults = (
            pipe.lane.crashed or (pipe.lane.failed if pipe.rung.name == SOURCE else None)
            for pipe in self._pipes
        )
        failure = self._failure or next((why for why in faults if why), None)
        if failure is not None:
            raise LadderFailed(failure)

    def _join(self, timeout_s: float | None) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # From here on: the ladder's own thread.

    def _guarded(self) -> None:
        try:
            self._run()
        except LadderFailed as failure:
            self._failure = str(failure)
        except Exception as failure:  # noqa: BLE001 - the thread's door: push() tells it on
            self._failure = f"{type(failure).__name__}: {failure}"
        finally:
            for pipe in self._pipes:
                pipe.lane.close()

    def _run(self) -> None:
        while True:
            unit = self._next()
            if self._closing:
                for pipe in self._pipes:
                    pipe.lane.discard()
                return
            if unit is None and self._finishing:
                self._decode(None)
                return
            if unit is not None:
                self._decode(unit)
            self._look_around()

    def _next(self) -> CodedVideo | None:
        with self._changed:
            self._changed.wait_for(lambda: self._units or self._finishing, LOOK_EVERY_S)
            if not self._units:
                return None
            unit = self._units.popleft()
            self._bytes -= len(unit.data)
            return unit

    def _decode(self, unit: CodedVideo | None) -> None:
        if not any(pipe.active for pipe in self._pipes):
            self._decoder = None
            return
        if self._decoder is None:
            if unit is None or not unit.keyframe:
                return
            self._orders.clear()
            self._decoder = open_decoder(self._source)
        began_s = time.perf_counter()
        try:
            if unit is None:
                pictures = self._decoder.decode(None)
            else:
                self._note_order(unit)
                packet = av.Packet(unit.data)
                packet.pts, packet.dts, packet.time_base = unit.pts, unit.dts, TIME_BASE
                packet.is_keyframe = unit.keyframe
                pictures = self._decoder.decode(packet)
        except av.FFmpegError as failure:
            self._errors += 1
            self._fruitless += 1
            if self._fruitless > _MOST_FRUITLESS:
                raise LadderFailed(f"no frame can be decoded ({failure.strerror})") from None
            return
        finally:
            self._meter.busy_s += time.perf_counter() - began_s
        for picture in pictures:
            self._fruitless = 0
            self._show(picture)

    def _note_order(self, unit: CodedVideo) -> None:
        self._orders[unit.pts] = unit
        if len(self._orders) > _MOST_ORDERS:
            del self._orders[next(iter(self._orders))]
        due = unit.pts - unit.key_lead
        if unit.force_key and (self._key_due_pts is None or due < self._key_due_pts):
            self._key_due_pts = due

    def _show(self, picture: VideoFrame) -> None:
        pts = picture.pts
        order = None if pts is None else self._orders.pop(pts, None)
        if pts is None or order is None or order.skip:
            return
        if self._last_pts is not None and pts <= self._last_pts:
            self._dropped += 1
            return
        key = self._last_pts is None
        self._last_pts = pts
        if self._key_due_pts is not None and self._key_due_pts <= pts:
            # The frame that was to be the key may have been lost: the next one is it then.
            key = True
            due = [o.pts - o.key_lead for o in self._orders.values() if o.force_key]
            self._key_due_pts = min((at for at in due if at > pts), default=None)
        self._meter.pictures += 1
        self._meter.media_ticks += order.duration
        self._hand_over(picture, order, key)

    def _hand_over(self, picture: VideoFrame, order: CodedVideo, key: bool) -> None:
        began_s = time.perf_counter()
        scaled: list[tuple[RungPipe, VideoFrame]] = []
        at = picture
        for pipe in self._pipes:
            if not pipe.active or not pipe.ready(key, self._recipe):
                continue
            at = pipe.scale(at)
            scaled.append((pipe, at))
        if scaled and self._on_picture is not None:
            self._on_picture(at, order.pts)
        self._meter.busy_s += time.perf_counter() - began_s
        for pipe, frame in scaled:
            while pipe.running and not self._closing:
                if pipe.lane.offer(frame, order.pts, pipe.lasts(order.duration), key, LOOK_EVERY_S):
                    break
                self._look_around()

    def _recipe(self, rung: Rung) -> Recipe:
        decoder = self._decoder
        look = Look()
        if decoder is not None:
            look = Look(
                decoder.color_primaries,
                decoder.color_trc,
                decoder.colorspace,
                decoder.sample_aspect_ratio,
            )
        rate = self._source.frame_rate
        threads = encoder_threads(rung, rate, self._cores, len(self._rungs))
        recipe = Recipe(rung, self._preset, rate, look, threads)
        if rung.name == SOURCE and self._source_level:
            recipe = self._source_forms[self._source_level - 1](recipe)
        return recipe

    def _look_around(self) -> None:
        now_s = self._clock()
        if not self._meter.turn(now_s, [pipe.lane.busy_s for pipe in self._pipes]):
            return
        with self._changed:
            overflowed, self._overflowed = self._overflowed, False
        decision = self._shedder.observe(
            now_s, self._behind_ms(), speed=self._meter.rates.headroom, overflowed=overflowed
        )
        match decision:
            case Shed(saving, reason):
                self._shed(saving, reason)
            case Restore(saving):
                self._restore(saving)
            case None:
                pass

    def _shed(self, saving: Saving, reason: str) -> None:
        pipe = self._pipe(saving)
        if saving.level:
            self._source_level = saving.level
            pipe.renew = True
        else:
            pipe.active = pipe.running = False
            pipe.lane.stop(reason, shed=True)

    def _restore(self, saving: Saving) -> None:
        pipe = self._pipe(saving)
        if saving.level:
            self._source_level = saving.level - 1
            pipe.renew = True
        else:
            pipe.active = True

    def _pipe(self, saving: Saving) -> RungPipe:
        return next(pipe for pipe in self._pipes if pipe.rung.name == saving.rendition)

    def _behind_ms(self) -> float:
        with self._changed:
            counts = bool(self._units) and not self._units[0].skip
            waits = self._units[-1].dts - self._units[0].dts if counts else 0
        deepest = max((pipe.lane.waiting for pipe in self._pipes if pipe.active), default=0)
        rate = self._source.frame_rate or Fraction(30)
        return waits * 1000 / VIDEO_TIMESCALE + float(deepest * 1000 / rate)
