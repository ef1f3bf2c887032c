"""Whose turn it is to fetch what is not live: all rooms share the node's line, by weight.

So a room that has hours to fetch does not hold up the next one, and premium rooms have more of
the line, never all of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from hausd.core.ids import RoomId
from hausd.policy.sharing import FairQueue

AT_ONCE = 64
"""Blocks on their way at a time, all rooms together: 8 MiB."""
_MOST_WAITING = 1 << 17
"""Every room may have its 32 in it, and none comes near its quarter."""


@dataclass(slots=True, eq=False)
class _Waiting:
    called: trio.Event = field(default_factory=trio.Event)
    gone: bool = False


class Turns:
    """One for all rooms of a node."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = at_once
        self._queue: FairQueue[_Waiting] = FairQueue(_MOST_WAITING)

    @asynccontextmanager
    async def turn(self, room: RoomId, weight: float, size_bytes: int) -> AsyncIterator[None]:
        """Waits for the room's turn to fetch a block of at most this size, and has it meanwhile."""
        await self._wait(room, weight, size_bytes)
        try:
            yield
        finally:
            self._free += 1
            self._call()

    async def _wait(self, room: RoomId, weight: float, size_bytes: int) -> None:
        waiting = _Waiting()
        if not self._queue.put(room, weight, size_bytes, waiting):
            raise RuntimeError("more waits for its turn than all rooms together can ask for")
        self._call()
        try:
            await waiting.called.wait()
        except trio.Cancelled:
            waiting.gone = True
            if waiting.called.is_set():  # called and cancelled in one moment
                self._free += 1
                self._call()
            raise

    def _call(self) -> None:
        while self._free:
            waiting = self._queue.pop()
            if waiting is None:
                return
            if not waiting.gone:
                self._free -= 1
                waiting.called.set()
