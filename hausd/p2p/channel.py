"""A connection's bytes once noise has secured it: whole messages, encrypted one by one."""

from __future__ import annotations

from collections import deque

import trio

from hausd.wire.noise import TAG_BYTES, Cipher, SealFault

MAX_PLAINTEXT_BYTES = 65535 - TAG_BYTES
_LENGTH_BYTES = 2
_ADDED_BYTES = _LENGTH_BYTES + TAG_BYTES
_RECEIVE_BYTES = 256 * 1024
_MAX_EMPTY = 256
"""Messages without a byte, one after the other: each costs CPU, and honest peers send none."""


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
        self._empty = 0
        self.messages = 0
        """How many were received."""

    @property
    def has_more(self) -> bool:
        """Whether another message is here already: ``receive`` gives it without a wait."""
        return bool(self._plain)

    async def receive(self) -> bytes:
        """The plain bytes of the next message that has any; empty at the end."""
        while True:
            while self._plain:
                self.messages += 1
                if plain := self._plain.popleft():
                    self._empty = 0
                    return plain
                self._empty += 1
                if self._empty > _MAX_EMPTY:
                    raise ChannelBroken("it sends messages without a byte")
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
        pieces = [
            memoryview(plain)[start : start + MAX_PLAINTEXT_BYTES]
            for plain in plains
            for start in range(0, len(plain), MAX_PLAINTEXT_BYTES)
        ]
        # sealed where they are sent from
        wire = memoryview(bytearray(sum(map(len, pieces)) + len(pieces) * _ADDED_BYTES))
        at = 0
        try:
            for piece in pieces:
                begin, end = at + _LENGTH_BYTES, at + len(piece) + _ADDED_BYTES
                wire[at:begin] = (end - begin).to_bytes(_LENGTH_BYTES, "big")
                self._cipher.seal_into(piece, wire[begin:end])
                at = end
            await self._stream.send_all(wire)
        except SealFault as error:
            raise ChannelBroken(str(error)) from error
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
                    self._decrypt(memoryview(self._begun)[_LENGTH_BYTES:])
                    self._begun = bytearray()
            elif missing > 0:
                self._begun += view
                return
            else:
                end = len(view) + missing
                self._decrypt(view[_LENGTH_BYTES:end])
                view = view[end:]

    def _decrypt(self, sealed: memoryview) -> None:
        try:
            self._plain.append(self._cipher.open(sealed))
        except SealFault as error:
            raise ChannelBroken(str(error)) from error


def _missing(message: bytearray | memoryview) -> int:
    """Bytes that a message lacks; below 0 where more has come than it."""
    if len(message) < _LENGTH_BYTES:
        return _LENGTH_BYTES - len(message)
    return _LENGTH_BYTES + int.from_bytes(message[:_LENGTH_BYTES], "big") - len(message)
