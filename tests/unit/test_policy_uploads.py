"""Upload slots: never over budget, no room starves, and who gets none learns whom to ask."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.peers import peer

from hausd.core.ids import RoomId
from hausd.core.peers import GIVES_NOTHING, MAX_GIVES, Copies, Gives
from hausd.policy.uploads import (
    MAX_ROOMS,
    MAX_SLOTS,
    NAMED,
    ORIGIN_COPIES,
    SLOT_IDLE_S,
    Uploads,
    believed,
)

COPY = 375_000.0
ONE, TWO = RoomId("k51one"), RoomId("k51two")


def origin(copies: float = ORIGIN_COPIES) -> Uploads:
    """A node with one room and a budget of so many copies."""
    uploads = Uploads(copies * COPY)
    uploads.open(ONE, COPY)
    return uploads


def test_an_origin_serves_its_copies_and_names_who_has_them() -> None:
    uploads = origin()
    given_to = [n for n in range(20) if uploads.ask(ONE, peer(n), Gives(2, n % 3), 0.1)]
    assert given_to == [0, 1, 2]
    assert uploads.full(ONE, peer(9), 0.1)
    assert not uploads.full(ONE, peer(0), 0.1)
    assert uploads.names(ONE, peer(9), 0.1) == [peer(2), peer(1), peer(0)]


def test_who_is_named_is_named_less_until_it_says_what_it_has_left() -> None:
    uploads = origin(2)
    for n in range(2):
        assert uploads.ask(ONE, peer(n), Gives(3, 2), 0.0)
    assert [uploads.names(ONE, peer(9), 0.1)[0] for _ in range(4)] == [
        peer(0),
        peer(1),
        peer(0),
        peer(1),
    ]


def test_those_that_pass_nothing_on_or_cannot_be_dialled_are_not_named() -> None:
    uploads = origin(3)
    assert uploads.ask(ONE, peer(0), GIVES_NOTHING, 0.0)
    assert uploads.ask(ONE, peer(1), Gives(2, 2), 0.0, dialable=False)
    assert uploads.ask(ONE, peer(2), Gives(2, 0), 0.0)
    assert uploads.names(ONE, peer(9), 0.0) == [peer(2)]
    assert uploads.names(ONE, peer(2), 0.0) == []
    assert uploads.names(TWO, peer(9), 0.0) == []


def test_a_slot_is_kept_while_it_is_used_and_free_when_it_is_not() -> None:
    uploads = origin(1)
    assert uploads.ask(ONE, peer(0), GIVES_NOTHING, 0.0)
    for tick in range(1, 20):
        assert uploads.ask(ONE, peer(0), GIVES_NOTHING, tick * 0.4)
        assert not uploads.ask(ONE, peer(1), GIVES_NOTHING, tick * 0.4)
    assert uploads.ask(ONE, peer(1), GIVES_NOTHING, 19 * 0.4 + SLOT_IDLE_S + 0.1)
    uploads.gone(peer(1))
    assert uploads.holds(ONE) == ()


def test_free_riders_cannot_hold_all_slots() -> None:
    uploads = origin(2)
    for n in range(2):
        assert uploads.ask(ONE, peer(n), GIVES_NOTHING, 0.0)
    assert uploads.ask(ONE, peer(5), Gives(4, 4), 2.0)
    assert not uploads.ask(ONE, peer(6), Gives(9, 9), 2.1), "one in a while"
    assert uploads.ask(ONE, peer(6), Gives(9, 9), 4.0)
    assert set(uploads.holds(ONE)) == {peer(5), peer(6)}
    assert uploads.ask(ONE, peer(5), Gives(4, 4), 4.0)
    assert not uploads.ask(ONE, peer(7), Gives(7, 7), 6.0), "not for a little more"


def test_a_small_follower_costs_what_it_takes() -> None:
    uploads = origin(1)
    assert uploads.ask(ONE, peer(0), GIVES_NOTHING, 0.0)
    now_s = 0.0
    while now_s < 6:
        now_s += 0.4
        assert uploads.ask(ONE, peer(0), GIVES_NOTHING, now_s)
        uploads.sent(ONE, peer(0), int(COPY * 0.4 / 3), now_s)
    assert uploads.cost_bytes_per_s(now_s) == pytest.approx(COPY / 3, rel=0.1)


def spared(uploads: Uploads, from_s: float, seconds: int, size: int) -> int:
    """Bytes of no room that may be sent within so many seconds, asking ten times a second."""
    sent = 0
    for tenth in range(10 * seconds):
        for number in range(2):
            uploads.ask(ONE, peer(number), Gives(2, 0), from_s + tenth / 10)
        sent += size * uploads.spare(size, from_s + tenth / 10)
    return sent


@pytest.mark.parametrize("size", [1000, 131_072, 262_144])
def test_what_is_no_live_edge_has_what_followers_of_a_room_here_leave(size: int) -> None:
    uploads = Uploads(1000 * COPY)
    uploads.open(ONE, COPY, copies=2)
    assert spared(uploads, 0.0, 600, size) <= 600 * 0.05 * 2 * COPY + 524_288 + size
    assert uploads.ask(ONE, peer(9), GIVES_NOTHING, 600.0, hedge_bytes=131_072), "live is first"
    assert spared(uploads, 600.0, 600, size) > min(0.8 * 600 * 0.05 * 2 * COPY, 5900 * size)


def test_a_room_that_nobody_follows_leaves_the_whole_budget() -> None:
    uploads = Uploads(1000 * COPY)
    uploads.open(ONE, COPY, copies=2)
    uploads.ask(ONE, peer(0), GIVES_NOTHING, 0.0)
    later_s = SLOT_IDLE_S + 1
    sent = sum(100_000 * uploads.spare(100_000, later_s + n / 10_000) for n in range(100_000))
    assert 0.9 * 10 * 1000 * COPY < sent < 12 * 1000 * COPY
    assert not Uploads(0).spare(1, 0.0)


def test_hedges_have_what_is_left_of_the_rooms_copies_and_a_twentieth() -> None:
    uploads = origin(2)
    for n in range(2):
        assert uploads.ask(ONE, peer(n), GIVES_NOTHING, 0.0)
    sent = 0
    for tick in range(1000):
        now_s = tick * 0.1
        for n in range(2):
            assert uploads.ask(ONE, peer(n), GIVES_NOTHING, now_s)
        sent += 100_000 * uploads.ask(ONE, peer(9), GIVES_NOTHING, now_s, hedge_bytes=100_000)
    assert 0.07 < sent / 100 / COPY < 0.12
    assert len(uploads.holds(ONE)) == 2
    assert not Uploads(0).ask(ONE, peer(0), GIVES_NOTHING, 0.0, hedge_bytes=1)


def test_a_room_gets_its_share_back_from_one_that_had_more() -> None:
    uploads = origin(4)
    uploads.open(TWO, COPY)
    for n in range(4):
        assert uploads.ask(ONE, peer(n), GIVES_NOTHING, 0.0), "nobody else wanted it"
    assert [uploads.ask(TWO, peer(10 + n), GIVES_NOTHING, 0.5) for n in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    assert len(uploads.holds(ONE)) == 2


def test_a_premium_room_has_more_and_never_all() -> None:
    uploads = Uploads(10 * COPY)
    uploads.open(ONE, COPY, weight=4)
    uploads.open(TWO, COPY)
    for tick in range(5):
        for n in range(20):
            uploads.ask(ONE, peer(n), GIVES_NOTHING, tick * 0.4)
            uploads.ask(TWO, peer(100 + n), GIVES_NOTHING, tick * 0.4)
    assert (len(uploads.holds(ONE)), len(uploads.holds(TWO))) == (8, 2)


def test_what_a_node_says_that_it_gives_counts_those_below_it() -> None:
    uploads = origin(3)
    assert uploads.gives(ONE, 0.0) == Gives(3, 3)
    assert uploads.ask(ONE, peer(0), Gives(5, 4), 0.0)
    assert uploads.gives(ONE, 0.0) == Gives(3, 6, 1)
    assert uploads.ask(ONE, peer(1), Gives(9, MAX_GIVES), 0.0)
    assert uploads.gives(ONE, 0.0) == Gives(3, MAX_GIVES, 2)
    assert uploads.gives(TWO, 0.0) == GIVES_NOTHING


def test_rooms_and_slots_are_bounded() -> None:
    uploads = Uploads(1e12)
    for n in range(MAX_ROOMS):
        uploads.open(RoomId(f"k51{n}"), COPY)
    with pytest.raises(ValueError, match="at most"):
        uploads.open(ONE, COPY)
    uploads.close(RoomId("k510"))
    uploads.open(ONE, COPY)
    assert sum(uploads.ask(ONE, peer(n), GIVES_NOTHING, 0.0) for n in range(400)) == MAX_SLOTS
    for bad in ((0.0, 1.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match="above 0"):
            uploads.open(TWO, bad[0], weight=bad[1])
    with pytest.raises(ValueError, match="negative"):
        Uploads(-1)


ROOMS = [RoomId(f"k51room{n}") for n in range(3)]


class Budget(RuleBasedStateMachine):
    """Any peers ask anything of some rooms, and say anything of what they give."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    @initialize(
        copies=st.floats(0, 9),
        rates=st.lists(st.floats(1e4, 1e6), min_size=3, max_size=3),
        weights=st.lists(st.floats(0.5, 8), min_size=3, max_size=3),
        limits=st.lists(st.none() | st.floats(0, 4), min_size=3, max_size=3),
    )
    def begin(
        self,
        copies: float,
        rates: list[float],
        weights: list[float],
        limits: list[float | None],
    ) -> None:
        self.budget = copies * COPY
        self.rates, self.limits, self.weights = rates, limits, weights
        self.uploads = Uploads(self.budget)
        for room, rate, limit, weight in zip(ROOMS, rates, limits, weights, strict=True):
            self.uploads.open(room, rate, limit, weight)

    @rule(
        room=st.integers(0, 2),
        who=st.integers(0, 30),
        slots=st.integers(0, 20),
        free=st.integers(0, MAX_GIVES),
        hedge=st.booleans(),
    )
    def ask(self, room: int, who: int, slots: int, free: int, hedge: bool) -> None:
        size = 100_000 if hedge else 0
        self.uploads.ask(ROOMS[room], peer(who), Gives(slots, free), self.now_s, hedge_bytes=size)

    @rule(room=st.integers(0, 2), who=st.integers(0, 30), size=st.integers(0, 1 << 20))
    def send(self, room: int, who: int, size: int) -> None:
        if peer(who) in self.uploads.holds(ROOMS[room]):
            self.uploads.sent(ROOMS[room], peer(who), size, self.now_s)

    @rule(wait_s=st.floats(0, 6))
    def wait(self, wait_s: float) -> None:
        self.now_s += wait_s

    @rule(room=st.integers(0, 2), wants=st.integers(1, 9))
    def a_room_is_never_kept_from_its_share(self, room: int, wants: int) -> None:
        """Followers that ask again and again get what the room is due, whoever was there."""
        due = self.budget * self.weights[room] / sum(self.weights)
        limit = self.limits[room]
        copies = int(due / self.rates[room])
        if limit is not None:
            copies = min(copies, int(limit))
        for other in ROOMS:
            for holder in self.uploads.holds(other):
                self.uploads.ask(other, holder, Gives(9, 9), self.now_s)
        new = {peer(100 + n) for n in range(wants)}
        there = {*self.uploads.holds(ROOMS[room]), *new}
        for one in sorted(new):
            self.uploads.ask(ROOMS[room], one, GIVES_NOTHING, self.now_s)
        assert len(self.uploads.holds(ROOMS[room])) >= min(len(there), copies)

    @invariant()
    def no_budget_is_exceeded(self) -> None:
        if not hasattr(self, "uploads"):
            return
        new_s = self.now_s
        assert self.uploads.cost_bytes_per_s(new_s) <= self.budget * (1 + 1e-6)
        for room, rate, limit in zip(ROOMS, self.rates, self.limits, strict=True):
            named = self.uploads.names(room, peer(77), new_s)
            assert len(named) <= NAMED
            gives = self.uploads.gives(room, new_s)
            assert gives.slots * rate <= self.budget * (1 + 1e-6) + 1
            if limit is not None:
                assert gives.slots <= limit + 1e-6


