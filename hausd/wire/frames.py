"""Frames on a byte stream between nodes: a head in canonical DAG-CBOR and, rarely, a raw body.

``u16 head length, u32 body length, head, body``, big-endian. The body is outside of CBOR so that
a block is copied once when it is read and never when it is sent. A head is a list that begins
with its kind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hausd.core.dagcbor import DagCborError, Value, decode, encode

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
    and what was fed last, is held.
    """

    def __init__(self, max_head_bytes: int, max_body_bytes: int = 0) -> None:
        self._max_head_bytes = max_head_bytes
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._at = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that has begun and is not whole yet."""
        return len(self._buffer) - self._at

    def feed(
        self, untrusted: bytes | bytearray | memoryview
    ) -> Iterator[tuple[list[Value], bytes]]:
        """Takes bytes, gives head and body of every whole frame; raises ProtocolError."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += untrusted
        while len(self._buffer) - self._at >= PREFIX.size:
            head_bytes, body_bytes = PREFIX.unpack_from(self._buffer, self._at)
            if head_bytes > self._max_head_bytes or body_bytes > self._max_body_bytes:
                raise ProtocolError(
                    f"a frame of {head_bytes} + {body_bytes} bytes is over the limit of "
                    f"{self._max_head_bytes} + {self._max_body_bytes}"
                )
            body_at = self._at + PREFIX.size + head_bytes
            end = body_at + body_bytes
            if len(self._buffer) < end:
                return
            with memoryview(self._buffer) as view:
                said = bytes(view[self._at + PREFIX.size : body_at])
                body = bytes(view[body_at:end])
            self._at = end
            yield _head(said), body

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
