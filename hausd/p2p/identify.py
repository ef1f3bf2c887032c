"""Peers tell each other where they can be dialled, and whether they live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog
import trio

from hausd import __version__
from hausd.core.keys import PublicKey
from hausd.core.peers import (
    Direction,
    Multiaddr,
    PeerId,
    PeerStream,
    PeerUnreachable,
    ProtocolRefused,
    StreamBroken,
)
from hausd.p2p.connection import Connection
from hausd.p2p.network import Network
from hausd.policy.reach import may_dial
from hausd.wire import identify as codec
from hausd.wire.multistream import lengthened

log = structlog.get_logger("hausd.p2p")

_ASK_S = 10.0
PING_PROTOCOL = "/ipfs/ping/1.0.0"
PING_BYTES = 32


class Identify:
    """Answers who asks, and asks who connects."""

    def __init__(
        self,
        network: Network,
        key: PublicKey,
        addresses: Callable[[], list[Multiaddr]],
        learned: Callable[[Connection], None],
    ) -> None:
        self._network = network
        self._key = key
        self._addresses = addresses
        self._learned = learned
        network.handle(codec.PROTOCOL, self._answer)
        network.handle(PING_PROTOCOL, answer_pings)
        network.watch(self)

    async def connected(self, peer: PeerId) -> None:
        """Asks; a peer that doesn't answer is one whose addresses we don't know."""
        connection = self._network.connection(peer)
        if connection is None:
            return
        if connection.direction is Direction.OUT:
            dialled = (connection.address, connection.seen_at)  # a name, and where it led
            connection.known_addresses = list(
                dict.fromkeys(replace(each, peer=peer).multiaddr for each in dialled)
            )
            self._learned(connection)
        try:
            with trio.move_on_after(_ASK_S):
                stream, _ = await self._network.open_stream(peer, codec.PROTOCOL)
                told = codec.decode(_body(await _all(stream)))
                await stream.aclose()
                usable = [at for at in told.addresses if may_dial(at, peer, connection.reach)]
                known = connection.known_addresses
                known += [
                    address
                    for at in usable
                    if (address := replace(at, peer=peer).multiaddr) not in known
                ]
                del known[codec.MAX_ADDRESSES :]
        except (PeerUnreachable, ProtocolRefused, StreamBroken, codec.IdentifyFault) as error:
            log.debug("not-identified", peer=peer, because=str(error))
        else:
            self._learned(connection)

    async def disconnected(self, peer: PeerId) -> None:
        await trio.lowlevel.checkpoint()

    async def _answer(self, stream: PeerStream) -> None:
        connection = self._network.connection(stream.peer)
        if connection is None:
            return
        await stream.send_all(
            lengthened(
                codec.encode(
                    self._key,
                    self._addresses(),
                    self._network.protocols(),
                    connection.address,
                    f"hausd/{__version__}",
                )
            )
        )


async def answer_pings(stream: PeerStream) -> None:
    """Sends back what comes. We ping by yamux ourselves; others do it this way."""
    while ping := await stream.receive_some(PING_BYTES):
        await stream.send_all(ping)


async def _all(stream: PeerStream) -> bytes:
    received = bytearray()
    while more := await stream.receive_some():
        received += more
        if len(received) > codec.MAX_BYTES:
            raise codec.IdentifyFault("it tells too much")
    return bytes(received)


def _body(untrusted: bytes) -> bytes:
    length = 0
    for index, byte in enumerate(untrusted[:4]):
        length |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            body = untrusted[index + 1 :]
            if len(body) < length:
                break
            return body[:length]
    raise codec.IdentifyFault("it ended too early")
