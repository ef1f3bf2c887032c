"""The two obvious alternatives, in the same world: all from the origin, and a static tree."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from simnet import world as w
from simnet.events import Events
from simnet.measure import Measure
from simnet.swarm import DEADLINE_S


@dataclass(slots=True, eq=False)
class Peer:
    """A node of a rival."""

    number: int
    place: w.Place
    joined_s: float
    depth: int = 0
    slots: int = 0
    alive: bool = True
    parent: Peer | None = None
    children: set[Peer] = field(default_factory=set)
    free_s: float = 0.0
    first_s: float | None = None
    aside: list[Peer] = field(default_factory=list)
    """Nodes below one that has no parent, which have slots."""


class Rival:
    """Nodes come and go as in the swarm; how parts reach them is for the kinds of it."""

    def __init__(self, size: int, seed: int, *, free_riders: float = w.FREE_RIDERS) -> None:
        self.events = Events()
        self.world = w.World(seed)
        self.measure = Measure()
        self._size = size
        self._free_riders = free_riders
        self._next = 1
        self.alive: dict[int, Peer] = {}
        self._parts = 0
        self.origin = Peer(0, self.world.origin(), 0.0)

    def run(self, join_s: float, warm_s: float, measured_s: float) -> Measure:
        """As ``Swarm.run``."""
        for number in range(self._size):
            self.events.at(join_s * (number + 1) / self._size, self._join)
        begin_s, end_s = join_s + warm_s, join_s + warm_s + measured_s
        self.measure.begin_s, self.measure.end_s = begin_s, end_s
        for part in range(int(end_s / w.PART_S)):
            self.events.at(part * w.PART_S, self._produce, part)
        self.events.run(end_s + DEADLINE_S + 1)
        return self.measure

    def push(self, part: int) -> None:
        """The origin has a part."""
        raise NotImplementedError

    def came(self, peer: Peer) -> None:
        """A node joined."""

    def left(self, peer: Peer) -> None:
        """A node left."""

    def send(self, part: int, sender: Peer, peer: Peer) -> None:
        """Sends a part, behind what is being sent; not at all where it would be too late."""
        now_s = self.events.now_s
        took_s = w.PART_BYTES * 8 / sender.place.uplink_bps
        if max(sender.free_s, now_s) + took_s > part * w.PART_S + DEADLINE_S:
            return
        sender.free_s = max(sender.free_s, now_s) + took_s
        if sender is self.origin:
            self.measure.origin_sent(now_s)
        at_s = sender.free_s + self.world.delay_s(sender.place, peer.place)
        self.events.at(at_s, self._got, part, peer)

    def got(self, part: int, peer: Peer) -> None:
        """A part came."""

    def _produce(self, part: int) -> None:
        now_s = self.events.now_s
        if self.measure.measures(now_s):
            self.measure.origin_parts += 1
            for peer in self.alive.values():
                if now_s - peer.joined_s > DEADLINE_S:
                    self.measure.due(part, peer.number)
        self._parts = part + 1
        self.push(part)

    def _join(self) -> None:
        now_s = self.events.now_s
        peer = Peer(self._next, self.world.place(self._free_riders), now_s)
        self._next += 1
        self.alive[peer.number] = peer
        self.came(peer)
        stays_s = self.world.random.expovariate(1 / w.LIFETIME_S)
        self.events.at(now_s + stays_s, self._leave, peer)

    def _leave(self, peer: Peer) -> None:
        peer.alive = False
        del self.alive[peer.number]
        older = self._parts - int(DEADLINE_S / w.PART_S)
        self.measure.left(peer.number, range(older, self._parts + 1))
        self.left(peer)
        self._join()

    def _got(self, part: int, peer: Peer) -> None:
        if not peer.alive:
            return
        now_s = self.events.now_s
        if peer.first_s is None:
            peer.first_s = now_s
            self.measure.joined(peer.joined_s, now_s)
        self.measure.arrived(part, peer.number, now_s - part * w.PART_S, peer.depth)
        self.got(part, peer)


class FromOrigin(Rival):
    """Everyone pulls from the origin, which sends as fast as its uplink allows, in turns."""

    def push(self, part: int) -> None:
        peers = list(self.alive.values())
        self.world.random.shuffle(peers)
        for peer in peers:
            peer.depth = 1
            self.send(part, self.origin, peer)


class StaticTree(Rival):
    """A tree built by a tracker: each joins below the highest node that has a slot left.

    As many slots as in the swarm. Who loses its parent notices as there, and is placed anew; what
    it missed meanwhile it does not get.
    """

    def __init__(self, size: int, seed: int, *, free_riders: float = w.FREE_RIDERS) -> None:
        super().__init__(size, seed, free_riders=free_riders)
        self._open: list[tuple[int, int, Peer]] = []
        self.origin.slots = w.ORIGIN_COPIES
        self._offer(self.origin)

    def came(self, peer: Peer) -> None:
        peer.slots = int(peer.place.given_bps / w.STREAM_BPS)
        self._place(peer)

    def left(self, peer: Peer) -> None:
        if peer.parent is not None:
            peer.parent.children.discard(peer)
            self._offer(peer.parent)
            peer.parent = None
        self._offer_again(peer)
        silent = self.world.random.random() < w.SILENT
        notice_s = w.SILENT_NOTICE_S if silent else w.NOTICE_S
        for child in sorted(peer.children, key=lambda one: one.number):
            child.parent = None
            self.events.at(self.events.now_s + notice_s, self._place, child)

    def push(self, part: int) -> None:
        self._send_on(part, self.origin)

    def got(self, part: int, peer: Peer) -> None:
        self._send_on(part, peer)

    def _send_on(self, part: int, peer: Peer) -> None:
        for child in sorted(peer.children, key=lambda one: one.number):
            self.send(part, peer, child)

    def _offer(self, peer: Peer) -> None:
        if peer.alive and len(peer.children) < peer.slots:
            heapq.heappush(self._open, (peer.depth, peer.number, peer))

    def _place(self, peer: Peer) -> None:
        if not peer.alive:
            return
        while self._open:
            depth, _, above = heapq.heappop(self._open)
            if not above.alive or len(above.children) >= above.slots:
                continue
            top = top_of(above)
            if top is not self.origin:
                top.aside.append(above)  # nothing comes there now
                continue
            if depth != above.depth:
                self._offer(above)
                continue
            above.children.add(peer)
            peer.parent = above
            self._deepen(peer, above.depth + 1)
            self._offer(above)
            self._offer(peer)
            self._offer_again(peer)
            return
        self.events.at(self.events.now_s + 1.0, self._place, peer)

    def _offer_again(self, peer: Peer) -> None:
        for one in peer.aside:
            self._offer(one)
        peer.aside.clear()

    def _deepen(self, peer: Peer, depth: int) -> None:
        todo = [(peer, depth)]
        while todo:
            one, depth = todo.pop()
            one.depth = depth
            todo += [(child, depth + 1) for child in one.children]


def top_of(peer: Peer) -> Peer:
    """The origin, or whoever has lost its parent."""
    while peer.parent is not None:
        peer = peer.parent
    return peer
