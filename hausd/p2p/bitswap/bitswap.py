"""Both sides of Bitswap: every stream may carry wants and blocks at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from hausd.core.following import Providers
from hausd.core.peers import PeerId, PeerStream
from hausd.p2p import metrics
from hausd.p2p.bitswap.asking import Asking
from hausd.p2p.bitswap.giving import Giving
from hausd.p2p.bitswap.ports import BlockReader, Upload
from hausd.p2p.host import Host
from hausd.wire.bitswap import MAX_MESSAGE_BYTES, PROTOCOLS, BitswapFault, MessageReader

_IDLE_S = 60.0
"""A stream on which nothing comes for so long is closed; who wants more opens another."""
_HELD_BYTES = 2 * MAX_MESSAGE_BYTES
"""Of messages that one peer has begun, on all of its streams together."""


class Bitswap:
    """``source`` is where this node gets blocks from; ``serve`` handles the protocols' streams."""

    def __init__(self, giving: Giving, asking: Asking) -> None:
        self.source = asking
        self._giving = giving
        self._held: dict[PeerId, _Held] = {}
        self._closed = False

    def close(self) -> None:
        """Takes no more streams; who waits for a block gets none."""
        self._closed = True
        self.source.close()

    async def connected(self, peer: PeerId) -> None:
        """It may have what is sought now."""
        await trio.lowlevel.checkpoint()
        self.source.came(peer)

    async def disconnected(self, peer: PeerId) -> None:
        """Forgets what was said on that connection."""
        await trio.lowlevel.checkpoint()
        self._giving.gone(peer)
        self.source.gone(peer)

    async def serve(self, stream: PeerStream) -> None:
        """Reads a peer's messages until it closes the stream."""
        if self._closed:
            stream.reset()
            return
        held = self._held.setdefault(stream.peer, _Held())
        held.streams += 1
        try:
            await self._read(stream, held)
        except BitswapFault:
            metrics.STREAMS_REFUSED.labels("protocol").inc()
            stream.reset()
        finally:
            held.streams -= 1
            if not held.streams:
                self._held.pop(stream.peer, None)

    async def _read(self, stream: PeerStream, held: _Held) -> None:
        reader = MessageReader()
        reserved = 0
        try:
            while True:
                with trio.move_on_after(_IDLE_S) as idle:
                    data = await stream.receive_some()
                if idle.cancelled_caught:
                    return
                if not data:
                    reader.finish()
                    return
                self.source.heard_bytes(stream.peer)
                for message in reader.feed(data):
                    self._giving.wanted(stream.peer, message)
                    self.source.heard(stream.peer, message)
                announced = reader.announced_bytes or 0
                if announced != reserved:
                    held.free(reserved)
                    reserved = 0
                    # not read on until the peer's other messages have come to an end
                    await held.reserve(announced)
                    reserved = announced
        finally:
            held.free(reserved)


class _Held:
    """How much of one peer's unfinished messages is in memory."""

    def __init__(self) -> None:
        self.streams = 0
        self._bytes = 0
        self._freed = trio.Event()

    async def reserve(self, size_bytes: int) -> None:
        while self._bytes and self._bytes + size_bytes > _HELD_BYTES:
            await self._freed.wait()
        self._bytes += size_bytes

    def free(self, size_bytes: int) -> None:
        self._bytes -= size_bytes
        self._freed.set()
        self._freed = trio.Event()


@asynccontextmanager
async def open_bitswap(
    host: Host, blocks: BlockReader, upload: Upload, providers: Providers | None = None
) -> AsyncIterator[Bitswap]:
    """Gives and asks until the context is left. ``providers``: who says who else has a block."""
    async with trio.open_nursery() as nursery:
        bitswap = Bitswap(Giving(host, blocks, upload, nursery), Asking(host, providers, nursery))
        host.watch(bitswap)
        for protocol in PROTOCOLS:
            host.handle(protocol, bitswap.serve)
        nursery.start_soon(bitswap.source.run)
        try:
            yield bitswap
        finally:
            bitswap.close()
            nursery.cancel_scope.cancel()
