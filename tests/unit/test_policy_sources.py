"""Blocks go where they are expected from soonest; who is slow, ignorant, broken or lying is asked
less, and found again when it is better."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.sources import (
    FORGET_S,
    LIAR_S,
    LONGEST_REST_S,
    MAX_UNDER_WAY,
    MOST_ASKED_REST_S,
    Sources,
)

LEAF = 128 * 1024
NAMES = ("haus", "near", "far")
ALL = set(NAMES)


def measured(**took_s: float) -> Sources:
    """Sources that each gave 20 leaves in so long."""
    sources = Sources(took_s)
    for name, each_s in took_s.items():
        for _ in range(20):
            sources.asked(name)
            sources.came(name, LEAF, each_s, 0.0)
    return sources


def spread(sources: Sources, blocks: int, now_s: float = 0.0) -> dict[str, int]:
    """Whom so many blocks, all at once, are asked of."""
    found: dict[str, int] = {}
    for _ in range(blocks):
        name = sources.pick(ALL, LEAF, now_s)
        if name is not None:
            sources.asked(name)
            found[name] = found.get(name, 0) + 1
    return found


def test_each_is_tried_once_in_the_order_they_were_named() -> None:
    assert list(spread(Sources(NAMES), 3)) == list(NAMES)


def test_the_fastest_is_chosen_and_the_others_help_as_they_can() -> None:
    found = spread(measured(haus=0.4, near=0.1, far=1.0), 16)
    assert found["near"] > found["haus"] > found.get("far", 0)
    assert sum(found.values()) == 16


def test_nobody_is_asked_for_more_than_it_can_take() -> None:
    found = spread(measured(haus=0.1), 100)
    assert found == {"haus": MAX_UNDER_WAY}


def test_who_never_has_a_block_is_asked_last() -> None:
    sources = measured(haus=0.1, near=0.2)
    for _ in range(30):
        sources.asked("haus")
        sources.lacked("haus", 0.05, 1.0)
    assert sources.pick({"haus", "near"}, LEAF, 1.0) == "near"


def test_who_grows_slow_is_left_and_found_again() -> None:
    sources = measured(haus=0.1, near=0.3)
    for _ in range(10):
        sources.asked("haus")
        sources.outrun("haus", LEAF, 2.0, 1.0)
    assert sources.pick({"haus", "near"}, LEAF, 1.0) == "near"
    assert sources.pick({"haus", "near"}, LEAF, 1.0 + FORGET_S) == "haus", "one block to find out"


def test_who_was_asked_late_is_not_called_slow() -> None:
    sources = measured(haus=0.5)
    before = sources.standings(0.0)
    sources.asked("haus")
    sources.outrun("haus", LEAF, 0.1, 0.0)
    assert sources.standings(0.0) == before


def test_a_liar_is_dropped_for_an_hour() -> None:
    sources = measured(haus=0.1)
    sources.asked("haus")
    sources.lied("haus", 10.0)
    assert sources.pick({"haus"}, LEAF, 10.0 + LIAR_S - 1) is None
    assert sources.due_s({"haus"}) == 10.0 + LIAR_S
    assert sources.standings(10.0)[0].lying
    assert sources.pick({"haus"}, LEAF, 10.0 + LIAR_S) == "haus"


def test_rests_double_and_what_is_asked_for_is_granted_within_reason() -> None:
    sources = Sources(NAMES)
    now_s, lengths = 0.0, []
    for _ in range(11):
        sources.asked("near")
        sources.failed("near", now_s)
        due_s = sources.due_s({"near"})
        assert due_s is not None
        lengths.append(due_s - now_s)
        now_s = due_s
    assert lengths == [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST_REST_S, LONGEST_REST_S]
    sources.asked("far")
    sources.failed("far", now_s, asked_rest_s=90.0)
    assert sources.due_s({"far"}) == now_s + 90
    sources.asked("haus")
    sources.failed("haus", now_s, asked_rest_s=1e9)
    assert sources.due_s({"haus"}) == now_s + MOST_ASKED_REST_S


def test_patience_follows_what_was_measured() -> None:
    sources = measured(haus=0.5)
    assert 0.5 <= sources.patience_s("haus", LEAF) < 1.5
    assert Sources(["new"]).patience_s("new", LEAF) > 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.sampled_from(["came", "lacked", "outrun", "failed", "lied"]),
            st.floats(0, 20),
            st.sampled_from([1, LEAF]),
        ),
        max_size=60,
    )
)
def test_whatever_happens_somebody_comes_back(steps: list[tuple[str, str, float, int]]) -> None:
    sources = Sources(NAMES)
    now_s = 0.0
    for name, what, took_s, size in steps:
        sources.asked(name)
        now_s += took_s
        match what:
            case "came":
                sources.came(name, size, took_s, now_s)
            case "lacked":
                sources.lacked(name, took_s, now_s)
            case "outrun":
                sources.outrun(name, size, took_s, now_s)
            case "failed":
                sources.failed(name, now_s, took_s * 100)
            case _:
                sources.lied(name, now_s)
        assert sources.patience_s(name, LEAF) > 0
    due_s = sources.due_s(ALL)
    assert due_s is not None
    assert due_s <= now_s + LIAR_S
    assert sources.pick(ALL, LEAF, max(now_s, due_s)) is not None
