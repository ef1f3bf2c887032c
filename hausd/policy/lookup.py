"""An iterative lookup in a Kademlia DHT: whom to ask next, and when to stop. No I/O.

Source: the Kademlia paper, section 2.3, with the end that libp2p gives it: once the ``sure``
closest peers that were heard of have answered. Peers are anything that is hashable; ``place``
(32 bytes) says where each is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

ALPHA = 10
"""Questions under way at once, as in go-libp2p-kad-dht."""
BETA = 3
"""So many of the closest have to answer before a lookup for reading is over."""
MAX_ASKED = 128
"""In one lookup; one among 20,000 nodes asks some 30 to 60."""
MAX_HEARD = 1024

Peer = TypeVar("Peer", bound=Hashable)


def distance(a: bytes, b: bytes) -> int:
    """How far two places are from each other."""
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


class Lookup(Generic[Peer]):
    """Bounded in who is asked and in who is remembered, whatever peers answer."""

    def __init__(
        self,
        target: bytes,
        place: Callable[[Peer], bytes],
        seeds: Iterable[Peer],
        *,
        sure: int = BETA,
        alpha: int = ALPHA,
    ) -> None:
        self._target = target
        self._place = place
        self._sure = sure
        self._alpha = alpha
        self._heard: set[Peer] = set()
        self._to_ask: list[tuple[int, int, Peer]] = []
        self._answered: list[tuple[int, int, Peer]] = []
        self._under_way: dict[Peer, int] = {}
        self._asked = 0
        self._hear(seeds)

    def next(self) -> list[Peer]:
        """Whom to ask now, the closest first; each is to be told of once."""
        due: list[Peer] = []
        while self._to_ask and len(self._under_way) < self._alpha and not self._settled():
            if self._asked == MAX_ASKED:
                self._to_ask.clear()
                break
            far, _, peer = heapq.heappop(self._to_ask)
            self._under_way[peer] = far
            self._asked += 1
            due.append(peer)
        return due

    def answered(self, peer: Peer, closer: Iterable[Peer]) -> None:
        """A peer answered, and named these."""
        far = self._under_way.pop(peer)
        heapq.heappush(self._answered, (far, len(self._heard), peer))
        self._hear(closer)

    def failed(self, peer: Peer) -> None:
        """A peer didn't answer."""
        self._under_way.pop(peer)

    @property
    def done(self) -> bool:
        """Whether nobody is worth asking any more."""
        return self._settled() or not (self._to_ask or self._under_way)

    def closest(self, count: int) -> list[Peer]:
        """The closest that answered."""
        return [peer for _, _, peer in heapq.nsmallest(count, self._answered)]

    def _settled(self) -> bool:
        """Whether the closest ones that may still answer all have."""
        if len(self._answered) < self._sure:
            return False
        last, _, _ = heapq.nsmallest(self._sure, self._answered)[-1]
        nearer = any(far < last for far in self._under_way.values())
        return not nearer and not (self._to_ask and self._to_ask[0][0] < last)

    def _hear(self, peers: Iterable[Peer]) -> None:
        for peer in peers:
            if peer in self._heard or len(self._heard) == MAX_HEARD:
                continue
            self._heard.add(peer)
            far = distance(self._target, self._place(peer))
            heapq.heappush(self._to_ask, (far, len(self._heard), peer))
