"""What is to be written to a peer's stream, for those who must not wait for it."""

from __future__ import annotations

from collections import deque

import trio

from hausd.core.peers import PeerStream


class Outbox:
    """Pieces in order. Bounded by the protocol: a peer has only so many blocks open on a stream."""

    def __init__(self) -> None:
        self._pieces: deque[bytes | memoryview] = deque()
        self._wake = trio.Event()

    def write(self, *pieces: bytes | memoryview) -> None:
        """Queues pieces; empty ones are left out."""
        self._pieces.extend(piece for piece in pieces if piece)
        self._wake.set()

    async def run(self, stream: PeerStream) -> None:
        """Sends what is queued until cancelled. Raises StreamBroken."""
        while True:
            while self._pieces:
                await stream.send_all(self._pieces.popleft())
            self._wake = trio.Event()
            await self._wake.wait()
