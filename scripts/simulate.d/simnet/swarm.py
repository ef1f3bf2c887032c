"""hausd's way: announce by gossip, pull from the parent; nodes decide with ``hausd.policy``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from hausd.core.ids import RoomId
from hausd.core.peers import Gives, PeerId
from hausd.policy.asking import EARLY_S, Action, Ask, Lost, Withdraw
from hausd.policy.estimates import Estimates
from hausd.policy.parents import Pull
from hausd.policy.uploads import Uploads
from simnet import world as w
from simnet.events import Events
from simnet.measure import Measure

ROOM = RoomId("k51room")
ORIGIN = 0
DEADLINE_S = 4.0
"""A leaf that is not there so long after it was announced is given up."""
FORGET_PARTS = 30
ESTIMATED_PEERS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Early:
    """A request that waits until its leaf is heard of: see ``policy.asking.EARLY_S``."""

    asker: Node
    wait_s: float
    hops: int
    gives: Gives


@dataclass(slots=True, eq=False)
class Node:
    """A simulated node. Peers are numbers here."""

    number: int
    place: w.Place
    joined_s: float
    uploads: Uploads
    pull: Pull[int]
    alive: bool = True
    links: dict[int, tuple[Node, float]] = field(default_factory=dict)
    """Neighbours, and the least that a message takes to them."""
    heard: set[int] = field(default_factory=set)
    first_told_s: dict[int, float] = field(default_factory=dict)
    """When the earliest announcement of a part is here, of those that are on their way."""
    have: dict[int, int] = field(default_factory=dict)
    """Parts that are here, with the hops they came over."""
    waiting: dict[int, list[Node]] = field(default_factory=dict)
    waits_at: dict[int, list[Node]] = field(default_factory=dict)
    """Whom it waits for, by parts."""
    early: dict[int, list[Early]] = field(default_factory=dict)
    """Requests for what it has not heard of yet."""
    free_s: float = 0.0
    """When its uplink is free."""
    timer_s: float = inf
    first_s: float | None = None

    def answers(self, leaf: int) -> list[Node]:
        """Who waited here for it, and does not any more."""
        waited = self.waiting.pop(leaf, [])
        for asker in waited:
            asker.waits_no_more(leaf, self)
        return waited

    def waits_no_more(self, leaf: int, at: Node) -> None:
        """An answer to it is on its way from there."""
        waits_at = self.waits_at[leaf]
        waits_at.remove(at)
        if not waits_at:
            del self.waits_at[leaf]


class Swarm:
    """One room, one origin, N followers."""

    def __init__(
        self, size: int, seed: int, *, free_riders: float = w.FREE_RIDERS, churn: bool = True
    ) -> None:
        self.events = Events()
        self.world = w.World(seed)
        self.random = self.world.random
        self.measure = Measure()
        self._size = size
        self._free_riders = free_riders
        self._churn = churn
        self.nodes: dict[int, Node] = {}
        self._alive: list[int] = []
        self._next = 0
        self._made: dict[int, float] = {}
        self.origin = self._make(self.world.origin())
        self.origin.uploads.open(ROOM, w.STREAM_BPS / 8, copies=w.ORIGIN_COPIES)

    def run(self, join_s: float, warm_s: float, measured_s: float) -> Measure:
        """Followers join within ``join_s``; after ``warm_s`` more, what happens is measured."""
        for number in range(self._size):
            self.events.at(join_s * (number + 1) / self._size, self._join)
        begin_s, end_s = join_s + warm_s, join_s + warm_s + measured_s
        self.measure.begin_s, self.measure.end_s = begin_s, end_s
        for part in range(int(end_s / w.PART_S)):
            self.events.at(part * w.PART_S, self._produce, part)
        self.events.run(end_s + DEADLINE_S + 1)
        for made_s in self._made.values():
            if begin_s <= made_s < end_s:
                self.measure.origin_parts += 1
        return self.measure

    # ---- coming and going ----

    def _make(self, place: w.Place) -> Node:
        number = self._next
        self._next += 1
        estimates = Estimates(ESTIMATED_PEERS)
        origin = None if number == ORIGIN else PeerId(ORIGIN)  # type: ignore[arg-type]
        node = Node(
            number, place, self.events.now_s, Uploads(place.given_bps / 8), Pull(estimates, origin)
        )
        node.uploads.open(ROOM, w.STREAM_BPS / 8)
        self.nodes[number] = node
        self._alive.append(number)
        return node

    def _join(self) -> None:
        node = self._make(self.world.place(self._free_riders))
        self._link(node, w.MESH // 2)
        if node.links:
            other, _ = node.links[min(node.links)]
            trip_s = 2 * self.world.delay_s(node.place, other.place)
            self.events.at(self.events.now_s + trip_s, self._catch_up, node, other)
        if self._churn:
            stays_s = self.random.expovariate(1 / w.LIFETIME_S)
            self.events.at(self.events.now_s + stays_s, self._leave, node)

    def _link(self, node: Node, count: int) -> None:
        for _ in range(4 * count):
            if count <= 0 or len(self._alive) < 2 or not node.alive:
                return
            other = self.nodes[self.random.choice(self._alive)]
            if other is node or other.number in node.links or len(other.links) >= 3 * w.MESH // 2:
                continue
            least_s = w.least_s(node.place, other.place)
            node.links[other.number] = other, least_s
            other.links[node.number] = node, least_s
            # Who joins asks its neighbours where they are, over /haus/room/1.
            node.pull.neighbour(other.number, 0 if other is self.origin else other.pull.hops)
            other.pull.neighbour(node.number)
            count -= 1

    def _leave(self, node: Node) -> None:
        node.alive = False
        # What it had not got yet when it left is nobody's loss.
        newest = int(self.events.now_s / w.PART_S)
        self.measure.left(node.number, range(newest - int(DEADLINE_S / w.PART_S), newest + 1))
        for leaf in list(node.waiting):
            node.answers(leaf)  # nobody waits for who is gone
        self._alive.remove(node.number)
        silent = self.random.random() < w.SILENT
        notice_s = w.SILENT_NOTICE_S if silent else w.NOTICE_S
        knows = set(node.links) | set(node.uploads.holds(ROOM))
        if node.pull.parent is not None:
            knows.add(node.pull.parent)
        for peer in sorted(knows):
            self.events.at(self.events.now_s + notice_s, self._gone, peer, node.number)
        self.events.at(self.events.now_s + 60, self.nodes.pop, node.number)
        self._join()

    def _gone(self, peer: int, who: int) -> None:
        node = self.nodes.get(peer)
        if node is None or not node.alive:
            return
        node.links.pop(who, None)
        node.uploads.gone(who)
        self._act(node, node.pull.gone(who, self.events.now_s))
        if len(node.links) < w.MESH * 3 // 4:
            self.events.at(
                self.events.now_s + self.random.random(), self._link, node, w.MESH - len(node.links)
            )

    # ---- announcements ----

    def _produce(self, part: int) -> None:
        now_s = self.events.now_s
        self._made[part] = now_s
        self._keep(self.origin, part, 0)
        if self.measure.measures(now_s):
            for number in self._alive:
                node = self.nodes[number]
                # Who just came has a moment to find its place.
                if number != ORIGIN and now_s - node.joined_s > DEADLINE_S:
                    self.measure.due(part, number)
        self._gossip(self.origin, part, None)

    def _gossip(self, node: Node, part: int, sender: int | None) -> None:
        """Tells the neighbours. Only what comes earlier than all before it needs to come at all."""
        node.heard.add(part)
        now_s = self.events.now_s + w.GOSSIP_S
        for number, (other, least_s) in node.links.items():
            if number != sender and part not in other.heard:
                at_s, first_s = now_s + least_s, other.first_told_s.get(part, inf)
                if at_s < first_s and (at_s := at_s + self.world.more_s()) < first_s:
                    other.first_told_s[part] = at_s
                    self.events.at(at_s, self._hear, other, part, node.number)

    def _hear(self, node: Node, part: int, sender: int) -> None:
        if part in node.heard or not node.alive:
            return
        now_s = self.events.now_s
        self._gossip(node, part, sender)
        node.heard.discard(part - FORGET_PARTS)
        node.first_told_s.pop(part, None)
        if part not in node.have:
            actions = node.pull.heard([(part, w.PART_BYTES)], sender, now_s, now_s + DEADLINE_S)
            self._act(node, actions)
            self._answer_early(node, part)

    def _catch_up(self, node: Node, other: Node) -> None:
        """The neighbour told over /haus/room/1 what its newest part is."""
        part = max(other.have, default=None)
        if part is None or part in node.heard or not node.alive:
            return
        now_s = self.events.now_s
        node.heard.add(part)
        hops = 0 if other is self.origin else other.pull.hops
        node.pull.neighbour(other.number, hops)
        node.pull.joins(other.number, hops)
        self._act(
            node,
            node.pull.heard([(part, w.PART_BYTES)], other.number, now_s, now_s + DEADLINE_S),
        )
        self._answer_early(node, part)

    # ---- asking ----

    def _act(self, node: Node, actions: Sequence[Action[int]]) -> None:
        now_s = self.events.now_s
        for action in actions:
            match action:
                case Ask(peer, leaves, wait_s, hops):
                    gives = node.uploads.gives(ROOM, now_s)
                    if not wait_s:
                        gives = Gives(gives.slots)
                    self.measure.asked(now_s, wait_s > 0)
                    other = self.nodes.get(peer)
                    if other is not None:
                        at_s = now_s + self.world.delay_s(node.place, other.place)
                        for leaf in leaves:
                            self.events.at(
                                at_s, self._asked, other, node, leaf, wait_s, hops, gives
                            )
                case Withdraw(peer, leaf):
                    other = self.nodes.get(peer)
                    if other is not None:
                        at_s = now_s + self.world.delay_s(node.place, other.place)
                        self.events.at(at_s, self._withdrawn, other, node, leaf)
                case Lost(leaf):
                    self._answer_waiting(node, leaf)
        due_s = node.pull.next_due()
        if due_s is not None and due_s < node.timer_s:
            node.timer_s = due_s
            self.events.at(due_s, self._due, node, due_s)

    def _due(self, node: Node, due_s: float) -> None:
        if not node.alive or node.timer_s != due_s:
            return
        node.timer_s = inf
        self._act(node, node.pull.due(self.events.now_s))

    # ---- answering ----

    def _asked(
        self, node: Node, asker: Node, leaf: int, wait_s: float, hops: int, gives: Gives
    ) -> None:
        if not node.alive:
            return
        now_s = self.events.now_s
        here = leaf in node.have
        if not here and not (wait_s > 0 and node.pull.admits(leaf, hops)):
            if node.uploads.full(ROOM, asker.number, now_s):
                self._busy(node, asker, leaf)
            elif wait_s > 0 and leaf not in node.heard and node is not self.origin:
                early = Early(asker, wait_s, hops, gives)
                node.early.setdefault(leaf, []).append(early)
                self.events.at(now_s + EARLY_S, self._too_early, node, leaf, early)
            else:
                self._none(node, asker, leaf)
            return
        hedge = 0 if wait_s > 0 else w.PART_BYTES
        if not node.uploads.ask(ROOM, asker.number, gives, now_s, hedge_bytes=hedge):
            self._busy(node, asker, leaf)
        elif here:
            self._send(node, asker, leaf)
        else:
            node.waiting.setdefault(leaf, []).append(asker)
            asker.waits_at.setdefault(leaf, []).append(node)
            self.measure.rings += in_ring(asker, leaf)

    def _answer_early(self, node: Node, leaf: int) -> None:
        for one in node.early.pop(leaf, ()):
            self._asked(node, one.asker, leaf, one.wait_s, one.hops, one.gives)

    def _too_early(self, node: Node, leaf: int, early: Early) -> None:
        waiting = node.early.get(leaf, [])
        if early in waiting:
            waiting.remove(early)
            if not waiting:
                del node.early[leaf]
            if node.alive:
                self._none(node, early.asker, leaf)

    def _busy(self, node: Node, asker: Node, leaf: int) -> None:
        now_s = self.events.now_s
        named = node.uploads.names(ROOM, asker.number, now_s)
        at_s = now_s + self.world.delay_s(node.place, asker.place)
        self.events.at(at_s, self._told_busy, asker, leaf, node.number, named)

    def _none(self, node: Node, asker: Node, leaf: int) -> None:
        hops = 0 if node is self.origin else node.pull.hops
        at_s = self.events.now_s + self.world.delay_s(node.place, asker.place)
        self.events.at(at_s, self._told_none, asker, leaf, node.number, hops)

    def _answer_waiting(self, node: Node, leaf: int) -> None:
        for asker in node.answers(leaf):
            self._none(node, asker, leaf)

    def _withdrawn(self, node: Node, asker: Node, leaf: int) -> None:
        waiting = node.waiting.get(leaf)
        if waiting and asker in waiting:
            waiting.remove(asker)
            asker.waits_no_more(leaf, node)

    def _send(self, node: Node, asker: Node, leaf: int) -> None:
        now_s = self.events.now_s
        node.uploads.sent(ROOM, asker.number, w.PART_BYTES, now_s)
        node.free_s = max(node.free_s, now_s) + w.PART_BYTES * 8 / node.place.uplink_bps
        at_s = node.free_s + self.world.delay_s(node.place, asker.place)
        told = 0 if node is self.origin else node.pull.hops
        self.events.at(at_s, self._got, asker, leaf, node, told, node.have[leaf] + 1)
        if node is self.origin:
            self.measure.origin_sent(now_s)

    # ---- answers ----

    def _got(self, node: Node, leaf: int, sender: Node, hops: int, came_over: int) -> None:
        if not node.alive:
            return
        now_s = self.events.now_s
        if leaf in node.have:
            self.measure.twice += 1
            return
        if node.first_s is None:
            node.first_s = now_s
            self.measure.joined(node.joined_s, now_s)
        self.measure.arrived(leaf, node.number, now_s - self._made[leaf], came_over)
        actions = node.pull.got(leaf, sender.number, hops, now_s)
        self._keep(node, leaf, came_over)
        if actions:
            self._act(node, actions)

    def _keep(self, node: Node, leaf: int, hops: int) -> None:
        node.have[leaf] = hops
        node.have.pop(leaf - FORGET_PARTS, None)
        for asker in node.answers(leaf):
            self._send(node, asker, leaf)

    def _told_busy(self, node: Node, leaf: int, sender: int, named: list[PeerId]) -> None:
        if node.alive:
            self.measure.busy += 1
            self._act(node, node.pull.busy([leaf], sender, named, self.events.now_s))

    def _told_none(self, node: Node, leaf: int, sender: int, hops: int) -> None:
        if node.alive:
            self._act(node, node.pull.none(leaf, sender, hops, self.events.now_s))


def in_ring(node: Node, leaf: int) -> bool:
    """Whether whoever this node waits for with a leaf waits, in the end, for this node."""
    todo, seen = list(node.waits_at.get(leaf, ())), set[Node]()
    while todo:
        other = todo.pop()
        if other is node:
            return True
        if other.alive and other not in seen:
            seen.add(other)
            todo += other.waits_at.get(leaf, ())
    return False
