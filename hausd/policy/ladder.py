"""Which qualities are encoded, and which are given up when the machine can't keep up.

Pure: sizes in pixels, times in seconds or milliseconds as the names say, rates in bits a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

SOURCE = "source"
"""Name of the rendition that has the publisher's own size."""

SOURCE_CAP_BPS = 8_000_000
_SOURCE_FLOOR_BPS = 300_000
# x264 veryfast looks clean at about 0.09 bits a pixel at 30 frames/s; frames beyond that rate
# differ less from each other, and count half.
_BITS_PER_PIXEL = 0.09
_BASE_RATE = 30


@dataclass(frozen=True, slots=True)
class Rung:
    """One quality to be encoded: its name (``720p``), size in pixels and target rate."""

    name: str
    width: int
    height: int
    bandwidth_bps: int

    @property
    def pixels(self) -> int:
        """What a frame costs, roughly."""
        return self.width * self.height


def rungs_for(width: int, height: int, ladder: Sequence[tuple[int, int]]) -> tuple[Rung, ...]:
    """The rungs of ``ladder`` (pixels of the shorter side, bits/s) that a source is worth.

    Largest first; none as large as the source or larger; the shape of the source, in even
    numbers. Of two rungs of one size the first counts.
    """
    shorter, longer = min(width, height), max(width, height)
    if shorter < 2:
        return ()
    rungs: dict[int, Rung] = {}
    for side, bandwidth_bps in ladder:
        if side >= shorter or side in rungs:
            continue
        across, along = _even(side), _even(longer * side / shorter)
        size = (along, across) if width >= height else (across, along)
        rungs[side] = Rung(f"{side}p", *size, bandwidth_bps)
    return tuple(rungs[side] for side in sorted(rungs, reverse=True))


def source_rung(
    width: int,
    height: int,
    frame_rate: Fraction | None,
    bandwidth_bps: int = 0,
    cap_bps: int = SOURCE_CAP_BPS,
) -> Rung:
    """The source's own size, encoded: ``bandwidth_bps`` or, where 0, what its pixels ask for.

    Odd sizes lose a row or column, since 4:2:0 has none.
    """
    if bandwidth_bps <= 0:
        rate = float(frame_rate) if frame_rate else _BASE_RATE
        worth = min(rate, _BASE_RATE) + max(rate - _BASE_RATE, 0) / 2
        bandwidth_bps = max(int(width * height * worth * _BITS_PER_PIXEL), _SOURCE_FLOOR_BPS)
    return Rung(SOURCE, max(width & ~1, 2), max(height & ~1, 2), min(bandwidth_bps, cap_bps))


@dataclass(frozen=True, slots=True)
class Saving:
    """One thing that can be given up: a rendition (``level`` 0), or quality of it (from 1)."""

    rendition: str
    level: int = 0


@dataclass(frozen=True, slots=True)
class Shed:
    """Give this up now."""

    saving: Saving
    reason: str


@dataclass(frozen=True, slots=True)
class Restore:
    """Take this up again."""

    saving: Saving


def savings_for(rungs: Sequence[Rung], source_levels: int = 0) -> tuple[Saving, ...]:
    """What to give up, in order: renditions from the most expensive down, then, where the source
    itself is encoded, ``source_levels`` cheaper ways to encode it. It is never dropped."""
    dearest_first = sorted(
        (rung for rung in rungs if rung.name != SOURCE), key=lambda rung: rung.pixels, reverse=True
    )
    drops = [Saving(rung.name) for rung in dearest_first]
    return (*drops, *(Saving(SOURCE, level) for level in range(1, source_levels + 1)))


BEHIND_MS = 1000
"""More waiting media than this, and not shrinking: something has to go."""
_URGENT_MS = 2500
_CALM_MS = 400
_SETTLE_S = 2.0
_URGENT_SETTLE_S = 0.5
_SHRINKING_S = 1.0
_SHRINKS_BY_MS = 50
# A rendition adds up to two thirds of the work that is there, hence the headroom.
_HEADROOM_SPEED = 1.5
_FIRST_CALM_S = 10.0
_LONGEST_CALM_S = 300.0
_HELD_S = 120.0


