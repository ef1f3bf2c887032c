"""In which order a node sends what it has agreed to send. Pure: times are passed in.

Start-time fair queueing (Goyal, Vin, Cheng 1996) over flows of a room and a priority: a flow gets
its weight's share of the upload while it has something to send, and waits for at most one block
of each other flow. So the live edge goes far ahead of archives, premium rooms ahead of others,
and nothing starves.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

LIVE_WEIGHT = 32.0
CATCH_UP_WEIGHT = 8.0
ARCHIVE_WEIGHT = 1.0
"""Of a room, by what the blocks are for (``wire.blocks_protocol.Priority``, in that order)."""
PREMIUM_WEIGHT = 4.0
"""Of a premium room over another."""


def weight(*, premium: bool) -> float:
    """A room's among others."""
    return PREMIUM_WEIGHT if premium else 1.0


@dataclass(slots=True)
class _Flow(Generic[T]):
    """``finish`` is kept while it is ahead, or a flow that asks one by one would lose no turn."""

    items: deque[tuple[float, int, T]] = field(default_factory=deque)
    finish: float = 0.0


class FairQueue(Generic[T]):
    """Blocks that wait to be sent. At most ``most_items`` in all; of one flow a quarter of that."""

    def __init__(self, most_items: int = 1024) -> None:
        self._most = most_items
        self._flows: dict[Hashable, _Flow[T]] = {}
        self._heads: list[tuple[float, int, Hashable]] = []
        self._now = 0.0
        self._count = 0
        self._put = 0

    def __len__(self) -> int:
        return self._count

    def put(self, flow: Hashable, weight: float, size_bytes: int, item: T) -> bool:
        """Queues an item; False where the queue, or the flow's part of it, is full."""
        one = self._flows.get(flow)
        if self._count >= self._most or (
            one is not None and len(one.items) >= max(1, self._most // 4)
        ):
            return False
        if one is None:
            one = self._flows[flow] = _Flow()
        self._put += 1
        start = max(self._now, one.finish)
        one.finish = start + max(size_bytes, 1) / weight
        one.items.append((start, self._put, item))
        if len(one.items) == 1:
            heapq.heappush(self._heads, (start, self._put, flow))
        self._count += 1
        return True

    def pop(self) -> T | None:
        """The next item to send; None where nothing waits."""
        if not self._heads:
            return None
        start, _, flow = heapq.heappop(self._heads)
        one = self._flows[flow]
        item = one.items.popleft()[-1]
        self._now = start
        self._count -= 1
        if one.items:
            heapq.heappush(self._heads, (one.items[0][0], one.items[0][1], flow))
        if not self._count:
            self._flows.clear()
        elif len(self._flows) > 2 * len(self._heads) + 64:
            self._flows = {
                name: kept
                for name, kept in self._flows.items()
                if kept.items or kept.finish > self._now
            }
        return item


class Pace:
    """A budget in bytes a second with a burst; 0: no limit."""

    def __init__(self, bytes_per_s: float, burst_s: float = 0.25) -> None:
        self._rate = bytes_per_s
        self._burst_s = burst_s
        self._free_s = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next block may be sent; 0 where it may now."""
        return max(0.0, self._free_s - now_s) if self._rate else 0.0

    def sent(self, size_bytes: int, now_s: float) -> None:
        """A block is being sent."""
        if self._rate:
            begun_s = max(self._free_s, now_s - self._burst_s)
            self._free_s = begun_s + size_bytes / self._rate
