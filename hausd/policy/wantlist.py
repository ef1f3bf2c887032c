"""What one peer wants of this node, in the order in which it wants it. Pure."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_WANTS = 1024
"""Of one peer at once; as many as Kubo keeps."""


class Wantlist(Generic[T]):
    """Wants by name, those of higher priority first, else in the order in which they came."""

    def __init__(self, most: int = MAX_WANTS) -> None:
        self._most = most
        self._wants: dict[bytes, tuple[int, T]] = {}
        self._order: list[tuple[int, int, bytes]] = []
        """May hold what is not wanted any more; who pops looks into ``_wants``."""
        self._count = 0

    def __len__(self) -> int:
        return len(self._wants)

    def add(self, name: bytes, priority: int, want: T) -> bool:
        """Wants this, in place of what was wanted by that name; False where the list is full."""
        if name not in self._wants and len(self._wants) >= self._most:
            return False
        self._count += 1
        self._wants[name] = (self._count, want)
        heapq.heappush(self._order, (-priority, self._count, name))
        if len(self._order) > 2 * self._most:
            self._order = [one for one in self._order if self._is_open(one)]
            heapq.heapify(self._order)
        return True

    def cancel(self, name: bytes) -> None:
        """Has no more use for this, if it was wanted."""
        self._wants.pop(name, None)

    def clear(self) -> None:
        """Nothing is wanted any more."""
        self._wants.clear()
        self._order.clear()

    def wants(self, name: bytes) -> bool:
        """Whether this is still wanted."""
        return name in self._wants

    def pop(self) -> T | None:
        """What is to be answered next; it is off the list. None where nothing is wanted."""
        while self._order:
            one = heapq.heappop(self._order)
            if self._is_open(one):
                return self._wants.pop(one[2])[1]
        return None

    def _is_open(self, one: tuple[int, int, bytes]) -> bool:
        _, number, name = one
        return name in self._wants and self._wants[name][0] == number
