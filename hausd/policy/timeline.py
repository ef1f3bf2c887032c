"""Exact times for frames whose stamps are milliseconds.

FLV rounds every time to a millisecond; a frame of 1/30 s is 33 or 34 of them. Put on the grid of
the frame rate that made them, frames have exact times and a duration that is known before the next
one comes, so a part can leave with its last frame. All times out are ticks on the run's own line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

STANDARD_RATES: tuple[Fraction, ...] = (
    *map(Fraction, (30, 60, 25, 50, 24)),
    *(Fraction(rate, 1001) for rate in (30000, 60000, 24000)),
    *map(Fraction, (48, 120, 15, 20, 10, 12, 100, 90, 72, 40, 5, 1)),
    Fraction(120000, 1001),
)
"""Frame rates that streams have, the likelier first."""

_SNAP_TENTHS_MS = 15
"""A stamp is off by up to a millisecond (rounded or cut off), and so is the grid's anchor."""
_STRICT_MS = 1.02
"""Rounded stamps of a true grid stray from it by less than a millisecond, all taken together."""
_LOOSE_MS = 1.7
"""A clock that is not quite right still counts as the nearest rate; it is anchored anew."""
_OBSERVE_FRAMES = 8
_HISTORY_FRAMES = 128
_RETRY_FRAMES = 48
_BREAKS = 3
_BREAKS_WITHIN_FRAMES = 64
"""So many breaks within so many frames mean that no grid explains the stamps."""


def standard_rate(stated: float | Fraction | None) -> Fraction | None:
    """The frame rate that an encoder means by a number such as 29.97; None where it makes none."""
    if stated is None:
        return None
    exact = Fraction(stated)
    if not 0.9 <= exact <= 240.5:
        return None
    for rate in STANDARD_RATES:
        # 29.97 and 23.976 are told with two to five digits; the nearest neighbours (24000/1001
        # and 24) are 0.1 % apart.
        if abs(exact - rate) < rate * Fraction(4, 10_000):
            return rate
    whole = round(exact)
    if abs(exact - whole) < 0.01:
        return Fraction(whole)
    return exact.limit_denominator(1001)


