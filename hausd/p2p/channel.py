"""A connection's bytes once noise has secured it: whole messages, encrypted one by one."""

from __future__ import annotations

from collections import deque

import trio
from noise.exceptions import NoiseInvalidMessage, NoiseMaxNonceError

from hausd.wire.noise import Cipher

MAX_PLAINTEXT_BYTES = 65535 - 16
_LENGTH_BYTES = 2
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
        self._begun = bytearray()
        """A message that came in part, with its length."""
        self._plain: deque[bytes] = deque()

    async def receive(self) -> bytes:
        """The plain bytes of the next message that has any; empty at the end."""
        while True:
            while self._plain:
                if plain := self._plain.popleft():
                    return plain
            try:
                received = await self._stream.receive_some(_RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ChannelBroken("the connection broke") from error
            if not received:
                return b""
            self._open(bytes(received))

    def push_back(self, plain: bytes) -> None:
        """Bytes that the next ``receive`` gives once more."""
        self._plain.appendleft(plain)

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

    def _open(self, received: bytes) -> None:
        """Takes what came. Nothing is copied but what is decrypted, and a message cut in two."""
        view = memoryview(received)
        while view:
            missing = _missing(self._begun or view)
            if self._begun:
                self._begun += view[:missing]
                view = view[missing:]
                if not _missing(self._begun):
                    self._decrypt(bytes(memoryview(self._begun)[_LENGTH_BYTES:]))
                    self._begun = bytearray()
            elif missing > 0:
                self._begun += view
                return
            else:
                end = len(view) + missing
                self._decrypt(bytes(view[_LENGTH_BYTES:end]))
                view = view[end:]

    def _decrypt(self, sealed: bytes) -> None:
        try:
            self._plain.append(self._cipher.decrypt(sealed))
        except (NoiseInvalidMessage, NoiseMaxNonceError) as error:
            raise ChannelBroken("a message that the peer did not seal") from error


def _missing(message: bytearray | memoryview) -> int:
    """Bytes that a message lacks; below 0 where more has come than it."""
    if len(message) < _LENGTH_BYTES:
        return _LENGTH_BYTES - len(message)
    return _LENGTH_BYTES + int.from_bytes(message[:_LENGTH_BYTES], "big") - len(message)
