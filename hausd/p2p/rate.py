"""A bucket that says how long to wait. Pure: the time is passed in."""

from __future__ import annotations


class Bucket:
    """``per_s`` units a second, and what it holds at once, ``burst``."""

    __slots__ = ("_at_s", "_burst", "_left", "_per_s")

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at_s = now_s

    def take(self, units: float, now_s: float) -> float:
        """Takes them, into debt if need be; gives the seconds until the debt is paid."""
        self._refill(now_s)
        self._left -= units
        return 0.0 if self._left >= 0 else -self._left / self._per_s

    def try_take(self, units: float, now_s: float) -> bool:
        """Takes them only where they are there."""
        self._refill(now_s)
        if self._left < units:
            return False
        self._left -= units
        return True

    def _refill(self, now_s: float) -> None:
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
