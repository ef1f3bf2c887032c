"""The line in which all that this node uploads waits: one fair order, one budget.

``policy.sharing`` says in which order; whatever protocol a block leaves by, it waits here first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import trio

from hausd.policy.sharing import FairQueue, Pace

_FULL_S = 0.1
"""Until ``turn`` tries again to get into a line that is full."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    size_bytes: int
    send: Callable[[], bool]


@dataclass(slots=True, eq=False)
class _Turn:
    """Somebody who waits for a turn; ``left`` when it has no more use for it."""

    came: trio.Event = field(default_factory=trio.Event)
    left: bool = False

    def take(self) -> bool:
        self.came.set()
        return not self.left


class UploadLine:
    """``bytes_per_s`` of payload leave at most; 0: no limit. ``run`` hands out the turns."""

    def __init__(self, bytes_per_s: float) -> None:
        self._pace = Pace(bytes_per_s)
        self._queue: FairQueue[_Waiting] = FairQueue()
        self._queued = trio.Event()

    def put(self, flow: Hashable, weight: float, size_bytes: int, send: Callable[[], bool]) -> bool:
        """Has ``send`` called when it is this flow's turn; False where the line is full.

        ``send`` never waits; it says whether it sent the bytes, or had no more use for the turn.
        """
        if not self._queue.put(flow, weight, size_bytes, _Waiting(size_bytes, send)):
            return False
        self._queued.set()
        return True

    async def turn(self, flow: Hashable, weight: float, size_bytes: int) -> None:
        """Returns when so many bytes of this flow may be sent."""
        turn = _Turn()
        while not self.put(flow, weight, size_bytes, turn.take):
            await trio.sleep(_FULL_S)
        try:
            await turn.came.wait()
        finally:
            turn.left = not turn.came.is_set()

    async def run(self) -> None:
        """Calls whose turn it is, until cancelled."""
        while True:
            if not len(self._queue):
                self._queued = trio.Event()
                await self._queued.wait()
            # who comes while the budget is waited for may go before who was here
            wait_s = self._pace.wait_s(trio.current_time())
            if wait_s:
                await trio.sleep(wait_s)
            waiting = self._queue.pop()
            if waiting is not None and waiting.send():
                self._pace.sent(waiting.size_bytes, trio.current_time())
