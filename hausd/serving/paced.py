"""Sends that a client has to take in time."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Paced(trio.abc.Stream):
    """A transport whose sends must make progress.

    hypercorn sends shielded from every cancellation: who reads nothing would hold it for good.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        seconds: float,
        piece_bytes: int,
        too_slow: Callable[[], None],
    ) -> None:
        """``too_slow`` is called for a client that does not take ``piece_bytes`` in this time."""
        self._stream = stream
        self._seconds = seconds
        self._piece_bytes = piece_bytes
        self._too_slow = too_slow
        self.socket = stream.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view, piece = memoryview(data), self._piece_bytes
        for at in range(0, len(view), piece):
            with trio.move_on_after(self._seconds) as scope:
                await self._stream.send_all(view[at : at + piece])
            if scope.cancelled_caught:
                self._too_slow()
                await trio.aclose_forcefully(self._stream)
                raise trio.BrokenResourceError("the client takes nothing")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def cut_off(streams: set[trio.SocketStream]) -> None:
    """Ends whatever still waits on these, shielded or not."""
    for stream in streams:
        stream.socket.close()
