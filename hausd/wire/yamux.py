"""yamux 1.0: many streams over one connection. Bytes in, events and bytes out; no I/O.

Source: the yamux specification (hashicorp/yamux, spec.md), as libp2p uses it. Three rules of the
specification that are easily forgotten hold here: a peer that sends beyond a stream's window has
broken the protocol; windows are topped up when half of them is read, not at every read; and what
has to be answered (pings, refusals) is bounded, so a peer can't make us queue answers.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass

HEADER_BYTES = 12
INITIAL_WINDOW_BYTES = 256 * 1024
MAX_PAYLOAD_BYTES = 65535 - 16 - HEADER_BYTES
"""So that a frame is one noise message: at most 65535 bytes, of which 16 are its tag."""
MAX_CONTROL_FRAMES = 1024
"""Frames waiting to be sent that are not data. A peer that makes us owe more reads nothing."""

_HEADER = struct.Struct("!BBHII")
_DATA, _WINDOW, _PING, _GO_AWAY = 0, 1, 2, 3
_SYN, _ACK, _FIN, _RST = 1, 2, 4, 8
_MAX_WINDOW = 0xFFFFFFFF


class YamuxError(Exception):
    """The peer broke the protocol; the connection is to be closed. ``args[0]`` says how."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer opened a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of a stream, within its window. Give them back with ``consumed``."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The peer sends no more on this stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class WasReset:
    """The peer gave this stream up, or refused it."""

    stream: int


