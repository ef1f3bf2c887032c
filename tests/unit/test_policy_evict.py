"""What goes first when the store has to make room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hausd.core.live import RoomState
from hausd.policy.evict import Candidate, choose, collectable


def candidate(
    number: int,
    *,
    size: int = 100,
    files: int = 2,
    pinned: bool = False,
    in_use: bool = False,
    value: int = 0,
    state: RoomState = RoomState.ENDED,
    used: int = 0,
    made: int = 0,
) -> Candidate:
    return Candidate(number, size, files, pinned, in_use, value, state, used, made)


def ids(chosen: list[Candidate] | None) -> list[int] | None:
    return None if chosen is None else [one.id for one in chosen]


def test_least_valuable_first_then_over_then_unused_then_oldest() -> None:
    order = [
        candidate(0, value=1, used=5, made=1),
        candidate(1, value=1, used=5, made=2),
        candidate(2, value=1, used=6, made=0),
        candidate(3, value=1, state=RoomState.LIVE, used=0, made=0),
        candidate(4, value=2, used=0, made=0),
    ]
    assert ids(choose(reversed(order), 500, 0)) == [0, 1, 2, 3, 4]
    assert ids(choose(order, 101, 0)) == [0, 1]


def test_nothing_goes_where_nothing_is_needed() -> None:
    assert choose([candidate(0)], 0, 0) == []


def test_files_are_needed_as_well_as_bytes() -> None:
    assert ids(choose([candidate(n) for n in range(4)], 50, 5)) == [0, 1, 2]


def test_the_pinned_and_the_used_stay_even_if_that_is_not_enough() -> None:
    stay = [candidate(0, pinned=True), candidate(1, in_use=True)]
    assert choose([*stay, candidate(2)], 101, 0) is None
    assert ids(choose([*stay, candidate(2)], 100, 0)) == [2]
    assert ids(collectable([*stay, candidate(2)])) == [2]


def test_collecting_keeps_running_rooms_and_what_is_worth_it() -> None:
    found = [
        candidate(0, state=RoomState.LIVE),
        candidate(1, state=RoomState.WAITING),
        candidate(2, value=5),
        candidate(3, value=4, made=2),
        candidate(4, value=4, made=1, state=RoomState.CLOSED),
    ]
    assert ids(collectable(found, keep_value=5)) == [4, 3]
    assert ids(collectable(found)) == [4, 3, 2]


candidates = st.lists(
    st.builds(
        candidate,
        st.integers(0, 10**6),
        size=st.integers(1, 1000),
        files=st.integers(1, 5),
        pinned=st.booleans(),
        in_use=st.booleans(),
        value=st.integers(0, 3),
        state=st.sampled_from(RoomState),
        used=st.integers(0, 3),
        made=st.integers(0, 3),
    )
)


@given(candidates, st.integers(0, 5000), st.integers(0, 20))
def test_enough_goes_and_no_more_than_that(
    found: list[Candidate], need_bytes: int, need_files: int
) -> None:
    chosen = choose(found, need_bytes, need_files)
    may_go = [one for one in found if one.evictable]
    if chosen is None:
        enough_bytes = sum(one.size for one in may_go) >= need_bytes
        assert not (enough_bytes and sum(one.files for one in may_go) >= need_files)
        return
    assert all(one.evictable for one in chosen)
    assert sum(one.size for one in chosen) >= need_bytes
    assert sum(one.files for one in chosen) >= need_files
    without_last = chosen[:-1]
    if chosen:
        short_of_bytes = sum(one.size for one in without_last) < need_bytes
        assert short_of_bytes or sum(one.files for one in without_last) < need_files
    assert max((one.value for one in chosen), default=0) <= min(
        (one.value for one in may_go if one not in chosen), default=3
    )
