"""A virtual clock: what happens when, in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Events:
    """Calls functions at their time. What is planned for one instant happens in that order."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._planned = 0

    def at(self, time_s: float, call: Callable[..., None], *args: Any) -> None:
        """Plans a call; one in the past happens next."""
        self._planned += 1
        heapq.heappush(self._heap, (time_s, self._planned, call, args))

    def run(self, until_s: float) -> None:
        """Lets time pass."""
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            time_s, _, call, args = heapq.heappop(heap)
            self.now_s = max(self.now_s, time_s)
            call(*args)
        self.now_s = until_s
