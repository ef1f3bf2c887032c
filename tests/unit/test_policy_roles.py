"""Which rooms a node is in: its users' first, others within a budget, where relays are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.peers import peer

from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.policy.depth import HOUR_MS, LAST_HOUR, WHOLE, Depth, Span, held, holds, next_change_ms
from hausd.policy.roles import (
    DECIDE_EVERY_S,
    GRACE_S,
    MAX_AUTO,
    Budget,
    Local,
    Offer,
    Why,
    grace_ends_s,
    here,
    may_relay,
    moment_s,
    need,
    relay,
)

COPY = 375_000.0
DISK = 1_000_000_000
PLENTY = Budget(True, 100 * DISK, 100 * COPY)


def offer(number: int, **more: object) -> Offer:
    made = Offer(RoomId(f"k51{number:04}"), RoomState.LIVE, COPY, DISK, allowed=True, taken=10)
    return replace(made, **more)  # type: ignore[arg-type]


def test_followed_is_kept_and_watched_has_a_grace() -> None:
    assert here(Local(followed=True), 0.0) is Why.FOLLOWED
    assert here(Local(), 0.0) is None
    assert here(Local(viewers=1), 1e9) is Why.WATCHED
    gone = Local(watched_s=100.0)
    assert here(gone, 100.0 + GRACE_S - 1) is Why.WATCHED
    ends_s = grace_ends_s(gone)
    assert ends_s == 100.0 + GRACE_S
    assert here(gone, ends_s) is None
    assert grace_ends_s(Local(viewers=1, watched_s=1.0)) is None


def test_auto_is_off_unless_it_is_allowed() -> None:
    assert relay([offer(1)], Budget(), peer(1), {}) == ()
    assert relay([offer(1)], PLENTY, peer(1), {}) == (offer(1).room,)


def test_only_rooms_that_somebody_vouches_for_are_relayed_unasked() -> None:
    stranger = offer(1, allowed=False)
    assert not may_relay(stranger)
    assert relay([stranger], PLENTY, peer(1), {}) == ()
    for vouched in ({"allowed": True}, {"premium": True}, {"tickets_sold": 1}):
        assert may_relay(offer(1, **({"allowed": False} | vouched)))
    assert not may_relay(offer(1, state=RoomState.ENDED))


def test_rooms_that_this_node_is_in_anyway_cost_auto_nothing() -> None:
    assert relay([offer(1)], PLENTY, peer(1), {offer(1).room: Why.FOLLOWED}) == ()


def test_what_needs_relays_most_comes_first() -> None:
    budget = Budget(True, 20 * DISK, 2 * COPY)
    full, roomy = offer(1, free=50), offer(2, free=0)
    assert need(full) == 0
    assert need(roomy) == 1
    assert relay([full, roomy], budget, peer(1), {}) == (roomy.room,)
    small, large = offer(3, taken=1), offer(4, taken=500)
    assert relay([small, large], budget, peer(1), {})[0] == large.room


def test_premium_goes_first_and_leaves_the_others_half() -> None:
    budget = Budget(True, 4 * DISK, 4 * COPY)
    offers = [offer(n, premium=n < 10, taken=900 if n < 10 else 1) for n in range(20)]
    chosen = relay(offers, budget, peer(1), {})
    assert sorted(room < offer(10).room for room in chosen) == [False, False, True, True]
    assert chosen[0] < offer(10).room
    alone = relay(offers[:10], budget, peer(1), {})
    assert len(alone) == 4, "all of it where nobody else needs it"


def test_a_room_that_is_relayed_stays_until_there_is_clearly_enough() -> None:
    enough = offer(1, free=5)
    assert relay([enough], PLENTY, peer(1), {}) == ()
    assert relay([enough], PLENTY, peer(1), {}, frozenset([enough.room])) == (enough.room,)
    plenty = offer(1, free=20)
    assert relay([plenty], PLENTY, peer(1), {}, frozenset([plenty.room])) == ()


offers_ = st.lists(
    st.builds(
        offer,
        st.integers(0, 200),
        premium=st.booleans(),
        allowed=st.booleans(),
        tickets_sold=st.integers(0, 2),
        taken=st.integers(0, 1000),
        free=st.integers(0, 500),
        disk_bytes=st.integers(0, 5 * DISK),
        copy_bytes_per_s=st.floats(1e4, 1e6),
    ),
    max_size=120,
    unique_by=lambda one: one.room,
)


@given(offers_, st.integers(0, 50 * DISK), st.floats(0, 5e7), st.integers(0, 9))
def test_no_budget_is_exceeded_and_the_answer_does_not_hang_on_the_order(
    offers: list[Offer], disk: int, upload: float, number: int
) -> None:
    budget = Budget(True, disk, upload)
    chosen = relay(offers, budget, peer(number), {})
    by_room = {one.room: one for one in offers}
    assert len(chosen) == len(set(chosen)) <= MAX_AUTO
    assert all(may_relay(by_room[room]) for room in chosen)
    assert sum(by_room[room].disk_bytes for room in chosen) <= disk
    assert sum(by_room[room].copy_bytes_per_s for room in chosen) <= upload * (1 + 1e-9)
    assert relay(offers[::-1], budget, peer(number), {}) == chosen


def spread(viewers: Sequence[int], nodes: int, rounds: int, lag: int) -> list[list[int]]:
    """Relays of each room after each round; a node sees what it was ``lag`` decisions ago."""
    budget = Budget(True, 8 * DISK, 4 * COPY)
    roles: list[frozenset[RoomId]] = [frozenset()] * nodes
    rooms = [offer(n).room for n in range(len(viewers))]
    past: list[list[int]] = [[0] * len(viewers)]
    told = []
    order = sorted(range(nodes), key=lambda n: moment_s(peer(n)))
    for _ in range(rounds):
        for node in order:
            seen = past[max(0, len(past) - 1 - lag)]
            offers = [
                offer(
                    n,
                    taken=count,
                    free=max(0, 3 + 4 * seen[n] - count),
                    own=4 * (rooms[n] in roles[node]),
                )
                for n, count in enumerate(viewers)
            ]
            roles[node] = frozenset(relay(offers, budget, peer(node), {}, roles[node]))
            past.append([sum(room in mine for mine in roles) for room in rooms])
        told.append(past[-1])
    return told


def test_nodes_spread_over_the_rooms_that_need_them_without_anyone_telling_them() -> None:
    viewers = [2, 20, 60, 8]
    told = spread(viewers, nodes=80, rounds=8, lag=3)
    for count, relays in zip(viewers, told[-1], strict=True):
        assert 3 + 4 * relays >= count, "there is a copy for everyone"
        assert 3 + 4 * relays <= 3 * count + 20, "and not everyone ran there"
    assert told[-1] == told[-2] == told[-3], "it comes to rest"


def test_nodes_decide_at_their_own_moments() -> None:
    moments = sorted(moment_s(peer(n)) for n in range(1000))
    assert 0 <= moments[0] < 1
    assert DECIDE_EVERY_S - 1 < moments[-1] < DECIDE_EVERY_S
    assert abs(moments[500] - DECIDE_EVERY_S / 2) < DECIDE_EVERY_S / 10


NOW_MS = 1_800_000_000_000


def span(ago_ms: int) -> Span:
    return Span(NOW_MS - ago_ms - 10_000, NOW_MS - ago_ms)


def test_a_pin_holds_the_last_hour_the_whole_or_until_a_date() -> None:
    assert holds(LAST_HOUR, span(HOUR_MS - 1), NOW_MS, NOW_MS)
    assert not holds(LAST_HOUR, span(HOUR_MS), NOW_MS, NOW_MS)
    assert holds(WHOLE, span(1000 * HOUR_MS), NOW_MS, NOW_MS)
    until = Depth(until_ms=NOW_MS)
    assert holds(until, span(0), NOW_MS, NOW_MS - 1)
    assert not holds(until, span(0), NOW_MS, NOW_MS)
    assert next_change_ms([until, WHOLE, Depth(until_ms=NOW_MS + 5)], NOW_MS - 1) == NOW_MS
    assert next_change_ms([until], NOW_MS) is None
    with pytest.raises(ValueError, match="above 0"):
        Depth(0)


def test_the_last_hour_of_a_room_that_is_over_stays() -> None:
    years_later_ms = NOW_MS + 20_000 * HOUR_MS
    assert holds(LAST_HOUR, span(0), NOW_MS, years_later_ms)


@given(
    st.lists(
        st.builds(Depth, st.none() | st.integers(1, 10**9), st.none() | st.integers(0, 2 * NOW_MS)),
        max_size=5,
    ),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)
def test_pins_only_add_and_newer_segments_are_held_where_older_ones_are(
    depths: list[Depth], older: int, newer: int
) -> None:
    older, newer = max(older, newer), min(older, newer)
    if held(depths, span(older), NOW_MS, NOW_MS):
        assert held(depths, span(newer), NOW_MS, NOW_MS)
        assert held([*depths, LAST_HOUR], span(older), NOW_MS, NOW_MS)
