"""When a second encoder with the key of one that still sends may have its room. Pure.

The newest always has the room at once where the one before is silent, and the first time also
where it isn't: an artist who moves to another machine need not find the first one. But an encoder
that was sent away comes back by itself, and two of them would take the room from each other for
hours. So for a while after such a takeover whoever is there and sends stays.
"""

from __future__ import annotations

import math
from collections import deque

SILENT_S = 2.0
"""An encoder that sent nothing for this long is held to be dead; live ones send 20 times a second
and more."""
HOLD_S = 60.0
"""How long who took a room from a live encoder keeps it; doubled by each further takeover within
_REMEMBERED_S. Each encoder that is refused starts it anew: OBS tries again for many minutes."""
_REMEMBERED_S = 3600.0
_HOLD_MAX_S = 3600.0
_TAKEOVERS_MAX = 16


class Takeovers:
    """The takeovers of one room from encoders that were still sending."""

    def __init__(self) -> None:
        self._at_s: deque[float] = deque(maxlen=_TAKEOVERS_MAX)
        self._held_until_s = -math.inf

    def held(self, now_s: float) -> bool:
        """Whether an encoder that sends keeps the room against another."""
        return now_s < self._held_until_s

    def taken(self, now_s: float) -> None:
        """The room was taken from an encoder that was still sending."""
        while self._at_s and now_s - self._at_s[0] > _REMEMBERED_S:
            self._at_s.popleft()
        self._at_s.append(now_s)
        hold_s = min(HOLD_S * 2.0 ** (len(self._at_s) - 1), _HOLD_MAX_S)
        self._held_until_s = now_s + hold_s

    def refused(self, now_s: float) -> None:
        """Another encoder was refused the room."""
        self._held_until_s = max(self._held_until_s, now_s + HOLD_S)
