"""The noise handshake of libp2p. Whatever a stranger sends in it ends as one exception."""

from __future__ import annotations

from typing import Any

import trio
from libp2p.abc import IRawConnection
from libp2p.connection_types import ConnectionType
from libp2p.crypto.ed25519 import Ed25519PublicKey
from libp2p.crypto.keys import KeyPair, KeyType, PrivateKey
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_pair
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport
from multiaddr import Multiaddr as StockMultiaddr

from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, StreamBroken, parse_peer_id
from hausd.p2p.channel import SecureChannel

PROTOCOL = "/noise"


class HandshakeFailed(Exception):
    """The other end could not show who it is; ``args[0]`` says how it failed."""


class RawBytes:
    """A TCP stream as negotiation sees it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise StreamBroken("the connection broke") from error

    async def send_all(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise StreamBroken("the connection broke") from error


class _Face(IRawConnection):
    """A TCP stream as the library's handshake sees it; never reads beyond what is asked for."""

    def __init__(self, raw: RawBytes, *, initiator: bool) -> None:
        self._raw = raw
        self.is_initiator = initiator

    async def read(self, n: int | None = None) -> bytes:
        wanted, read = n or 0, b""
        while len(read) < wanted:
            received = await self._raw.receive_some(wanted - len(read))
            if not received:
                raise StreamBroken("it ended during the handshake")
            read += received
        return read

    async def write(self, data: bytes) -> None:
        await self._raw.send_all(data)

    async def close(self) -> None:
        """Its owner closes the stream."""

    def get_remote_address(self) -> tuple[str, int] | None:
        return None

    def get_transport_addresses(self) -> list[StockMultiaddr]:
        return []

    def get_connection_type(self) -> ConnectionType:
        return ConnectionType.DIRECT


class Noise:
    """This node's half of handshakes."""

    def __init__(self, key: SigningKey) -> None:
        private = _NodeKey(key)
        pair = KeyPair(private, private.get_public_key())
        self._transport = Transport(pair, create_new_x25519_pair().private_key)

    async def secure(
        self, stream: trio.abc.Stream, expected: PeerId | None
    ) -> tuple[PeerId, SecureChannel]:
        """Both ends show their keys; ``expected`` is whom we dial, None where we were dialled.

        Raises HandshakeFailed. The caller sets the deadline and closes the stream.
        """
        face = _Face(RawBytes(stream), initiator=expected is not None)
        try:
            session: Any
            if expected is None:
                session = await self._transport.secure_inbound(face)
            else:
                wanted = ID.from_base58(expected)
                session = await self._transport.secure_outbound(face, wanted)
            peer = parse_peer_id(str(session.get_remote_peer()))
        except Exception as error:
            raise HandshakeFailed(f"the noise handshake failed: {type(error).__name__}") from error
        return peer, SecureChannel(stream, session.conn.noise_state)


class _NodeKey(PrivateKey):
    """The node's key as the library sees it: it signs, and never shows its seed."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def get_public_key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_bytes(self._key.public.raw)

    def get_type(self) -> KeyType:
        return KeyType.Ed25519

    def to_bytes(self) -> bytes:
        raise TypeError("a node's key is not handed out")
