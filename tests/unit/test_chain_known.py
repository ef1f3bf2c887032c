"""What rooms know of their events: who is told of a change, and what is read first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import trio
from solders.keypair import Keypair
from structlog.testing import capture_logs
from support.eventchain import EVENT, GENESIS
from trio.testing import MockClock

from hausd.chain import known as known_of
from hausd.chain.known import MAX_WANTED, KnownEvents
from hausd.core.errors import Problem
from hausd.core.event_shapes import ChainStatusShape
from hausd.core.events import EventState, RoomEvent
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.keyholding import _Events
from hausd.onchain import OnChain

KEY = SigningKey(bytes(range(1, 33))).public
OTHER = RoomId(str(Keypair.from_seed(bytes(range(1, 33))).pubkey()))
SHOW = RoomEvent(EVENT, GENESIS, 10, EventState.OPEN, "A show", "the artist", KEY, 10, 0, 0)


class ScriptedChain:
    """All that is asked of a chain here. Each read takes ``takes_s``."""

    def __init__(self) -> None:
        self.events = {EVENT: SHOW}
        self.takes_s = 0.1
        self.asked: list[RoomId] = []

    async def room_event(self, room: RoomId) -> RoomEvent:
        self.asked.append(room)
        await trio.sleep(self.takes_s)
        if room not in self.events:
            raise Problem("no-such-event", f"the chain has no event {room}", status=404)
        return self.events[room]

    def status(self) -> ChainStatusShape:
        return ChainStatusShape(url="", embedded=False, genesis="", slot=100, lag=0, endpoints=[])

    def doubt(self) -> str:
        return ""


@asynccontextmanager
async def reading(chain: ScriptedChain) -> AsyncIterator[KnownEvents]:
    async with trio.open_nursery() as nursery:
        known = KnownEvents(chain)  # type: ignore[arg-type] # all that it asks of a chain
        nursery.start_soon(known.run)
        yield known
        nursery.cancel_scope.cancel()


async def test_a_change_that_can_not_be_written_down_is_told_again_until_it_is(
    autojump_clock: MockClock,
) -> None:
    chain, told, full = ScriptedChain(), list[RoomEvent](), True

    async def write_down(event: RoomEvent) -> None:
        told.append(event)
        if full:
            raise OSError(28, "No space left on device")

    with capture_logs() as logs:
        async with reading(chain) as known:
            known.changed = write_down
            for times in range(1, 4):
                assert known.expect(EVENT)
                await trio.sleep(1)
                assert len(told) == times
            assert known.known(EVENT) == SHOW
            full = False
            for _ in range(3):
                assert known.expect(EVENT)
                await trio.sleep(1)
            assert len(told) == 4, "what was told is not told again"
            chain.events[EVENT] = later = replace(SHOW, slot=20, state=EventState.LIVE)
            assert known.expect(EVENT)
            await trio.sleep(1)
            assert told[4:] == [later]
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["event-not-taken"]


def strangers(count: int) -> list[RoomId]:
    """Events that somebody names."""
    return [SigningKey(n.to_bytes(32, "big")).public.open_room for n in range(count)]


async def test_what_strangers_name_does_not_hold_up_the_events_of_own_rooms(
    autojump_clock: MockClock,
) -> None:
    chain = ScriptedChain()
    chain.takes_s = 5.0
    async with reading(chain) as known:
        for room in strangers(2 * MAX_WANTED):
            known.want(room)
        assert known.expect(EVENT)
        await trio.sleep(6)
        assert known.known(EVENT) == SHOW
        assert len(chain.asked) <= 8


async def test_what_waits_among_others_is_read_at_once_where_a_room_of_it_is_here(
    autojump_clock: MockClock,
) -> None:
    chain = ScriptedChain()
    chain.takes_s = 5.0
    async with reading(chain) as known:
        for room in strangers(MAX_WANTED - 1):
            known.want(room)
        known.want(EVENT)
        known.want(EVENT, own=True)
        await trio.sleep(6)
        assert known.known(EVENT) == SHOW


async def test_what_can_not_wait_is_not_taken_for_read(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that could not be put among what waits is wanted again with the next look."""
    chain = ScriptedChain()
    monkeypatch.setattr(known_of, "MAX_KNOWN", 1)
    events = [RoomId(str(Keypair.from_seed(bytes([n]) * 32).pubkey())) for n in range(1, 4)]
    chain.takes_s = 0.5
    for room in events:
        chain.events[room] = replace(SHOW, room=room)
    async with reading(chain) as known:
        here = SimpleNamespace(
            origins=lambda: [SimpleNamespace(id=room, event=None) for room in events],
            followed=list,
        )
        onchain = OnChain(here, chain, known, 1, ())  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(onchain._keep_reading)
            await trio.sleep(4.5)  # sooner than an event is read again
            nursery.cancel_scope.cancel()
    assert set(chain.asked) == set(events)


async def test_a_question_for_a_key_has_nothing_read_of_rooms_that_are_not_here(
    autojump_clock: MockClock,
) -> None:
    chain = ScriptedChain()
    async with reading(chain) as known:
        nodes = SimpleNamespace(
            rooms=SimpleNamespace(get=lambda room: None),
            ring=SimpleNamespace(has_of=lambda room: room == EVENT),
        )
        events = _Events(nodes, SimpleNamespace(known=known))  # type: ignore[arg-type]
        chain.events[OTHER] = replace(SHOW, room=OTHER)
        for room in (OTHER, EVENT):
            assert events.event(room) is None
        await trio.sleep(1)
        assert chain.asked == [EVENT], "a key of it is here"
