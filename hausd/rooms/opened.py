"""Clear bytes of gated rooms that are kept in memory: what was asked for lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from hausd.core.cid import CID
from hausd.core.ids import RoomId
from hausd.rooms.flowing import Buffers

MAX_OPENED_BYTES = 32 * 1024 * 1024
"""Clear bytes kept, of all rooms of a node: some 40 s at 6 Mbit/s."""
_AT_ONCE = 8
_MAX_ASKED = 256

Clear = tuple[bytes, ...]
"""Clear bytes, leaf by leaf."""


class Opened:
    """The clear bytes that were asked for last, by the CID of what they were sealed in.

    ``slots``: what is opened from disk at a time takes memory, and one is opened for all who ask.
    """

    def __init__(self, max_bytes: int = MAX_OPENED_BYTES) -> None:
        self.slots = trio.Semaphore(_AT_ONCE)
        self.buffers = Buffers()
        self._max_bytes = max_bytes
        self._held: OrderedDict[tuple[RoomId, CID], Clear] = OrderedDict()
        self._bytes = 0
        self._opening: dict[tuple[RoomId, CID], trio.Lock] = {}
        self._asked: OrderedDict[tuple[RoomId, CID], None] = OrderedDict()

    def get(self, room: RoomId, cid: CID) -> Clear | None:
        """What was opened, if it is still here."""
        found = self._held.get((room, cid))
        if found is not None:
            self._held.move_to_end((room, cid))
        return found

    def keeps(self, room: RoomId, cid: CID, size: int) -> bool:
        """Whether so much is to be kept: somebody asked for the same lately, and may again.

        Else whoever goes through a recording alone would push out what many ask for.
        """
        if size > self._max_bytes:
            return False
        again = (room, cid) in self._asked
        self._asked[room, cid] = None
        self._asked.move_to_end((room, cid))
        if len(self._asked) > _MAX_ASKED:
            self._asked.popitem(last=False)
        return again

    @asynccontextmanager
    async def alone(self, room: RoomId, cid: CID) -> AsyncIterator[None]:
        """One opens, and the others of the same wait for it."""
        lock = self._opening.setdefault((room, cid), trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._opening.pop((room, cid), None)

    def put(self, room: RoomId, cid: CID, clear: Clear) -> None:
        """Keeps clear bytes until others need their place."""
        self._bytes += size_of(clear) - size_of(self._held.pop((room, cid), ()))
        self._held[room, cid] = clear
        while self._bytes > self._max_bytes:
            self._bytes -= size_of(self._held.popitem(last=False)[1])


def size_of(clear: Clear) -> int:
    """In bytes."""
    return sum(map(len, clear))
