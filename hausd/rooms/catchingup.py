"""Gets ticks that gossip did not bring from whoever has them; past a deadline goes on without."""

from __future__ import annotations

import trio

from hausd.core.following import Ask
from hausd.core.ids import RoomId
from hausd.rooms.follower import Follower
from hausd.rooms.ports import RoomSync
from hausd.wire.follow import TickChain

TICK_DEADLINE_S = 2.0
"""How long ticks wait for one that is missing before them."""
_ASK_AGAIN_S = 0.5
_RANGES = 16
"""Stretches of missing ticks that are asked for at a time."""


class CatchingUp:
    """One followed room's. ``run`` is its task."""

    def __init__(self, room: RoomId, sync: RoomSync, chain: TickChain, follower: Follower) -> None:
        self._room = room
        self._sync = sync
        self._chain = chain
        self._follower = follower
        self._missing = trio.Event()

    def missing(self) -> None:
        """Something is missing from now on."""
        self._missing.set()

    async def ask(self, recent: int = 0) -> None:
        """Asks others for what is missing, and for so many of the newest ticks."""
        missing = tuple(self._chain.missing()[:_RANGES])
        told = await self._sync.ask(self._room, Ask(self._chain.session, missing, recent))
        if told is not None:
            self._follower.told(told)

    async def run(self) -> None:
        """Gets what is missing, until cancelled."""
        while True:
            await self._missing.wait()
            self._missing = trio.Event()
            place = (self._chain.session, self._chain.next)
            until_s = trio.current_time() + TICK_DEADLINE_S
            while self._chain.missing() and (self._chain.session, self._chain.next) == place:
                with trio.move_on_at(until_s):
                    await self.ask()
                    await trio.sleep(_ASK_AGAIN_S)
                if trio.current_time() >= until_s:
                    self._follower.skip()
            if self._chain.missing():
                self.missing()
            elif any(lane.waits_for_track for lane in self._follower.lanes.values()):
                with trio.move_on_after(_ASK_AGAIN_S):
                    await self.ask()
                    await trio.sleep_forever()
                self.missing()
