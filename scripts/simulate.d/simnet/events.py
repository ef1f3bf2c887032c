"""A virtual clock: what happens when, in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

_Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]

_SLICES_PER_S = 1000


class Events:
    """Calls functions at their time. What is planned for one instant happens in that order.

    Time is cut into slices of a millisecond. What is planned for a later slice lies there in no
    order; only the present one is a heap, which stays small: one heap for all has a million
    entries with 100,000 nodes, and misses the cache at every step.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._present = 0
        self._heap: list[_Event] = []
        self._later: dict[int, list[_Event]] = {}
        self._slices: list[int] = []
        """A heap of those in ``_later``."""
        self._planned = 0

    def at(self, time_s: float, call: Callable[..., None], *args: Any) -> None:
        """Plans a call; one in the past happens next."""
        self._planned += 1
        event = (time_s, self._planned, call, args)
        slice_ = int(time_s * _SLICES_PER_S)
        if slice_ <= self._present:
            heapq.heappush(self._heap, event)
            return
        later = self._later.get(slice_)
        if later is None:
            self._later[slice_] = [event]
            heapq.heappush(self._slices, slice_)
        else:
            later.append(event)

    def run(self, until_s: float) -> None:
        """Lets time pass."""
        while True:
            heap = self._heap
            while heap:
                if heap[0][0] > until_s:
                    self.now_s = until_s
                    return
                time_s, _, call, args = heapq.heappop(heap)
                self.now_s = max(self.now_s, time_s)
                call(*args)
            if not self._slices:
                break
            self._present = heapq.heappop(self._slices)
            self._heap = self._later.pop(self._present)
            heapq.heapify(self._heap)
        self.now_s = until_s
