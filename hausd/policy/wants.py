"""The leaves that a node seeks in a room, and when something is to be done about each. Pure."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic

from hausd.core.peers import PeerId
from hausd.policy.asking import K


@dataclass(slots=True)
class Want:
    """A leaf that is sought. ``hops`` never changes: see the top of ``policy.parents``."""

    size: int
    first: PeerId
    heard_s: float
    deadline_s: float
    hops: int
    due_s: float = 0.0
    asks: int = 0
    hedges: int = 0
    out: dict[PeerId, tuple[float, bool]] = field(default_factory=dict)
    """Requests that are out: since when, and whether they wait."""
    tried: set[PeerId] = field(default_factory=set)
    named: list[PeerId] = field(default_factory=list)


class Wants(Generic[K]):
    """What is sought, the oldest first, each with its time. The caller's clock counts seconds."""

    def __init__(self) -> None:
        self._wants: OrderedDict[K, Want] = OrderedDict()
        self._heap: list[tuple[float, int, K]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._wants)

    def __contains__(self, leaf: object) -> bool:
        return leaf in self._wants

    def __getitem__(self, leaf: K) -> Want:
        return self._wants[leaf]

    def __iter__(self) -> Iterator[K]:
        return iter(self._wants)

    def get(self, leaf: K) -> Want | None:
        """What is known of a leaf; None where it is not sought."""
        return self._wants.get(leaf)

    def items(self) -> list[tuple[K, Want]]:
        """All of them as they are now."""
        return list(self._wants.items())

    def add(self, leaf: K, want: Want) -> None:
        """Seeks a leaf, the newest of all."""
        self._wants[leaf] = want

    def pop(self, leaf: K) -> Want | None:
        """Seeks it no more; None where it was not sought."""
        return self._wants.pop(leaf, None)

    def wake(self, leaf: K, at_s: float) -> None:
        """Something is to be done about it then, or at its deadline, and at no other time."""
        want = self._wants[leaf]
        want.due_s = min(at_s, want.deadline_s)
        self._pushed += 1
        heapq.heappush(self._heap, (want.due_s, self._pushed, leaf))
        if len(self._heap) > 4 * len(self._wants) + 64:
            self._heap = [
                entry
                for entry in self._heap
                if entry[2] in self._wants and self._wants[entry[2]].due_s == entry[0]
            ]
            heapq.heapify(self._heap)

    def next_due(self) -> float | None:
        """When the next one is due; None where none is."""
        while self._heap:
            due_s, _, leaf = self._heap[0]
            want = self._wants.get(leaf)
            if want is not None and want.due_s == due_s:
                return due_s
            heapq.heappop(self._heap)
        return None

    def take_due(self, now_s: float) -> K | None:
        """A leaf that is due, which is not due again before it is woken; None where none is."""
        due_s = self.next_due()
        if due_s is None or due_s > now_s:
            return None
        return heapq.heappop(self._heap)[2]
