"""How fast a ladder works, over the last seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from hausd.media.units import VIDEO_TIMESCALE

LOOK_EVERY_S = 0.25
_WINDOW_S = 3.0


@dataclass(frozen=True, slots=True)
class Rates:
    """``speed`` is media time made per wall time; ``headroom`` media time per busy time of the
    busiest thread, None while none works."""

    fps: float = 0.0
    speed: float = 0.0
    headroom: float | None = None


class Meter:
    """Belongs to the ladder's thread; ``rates`` may be read from any."""

    def __init__(self, now_s: float) -> None:
        self.busy_s = 0.0
        """Time spent decoding and scaling; grows, as the next two do."""
        self.pictures = 0
        self.media_ticks = 0
        self.rates = Rates()
        self._marks: deque[tuple[float, int, int, tuple[float, ...]]] = deque()

    def turn(self, now_s: float, encoders_busy_s: Sequence[float]) -> bool:
        """Takes the measure, four times a second at most; says whether it did."""
        if self._marks and now_s - self._marks[-1][0] < LOOK_EVERY_S:
            return False
        busy = (self.busy_s, *encoders_busy_s)
        self._marks.append((now_s, self.pictures, self.media_ticks, busy))
        while now_s - self._marks[0][0] > _WINDOW_S:
            self._marks.popleft()
        began_s, pictures, ticks, was_busy = self._marks[0]
        wall_s = now_s - began_s
        if wall_s > 0:
            media_s = (self.media_ticks - ticks) / VIDEO_TIMESCALE
            busiest_s = max(b - w for b, w in zip(busy, was_busy, strict=True))
            worked = busiest_s > 0 and media_s > 0
            self.rates = Rates(
                fps=(self.pictures - pictures) / wall_s,
                speed=media_s / wall_s,
                headroom=media_s / busiest_s if worked else None,
            )
        return True
