"""A fleet that relays unasked: what rooms need is met, crowds come and go, and liars change little.

Every node decides by cards alone, at its own moment; a card is up to 20 s old, and a relay's
copies show in it only after it has joined. Nobody tells anyone where to go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from support.peers import peer

from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.core.peers import Copies, Gives
from hausd.policy.claims import believed
from hausd.policy.roles import DECIDE_EVERY_S, Budget, Offer, moment_s, relay

COPY = 375_000.0
DISK = 225_000_000
COPIES_A_NODE = 8
"""Each node may send so many copies in all: of two rooms four each."""
ORIGIN_COPIES = 3
CARD_S = 20
JOIN_S = 3
BUDGET = Budget(True, COPIES_A_NODE * DISK, COPIES_A_NODE * COPY)


@dataclass
class Fleet:
    """``viewers``: who wants each room's live edge, beside the relays. ``liars`` boast."""

    count: int
    viewers: list[int]
    liars: frozenset[int] = frozenset()
    roles: list[frozenset[int]] = field(default_factory=list)
    joined_s: dict[tuple[int, int], int] = field(default_factory=dict)
    cards: list[Copies] = field(default_factory=list)
    moves: int = 0
    turn: int = 0
    needy: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.roles = [frozenset()] * self.count
        self.cards = [Copies()] * len(self.viewers)

    def relays(self, room: int, now_s: int = 1 << 60) -> list[int]:
        return [
            node
            for node, mine in enumerate(self.roles)
            if room in mine and now_s - self.joined_s[node, room] >= JOIN_S
        ]

    def copies(self, node: int) -> int:
        """What a node can send of each of its rooms: its upload, shared by rate."""
        return COPIES_A_NODE // max(1, len(self.roles[node]))

    def offered(self, room: int, now_s: int) -> int:
        return ORIGIN_COPIES + sum(self.copies(node) for node in self.relays(room, now_s))

    def wanted(self, room: int, now_s: int) -> int:
        """Relays take a copy each as well."""
        return self.viewers[room] + len(self.relays(room, now_s))

    def missing(self, now_s: int) -> int:
        """Viewers who have nobody to get a copy from."""
        rooms = range(len(self.viewers))
        return sum(max(0, self.wanted(r, now_s) - self.offered(r, now_s)) for r in rooms)

    def card(self, room: int, now_s: int) -> Copies:
        """As the origin hears it from three subtrees."""
        taken = min(self.wanted(room, now_s), self.offered(room, now_s))
        free = self.offered(room, now_s) - taken
        below = [
            Gives(3, free // 3 + (n < free % 3), taken // 3 + (n < taken % 3)) for n in range(3)
        ]
        if any(node in self.liars for node in self.relays(room)):
            below[0] = Gives(60_000, 60_000, 60_000)
        return believed(Copies(), below)

    def decide(self, node: int, now_s: int) -> None:
        offers = [
            Offer(
                RoomId(f"k51{room}"),
                RoomState.LIVE,
                COPY,
                DISK,
                allowed=True,
                taken=card.taken,
                free=card.free,
                own=self.copies(node) if room in self.roles[node] else 0,
                needy_s=now_s - self.needy.get(room, now_s),
            )
            for room, card in enumerate(self.cards)
        ]
        now = frozenset(offers[room].room for room in self.roles[node])
        self.turn += 1
        chosen = relay(offers, BUDGET, peer(node), {}, now, self.turn)
        assert len(chosen) <= 2
        mine = frozenset(int(room[3:]) for room in chosen)
        self.moves += len(mine ^ self.roles[node])
        for room in mine - self.roles[node]:
            self.joined_s[node, room] = now_s
        self.roles[node] = mine

    def run(self, begin_s: int, end_s: int) -> list[int]:
        """How many viewers went without, each second."""
        went = []
        due = {node: round(moment_s(peer(node))) for node in range(self.count)}
        for now_s in range(begin_s, end_s):
            for room in range(len(self.viewers)):
                if now_s % CARD_S == (7 * room) % CARD_S:
                    self.cards[room] = self.card(room, now_s)
                    if self.cards[room].free > 0.25 * self.cards[room].taken + 1:
                        self.needy.pop(room, None)
                    else:
                        self.needy.setdefault(room, now_s)
            for node in range(self.count):
                if now_s % round(DECIDE_EVERY_S) == due[node] % round(DECIDE_EVERY_S):
                    self.decide(node, now_s)
            went.append(self.missing(now_s))
        return went


def test_each_room_gets_what_it_needs_and_not_everyone_runs_to_the_largest() -> None:
    fleet = Fleet(120, [2, 10, 30, 90, 5, 14])
    went = fleet.run(0, 600)
    assert went[0] > 100
    assert max(went[180:]) == 0, "after three decisions nobody goes without"
    assert fleet.moves < 60, "few came that had to leave"
    moves = fleet.moves
    fleet.run(600, 1800)
    assert fleet.moves - moves <= 4, "then it rests"
    for room, viewers in enumerate(fleet.viewers):
        offered, wanted = fleet.offered(room, 1800), fleet.wanted(room, 1800)
        assert wanted <= offered <= 2 * wanted + 12, (room, viewers)
    assert sum(map(bool, fleet.roles)) < 60, "most have nothing to do"


@pytest.mark.parametrize("count", [12, 120, 1000])
def test_the_size_of_the_fleet_does_not_matter(count: int) -> None:
    fleet = Fleet(count, [10, 5])
    assert max(fleet.run(0, 900)[180:]) == 0
    assert sum(map(len, fleet.roles)) <= 10


def test_a_crowd_is_met_within_minutes_and_its_relays_are_free_again_when_it_goes() -> None:
    fleet = Fleet(120, [10, 10, 10])
    fleet.run(0, 300)
    fleet.viewers[1] = 120
    went = fleet.run(300, 900)
    assert went[0] > 50
    assert max(went[180:]) == 0
    there = len(fleet.relays(1))
    assert 18 <= there <= 40
    fleet.viewers[1] = 10
    went = fleet.run(900, 1800)
    assert max(went) == 0, "never do too many leave at once"
    assert len(fleet.relays(1)) < there / 3


@pytest.mark.parametrize("seed", range(3))
def test_nodes_that_boast_do_not_keep_relays_away(seed: int) -> None:
    fleet = Fleet(120, [40, 60], frozenset(Random(seed).sample(range(120), 12)))
    assert max(fleet.run(0, 900)[180:]) == 0
