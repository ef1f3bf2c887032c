"""Who watches a room, and what is sent to them, over the last seconds."""

from __future__ import annotations

from collections import OrderedDict, deque

import trio

_SEEN_S = 15.0
"""A player asks for a playlist at least every few seconds; one that did not for this long left."""
_MAX_VIEWERS = 100_000
_RATE_S = 5


class RoomAudience:
    """Counts viewers and bytes. Viewers past the bound push out those unseen the longest."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._bytes: deque[tuple[int, int]] = deque(maxlen=_RATE_S + 1)
        self.total_bytes = 0
        self.watched_s: float | None = None
        """When somebody watched last, or was about to."""

    def served(self, viewer: str, size: int) -> None:
        """``viewer`` is empty where the answer was not to a player."""
        now = trio.current_time()
        if viewer:
            self.watched_s = now
            self._seen[viewer] = now
            self._seen.move_to_end(viewer)
            if len(self._seen) > _MAX_VIEWERS:
                self._seen.popitem(last=False)
        self.total_bytes += size
        second = int(now)
        if self._bytes and self._bytes[-1][0] == second:
            self._bytes[-1] = (second, self._bytes[-1][1] + size)
        else:
            self._bytes.append((second, size))

    def expected(self) -> None:
        """Somebody is about to watch."""
        self.watched_s = trio.current_time()

    def viewers(self) -> int:
        """Players seen within the last seconds."""
        oldest = trio.current_time() - _SEEN_S
        while self._seen:
            viewer, at = next(iter(self._seen.items()))
            if at >= oldest:
                break
            del self._seen[viewer]
        return len(self._seen)

    def bitrate(self) -> int:
        """Bits a second sent, over the last whole seconds."""
        now = int(trio.current_time())
        sent = sum(size for second, size in self._bytes if now - _RATE_S <= second < now)
        return sent * 8 // _RATE_S
