"""What is counted in a run, and what is made of it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field


@dataclass(slots=True)
class Measure:
    """Counts within the measured time only, but for joins."""

    begin_s: float = 0.0
    end_s: float = float("inf")
    latencies_s: array[float] = field(default_factory=lambda: array("d"))
    hops: array[int] = field(default_factory=lambda: array("H"))
    joins_s: list[float] = field(default_factory=list)
    origin_parts: int = 0
    origin_copies: int = 0
    requests: int = 0
    hedges: int = 0
    busy: int = 0
    twice: int = 0
    rings: int = 0
    expected: int = 0
    _due: set[int] = field(default_factory=set)

    def measures(self, now_s: float) -> bool:
        """Whether this instant counts."""
        return self.begin_s <= now_s < self.end_s

    def due(self, part: int, node: int) -> None:
        """This node shall get this part."""
        self._due.add(_key(part, node))
        self.expected += 1

    def left(self, node: int, parts: range) -> None:
        """This node left before these parts could be expected to be there."""
        for part in parts:
            key = _key(part, node)
            if key in self._due:
                self._due.remove(key)
                self.expected -= 1

    def arrived(self, part: int, node: int, latency_s: float, hops: int) -> None:
        """A part came."""
        key = _key(part, node)
        if key in self._due:
            self._due.remove(key)
            self.latencies_s.append(latency_s)
            self.hops.append(hops)

    def joined(self, joined_s: float, now_s: float) -> None:
        """A node that joined then has its first part now."""
        if self.measures(joined_s):
            self.joins_s.append(now_s - joined_s)

    def asked(self, now_s: float, waits: bool) -> None:
        """A request was sent."""
        if self.measures(now_s):
            self.requests += 1
            self.hedges += not waits

    def origin_sent(self, now_s: float) -> None:
        """The origin sent a part to someone."""
        if self.measures(now_s):
            self.origin_copies += 1

    def row(self) -> dict[str, float]:
        """The figures of a run."""
        found = sorted(self.latencies_s)
        parts = max(1, len(found))
        return {
            "p50_s": at(found, 0.50),
            "p99_s": at(found, 0.99),
            "lost": 1 - len(found) / max(1, self.expected),
            "origin_copies": self.origin_copies / max(1, self.origin_parts),
            "hops_p50": at(sorted(self.hops), 0.5),
            "hops_max": max(self.hops, default=0),
            "join_p95_s": at(sorted(self.joins_s), 0.95),
            "requests_per_part": self.requests / parts,
            "hedged": self.hedges / parts,
            "rings": self.rings,
        }


def _key(part: int, node: int) -> int:
    return part << 32 | node


def at(found: list[float] | list[int], quantile: float) -> float:
    """A quantile of sorted values; 0 of none."""
    if not found:
        return 0.0
    return found[min(len(found) - 1, int(quantile * len(found)))]