TestBudget = Budget.TestCase
TestBudget.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(st.integers(0, 40))
def test_what_is_given_is_never_more_than_the_copies(followers: int) -> None:
    uploads = origin(3)
    served = sum(uploads.ask(ONE, peer(n), GIVES_NOTHING, 0.0) for n in range(followers))
    assert served == min(followers, 3)


BLOCK = 131_072


def shares(weights: dict[RoomId, float], every_s: dict[RoomId, float]) -> dict[RoomId, int]:
    """Bytes that each room gets in 60 s of what slots leave, asking so often for a block."""
    uploads = Uploads(10 * COPY)
    for room, weight in weights.items():
        uploads.open(room, COPY, weight=weight)
    got = dict.fromkeys(weights, 0)
    due_s = dict.fromkeys(weights, 0.0)
    while (now_s := min(due_s.values())) < 60:
        room = min(due_s, key=lambda one: due_s[one])
        due_s[room] += every_s[room]
        if uploads.ask(room, peer(1), GIVES_NOTHING, now_s, hedge_bytes=BLOCK):
            got[room] += BLOCK
    return got


def test_archives_of_premium_rooms_go_first_and_the_others_are_not_starved() -> None:
    hungry = {ONE: 0.004, TWO: 0.001}
    got = shares({ONE: 4.0, TWO: 1.0}, hungry)
    assert 3.5 < got[ONE] / got[TWO] < 4.5, "however often the other asks"
    assert sum(got.values()) <= 1.05 * 10 * COPY * 62
    even = shares({ONE: 1.0, TWO: 1.0}, hungry)
    assert 0.9 < even[ONE] / even[TWO] < 1.1


