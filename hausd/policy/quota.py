"""How often each of many may ask: a bucket for each, a bounded number of them. Pure.

``Quota`` refuses what is above; who may ask is remembered for as long as it matters.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Quota:
    """``burst`` questions at once and ``per_s`` in the long run, for each who asks.

    At most ``most`` are remembered; the one that asked the longest ago is forgotten first.
    """

    def __init__(self, per_s: float, burst: float, most: int = 4096) -> None:
        self._per_s, self._burst, self._most = per_s, burst, most
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, who: Hashable, now_s: float) -> bool:
        """Counts a question; False where it is one too many, and then it is not counted."""
        left, at_s = self._left.pop(who, (self._burst, now_s))
        left = min(self._burst, left + max(0.0, now_s - at_s) * self._per_s)
        may = left >= 1
        self._left[who] = (left - may, now_s)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return may


class Distinct:
    """``most`` different things for each who brings them; a new one for every ``window_s / most``
    that passes. What was brought before may be brought again."""

    def __init__(self, most: int, window_s: float, keepers: int = 1024) -> None:
        self._most, self._keepers = most, keepers
        self._new = Quota(most / window_s, most, keepers)
        self._known: OrderedDict[Hashable, OrderedDict[Hashable, None]] = OrderedDict()

    def may(self, who: Hashable, what: Hashable, now_s: float) -> bool:
        """Whether this is one of those, or may become one."""
        known = self._known.get(who)
        if known is not None and what in known:
            self._known.move_to_end(who)
            return True
        if not self._new.take(who, now_s):
            return False
        known = self._known.setdefault(who, OrderedDict())
        known[what] = None
        if len(known) > self._most:
            known.popitem(last=False)
        self._known.move_to_end(who)
        if len(self._known) > self._keepers:
            self._known.popitem(last=False)
        return True
