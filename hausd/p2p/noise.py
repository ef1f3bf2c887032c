"""The noise handshake over a TCP stream. Whatever a stranger sends in it ends as one exception."""

from __future__ import annotations

import secrets

import trio

from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, StreamBroken
from hausd.p2p.channel import SecureChannel
from hausd.wire.noise import SECRET_BYTES, Credentials, Handshake, HandshakeFault


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


class Noise:
    """This node's half of handshakes."""

    def __init__(self, key: SigningKey) -> None:
        self._credentials = Credentials(key, secrets.token_bytes(SECRET_BYTES))

    async def secure(
        self, stream: trio.abc.Stream, expected: PeerId | None
    ) -> tuple[PeerId, SecureChannel]:
        """Both ends show their keys; ``expected`` is whom we dial, None where we were dialled.

        Raises HandshakeFailed. The caller sets the deadline and closes the stream.
        """
        raw = RawBytes(stream)
        handshake = Handshake(self._credentials, secrets.token_bytes(SECRET_BYTES), expected)
        try:
            if expected is not None:
                await _send(raw, handshake.opening())
            while not handshake.done:
                if answer := handshake.receive(await _message(raw)):
                    await _send(raw, answer)
        except (HandshakeFault, StreamBroken) as error:
            raise HandshakeFailed(f"the noise handshake failed: {error}") from error
        assert handshake.peer is not None
        return handshake.peer, SecureChannel(stream, handshake.cipher)


async def _send(raw: RawBytes, message: bytes) -> None:
    await raw.send_all(len(message).to_bytes(2, "big") + message)


async def _message(raw: RawBytes) -> bytes:
    """One message and no byte behind it."""
    return await _exactly(raw, int.from_bytes(await _exactly(raw, 2), "big"))


async def _exactly(raw: RawBytes, wanted: int) -> bytes:
    read = bytearray()
    while len(read) < wanted:
        received = await raw.receive_some(wanted - len(read))
        if not received:
            raise StreamBroken("it ended during the handshake")
        read += received
    return bytes(read)
