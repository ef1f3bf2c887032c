"""What is to be written to a peer's stream, for those who must not wait for it."""

from __future__ import annotations

from collections import deque

import trio

from hausd.core.peers import PeerStream

_TOGETHER_BYTES = 264 * 1024
"""A block with its head, and some more."""


class Outbox:
    """Pieces in order. Whoever takes requests that are answered here waits for ``below`` first:
    a peer that does not read its answers is not listened to.
    """

    def __init__(self) -> None:
        self._pieces: deque[bytes | memoryview] = deque()
        self._wake = trio.Event()
        self._sent = trio.Event()

    def write(self, *pieces: bytes | memoryview) -> None:
        """Queues pieces; empty ones are left out."""
        self._pieces.extend(piece for piece in pieces if piece)
        self._wake.set()

    async def below(self, pieces: int) -> None:
        """Waits until fewer than so many are queued."""
        while len(self._pieces) >= pieces:
            await self._sent.wait()

    def _next(self) -> list[bytes | memoryview]:
        """A large piece with small ones around it: each alone costs some turns of the loop."""
        pieces = [self._pieces.popleft()]
        size = len(pieces[0])
        while self._pieces and size + len(self._pieces[0]) <= _TOGETHER_BYTES:
            pieces.append(self._pieces.popleft())
            size += len(pieces[-1])
        return pieces

    async def run(self, stream: PeerStream) -> None:
        """Sends what is queued until cancelled. Raises StreamBroken."""
        while True:
            while self._pieces:
                await stream.send_all(*self._next())
                self._sent.set()
                self._sent = trio.Event()
            self._wake = trio.Event()
            await self._wake.wait()
