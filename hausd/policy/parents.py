"""Whom a node asks for the leaves of a room, and when it asks someone else. Pure, sans-IO.

Each leaf is asked of one *parent*: the neighbour that first announced it, or one that has worked
before and was kept. Only that request may wait at the parent, which may be fetching the leaf
itself. Nobody can wait in a ring: every node gives a leaf a number of *hops* when it first hears
of it, which never changes, tells it with the request, and lets a request wait only where its own
number is smaller. Along waiting requests hops fall, so they never come back to where they began,
whoever chose which parent. (A first announcer had the tick before its follower, so along
first-receipt edges alone it would hold without numbers; kept parents need them.)

Where the parent is late, the leaf is *hedged*: asked, without a wait, of another neighbour, last
of the origin. A parent without upload to spare names others; the first of these is the next
parent, and is asked for the leaf in hand without a wait. What is taken from whom teaches how far
the node is from the origin.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, KeysView, Sequence
from typing import Generic

from hausd.core.peers import MAX_HOPS, PeerId
from hausd.policy.asking import Action, Ask, K, Lost, Withdraw, joined
from hausd.policy.estimates import Estimate, Estimates
from hausd.policy.origins import Origins
from hausd.policy.wants import Want, Wants

MAX_WANTS = 1024
"""Leaves that are sought at once; at the bound the oldest are given up."""
MAX_NEIGHBOURS = 64
MAX_ASKS = 12
"""Requests for one leaf, whoever answers what."""
MAX_AT_ONCE = 3
"""Requests for one leaf that are out at the same time: the parent's and two hedges."""
MAX_NAMED = 8

_NEAR_ASKS = 3
"""After so many requests for a leaf the origin is asked, before further neighbours."""
_FIRST_PATIENCE_S = 0.6
_LEAST_PATIENCE_S = 0.1
_MOST_PATIENCE_S = 1.2
_RETRY_S = 0.2
_SLOW_AFTER = 2.0
"""A late leaf counts 1, one in time takes a quarter off: at this sum a parent is slow."""
_SILENT_LEAVES = 3
"""A parent that let so many leaves become late and said nothing meanwhile is gone."""
_PATIENT_LEAVES = 8
"""After so many leaves without a parent, one that is further from the origin will do."""
_REFUSALS = 2
"""A parent that is not nearer to the origin so many times in a row is none."""
_BUSY_REST_S, _MOST_BUSY_REST_S = 1.0, 30.0
_MOST_ORIGIN_REST_S = 2.0
_GONE_REST_S, _MOST_GONE_REST_S = 1.0, 60.0
_WRONG_REST_S = 600.0


