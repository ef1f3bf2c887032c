"""Which rooms a node is in: its users' first, others within a budget, where relays are needed."""

from __future__ import annotations

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
    split,
)

COPY = 375_000.0
DISK = 1_000_000_000
PLENTY = Budget(True, 100 * DISK, 100 * COPY)


def offer(number: int, **more: object) -> Offer:
    name = RoomId(f"k51{number:04}")
    made = Offer(name, RoomState.LIVE, COPY, DISK, allowed=True, taken=10, needy_s=1e4)
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
    budget = Budget(True, 20 * DISK, 4 * COPY)
    full, roomy = offer(1, free=50), offer(2, free=0)
    assert need(full) == 0
    assert need(roomy) == 1
    assert relay([full, roomy], budget, peer(1), {}) == (roomy.room,)
    small, large = offer(3, taken=1), offer(4, taken=500)
    assert relay([small, large], budget, peer(1), {})[0] == large.room


def test_premium_goes_first_and_leaves_the_others_half() -> None:
    budget = Budget(True, 4 * DISK, 12 * COPY)
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
    plenty = offer(1, free=10_000)
    assert relay([plenty], PLENTY, peer(1), {}, frozenset([plenty.room])) == ()


def test_of_too_many_relays_only_so_many_leave_as_are_too_many() -> None:
    most = offer(1, taken=100, free=104, own=3)
    left = sum(
        relay([most], PLENTY, peer(n), {}, frozenset([most.room]), turn=1) == ()
        for n in range(1000)
    )
    assert left == pytest.approx(1000 * (104 - 3 - 52) / 204, rel=0.15)
    again = [
        relay([most], PLENTY, peer(1), {}, frozenset([most.room]), turn) == () for turn in range(99)
    ]
    assert 0 < sum(again) < 99, "another draw at each decision"


def test_a_room_calls_few_at_first_and_more_the_longer_it_is_in_need() -> None:
    called = [
        sum(relay([offer(1, needy_s=s)], PLENTY, peer(n), {}) != () for n in range(1000))
        for s in (0.0, 20.0, 40.0, 80.0, 120.0, 1e9)
    ]
    assert 5 <= called[0] <= 30
    assert called == sorted(called)
    assert called[-2:] == [1000, 1000]


def test_who_could_send_no_more_than_it_takes_relays_nothing() -> None:
    assert relay([offer(1)], Budget(True, DISK, 1.9 * COPY), peer(1), {}) == ()
    assert len(relay([offer(1), offer(2)], Budget(True, 9 * DISK, 2 * COPY), peer(1), {})) == 1
    assert len(relay([offer(1), offer(2)], Budget(True, 9 * DISK, 5.9 * COPY), peer(1), {})) == 1
    assert len(relay([offer(1), offer(2)], Budget(True, 9 * DISK, 6 * COPY), peer(1), {})) == 2


@given(
    st.lists(
        st.builds(
            offer,
            st.integers(0, 200),
            disk_bytes=st.integers(0, DISK),
            copy_bytes_per_s=st.floats(1e4, 1e6),
        ),
        min_size=1,
        max_size=64,
        unique_by=lambda one: one.room,
    ),
    st.integers(0, 50 * DISK),
    st.floats(1e4, 5e7),
)
def test_what_is_split_is_all_of_the_budget_and_no_more(
    chosen: list[Offer], disk: int, upload: float
) -> None:
    shares = split(chosen, Budget(True, disk, upload))
    assert set(shares) == {one.room for one in chosen}
    assert sum(share.disk_bytes for share in shares.values()) <= disk
    assert sum(share.upload_bytes_per_s for share in shares.values()) <= upload * (1 + 1e-9)
    copies = [shares[one.room].upload_bytes_per_s / one.copy_bytes_per_s for one in chosen]
    assert max(copies) <= min(copies) * (1 + 1e-6)
    assert all(share.keep_ms >= 1 for share in shares.values())
    assert split([], Budget(True, disk, upload)) == {}


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
