"""A Kademlia routing table: which peers to remember, so that lookups find their way. No I/O.

A bucket holds the peers that share so many leading bits with this node's place. Those that have
been there longest stay (long-lived peers live longer still, and nobody is pushed out by a flood);
a peer that fails to answer is removed by who asked it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hausd.policy.lookup import distance

BUCKET = 20
MAX_BUCKETS = 32
"""Deeper peers share the last: no network has 2^32 nodes, and who makes ids to be near has one
bucket to fill."""
MAX_PER_SUBNET, MAX_PER_SUBNET_AND_BUCKET = 6, 2
"""Who has one subnet has few places. Peers without one (of a local network) have no such bound."""

Peer = TypeVar("Peer", bound=Hashable)


@dataclass(slots=True)
class _Bucket(Generic[Peer]):
    subnets: dict[Peer, str] = field(default_factory=dict)


class RoutingTable(Generic[Peer]):
    """At most BUCKET * MAX_BUCKETS peers. ``place`` (32 bytes) says where a peer is."""

    def __init__(self, me: Peer, place: Callable[[Peer], bytes]) -> None:
        self._place = place
        self._me = me
        self.here = place(me)
        self._buckets: list[_Bucket[Peer]] = [_Bucket() for _ in range(MAX_BUCKETS)]

    def __len__(self) -> int:
        return sum(len(bucket.subnets) for bucket in self._buckets)

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._bucket(peer).subnets

    def __iter__(self) -> Iterator[Peer]:
        for bucket in self._buckets:
            yield from list(bucket.subnets)

    def add(self, peer: Peer, subnet: str = "") -> bool:
        """A peer has answered; gives whether it is in the table now."""
        bucket = self._bucket(peer)
        if peer in bucket.subnets:
            return True
        if peer == self._me or len(bucket.subnets) >= BUCKET:
            return False
        if subnet:
            here = sum(each == subnet for each in bucket.subnets.values())
            all_ = sum(each == subnet for one in self._buckets for each in one.subnets.values())
            if here >= MAX_PER_SUBNET_AND_BUCKET or all_ >= MAX_PER_SUBNET:
                return False
        bucket.subnets[peer] = subnet
        return True

    def remove(self, peer: Peer) -> None:
        """A peer didn't answer."""
        self._bucket(peer).subnets.pop(peer, None)

    def closest(self, target: bytes, count: int) -> list[Peer]:
        """The peers nearest to a place, the nearest first."""
        return heapq.nsmallest(count, self, key=lambda peer: distance(target, self._place(peer)))

    def _bucket(self, peer: Peer) -> _Bucket[Peer]:
        shared = 256 - distance(self.here, self._place(peer)).bit_length()
        return self._buckets[min(shared, MAX_BUCKETS - 1)]
