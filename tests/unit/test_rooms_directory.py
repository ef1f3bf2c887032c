"""Rooms of others are heard of, whatever strangers and clocks do."""

from __future__ import annotations

import pytest
import trio
from support.content import NOW_MS
from support.peers import peer
from support.stage import Peer, Stage, Wall

from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.live import RoomState
from hausd.core.peers import PeerId, Verdict
from hausd.policy import newcomers
from hausd.rooms.directory import MAX_CARDS, Directory
from hausd.wire.cards import Card, sign_card

HONEST, LIAR = peer(1), peer(2)


def card(number: int, n: int = NOW_MS) -> bytes:
    """The card of a room with a key of its own."""
    key = SigningKey(number.to_bytes(32, "big"))
    room = key.public.open_room
    made = Card(room, n, NOW_MS, f"Room {number}", "", RoomState.LIVE)
    return sign_card(made, key).encoded


def told(directory: Directory, by: PeerId, numbers: range, n: int = NOW_MS) -> int:
    """How many of these rooms' cards are passed on."""
    return sum(directory.judge(by, card(number, n)) is Verdict.ACCEPT for number in numbers)


def known(directory: Directory) -> set[str]:
    return {one.title for one in directory.cards()}


async def test_fresh_keys_without_end_push_out_no_honest_room(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage() as stage:
        directory = Directory((await stage.node("one")).rooms, Wall())
        honest, flood = range(1, 101), 10_000
        assert told(directory, HONEST, honest) == 100
        passed = 0
        for second in range(30):
            passed += told(directory, LIAR, range(flood, flood + 40))
            flood += 40
            await trio.sleep(1)
            if second % 20 == 19:
                told(directory, HONEST, honest, NOW_MS + second)
        assert passed <= newcomers.AT_ONCE + 30 * newcomers.PER_S
        assert {f"Room {number}" for number in honest} <= known(directory)
        # and were each flood let in as a whole: it pushes out its own
        monkeypatch.setattr(newcomers, "AT_ONCE", 10_000.0)
        other = Directory((await stage.node("other")).rooms, Wall())
        told(other, HONEST, honest)
        told(other, LIAR, range(20_000, 20_000 + 2 * MAX_CARDS))
        assert len(known(other)) == MAX_CARDS
        assert {f"Room {number}" for number in honest} <= known(other)


async def test_a_clock_that_goes_back_silences_no_room_and_neither_does_a_restart_then(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Clock:
        now = NOW_MS

        def now_ms(self) -> int:
            return self.now

    async with Stage() as stage:
        origin, other = await stage.node("origin"), await stage.node("other")
        room = RoomId((await origin.rooms.create("A room")).id)
        hears = Directory(other.rooms, Wall())

        def tells(one: Peer) -> Verdict:
            encoded = Directory(one.rooms, clock).card_of(room)
            assert encoded is not None
            return hears.judge(HONEST, encoded)

        clock = Clock()
        assert tells(origin) is Verdict.ACCEPT
        clock.now -= 3_600_000
        assert tells(origin) is Verdict.ACCEPT
        assert tells(origin) is Verdict.ACCEPT
        await trio.sleep(1)
        stage.kill("origin")
        await trio.sleep(1)
        origin = await stage.node("origin")
        assert tells(origin) is Verdict.ACCEPT