class Pull(Generic[K]):
    """One room's search for leaves at one node. The caller's clock counts seconds.

    Every method gives what is to be done now; ``next_due`` says when to call ``due``. ``origins``
    are asked last, where they are known and may be asked.
    """

    def __init__(self, estimates: Estimates, origin: PeerId | None = None) -> None:
        self.parent: PeerId | None = None
        self.hops = MAX_HOPS
        """How far from the origin this node is, with its present parent."""
        self.origins = Origins(origin)
        self._estimates = estimates
        self._neighbours: OrderedDict[PeerId, int] = OrderedDict()
        self._wants: Wants[K] = Wants()
        self._lag = Estimate()
        self._slow = 0.0
        self._refusals = 0
        self._orphaned = 0
        self._silent = 0
        self._spoke_s = float("-inf")

    def __len__(self) -> int:
        return len(self._wants)

    @property
    def neighbours(self) -> KeysView[PeerId]:
        """Who may be asked, the oldest first."""
        return self._neighbours.keys()

    def __contains__(self, leaf: object) -> bool:
        """Whether this leaf is sought."""
        return leaf in self._wants

    def admits(self, leaf: K, untrusted_hops: int) -> bool:
        """Whether someone's request for a leaf that is not here may wait until it is.

        It may where the leaf is sought here, and its asker is further from the origin.
        """
        want = self._wants.get(leaf)
        return want is not None and want.hops < untrusted_hops

    def neighbour(self, peer: PeerId, untrusted_hops: int = MAX_HOPS) -> None:
        """This peer takes part in the room and may be asked; beyond the bound, the oldest not.

        ``untrusted_hops``: where it says that it is, if it was asked (``/haus/room/1``).
        """
        known = self._neighbours.setdefault(peer, untrusted_hops)
        self._neighbours[peer] = min(known, untrusted_hops)
        self._neighbours.move_to_end(peer)
        if len(self._neighbours) > MAX_NEIGHBOURS:
            self._neighbours.popitem(last=False)

    def joins(self, peer: PeerId, untrusted_hops: int) -> None:
        """Who tells a newcomer what the room is doing is its first parent.

        Else it would be whoever announces first, which is the origin where that is a neighbour,
        though others have the room who could spare it a copy.
        """
        if self.parent is None and self.hops == MAX_HOPS and untrusted_hops < MAX_HOPS:
            self._adopt(peer, untrusted_hops)

    def heard(
        self, leaves: Iterable[tuple[K, int]], peer: PeerId, now_s: float, deadline_s: float
    ) -> list[Action[K]]:
        """``peer`` announced these leaves (and their sizes in bytes), of which none is here."""
        new: list[K] = []
        for leaf, size in leaves:
            if leaf not in self._wants:
                self._wants.add(leaf, Want(size, peer, now_s, deadline_s, self.hops))
                new.append(leaf)
        actions: list[Action[K]] = []
        while len(self._wants) > MAX_WANTS:
            actions += self._give_up(next(iter(self._wants)))
        wanted = [leaf for leaf in new if leaf in self._wants]
        if wanted:
            actions += self._ask_parent(wanted, peer, now_s)
        return actions

    def got(self, leaf: K, peer: PeerId, hops: int, now_s: float) -> list[Action[K]]:
        """The leaf came from this peer, which is so many hops from the origin."""
        self._learn(peer, hops)
        self.origins.gave(peer)
        want = self._wants.pop(leaf)
        if want is None:
            return []
        asked_s, waited = want.out.pop(peer, (want.heard_s, True))
        self._estimates.carried(peer, want.size, now_s - asked_s, waited)
        self._lag.add(now_s - want.heard_s)
        if peer == self.parent:
            self._silent, self._spoke_s = 0, now_s
            self._slow = max(0.0, self._slow - 0.25)
            self._refusals = 0
            self._move(hops)
        elif self.parent is None:
            self._orphaned += 1
            if hops < self.hops or self._orphaned >= _PATIENT_LEAVES:
                self._adopt(peer, hops)
        elif self.parent in want.out and hops < self.hops:
            self._slow += 1.0
            if self._slow >= _SLOW_AFTER:
                self._estimates.rest(self.parent, now_s, _BUSY_REST_S, _MOST_BUSY_REST_S)
                self._adopt(peer, hops)
        return [Withdraw(other, leaf) for other in want.out]

    def none(self, leaf: K, peer: PeerId, hops: int, now_s: float) -> list[Action[K]]:
        """This peer does not have the leaf, or not in time."""
        self._learn(peer, hops)
        self.origins.failed(peer)
        want = self._wants.get(leaf)
        if want is None:
            return []
        asked_s, waited = want.out.pop(peer, (now_s, True))
        if not waited:
            self._estimates.answered(peer, now_s - asked_s)
        if peer != self.parent:
            return (self._next if waited else self._later)(leaf, want, now_s)
        self._silent, self._spoke_s = 0, now_s
        if not waited:
            # It was asked as one who was named, and has the leaf soon: once more, then others.
            self._move(hops)
            want.tried.discard(peer)
            want.named.insert(0, peer)
            return self._later(leaf, want, now_s)
        if hops < want.hops:
            self._slow += 1.0
            if self._slow >= _SLOW_AFTER:
                self._estimates.rest(peer, now_s, _BUSY_REST_S, _MOST_BUSY_REST_S)
                self._abandon()
        else:
            self._refusals += 1
            if self._refusals >= _REFUSALS or hops + 1 >= MAX_HOPS:
                self._abandon()
            else:
                self._move(hops)
        return self._next(leaf, want, now_s)

    def busy(
        self, leaves: Sequence[K], peer: PeerId, untrusted_named: Sequence[PeerId], now_s: float
    ) -> list[Action[K]]:
        """This peer has no upload to spare for these; it named others, whom it served just now."""
        named = [one for one in untrusted_named[:MAX_NAMED] if one != peer]
        usable = [one for one in named if not self._estimates.rests(one, now_s)]
        most_s = _MOST_ORIGIN_REST_S if peer in self.origins else _MOST_BUSY_REST_S
        self._estimates.rest(peer, now_s, _BUSY_REST_S, most_s)
        if self.parent in (peer, None):
            self._abandon()
            if usable:
                self.parent = usable[0]
        by_peer: list[Action[K]] = []
        for leaf in leaves:
            want = self._wants.get(leaf)
            if want is not None:
                want.out.pop(peer, None)
                want.named = [*usable, *(one for one in want.named if one not in usable)]
                del want.named[MAX_NAMED:]
                by_peer += self._next(leaf, want, now_s)
        return joined(by_peer)

    def gone(self, peer: PeerId, now_s: float) -> list[Action[K]]:
        """This peer can't be reached (any more); nothing it was asked for will come."""
        self._neighbours.pop(peer, None)
        self.origins.failed(peer)
        self._estimates.rest(peer, now_s, _GONE_REST_S, _MOST_GONE_REST_S)
        return self._without(peer, now_s)

    def wrong(self, peer: PeerId, now_s: float) -> list[Action[K]]:
        """This peer sent bytes that are not the leaf's: it is asked nothing for a long time."""
        self._neighbours.pop(peer, None)
        self.origins.lied(peer)
        self._estimates.rest(peer, now_s, _WRONG_REST_S, _WRONG_REST_S)
        return [*self._withdrawn(peer), *self._without(peer, now_s)]

    def next_due(self) -> float | None:
        """When ``due`` is to be called, in the caller's seconds; None where nothing is sought."""
        return self._wants.next_due()

    def due(self, now_s: float) -> list[Action[K]]:
        """Hedges what is late and gives up what is too late."""
        actions: list[Action[K]] = []
        while (leaf := self._wants.take_due(now_s)) is not None:
            want = self._wants[leaf]
            if now_s >= want.deadline_s:
                actions += self._give_up(leaf)
            elif self._parent_is_gone(want):
                assert self.parent is not None
                self._wants.wake(leaf, now_s + _RETRY_S)
                self._estimates.rest(self.parent, now_s, _GONE_REST_S, _MOST_GONE_REST_S)
                actions += self._withdrawn(self.parent)
                actions += self._without(self.parent, now_s)
            elif len(want.out) < MAX_AT_ONCE and want.asks < MAX_ASKS:
                actions += self._hedge(leaf, want, now_s)
            else:
                self._wants.wake(leaf, want.deadline_s)
        return joined(actions)

    # ---- parents ----

    def _adopt(self, peer: PeerId, hops: int) -> None:
        self.parent = peer
        self._slow, self._refusals, self._orphaned, self._silent = 0.0, 0, 0, 0
        self._move(hops)

    def _abandon(self) -> None:
        self.parent = None
        self._slow, self._refusals, self._silent = 0.0, 0, 0

    def _move(self, parent_hops: int) -> None:
        self.hops = min(parent_hops + 1, MAX_HOPS)

    def _parent_is_gone(self, want: Want) -> bool:
        """Counts a leaf that became late; true where the parent has been silent for too long."""
        if self.parent is None or self.parent not in want.out:
            return False
        asked_s, waits = want.out[self.parent]
        if waits and self._spoke_s < asked_s and want.asks == 1:
            self._silent += 1
        return self._silent >= _SILENT_LEAVES

    def _learn(self, peer: PeerId, hops: int) -> None:
        if peer in self._neighbours:
            self._neighbours[peer] = hops

    def _new_parent(self, first: PeerId, now_s: float) -> PeerId:
        """Whom to ask who has no parent. It keeps its hops, so that nobody below it must move.

        So only who is nearer to the origin can be its parent: the first announcer, unless it is
        known not to be, a neighbour, or the origin, which will know somebody.
        """
        if self._neighbours.get(first, 0) < self.hops and not self._estimates.rests(first, now_s):
            return first
        near = [
            (hops, self._estimates.latency_s(peer, _LEAST_PATIENCE_S), at, peer)
            for at, (peer, hops) in enumerate(self._neighbours.items())
            if hops < self.hops and not self._estimates.rests(peer, now_s)
        ]
        if near:
            return min(near)[-1]
        known = [one for one in self.origins if not self._estimates.rests(one, now_s)]
        return next(iter([*known, *self.origins]), first)

    # ---- requests ----

    def _ask_parent(self, leaves: list[K], first: PeerId, now_s: float) -> list[Action[K]]:
        parent = self.parent
        if parent is None:
            parent = self._new_parent(first, now_s)
        wait_s = self._wants[leaves[0]].deadline_s - now_s
        patience_s = min(
            max(self._lag.late(_FIRST_PATIENCE_S), _LEAST_PATIENCE_S), _MOST_PATIENCE_S
        )
        hops = self._wants[leaves[0]].hops
        for leaf in leaves:
            want = self._wants[leaf]
            want.asks += 1
            want.out[parent] = (now_s, True)
            want.tried.add(parent)
            self._wants.wake(leaf, now_s + patience_s)
        return [Ask(parent, tuple(leaves), wait_s, hops)]

    def _next(self, leaf: K, want: Want, now_s: float) -> list[Action[K]]:
        """Someone said no: ask the next at once, unless other requests are out."""
        if want.out and not want.named:
            return []
        if want.asks >= MAX_ASKS or len(want.out) >= MAX_AT_ONCE:
            return []
        return self._hedge(leaf, want, now_s)

    def _later(self, leaf: K, want: Want, now_s: float) -> list[Action[K]]:
        """Someone who was not to wait does not have it: the next is asked a moment later."""
        if not want.out:
            self._wants.wake(leaf, min(want.due_s, now_s + _RETRY_S / 2))
        return []

    def _hedge(self, leaf: K, want: Want, now_s: float) -> list[Action[K]]:
        peer = self._candidate(want, now_s)
        if peer is None:
            # Everyone was asked: once more from the beginning, those that are not asked now.
            want.hedges += 1
            want.tried = set(want.out)
            self._wants.wake(leaf, now_s + _RETRY_S * min(want.hedges, 4))
            return []
        want.asks += 1
        want.tried.add(peer)
        want.out[peer] = (now_s, False)
        patience_s = self._estimates.patience_s(peer, want.size, _FIRST_PATIENCE_S)
        self._wants.wake(leaf, now_s + min(max(patience_s, _LEAST_PATIENCE_S), _MOST_PATIENCE_S))
        return [Ask(peer, (leaf,), 0.0, want.hops)]

    def _candidate(self, want: Want, now_s: float) -> PeerId | None:
        """Who is asked next: named ones, the first announcer, near neighbours, the origin."""
        while want.named:
            peer = want.named.pop(0)
            if self._may_ask(peer, want, now_s):
                return peer
        if self._may_ask(want.first, want, now_s):
            return want.first
        near = [
            (hops, self._estimates.latency_s(peer, _LEAST_PATIENCE_S), at, peer)
            for at, (peer, hops) in enumerate(self._neighbours.items())
            if self._may_ask(peer, want, now_s) and peer not in self.origins
        ]
        if near and want.asks <= _NEAR_ASKS:
            return min(near)[-1]
        for peer in self.origins:
            if self._may_ask(peer, want, now_s):
                return peer
        return min(near)[-1] if near else None

    def _may_ask(self, peer: PeerId, want: Want, now_s: float) -> bool:
        return peer not in want.tried and not self._estimates.rests(peer, now_s)

    def _without(self, peer: PeerId, now_s: float) -> list[Action[K]]:
        if self.parent == peer:
            self._abandon()
        actions: list[Action[K]] = []
        for leaf, want in self._wants.items():
            if want.out.pop(peer, None) is not None:
                actions += self._next(leaf, want, now_s)
        return joined(actions)

    def _withdrawn(self, peer: PeerId) -> list[Action[K]]:
        return [Withdraw(peer, leaf) for leaf, want in self._wants.items() if peer in want.out]

    def _give_up(self, leaf: K) -> list[Action[K]]:
        want = self._wants.pop(leaf)
        assert want is not None
        return [*(Withdraw(peer, leaf) for peer in want.out), Lost(leaf)]