def test_what_a_room_leaves_of_its_share_is_the_others() -> None:
    alone = shares({ONE: 1.0}, {ONE: 0.001})
    beside = shares({ONE: 1.0, TWO: 4.0}, {ONE: 0.001, TWO: 1.0})
    assert beside[TWO] == 60 * BLOCK, "who wants little gets all of it"
    assert beside[ONE] > 0.9 * (alone[ONE] - beside[TWO])


claims = st.builds(Gives, st.integers(0, 9), st.integers(0, 60), st.integers(0, 60))
boasts = st.builds(
    Gives, st.integers(1, MAX_GIVES), st.integers(0, MAX_GIVES), st.integers(0, MAX_GIVES)
)


@given(st.lists(claims, min_size=1, max_size=12), st.lists(boasts, max_size=5))
def test_a_few_that_boast_hardly_move_what_is_believed(
    honest: list[Gives], lies: list[Gives]
) -> None:
    giving = [one for one in honest if one.slots]
    lies = lies[: (len(giving) - 1) // 2 if len(giving) > 1 else 0]
    own = Copies(3, 2)
    found = believed(own, [*honest, *lies])
    most = 4 * max((one.taken for one in giving), default=0) + 8
    ratio = max((one.free / (one.taken + 4) for one in giving), default=0)
    assert own.taken <= found.taken <= own.taken + sum(x.taken for x in giving) + len(lies) * most
    ceiling = own.free + sum(one.free for one in giving)
    assert own.free <= found.free <= ceiling + len(lies) * (2 * ratio + 1 / 16) * (most + 4)
    assert believed(own, honest) == believed(own, honest[::-1])


def test_followers_that_are_alike_and_who_is_alone_are_believed() -> None:
    told = [Gives(2, 5, 9), Gives(3, 7, 11), Gives(4, 4, 8)]
    assert believed(Copies(3, 1), told) == Copies(31, 17)
    assert believed(Copies(1, 0), [Gives(9, 50, 70)]) == Copies(71, 50)
    assert believed(Copies(), []) == Copies()
    riders = [Gives()] * 5
    assert believed(Copies(3, 1), [*told, *riders]) == Copies(31, 17), (
        "who gives nothing says nothing"
    )


def test_where_nothing_is_free_a_boast_makes_no_room_look_served() -> None:
    told = [Gives(3, 0, 10), Gives(3, 0, 10), Gives(60_000, 60_000, 60_000)]
    found = believed(Copies(3, 0), told)
    assert found.free <= 0.25 * found.taken / 2


def test_all_copies_of_a_room_are_counted_up_the_tree() -> None:
    below, above = origin(4), origin(3)
    for n in (1, 2, 3):
        assert below.ask(ONE, peer(n), Gives(2, 2, 1), 0.0)
    assert below.gives(ONE, 0.0) == Gives(4, 1 + 6, 3 + 3)
    assert above.ask(ONE, peer(9), below.gives(ONE, 0.0), 0.0)
    assert above.copies(ONE, 0.0) == Copies(taken=1 + 6, free=2 + 7)
    assert above.free(ONE, 0.0) == 2
    assert above.copies(ONE, 60.0) == Copies(0, 3), "who has gone counts no more"
    assert above.copies(TWO, 0.0) == Copies()