def observed_rate(stamps_ms: Sequence[int], prefer: Fraction | None = None) -> Fraction | None:
    """The standard or whole frame rate whose grid explains these stamps, or None."""
    if len(stamps_ms) < _OBSERVE_FRAMES:
        return None
    steps = sorted(after - before for before, after in pairwise(stamps_ms))
    usual_ms = steps[len(steps) // 2]
    mean_ms = (stamps_ms[-1] - stamps_ms[0]) / (len(stamps_ms) - 1)
    if usual_ms <= 0 or mean_ms <= 0:
        return None
    whole = Fraction(max(1, round(1000 / mean_ms)))
    best_ms = _LOOSE_MS
    best: Fraction | None = None
    candidates = (*STANDARD_RATES, whole) if prefer is None else (prefer, *STANDARD_RATES, whole)
    for rate in candidates:
        period_ms = float(1000 / rate)
        if abs(period_ms - usual_ms) > _STRICT_MS:
            continue
        spread_ms = _spread_ms(stamps_ms, period_ms)
        if spread_ms <= _STRICT_MS:
            return rate
        if spread_ms < best_ms:
            best_ms, best = spread_ms, rate
    return best


def _spread_ms(stamps_ms: Sequence[int], period_ms: float) -> float:
    """How far from each other the stamps lie once their place on the grid is taken off."""
    index = 0
    before = stamps_ms[0]
    low = high = 0.0
    for stamp in stamps_ms[1:]:
        steps = round((stamp - before) / period_ms)
        if steps < 1:
            return float("inf")
        index += steps
        before = stamp
        off = stamp - stamps_ms[0] - index * period_ms
        low, high = min(low, off), max(high, off)
        if high - low > _LOOSE_MS:
            return high - low
    return high - low


class FrameClock:
    """Puts the decode and presentation times of one video track on its frame grid.

    Where no grid explains the stamps the frame rate varies: times are then the stamps themselves,
    and nothing is predicted. It keeps looking for a grid.
    """

    def __init__(self, rate: Fraction | None, timescale: int = 90_000) -> None:
        self._timescale = timescale
        self._history: deque[int] = deque(maxlen=_HISTORY_FRAMES)
        self._breaks: deque[int] = deque(maxlen=_BREAKS)
        self._frames = 0
        self._skips = 0
        self._set_rate(rate)
        self._anchor_ms = 0
        self._anchor_ticks = 0
        self._index = -1
        self._anchored = False

    @property
    def rate(self) -> Fraction | None:
        """The frame rate of the grid; None while it varies or is not known."""
        return self._rate

    def place(self, stamp_ms: int) -> tuple[int, int | None]:
        """The time of the next frame in decoding order, and when the one after it is due.

        ``stamp_ms`` is since the run began. The second is None where it can't be foretold.
        """
        self._frames += 1
        self._history.append(stamp_ms)
        if self._rate is None:
            if self._frames % _RETRY_FRAMES == 0 or self._frames == _OBSERVE_FRAMES:
                self._look_for_rate()
            if self._rate is None:
                return stamp_ms * self._timescale // 1000, None
        if not self._anchored:
            self._anchor(stamp_ms)
        index = self._nearest(stamp_ms)
        if index <= self._index or not self._on_grid(stamp_ms, index):
            self._broken(stamp_ms)
            if self._rate is None:
                return stamp_ms * self._timescale // 1000, None
            index = 0
        elif self._skips_often(index - self._index - 1):
            # Stated 60 frames a second, sent 30: every second place of the grid stays empty.
            self._look_for_rate()
            self._anchor(stamp_ms)
            if self._rate is None:
                return stamp_ms * self._timescale // 1000, None
            index = 0
        self._index = index
        return self._tick(index), self._tick(index + 1)

    def show(self, stamp_ms: int) -> int:
        """The presentation time of a frame that was just placed, by its stamp."""
        if self._rate is not None and self._anchored:
            index = self._nearest(stamp_ms)
            if self._on_grid(stamp_ms, index):
                return self._tick(index)
        return stamp_ms * self._timescale // 1000

    def _set_rate(self, rate: Fraction | None) -> None:
        """``_up`` frames take ``_down`` seconds: whole numbers, for they are asked for with every
        frame, and a Fraction answers slowly."""
        self._rate = rate
        self._up, self._down = (1, 1) if rate is None else (rate.numerator, rate.denominator)

    def _tick(self, index: int) -> int:
        return self._anchor_ticks + index * self._timescale * self._down // self._up

    def _nearest(self, stamp_ms: int) -> int:
        unit = 1000 * self._down
        return (2 * (stamp_ms - self._anchor_ms) * self._up + unit) // (2 * unit)

    def _on_grid(self, stamp_ms: int, index: int) -> bool:
        off = (stamp_ms - self._anchor_ms) * self._up - index * 1000 * self._down
        return 10 * abs(off) <= _SNAP_TENTHS_MS * self._up

    def _anchor(self, stamp_ms: int) -> None:
        self._anchor_ms = stamp_ms
        self._anchor_ticks = stamp_ms * self._timescale // 1000
        self._index = -1
        self._anchored = True

    def _broken(self, stamp_ms: int) -> None:
        """A stamp left the grid: begin a new one there, at another rate if that explains more."""
        better = observed_rate(tuple(self._history), self._rate)
        if better is not None:
            if better != self._rate:
                self._breaks.clear()
            self._set_rate(better)
        else:
            self._breaks.append(self._frames)
            if (
                len(self._breaks) == _BREAKS
                and self._breaks[-1] - self._breaks[0] < _BREAKS_WITHIN_FRAMES
            ):
                self._set_rate(None)
            # What came before a hole says nothing about the grid after it.
            self._history.clear()
            self._history.append(stamp_ms)
        self._anchor(stamp_ms)

    def _skips_often(self, skipped: int) -> bool:
        # Leaks: only where most frames skip a place does it fill up.
        self._skips = max(0, self._skips + (1 if skipped else -1))
        if self._skips < _OBSERVE_FRAMES:
            return False
        self._skips = 0
        return True

    def _look_for_rate(self) -> None:
        self._set_rate(observed_rate(list(self._history)[-_RETRY_FRAMES:]))
        self._breaks.clear()
        self._anchored = False


class SampleClock:
    """Puts audio frames end to end: their samples are the truth, stamps are within half a frame.

    Where the stamps go another way for good (lost frames, a drifting clock), the line follows
    them: a hole is left, or a frame is dropped.
    """

    _PATIENCE_FRAMES = 6

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._next: int | None = None
        self._off = 0

    def place(self, stamp_ms: int, samples: int) -> int | None:
        """Where a frame of so many samples begins, in samples; None where it must be dropped.

        ``stamp_ms`` is since the run began, and may be negative for frames before it.
        """
        stamp = stamp_ms * self._rate // 1000
        if self._next is None:
            self._next = stamp + samples
            return stamp
        off = stamp - self._next
        at = self._next
        # Stamps are rounded to milliseconds, hence one millisecond on top of half a frame.
        if 2 * abs(off) <= samples + 2 * self._rate // 1000:
            self._off = 0
        else:
            # Jitter comes back by itself; only what lasts, or is a lost frame or more, moves.
            self._off += 1
            if self._off >= self._PATIENCE_FRAMES or 2 * off > 3 * samples:
                self._off = 0
                if off < 0:
                    return None
                at = stamp
        self._next = at + samples
        return at
