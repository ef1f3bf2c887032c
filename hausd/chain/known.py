"""What rooms know of their events: read when wanted, kept a while, read anew.

Implements ``rooms.ports.Chain``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
import trio

from hausd.chain.service import ChainService
from hausd.core.errors import Problem
from hausd.core.events import RoomEvent
from hausd.core.ids import RoomId

MAX_KNOWN = 2_000
"""Events that are remembered; the least lately wanted is forgotten first."""
MAX_WANTED = 200
"""Events of strangers' rooms that wait to be read; what is wanted beyond is left out, and wanted
again later."""
FRESH_S = 30.0
"""How long what was read is good without being read anew."""
MISSING_S = 60.0
"""How long an event that was not found is not looked for again."""
_AT_ONCE, _OTHERS_AT_ONCE = 4, 2

T = TypeVar("T")
Changed = Callable[[RoomEvent], Awaitable[None]]
log = structlog.get_logger("hausd.chain")


@dataclass(slots=True)
class _Known:
    """An event as it was read at ``at_s``, and whether who is told of changes took it, or could
    not."""

    event: RoomEvent
    at_s: float
    told: bool = False
    refused: bool = False


class _Waiting:
    """Events that wait to be read, ``most`` at a time, and those that are being read."""

    def __init__(self, most: int) -> None:
        self._send, self._receive = trio.open_memory_channel[RoomId](most)
        self._rooms: set[RoomId] = set()

    def __contains__(self, room: RoomId) -> bool:
        return room in self._rooms

    def put(self, room: RoomId) -> bool:
        """Whether it waits; not where too many do."""
        if room not in self._rooms:
            try:
                self._send.send_nowait(room)
            except trio.WouldBlock:
                return False
            self._rooms.add(room)
        return True

    async def each(self, read: Callable[[RoomId], Awaitable[None]]) -> None:
        """Reads one after the other, until cancelled."""
        async for room in self._receive.clone():
            try:
                await read(room)
            finally:
                self._rooms.discard(room)


class KnownEvents:
    """Events by room. ``run`` reads what is wanted."""

    def __init__(self, chain: ChainService) -> None:
        self._chain = chain
        self._known: OrderedDict[RoomId, _Known] = OrderedDict()
        self._missing: OrderedDict[RoomId, float] = OrderedDict()
        # those of own rooms, of which there are fewer, wait for nothing that strangers name
        self._own, self._others = _Waiting(MAX_KNOWN), _Waiting(MAX_WANTED)
        self._faults: OrderedDict[RoomId, str] = OrderedDict()
        """Why an event could not be read when it was last tried."""
        self.changed: Changed | None = None
        """Called with each event that was read and differs from before. Where it raises OSError, it
        is called again when the event is read the next time."""

    def known(self, room: RoomId) -> RoomEvent | None:
        """What was read of an event lately; never waits. What grows old is read anew."""
        found = self._known.get(room)
        if found is None:
            return None
        self._known.move_to_end(room)
        if trio.current_time() - found.at_s > FRESH_S:
            self.want(room)
        return found.event

    def want(self, room: RoomId, *, own: bool = False) -> None:
        """Has an event read soon, if there is time; never waits. ``own``: this node has to do with
        its room, so that it does not wait for those of strangers."""
        if trio.current_time() >= self._missing.get(room, 0.0) and room not in self._own:
            (self._own if own else self._others).put(room)

    def expect(self, room: RoomId) -> bool:
        """Has an event read soon of which a room is here, also where it was not found lately, for
        the room may be older than it is. False where too many wait."""
        return self._own.put(room)

    def doubt(self, room: RoomId) -> str:
        """Why what is known of an event may be wrong by now, in words; empty where it is not."""
        return self._faults.get(room, "") or self._chain.doubt()

    async def look_up(self, room: RoomId) -> RoomEvent:
        """An event as it is now. Raises Problem."""
        try:
            event = await self._chain.room_event(room)
        except Problem as problem:
            self._faults[room] = problem.message
            _bound(self._faults)
            raise
        self._faults.pop(room, None)
        await self._keep(event)
        return event

    async def tell(self, room: RoomId) -> None:
        """Calls ``changed`` with what is known of an event, though it was called with it before."""
        known = self._known.get(room)
        if known is not None:
            await self._tell(known)

    async def run(self) -> None:
        """Reads what is wanted, a few at once."""
        async with trio.open_nursery() as nursery:
            for waiting, at_once in ((self._own, _AT_ONCE), (self._others, _OTHERS_AT_ONCE)):
                for _ in range(at_once):
                    nursery.start_soon(waiting.each, self._read)

    async def _read(self, room: RoomId) -> None:
        try:
            await self.look_up(room)
        except Problem as problem:
            if problem.code == "no-such-event":
                self._missing[room] = trio.current_time() + MISSING_S
                _bound(self._missing)
            log.info("event-not-read", room=room, because=problem.message)

    async def _keep(self, event: RoomEvent) -> None:
        before = self._known.get(event.room)
        if before is not None and event.slot < before.event.slot <= self._chain.status().slot:
            return  # an older answer came later
        known = _Known(event, trio.current_time())
        if before is not None:
            known.told, known.refused = before.told and before.event == event, before.refused
        self._known[event.room] = known
        self._known.move_to_end(event.room)
        self._missing.pop(event.room, None)
        _bound(self._known)
        if not known.told:
            await self._tell(known)

    async def _tell(self, known: _Known) -> None:
        if self.changed is None:
            return
        try:
            await self.changed(known.event)
        except OSError as fault:
            if not known.refused:
                because = fault.strerror or str(fault)
                log.error("event-not-taken", room=known.event.room, because=because)
            known.told, known.refused = False, True
        else:
            known.told, known.refused = True, False


def _bound(kept: OrderedDict[RoomId, T]) -> None:
    while len(kept) > MAX_KNOWN:
        kept.popitem(last=False)
