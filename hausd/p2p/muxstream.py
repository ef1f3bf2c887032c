"""One stream of a connection, as its reader and its writer see it."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import trio

from hausd.core.peers import PeerId, StreamBroken

_GATHER_BYTES = 4096
_TURN_BYTES = 256 * 1024


class Carrier(Protocol):
    """The connection of a stream, which it names by its number; ``mux.Mux`` is one."""

    @property
    def peer(self) -> PeerId: ...

    def room(self, number: int) -> int:
        """How many bytes may be sent before the peer has read."""

    async def send_data(self, number: int, payload: deque[memoryview]) -> None:
        """Sends as much as there is room for, a few frames at most; takes it from ``payload``."""

    def send_end(self, number: int) -> None:
        """Behind the data: nothing more will be sent."""

    def consumed(self, number: int, count: int, *, widen: bool = False) -> None:
        """So many bytes were read here; ``widen``: their reader had to wait for them."""

    def reset(self, number: int) -> None:
        """The stream is given up, both ways."""

    def forget(self, number: int) -> None:
        """The stream is over, and nothing more of it is told."""


class MuxStream:
    """One stream. Its halves close separately; see ``core.peers.PeerStream``."""

    def __init__(self, carrier: Carrier, number: int) -> None:
        self._carrier = carrier
        self.number = number
        self._unread: deque[bytes | bytearray] = deque()
        self._ended = False
        self._closed = False
        self._sent_eof = False
        self._fault = ""
        self._readable = trio.Event()
        self._writable = trio.Event()
        self._sending = trio.Lock()
        self._reading = False
        self._taken = 0
        """Bytes that were read since others had their turn."""
        self.closed_s: float | None = None
        """When it was closed here."""

    @property
    def peer(self) -> PeerId:
        return self._carrier.peer

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        """At least one byte, at most ``max_bytes``; empty when the peer sends no more."""
        if max_bytes < 1:
            raise ValueError("max_bytes is at least 1")
        if self._reading:
            raise trio.BusyResourceError("another task reads this stream")
        self._reading = True
        waited = False
        try:
            if self._taken >= _TURN_BYTES or not self._unread:
                self._taken = 0
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.checkpoint_if_cancelled()
            while not self._unread:
                if self._fault:
                    raise StreamBroken(self._fault)
                if self._ended or self._closed:
                    return b""
                waited = True
                self._readable = trio.Event()
                await self._readable.wait()
        finally:
            self._reading = False
        if self._fault:
            raise StreamBroken(self._fault)
        data = bytes(self._unread.popleft())
        if len(data) > max_bytes:
            self._unread.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self._taken += len(data)
        # who had to wait for bytes gets a wider window: the network is the narrow place
        self._carrier.consumed(self.number, len(data), widen=waited)
        return data

    async def send_all(self, *data: bytes | bytearray | memoryview) -> None:
        """Sends it all, one after the other, waiting for the peer to read."""
        rest = deque(memoryview(one).cast("B") for one in data if one)
        async with self._sending:
            if self._sent_eof or self._closed:
                raise trio.ClosedResourceError("this stream's end was sent")
            while rest:
                room = self._carrier.room(self.number)
                if self._fault:
                    raise StreamBroken(self._fault)
                if not room:
                    self._writable = trio.Event()
                    await self._writable.wait()
                    continue
                await self._carrier.send_data(self.number, rest)
        if self._fault:
            raise StreamBroken(self._fault)

    async def send_eof(self) -> None:
        """Says that nothing more will be sent; receiving goes on."""
        async with self._sending:
            self._end()

    async def aclose(self) -> None:
        """Sends no more and reads no more; what was sent still arrives."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self._closed:
            return
        if self._sending.locked():
            self.reset()  # a task is in the midst of sending: there is no whole end to tell
            return
        self._end()
        self._closed = True
        self.closed_s = trio.current_time()
        unread = sum(map(len, self._unread))
        self._unread.clear()
        self._readable.set()
        if self._ended:
            self._carrier.forget(self.number)
        else:
            # what else comes is read and dropped, so the peer's end finds us
            self._carrier.consumed(self.number, unread)

    def reset(self) -> None:
        """Gives the stream up at once, both ways."""
        if not self._fault:
            self._carrier.reset(self.number)
            self.broke("it was reset here")

    # -- told by the connection --

    def received(self, data: bytes) -> None:
        if self._closed:
            self._carrier.consumed(self.number, len(data))
            return
        last = self._unread[-1] if self._unread else None
        if isinstance(last, bytearray) and len(last) < _GATHER_BYTES:
            last += data
        else:
            # bytes that come one by one are gathered: each alone would cost 50 times its size
            self._unread.append(data if len(data) >= _GATHER_BYTES else bytearray(data))
        self._readable.set()

    def ended(self) -> None:
        self._ended = True
        self._readable.set()
        if self._closed:
            self._carrier.forget(self.number)

    def widened(self) -> None:
        self._writable.set()

    def broke(self, fault: str) -> None:
        """Nothing more comes; unread bytes are dropped, as after a reset of TCP."""
        self._fault = self._fault or fault
        self._unread.clear()
        self._readable.set()
        self._writable.set()
        self._carrier.forget(self.number)

    def _end(self) -> None:
        if not self._sent_eof:
            self._sent_eof = True
            if not self._fault:
                self._carrier.send_end(self.number)
