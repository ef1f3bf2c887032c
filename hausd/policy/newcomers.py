"""How many rooms that nobody has heard of each neighbour may tell of. Pure.

Keys cost nothing, so anyone can make rooms without end. Whoever passes their cards on spends what
is his: a few at a time, and then one now and then. So a flood stops at its first neighbours. How
many neighbours one address or subnet can be, the host bounds (``HostLimits``).
"""

from __future__ import annotations

from collections import OrderedDict

from hausd.core.peers import PeerId

AT_ONCE = 256.0
PER_S = 2.0
"""Twelve neighbours that all flood bring some 500 in the 20 s in which honest rooms are told of
again: too few to push those out."""
MAX_NEIGHBOURS = 1024


class Newcomers:
    """What each neighbour has left. Times are the caller's, in seconds."""

    def __init__(self) -> None:
        self._left: OrderedDict[PeerId, tuple[float, float]] = OrderedDict()

    def admits(self, teller: PeerId, now_s: float) -> bool:
        """Whether this neighbour may tell of one more room; it has told of it then."""
        left, at_s = self._left.pop(teller, (AT_ONCE, now_s))
        left = min(AT_ONCE, left + (now_s - at_s) * PER_S)
        admits = left >= 1
        self._left[teller] = (left - admits, now_s)
        if len(self._left) > MAX_NEIGHBOURS:
            self._left.popitem(last=False)
        return admits
