"""A follower puts ticks in order, knows what it lacks, and notices an origin that lies."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from support.authority import Authority
from support.content import KEY, NOW_MS, ROOM, SESSION

from hausd.core.ids import SessionId
from hausd.core.live import RoomState
from hausd.wire.announce import Signed, sign
from hausd.wire.follow import KEPT, MAX_AHEAD, Fork, Held, InOrder, SignedTick, Stale, TickChain
from hausd.wire.statements import End, Tick


def ticks(count: int, session: SessionId = SESSION, at_ms: int = NOW_MS) -> list[Signed[Tick]]:
    authority = Authority(ROOM, session, KEY)
    return [authority.tick(at_ms + n * 400) for n in range(count)]


MADE = ticks(KEPT + MAX_AHEAD + 200)


def given_out(chain: TickChain, heard: list[SignedTick]) -> list[int]:
    found: list[int] = []
    for one in heard:
        outcome = chain.accept(one)
        assert not isinstance(outcome, Fork)
        if isinstance(outcome, InOrder):
            found += [tick.statement.n for tick in outcome.ticks]
    return found


@given(st.randoms(use_true_random=False), st.integers(1, 60), st.integers(0, 20))
def test_ticks_come_out_in_order_once_each_whatever_the_network_does(
    random: Random, count: int, spread: int
) -> None:
    late = sorted(range(1, count), key=lambda n: n + random.uniform(0, spread))
    heard = [MADE[0], *(MADE[n] for n in late for _ in range(random.choice([1, 1, 2])))]
    assert given_out(TickChain(), list(heard)) == list(range(count))


def test_what_is_missing_is_named_and_can_be_given_up() -> None:
    chain = TickChain()
    assert chain.accept(MADE[5]) == InOrder((MADE[5],)), "one begins where one joins"
    assert chain.missing() == []
    assert chain.accept(MADE[8]) == Held()
    assert chain.accept(MADE[9]) == Held()
    assert chain.accept(MADE[12]) == Held()
    assert chain.missing() == [range(6, 8), range(10, 12)]
    assert chain.accept(MADE[7]) == Held()
    assert chain.missing() == [range(6, 7), range(10, 12)]
    assert chain.skip() == InOrder((MADE[7], MADE[8], MADE[9]), lost=1)
    assert chain.accept(MADE[6]) == Stale()
    assert chain.accept(MADE[10]) == InOrder((MADE[10],))
    assert chain.skip() == InOrder((MADE[12],), lost=1)
    assert chain.skip() == Stale()
    assert chain.next == 13


def test_a_hole_too_long_is_not_waited_for() -> None:
    chain = TickChain()
    chain.accept(MADE[0])
    assert chain.accept(MADE[2]) == Held()
    assert chain.accept(MADE[MAX_AHEAD + 1]) == Held()
    far = MADE[MAX_AHEAD + 3]
    assert chain.accept(far) == InOrder((MADE[2],), lost=1)
    assert chain.accept(MADE[300]) == InOrder(
        (MADE[MAX_AHEAD + 1], far, MADE[300]), lost=300 - 3 - 2
    )


def test_memory_is_bounded_and_what_is_kept_helps_others() -> None:
    chain = TickChain()
    for one in MADE:
        chain.accept(one)
    newest = len(MADE) - 1
    assert chain.recent(0, newest) == MADE[-KEPT:]
    assert chain.recent(newest - 2, newest + 5) == MADE[-3:]
    assert MADE[-1].digest in chain
    assert MADE[0].digest not in chain
    assert "x" not in chain


def test_a_new_session_takes_over_from_its_first_tick_on() -> None:
    chain = TickChain()
    chain.accept(MADE[3])
    later = ticks(3, replace(SESSION, counter=SESSION.counter + 1), NOW_MS - 10**6)
    assert chain.accept(later[1]) == Held()
    assert chain.missing() == [range(1)]
    assert chain.accept(MADE[4]) == Stale()
    assert chain.accept(later[0]) == InOrder((later[0], later[1]))
    assert chain.session == later[0].statement.session


def test_an_origin_restored_from_a_backup_is_followed_again() -> None:
    """It counts the session as the one before it did, with another nonce and a later clock."""
    chain = TickChain()
    chain.accept(MADE[3])
    again = ticks(1, replace(SESSION, nonce=1), NOW_MS + 10**6)
    assert chain.accept(again[0]) == InOrder((again[0],))
    assert chain.accept(MADE[4]) == Stale()


def test_after_the_end_comes_nothing() -> None:
    authority = Authority(ROOM, SESSION, KEY)
    first = authority.tick(NOW_MS)
    end = authority.end(NOW_MS, RoomState.ENDED)
    chain = TickChain()
    assert chain.accept(end) == InOrder((end,)), "who joins after the end learns of it"
    assert chain.ended
    chain = TickChain()
    chain.accept(first)
    assert not chain.ended
    chain.accept(end)
    assert chain.ended
    beyond = sign(Tick(ROOM, SESSION, 2, end.digest, NOW_MS), KEY)
    assert chain.accept(beyond) == Fork(end, beyond)
    assert chain.accept(sign(Tick(ROOM, SESSION, 9, bytes(32), NOW_MS), KEY)) == Stale()


def test_two_ticks_for_one_place_are_evidence() -> None:
    other = sign(replace(MADE[5].statement, time_ms=1), KEY)
    chain = TickChain()
    given_out(chain, list(MADE[4:7]))
    assert chain.accept(other) == Fork(MADE[5], other)
    assert chain.accept(MADE[5]) == Stale()
    assert chain.accept(MADE[7]) == InOrder((MADE[7],)), "the first one heard is followed"
    ahead = sign(replace(MADE[20].statement, time_ms=1), KEY)
    assert chain.accept(MADE[20]) == Held()
    assert chain.accept(ahead) == Fork(MADE[20], ahead)


def test_a_tick_upon_another_past_is_evidence() -> None:
    upon_another = sign(replace(MADE[6].statement, before=bytes(32)), KEY)
    chain = TickChain()
    chain.accept(MADE[5])
    assert chain.accept(upon_another) == Fork(MADE[5], upon_another)
    chain = TickChain()
    chain.accept(MADE[4])
    chain.accept(upon_another)
    assert chain.accept(MADE[5]) == Fork(upon_another, MADE[5])
    ended = sign(End(ROOM, SESSION, 6, bytes(32), NOW_MS, RoomState.ENDED), KEY)
    chain = TickChain()
    chain.accept(MADE[5])
    assert chain.accept(ended) == Fork(MADE[5], ended)
