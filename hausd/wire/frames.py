"""Frames on a byte stream between nodes: a head in canonical DAG-CBOR and, rarely, a raw body.

``u16 head length, u32 body length, head, body``, big-endian. The body is outside of CBOR so that
a block is copied once when it is read and never when it is sent. A head is a list that begins
with its kind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hausd.core.dagcbor import DagCborError, Value, decode, encode
from hausd.wire.pieces import Pieces

PREFIX = struct.Struct(">HI")


class ProtocolError(ValueError):
    """The peer broke a protocol's rules; the message says which. The stream is of no more use."""


def frame(head: list[object], body_bytes: int = 0) -> bytes:
    """Prefix and head of a frame; the body, if any, is sent right behind it."""
    encoded = encode(head)
    return PREFIX.pack(len(encoded), body_bytes) + encoded


class FrameReader:
    """Cuts a byte stream into frames.

    A frame over the limits is refused when its prefix is read, so at most one frame within them,
    and what was fed last, is held. A body is put together once, when it is whole.
    """

    def __init__(self, max_head_bytes: int, max_body_bytes: int = 0) -> None:
        self._max_head_bytes = max_head_bytes
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        """Of a prefix and a head."""
        self._head: list[Value] | None = None
        """Whose body is coming in: its pieces, and what is missing of it."""
        self._body = Pieces()
        self._missing = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that has begun and is not whole yet."""
        if self._head is None:
            return len(self._buffer)
        return PREFIX.size + len(self._body)

    def feed(
        self, untrusted: bytes | bytearray | memoryview
    ) -> Iterator[tuple[list[Value], bytes]]:
        """Takes bytes, gives head and body of every whole frame; raises ProtocolError."""
        rest = memoryview(bytes(untrusted))  # copied only where it could change
        while True:
            if self._head is None:
                rest = self._take_head(rest)
                if self._head is None:
                    return
            if self._missing:
                piece = rest[: self._missing]
                rest = rest[len(piece) :]
                self._body.add(piece)
                self._missing -= len(piece)
                if self._missing:
                    return
            head, self._head = self._head, None
            yield head, self._body.take()

    def _take_head(self, rest: memoryview) -> memoryview:
        """Reads on to the end of a prefix and a head; gives what is behind them."""
        for wanted in (self._head_end, self._head_end):
            missing = wanted() - len(self._buffer)
            self._buffer += rest[:missing]
            rest = rest[missing:]
        if len(self._buffer) >= PREFIX.size and len(self._buffer) == self._head_end():
            self._head = _head(bytes(self._buffer[PREFIX.size :]))
            _, self._missing = PREFIX.unpack_from(self._buffer)
            self._buffer.clear()
        return rest

    def _head_end(self) -> int:
        """How long prefix and head are, as far as that is known."""
        if len(self._buffer) < PREFIX.size:
            return PREFIX.size
        head_bytes, body_bytes = PREFIX.unpack_from(self._buffer)
        if head_bytes > self._max_head_bytes or body_bytes > self._max_body_bytes:
            raise ProtocolError(
                f"a frame of {head_bytes} + {body_bytes} bytes is over the limit of "
                f"{self._max_head_bytes} + {self._max_body_bytes}"
            )
        return PREFIX.size + int(head_bytes)

    def finish(self) -> None:
        """The peer closed its side; raises ProtocolError in the middle of a frame."""
        if left := self.pending_bytes:
            raise ProtocolError(f"the stream stopped in the middle of a frame ({left} bytes)")


def _head(untrusted: bytes) -> list[Value]:
    try:
        head = decode(untrusted)
    except DagCborError as fault:
        raise ProtocolError(str(fault)) from None
    if not isinstance(head, list) or not head or not isinstance(head[0], str):
        raise ProtocolError("a frame's head is a list that begins with its kind")
    return head
