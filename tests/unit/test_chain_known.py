"""What rooms know of their events: who is told of a change, and what is read first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio
from structlog.testing import capture_logs
from support.eventchain import EVENT, GENESIS
from trio.testing import MockClock

from hausd.chain.known import KnownEvents
from hausd.core.errors import Problem
from hausd.core.event_shapes import ChainStatusShape
from hausd.core.events import EventState, RoomEvent
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey

KEY = SigningKey(bytes(range(1, 33))).public
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
                known.want(EVENT, expected=True)
                await trio.sleep(1)
                assert len(told) == times
            assert known.known(EVENT) == SHOW
            full = False
            for _ in range(3):
                known.want(EVENT, expected=True)
                await trio.sleep(1)
            assert len(told) == 4, "what was told is not told again"
            chain.events[EVENT] = later = replace(SHOW, slot=20, state=EventState.LIVE)
            known.want(EVENT, expected=True)
            await trio.sleep(1)
            assert told[4:] == [later]
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["event-not-taken"]
