"""A chain of events that a test writes itself, for rooms to look up."""

from __future__ import annotations

from dataclasses import replace

from hausd.core.cid import CID
from hausd.core.errors import Problem
from hausd.core.events import EventState, RoomEvent
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey

GENESIS = bytes(range(32))
EVENT = RoomId("4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM")


class EventChain:
    """Implements ``rooms.ports.Chain``. ``reachable`` False: it does not answer."""

    nonsense = CID.of(b"no manifest")

    def __init__(self) -> None:
        self.events: dict[RoomId, RoomEvent] = {}
        self.wanted: list[RoomId] = []
        self.reachable = True
        self._known: dict[RoomId, RoomEvent] = {}

    def has(self, room: RoomId, key: SigningKey, slot: int = 10, **more: object) -> RoomEvent:
        event = RoomEvent(
            room, GENESIS, slot, EventState.OPEN, "A show", "the artist", key.public, slot, 0, 0
        )
        self.events[room] = replace(event, **more)  # type: ignore[arg-type]
        return self.events[room]

    def known(self, room: RoomId) -> RoomEvent | None:
        return self._known.get(room)

    def want(self, room: RoomId, *, own: bool = False) -> None:
        self.wanted.append(room)
        if room in self.events:
            self._known[room] = self.events[room]

    def doubt(self, room: RoomId) -> str:
        return "" if self.reachable else "the chain does not answer"

    async def look_up(self, room: RoomId) -> RoomEvent:
        if not self.reachable:
            raise Problem("chain-unreachable", "the chain does not answer", status=503)
        event = self.events.get(room)
        if event is None:
            raise Problem("no-such-event", f"the chain has no event {room}", status=404)
        self._known[room] = event
        return event

    def forget(self) -> None:
        """What was read is not at hand any more."""
        self._known.clear()