@dataclass(frozen=True, slots=True)
class Widened:
    """More may be sent on this stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ponged:
    """The answer to a ping."""

    value: int


@dataclass(frozen=True, slots=True)
class Left:
    """The peer will open and accept no more streams."""

    code: int


Event = Opened | Received | Ended | WasReset | Widened | Ponged | Left


@dataclass(slots=True)
class _Half:
    send_window: int = INITIAL_WINDOW_BYTES
    receive_window: int = INITIAL_WINDOW_BYTES
    target_window: int = INITIAL_WINDOW_BYTES
    owed: int = 0
    """Read by us and not yet given back to the peer."""
    sent_fin: bool = False
    got_fin: bool = False


class Yamux:
    """One end of a connection.

    ``max_streams``: how many the peer may have open; further ones are reset. ``max_window_bytes``
    bounds what one stream may hold unread, ``max_unread_bytes`` all of them together: windows
    only grow as far as both allow, and a stream's first 256 KiB count as well.
    """

    def __init__(
        self,
        *,
        initiator: bool,
        max_streams: int = 64,
        max_window_bytes: int = 4 * 1024 * 1024,
        max_unread_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._next = 1 if initiator else 2
        self._theirs = 0 if initiator else 1
        self._max_streams = max_streams
        self._max_window = max_window_bytes
        self._max_unread = max_unread_bytes
        self._granted = 0
        self._streams: dict[int, _Half] = {}
        self._inbound = 0
        self._control: deque[bytes] = deque()
        self._header_begun = b""
        self._body_of = self._body_left = self._body_flags = 0
        """The data frame that is coming in: its stream, what is missing of it, its end's flags."""
        self.refused = 0
        """Streams that the peer opened beyond its bound."""
        self.frames = 0
        """How many came, also those that nothing is told of."""

    # -- what the peer sent --

    def receive(self, untrusted: bytes) -> list[Event]:
        """Takes bytes from the connection; raises YamuxError."""
        # bodies are handed on at once, so that at most a header waits
        buffer = memoryview(self._header_begun + untrusted if self._header_begun else untrusted)
        events, at = list[Event](), 0
        while True:
            if self._body_left and (data := bytes(buffer[at : at + self._body_left])):
                at += len(data)
                self._body_left -= len(data)
                self._data(self._body_of, data, events)
            if self._body_left:
                break
            if self._body_flags:
                flags, self._body_flags = self._body_flags, 0
                self._flags(flags, self._body_of, events)
            if len(buffer) - at < HEADER_BYTES:
                break
            version, kind, flags, stream, length = _HEADER.unpack_from(buffer, at)
            self.frames += 1
            self._header(version, kind, flags, stream, length, events)
            at += HEADER_BYTES
        self._header_begun = bytes(buffer[at:])
        return events

    def _header(
        self, version: int, kind: int, flags: int, stream: int, length: int, events: list[Event]
    ) -> None:
        if version != 0 or kind > _GO_AWAY:
            raise YamuxError(f"a frame of version {version}, type {kind}")
        if kind == _PING:
            if flags & _SYN:
                self._queue(_HEADER.pack(0, _PING, _ACK, 0, length))
            elif flags & _ACK:
                events.append(Ponged(length))
            return
        if kind == _GO_AWAY:
            events.append(Left(length))
            return
        if stream == 0:
            raise YamuxError("data for the connection itself")
        if flags & _SYN:
            self._accept(stream, events)
        half = self._streams.get(stream)  # none: reset by us, and what was under way is dropped
        if kind == _WINDOW:
            if half is not None and length:
                half.send_window += length
                if half.send_window > _MAX_WINDOW:
                    raise YamuxError("a window beyond 4 GiB")
                events.append(Widened(stream))
            self._flags(flags, stream, events)
            return
        if half is not None and length:
            if half.got_fin:
                raise YamuxError("data after the end of a stream")
            if length > half.receive_window:
                raise YamuxError("more than the window allows")
            half.receive_window -= length
        # a body is handed on as it comes: a frame may be as long as a window
        self._body_of, self._body_left, self._body_flags = stream, length, flags & (_FIN | _RST)

    def _data(self, stream: int, data: bytes, events: list[Event]) -> None:
        if stream in self._streams:
            events.append(Received(stream, data))

    def _flags(self, flags: int, stream: int, events: list[Event]) -> None:
        half = self._streams.get(stream)
        if half is None:
            return
        if flags & _RST:
            self._forget(stream)
            events.append(WasReset(stream))
        elif flags & _FIN and not half.got_fin:
            half.got_fin = True
            events.append(Ended(stream))
            self._forget_if_over(stream, half)

    def _accept(self, stream: int, events: list[Event]) -> None:
        if stream % 2 != self._theirs:
            raise YamuxError("a stream opened under our own numbers")
        if stream in self._streams:
            raise YamuxError("a stream opened twice")
        full = self._granted + INITIAL_WINDOW_BYTES > self._max_unread
        if self._inbound >= self._max_streams or full:
            self.refused += 1
            self._queue(_HEADER.pack(0, _WINDOW, _RST, stream, 0))
            return
        self._streams[stream] = _Half()
        self._inbound += 1
        self._granted += INITIAL_WINDOW_BYTES
        self._queue(_HEADER.pack(0, _WINDOW, _ACK, stream, 0))
        events.append(Opened(stream))

    # -- what we do --

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    def open(self) -> int:
        """Opens a stream; gives its number. Raises YamuxError when numbers have run out."""
        stream = self._next
        if stream > 0xFFFFFFFD:
            raise YamuxError("no stream numbers are left")
        self._next += 2
        self._streams[stream] = _Half()
        self._granted += INITIAL_WINDOW_BYTES
        self._queue(_HEADER.pack(0, _WINDOW, _SYN, stream, 0))
        return stream

    def room(self, stream: int) -> int:
        """Bytes that may be sent on this stream now, in one frame; 0: wait for Widened."""
        half = self._streams.get(stream)
        return 0 if half is None else min(half.send_window, MAX_PAYLOAD_BYTES)

    def data(self, stream: int, *payload: memoryview) -> bytes:
        """A frame with data, at most ``room`` bytes, which then count as sent."""
        half, size = self._streams[stream], sum(map(len, payload))
        if half.sent_fin or not 0 < size <= self.room(stream):
            raise ValueError("more than there is room for, or after the end")
        half.send_window -= size
        return b"".join((_HEADER.pack(0, _DATA, 0, stream, size), *payload))

    def is_own(self, stream: int) -> bool:
        """Whether this end opened it."""
        return stream % 2 != self._theirs

    def end(self, stream: int) -> bytes:
        """A frame that says nothing more will be sent; empty where the stream is gone."""
        half = self._streams.get(stream)
        if half is None:
            return b""
        half.sent_fin = True
        self._forget_if_over(stream, half)
        return _HEADER.pack(0, _WINDOW, _FIN, stream, 0)

    def reset(self, stream: int) -> None:
        """Gives a stream up; one that is gone already is let be."""
        if self._forget(stream):
            self._queue(_HEADER.pack(0, _WINDOW, _RST, stream, 0), bounded=False)

    def consumed(self, stream: int, count: int, *, widen: bool = False) -> None:
        """``count`` bytes of a stream were read. ``widen``: its reader waits for the network."""
        half = self._streams.get(stream)
        if half is None or half.got_fin:
            return
        half.owed += count
        if 2 * half.owed < half.target_window:
            return
        grow = 0
        if widen:
            grow = min(half.target_window, self._max_window - half.target_window)
            grow = max(0, min(grow, self._max_unread - self._granted))
        half.target_window += grow
        self._granted += grow
        increment, half.owed = half.owed + grow, 0
        half.receive_window += increment
        self._queue(_HEADER.pack(0, _WINDOW, 0, stream, increment), bounded=False)

    def ping(self, value: int) -> None:
        """Asks for a sign of life; Ponged brings ``value`` back."""
        self._queue(_HEADER.pack(0, _PING, _SYN, 0, value))

    def leave(self, code: int = 0) -> None:
        """Says that the connection ends: 0 normally, 1 for a broken protocol."""
        self._queue(_HEADER.pack(0, _GO_AWAY, 0, 0, code), bounded=False)

    def control(self) -> bytes:
        """All that is to be sent before any data. Takes it away."""
        frames = b"".join(self._control)
        self._control.clear()
        return frames

    @property
    def has_control(self) -> bool:
        return bool(self._control)

    # -- details --

    def _queue(self, frame: bytes, *, bounded: bool = True) -> None:
        """``bounded``: what a peer can make us owe. The rest is bounded by our own doing."""
        if bounded and len(self._control) >= MAX_CONTROL_FRAMES:
            raise YamuxError("it asks and reads no answers")
        self._control.append(frame)

    def _forget_if_over(self, stream: int, half: _Half) -> None:
        if half.sent_fin and half.got_fin:
            self._forget(stream)

    def _forget(self, stream: int) -> bool:
        half = self._streams.pop(stream, None)
        if half is None:
            return False
        self._granted -= half.target_window
        if stream % 2 == self._theirs:
            self._inbound -= 1
        return True
