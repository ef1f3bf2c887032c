"""Seeking a block: whoever has it is found, no peer is asked without end, silence costs seconds."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from support.peers import peer

from hausd.core.peers import PeerId
from hausd.policy.estimates import Estimates
from hausd.policy.seeking import (
    GAVE_S,
    HAVE_S,
    MAX_ASKED,
    PROBE_EVERY,
    SILENT_S,
    AskBlock,
    AskHave,
    FindProviders,
    Givers,
    Lost,
    Seek,
    Step,
)

A, B, C = peer(1), peer(2), peer(3)


def seek(*peers: PeerId) -> Seek:
    return Seek(100_000, deque(peers))


def never(_: PeerId) -> float:
    return float("-inf")


def test_all_are_asked_who_has_it_and_the_first_that_does_for_the_block() -> None:
    one = seek(A, B, C)
    assert one.start(None, False, 0.0) == [AskHave((A, B, C))]
    assert one.has_not(A, 0.1) == []
    assert one.has(B, 0.2) == [AskBlock(B)]
    assert one.has(C, 0.3) == [], "kept for when the first fails"
    assert one.has_not(B, 0.4) == [AskBlock(C)]
    assert one.has_not(C, 0.5) == [FindProviders()]
    assert one.found_all(1.0) == [Lost()]


def test_who_gave_is_asked_at_once_and_the_others_only_where_it_has_it_not() -> None:
    one = seek(A, B)
    assert one.start(A, False, 0.0) == [AskBlock(A)]
    assert one.has_not(A, 0.1) == [AskHave((B,))]


def test_silence_moves_a_block_to_the_next_and_bytes_that_come_do_not() -> None:
    one = seek(A, B)
    one.start(None, False, 0.0)
    one.has(A, 0.0)
    one.has(B, 0.0)
    estimates = Estimates()
    late_s = SILENT_S + 0.1
    assert one.due(lambda peer: late_s - 1, estimates, late_s) == []
    assert one.due(never, estimates, late_s) == [AskBlock(B)]
    assert one.has_not(B, late_s) == [FindProviders()]
    assert one.found_all(late_s) == [], "the silent one may still answer"
    assert one.has_not(A, late_s) == [Lost()]


def test_providers_are_sought_while_some_have_not_answered() -> None:
    one = seek(A)
    one.start(None, False, 0.0)
    assert one.due(never, Estimates(), HAVE_S - 0.1) == []
    assert one.due(never, Estimates(), HAVE_S) == [FindProviders()]
    assert one.found(B, 2.0) == [AskBlock(B)]


def test_nobody_to_ask_is_known_at_once() -> None:
    one = seek()
    assert one.start(None, False, 0.0) == [FindProviders()]
    assert one.found_all(0.0) == [Lost()]


def test_a_peer_that_comes_is_asked_too() -> None:
    one = seek(A)
    one.start(None, False, 0.0)
    assert one.came(B, 0.1) == [AskHave((B,))]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["has", "has_not", "found", "found_all", "came", "due"]),
            st.integers(1, 8).map(peer),
            st.floats(0, 10),
        ),
        max_size=60,
    ),
    st.integers(0, 5),
    st.booleans(),
)
def test_whatever_peers_say_each_is_asked_for_the_block_a_bounded_number_of_times(
    said: list[tuple[str, PeerId, float]], count: int, warm: bool
) -> None:
    peers = [peer(number) for number in range(1, count + 1)]
    one = seek(*peers)
    now_s = 0.0
    asked: dict[PeerId, int] = {}
    came = dict.fromkeys(peers, 1)

    def take(steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, AskBlock):
                asked[step.peer] = asked.get(step.peer, 0) + 1
            if isinstance(step, AskHave):
                assert 0 < len(step.peers) <= MAX_ASKED

    take(one.start(peers[0] if warm and peers else None, False, now_s))
    for what, who, passes_s in said:
        now_s += passes_s
        match what:
            case "due":
                take(one.due(never, Estimates(), now_s))
            case "found_all":
                take(one.found_all(now_s))
            case _:
                came[who] = came.get(who, 1) + (what == "came")
                take(getattr(one, what)(who, now_s))
        assert len(one.open.keys() - one.late) <= 1, "one at a time is to send it"
    assert all(times <= came.get(who, 1) for who, times in asked.items())


def test_the_fastest_giver_is_asked_most_and_all_now_and_then() -> None:
    givers = Givers()
    for who, took_s in ((A, 0.1), (B, 1.0)):
        givers.gave(who, 0.0)
        givers.estimates.carried(who, 100_000, took_s, waited=False)
    load: dict[PeerId, int] = {}
    probes = 0
    for _ in range(10 * PROBE_EVERY):
        _, steps = givers.begin(100_000, [C, B, A], lambda who: load.get(who, 0), 1.0)
        first = steps[0]
        assert isinstance(first, AskBlock)
        load[first.peer] = load.get(first.peer, 0) + 1
        probes += len(steps) > 1
    assert load[A] > 5 * load[B] > 0
    assert probes == 10
    _, steps = givers.begin(100_000, [C, B, A], lambda who: 0, GAVE_S + 1)
    assert steps == [AskHave((C, B, A))], "what a peer gave long ago says nothing"