class Shedder:
    """Decides when to give something up, and when to take it up again.

    Feed it an observation about four times a second. It sheds one saving at a time, in order,
    while more than BEHIND_MS of media waits and the heap does not shrink; it restores them in
    reverse order, each after a calm stretch that doubles (to five minutes) whenever the same
    saving had to be shed again soon after it came back.
    """

    def __init__(self, savings: Sequence[Saving]) -> None:
        self._savings = tuple(savings)
        self._depth = 0
        self._calm_s = dict.fromkeys(self._savings, _FIRST_CALM_S)
        self._restored_s: dict[Saving, float] = {}
        self._changed_s: float | None = None
        self._calm_since_s: float | None = None
        self._is_behind = False
        # The smallest heap since it grew too large, and when it was so small.
        self._least_ms = 0.0
        self._least_s = 0.0

    @property
    def shed(self) -> tuple[Saving, ...]:
        """What is given up at present, in the order it went."""
        return self._savings[: self._depth]

    def observe(
        self,
        now_s: float,
        behind_ms: float,
        *,
        speed: float | None = None,
        overflowed: bool = False,
    ) -> Shed | Restore | None:
        """Takes one observation and gives at most one thing to do.

        ``behind_ms`` is media that waits to be encoded; ``speed`` is media time per busy time of
        the busiest thread (None: nothing is busy); ``overflowed`` says that frames were dropped.
        """
        if self._changed_s is None:
            self._settle(now_s, behind_ms)
        was_behind, self._is_behind = self._is_behind, behind_ms > BEHIND_MS
        if not was_behind or behind_ms < self._least_ms - _SHRINKS_BY_MS:
            self._least_ms, self._least_s = behind_ms, now_s
        if overflowed or self._is_behind:
            self._calm_since_s = None
            return self._shed_next(now_s, behind_ms, overflowed)
        if behind_ms > _CALM_MS or (speed is not None and speed < _HEADROOM_SPEED):
            self._calm_since_s = None
            return None
        if self._calm_since_s is None:
            self._calm_since_s = now_s
        return self._restore_last(now_s, behind_ms)

    def _shed_next(self, now_s: float, behind_ms: float, overflowed: bool) -> Shed | None:
        if self._depth == len(self._savings):
            return None
        assert self._changed_s is not None
        urgent = overflowed or behind_ms > _URGENT_MS
        if now_s - self._changed_s < (_URGENT_SETTLE_S if urgent else _SETTLE_S):
            return None
        if not overflowed and now_s - self._least_s < _SHRINKING_S:
            return None
        saving = self._savings[self._depth]
        self._depth += 1
        restored_s = self._restored_s.get(saving)
        if restored_s is not None:
            too_soon = now_s - restored_s < _HELD_S
            longer_s = min(self._calm_s[saving] * 2, _LONGEST_CALM_S)
            self._calm_s[saving] = longer_s if too_soon else _FIRST_CALM_S
        self._settle(now_s, behind_ms)
        why = "frames had to be dropped" if overflowed else f"{behind_ms / 1000:.1f} s behind"
        return Shed(saving, f"this machine encodes slower than real time ({why})")

    def _restore_last(self, now_s: float, behind_ms: float) -> Restore | None:
        if self._depth == 0 or self._calm_since_s is None:
            return None
        saving = self._savings[self._depth - 1]
        if now_s - self._calm_since_s < self._calm_s[saving]:
            return None
        self._depth -= 1
        self._restored_s[saving] = now_s
        self._calm_since_s = None
        self._settle(now_s, behind_ms)
        return Restore(saving)

    def _settle(self, now_s: float, behind_ms: float) -> None:
        self._changed_s = now_s
        self._least_ms, self._least_s = behind_ms, now_s


def _even(pixels: float) -> int:
    return max(2 * round(pixels / 2), 2)
