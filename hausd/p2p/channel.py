"""A connection's bytes once noise has secured it: whole messages, encrypted one by one."""

from __future__ import annotations

import trio
from noise.exceptions import NoiseInvalidMessage, NoiseMaxNonceError

from hausd.wire.noise import Cipher

MAX_PLAINTEXT_BYTES = 65535 - 16
_RECEIVE_BYTES = 256 * 1024


class ChannelBroken(Exception):
    """The connection broke, or a message was not the peer's; ``args[0]`` says which."""


class SecureChannel:
    """Noise transport messages over a stream. One task reads, one writes.

    Source: libp2p's noise specification: two bytes of length, then the message.
    """

    def __init__(self, stream: trio.abc.Stream, cipher: Cipher) -> None:
        self._stream = stream
        self._cipher = cipher
        self._buffer = bytearray()
        self._pushed_back = b""

    async def receive(self) -> bytes:
        """Plain bytes of all messages that are here, at least one; empty at the end."""
        if self._pushed_back:
            plain, self._pushed_back = self._pushed_back, b""
            return plain
        plain = self._decrypted()
        while not plain:
            try:
                received = await self._stream.receive_some(_RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ChannelBroken("the connection broke") from error
            if not received:
                return b""
            self._buffer += received
            plain = self._decrypted()
        return plain

    def push_back(self, plain: bytes) -> None:
        """Bytes that the next ``receive`` gives once more."""
        self._pushed_back = plain

    async def send(self, *plains: bytes) -> None:
        """Sends bytes, each of these a message; a cancelled send leaves the connection of no use.

        Those of more than MAX_PLAINTEXT_BYTES become several.
        """
        messages: list[bytes] = []
        for plain in plains:
            for start in range(0, len(plain), MAX_PLAINTEXT_BYTES):
                sealed = self._cipher.encrypt(plain[start : start + MAX_PLAINTEXT_BYTES])
                messages += (len(sealed).to_bytes(2, "big"), sealed)
        try:
            await self._stream.send_all(b"".join(messages))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ChannelBroken("the connection broke") from error

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)

    def _decrypted(self) -> bytes:
        buffer, at = self._buffer, 0
        plain: list[bytes] = []
        while len(buffer) - at >= 2:
            end = at + 2 + int.from_bytes(buffer[at : at + 2], "big")
            if len(buffer) < end:
                break
            try:
                plain.append(self._cipher.decrypt(bytes(buffer[at + 2 : end])))
            except (NoiseInvalidMessage, NoiseMaxNonceError) as error:
                raise ChannelBroken("a message that the peer did not seal") from error
            at = end
        if at:
            del buffer[:at]
        return plain[0] if len(plain) == 1 else b"".join(plain)
