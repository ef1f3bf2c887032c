"""RTMP's chunk layer: bytes to messages and back.

Source: Adobe "Real-Time Messaging Protocol", section 5 (chunk stream); where encoders differ from
it, or from each other, the place says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

DEFAULT_CHUNK_BYTES = 128
_CHUNK_BYTES_MAX = 0xFFFFFF  # longer ones are the same, as no message is longer
_EXTENDED = 0xFFFFFF
_HEADER_BYTES = (11, 7, 3)  # message header of chunk types 0, 1 and 2
_WRAP = 1 << 32

_RUN_CHUNKS = 512
_EMPTY_MESSAGES_MAX = 1000
_BYTES_AN_EMPTY_MESSAGE = 1024
"""So much payload must have come for each one beyond those."""
_PLAUSIBLE_STEP_MS = 1000

SET_CHUNK_SIZE = 1
ABORT = 2


class ProtocolError(Exception):
    """The peer does not keep to RTMP. ``code`` is short and stable, ``args[0]`` in plain words."""

    def __init__(self, reason: str, code: str = "protocol") -> None:
        super().__init__(reason)
        self.code = code


class Message(NamedTuple):
    """A whole message, untrusted. The timestamp is in milliseconds and wraps at 2**32."""

    type: int
    timestamp_ms: int
    stream_id: int
    data: bytes


class Begun(NamedTuple):
    """A message of ``length`` bytes that is not whole: ``missing`` bytes at least have to come.

    ``type`` and ``length`` are 0 while its header is not whole either.
    """

    type: int
    length: int
    missing: int


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """What a peer may make us hold; beyond any of it the peer breaks the protocol."""

    max_message_bytes: int = 8 << 20
    max_chunk_streams: int = 64
    max_buffered_bytes: int = 16 << 20
    """Of unfinished messages, all chunk streams together."""


@dataclass(slots=True)
class _ChunkStream:
    marker: bytes
    """The one byte that begins a type 3 chunk; empty where it takes more than one byte."""
    timestamp_ms: int = 0
    delta_ms: int = 0
    extension: bytes = b""
    """The extended timestamp field of the latest header that was not type 3."""
    length: int = 0
    type: int = 0
    stream_id: int = 0
    partial: bytearray = field(default_factory=bytearray)


class ChunkReader:
    """Puts messages together from chunks that come in pieces of any size.

    Acts on Set Chunk Size and Abort by itself.
    """

    def __init__(self, limits: ChunkLimits) -> None:
        self._limits = limits
        self._chunk_bytes = DEFAULT_CHUNK_BYTES
        self._streams: dict[int, _ChunkStream] = {}
        self._reserved_bytes = 0
        self._empty_messages = 0
        self._payload_bytes = 0
        self._unread = b""
        self._stream: _ChunkStream | None = None
        """Whose chunk is being received; None between chunks."""
        self._newest: _ChunkStream | None = None
        self._chunk_left = 0

    @property
    def buffered_bytes(self) -> int:
        """What is held, or is being received, of unfinished messages."""
        return self._reserved_bytes

    @property
    def begun(self) -> Begun | None:
        """The message that is being received, None between messages."""
        stream = self._newest
        if stream is not None and (stream.partial or self._stream is stream):
            left = stream.length - len(stream.partial)
            after_chunk = left - self._chunk_left if self._stream is stream else left
            headers = -(-after_chunk // self._chunk_bytes) - len(self._unread)
            return Begun(stream.type, stream.length, max(1, left + headers))
        return Begun(0, 0, 1) if self._unread or self._reserved_bytes else None

    def receive(self, untrusted: bytes, messages: list[Message]) -> None:
        """Takes bytes and appends the messages they complete; raises ProtocolError.

        What was whole before the fault is in ``messages`` then.
        """
        data = self._unread + untrusted if self._unread else untrusted
        self._unread = b""
        at, end = 0, len(data)
        while True:
            stream = self._stream
            if stream is None:
                if at == end:
                    return
                payload_at = self._begin_chunk(data, at)
                if payload_at is None:
                    self._unread = data[at:]  # part of a header: at most 17 bytes
                    return
                at = payload_at
                stream = self._stream
                assert stream is not None
            left = self._chunk_left
            take = min(left, end - at)
            if take == stream.length:
                payload = data[at : at + take]
                at += take
            else:
                partial = stream.partial
                partial += data[at : at + take]
                at += take
                if take < left:
                    self._chunk_left = left - take
                    return
                if len(partial) < stream.length:
                    self._stream = None
                    at = self._take_run(stream, data, at)
                    continue
                payload = bytes(partial)
                stream.partial = bytearray()
            self._stream = None
            self._finish(stream, payload, messages)

    def _begin_chunk(self, data: bytes, at: int) -> int | None:
        """Reads a chunk's headers; gives where its payload begins, None for want of bytes."""
        end = len(data)
        chunk_type, chunk_stream_id = data[at] >> 6, data[at] & 0x3F
        marker = bytes((0xC0 | chunk_stream_id,))
        at += 1
        if chunk_stream_id < 2:
            width = chunk_stream_id + 1
            if at + width > end:
                return None
            chunk_stream_id = 64 + int.from_bytes(data[at : at + width], "little")
            marker = b""
            at += width
        stream = self._streams.get(chunk_stream_id)
        if stream is None:
            # Type 1 may come first: librtmp begins its control messages so.
            if chunk_type > 1:
                raise ProtocolError(f"chunk stream {chunk_stream_id} begins without a header")
            if len(self._streams) >= self._limits.max_chunk_streams:
                raise ProtocolError(
                    f"more than {self._limits.max_chunk_streams} chunk streams at once"
                )
            stream = _ChunkStream(marker)
        if chunk_type == 3:
            after = self._continue(stream, data, at)
        elif stream.partial:
            raise ProtocolError(
                f"a message on chunk stream {chunk_stream_id} ends early: "
                f"{len(stream.partial)} of {stream.length} bytes"
            )
        else:
            after = self._begin_message(stream, chunk_type, data, at)
        if after is None:
            return None
        self._streams[chunk_stream_id] = stream
        self._stream = self._newest = stream
        self._chunk_left = min(stream.length - len(stream.partial), self._chunk_bytes)
        self._reserve(self._chunk_left)
        return after

    def _begin_message(
        self, stream: _ChunkStream, chunk_type: int, data: bytes, at: int
    ) -> int | None:
        after = at + _HEADER_BYTES[chunk_type]
        if after > len(data):
            return None
        time_ms = int.from_bytes(data[at : at + 3], "big")
        extension = b""
        if time_ms == _EXTENDED:
            extension = data[after : after + 4]
            if len(extension) < 4:
                return None
            after += 4
            time_ms = int.from_bytes(extension, "big")
        if chunk_type < 2:
            length = int.from_bytes(data[at + 3 : at + 6], "big")
            if length > self._limits.max_message_bytes:
                raise ProtocolError(
                    f"a message of {length} bytes; {self._limits.max_message_bytes} are allowed"
                )
            stream.length = length
            stream.type = data[at + 6]
        if chunk_type == 0:
            stream.stream_id = int.from_bytes(data[at + 7 : at + 11], "little")
            stream.timestamp_ms = time_ms
            # A type 3 chunk that begins a message after this one repeats this time as a delta,
            # says the specification, and ffmpeg does so. librtmp means "the same time again";
            # that makes a difference only for times too large to be the distance of two frames.
            stream.delta_ms = time_ms if time_ms < _PLAUSIBLE_STEP_MS else 0
        else:
            stream.timestamp_ms = (stream.timestamp_ms + time_ms) % _WRAP
            stream.delta_ms = time_ms
        stream.extension = extension
        return after

    def _continue(self, stream: _ChunkStream, data: bytes, at: int) -> int | None:
        extension = stream.extension
        if extension:
            # Most encoders repeat the extended timestamp in type 3 chunks, some do not. Payload
            # that happens to look like it is one in 2**32.
            seen = data[at : at + 4]
            if seen == extension:
                at += 4
            elif extension.startswith(seen):
                return None
        if not stream.partial:
            stream.timestamp_ms = (stream.timestamp_ms + stream.delta_ms) % _WRAP
        return at

    def _take_run(self, stream: _ChunkStream, data: bytes, at: int) -> int:
        """Takes whole type 3 chunks of the same message that follow each other, all in one.

        So a client that keeps to chunks of 128 bytes costs little more than one with 64 KiB. The
        bound on a run keeps the cost of a run that turns out short in proportion.
        """
        chunk_bytes = self._chunk_bytes
        stride = chunk_bytes + 1
        missing = stream.length - len(stream.partial)
        chunks = min((missing - 1) // chunk_bytes, (len(data) - at) // stride, _RUN_CHUNKS)
        if chunks < 2 or stream.extension or not stream.marker:
            return at
        markers = data[at : at + chunks * stride : stride]
        chunks -= len(markers.lstrip(stream.marker))
        if chunks:
            run = bytearray(data[at : at + chunks * stride])
            del run[::stride]
            self._reserve(len(run))
            stream.partial += run
        return at + chunks * stride

    def _reserve(self, size: int) -> None:
        self._reserved_bytes += size
        if self._reserved_bytes > self._limits.max_buffered_bytes:
            raise ProtocolError(
                f"more than {self._limits.max_buffered_bytes} bytes of unfinished messages"
            )

    def _finish(self, stream: _ChunkStream, payload: bytes, messages: list[Message]) -> None:
        self._reserved_bytes -= len(payload)
        if payload:
            self._payload_bytes += len(payload)
        else:
            # They cost a byte each and mean nothing: no encoder sends many.
            self._empty_messages += 1
            earned = self._payload_bytes // _BYTES_AN_EMPTY_MESSAGE
            if self._empty_messages > _EMPTY_MESSAGES_MAX + earned:
                raise ProtocolError(f"{self._empty_messages} empty messages and little else")
        if stream.type == SET_CHUNK_SIZE:
            self._chunk_bytes = min(_uint32(payload, "Set Chunk Size"), _CHUNK_BYTES_MAX)
            if self._chunk_bytes == 0:
                raise ProtocolError("a chunk size of 0")
        elif stream.type == ABORT:
            aborted = self._streams.get(_uint32(payload, "Abort"))
            if aborted is not None:
                self._reserved_bytes -= len(aborted.partial)
                aborted.partial = bytearray()
        else:
            messages.append(Message(stream.type, stream.timestamp_ms, stream.stream_id, payload))


def _uint32(payload: bytes, what: str) -> int:
    if len(payload) < 4:
        raise ProtocolError(f"a {what} message of {len(payload)} bytes")
    return int.from_bytes(payload[:4], "big")


def write_message(
    out: bytearray, message: Message, chunk_stream_id: int, chunk_bytes: int = DEFAULT_CHUNK_BYTES
) -> None:
    """Appends a message as a type 0 chunk and the type 3 chunks it needs.

    For the few short messages a server sends: chunk stream ids 2 to 63, times below 2**24 - 1.
    """
    data = message.data
    out.append(chunk_stream_id)
    out += message.timestamp_ms.to_bytes(3, "big") + len(data).to_bytes(3, "big")
    out.append(message.type)
    out += message.stream_id.to_bytes(4, "little") + data[:chunk_bytes]
    for at in range(chunk_bytes, len(data), chunk_bytes):
        out.append(0xC0 | chunk_stream_id)
        out += data[at : at + chunk_bytes]
