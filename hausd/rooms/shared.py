"""The rooms as other nodes may have them."""

from __future__ import annotations

from collections.abc import Callable

from hausd.core.cid import CID
from hausd.core.following import Ask, Told
from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.rooms.manager import Rooms
from hausd.rooms.origin_room import OriginRoom
from hausd.rooms.room import Room


class SharedRoom:
    """One room. Implements ``p2p.exchange.ports.SharedRoom``."""

    def __init__(self, room: Room, cards: SharedRooms) -> None:
        self._room = room
        self._cards = cards

    @property
    def state(self) -> RoomState:
        return self._room.state

    @property
    def is_origin(self) -> bool:
        return isinstance(self._room, OriginRoom)

    @property
    def premium(self) -> bool:
        return self._room.premium

    @property
    def most_bytes_per_s(self) -> float | None:
        return self._room.most_bytes_per_s

    @property
    def copy_bytes_per_s(self) -> float:
        return self._room.rate_bps / 8

    @property
    def card(self) -> bytes | None:
        return self._cards.card_of(self._room.id)

    def tell(self, ask: Ask) -> Told:
        return self._room.tell(ask)

    async def leaf(self, cid: CID, *, may_wait: bool) -> bytes | memoryview | None:
        return await self._room.leaves.get(cid, may_wait=may_wait)


class SharedRooms:
    """All of them. Implements ``p2p.exchange.ports.Shared``; empty until ``rooms`` is set."""

    def __init__(self) -> None:
        self.rooms: Rooms | None = None
        self.card_of: Callable[[RoomId], bytes | None] = lambda room: None
        self._shared: dict[RoomId, SharedRoom] = {}

    def shared(self, room: RoomId) -> SharedRoom | None:
        found = self.rooms.get(room) if self.rooms is not None else None
        if found is None:
            self._shared.pop(room, None)
            return None
        shared = self._shared.get(room)
        if shared is None or shared._room is not found:
            shared = self._shared[room] = SharedRoom(found, self)
        return shared
