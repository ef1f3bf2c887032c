"""The door of the slow lane: what of a connection's bytes reaches the ASGI server.

Requests after a hand-over, and HTTP/1.1 inside TLS, are read by h11, which is more forgiving than
``head``. The gate reads them first and passes on only heads and chunks that it wrote itself out
of what it understood, so that there is one reading of every request. Sans-IO.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from hausd.http.head import (
    HEAD_END,
    BadRequest,
    Fields,
    RequestLine,
    check_line_length,
    check_partial,
    check_together,
    parse_fields,
    parse_line,
    wants_websocket,
)
from hausd.http.limits import Limits

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t\x20-\x7e]{0,256})?")
_CHUNK_LINE_BYTES = 300
_NOT_PASSED = frozenset((b"upgrade", b"http2-settings", b"connection", b"te", b"trailer"))


class Stage(Enum):
    """What the next byte belongs to."""

    HEAD = auto()
    BODY = auto()
    CHUNK_LINE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    TUNNEL = auto()


class Gate:
    """Feed what came from a connection, send on what it returns."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = b""
        self._at = (
            0  # what is read of it: to cut it off for each tiny chunk would copy all the rest
        )
        self._left = 0
        self._body_bytes = 0
        self._trailers = 0
        self.stage = Stage.HEAD

    @property
    def between_requests(self) -> bool:
        """Nothing of a request has come."""
        return self.stage is Stage.HEAD and not self._buffer

    def feed(self, untrusted: bytes) -> bytes:
        """Bytes that may be passed on; raises BadRequest, after which the gate is shut."""
        self._buffer += untrusted
        out: list[bytes] = []
        while self._at < len(self._buffer):
            before = self._at
            stage = self.stage
            match stage:
                case Stage.HEAD:
                    self._head(out)
                case Stage.BODY | Stage.CHUNK:
                    self._bytes(out)
                case Stage.CHUNK_LINE:
                    self._chunk_line(out)
                case Stage.CHUNK_END:
                    self._chunk_end(out)
                case Stage.TRAILER:
                    self._trailer(out)
                case Stage.TUNNEL:
                    out.append(self._buffer[self._at :])
                    self._at = len(self._buffer)
            if self._at == before and self.stage is stage:
                break
        self._buffer, self._at = self._buffer[self._at :], 0
        return b"".join(out)

    def _head(self, out: list[bytes]) -> None:
        at = self._at
        if self._buffer.startswith(b"\r\n", at):  # RFC 9112 section 2.2: one empty line is ignored
            self._at += 2
            if self._buffer.startswith(b"\r", self._at):
                raise BadRequest(400, "bad-line", "empty lines before a request")
            return
        end = self._buffer.find(HEAD_END, at)
        if end < 0:
            partial = self._buffer[at:]
            if partial != b"\r":
                check_partial(partial, self._limits)
            return
        if end - at > self._limits.head_bytes:
            raise BadRequest(431, "head-too-large", f"over {self._limits.head_bytes} bytes")
        block, self._at = self._buffer[at : end + 2], end + 4
        line_end = block.find(b"\r\n")
        check_line_length(line_end, self._limits)
        line = parse_line(block[:line_end])
        fields = parse_fields(block[line_end + 2 :], self._limits)
        check_together(line, fields)
        out.append(_written(line, fields))
        self._body_bytes = self._trailers = 0
        if wants_websocket(line, fields):
            self.stage = Stage.TUNNEL
        elif fields.chunked:
            self.stage = Stage.CHUNK_LINE
        elif fields.length:
            self.stage, self._left = Stage.BODY, fields.length

    def _bytes(self, out: list[bytes]) -> None:
        taken = self._buffer[self._at : self._at + self._left]
        self._at += len(taken)
        out.append(taken)
        self._left -= len(taken)
        if not self._left:
            self.stage = Stage.HEAD if self.stage is Stage.BODY else Stage.CHUNK_END

    def _chunk_line(self, out: list[bytes]) -> None:
        line = self._line(_CHUNK_LINE_BYTES)
        if line is None:
            return
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise BadRequest(400, "bad-chunk", "a chunk's size is not a hexadecimal number")
        self._left = int(match[1], 16)
        self._body_bytes += self._left
        if self._body_bytes > self._limits.body_bytes:
            raise BadRequest(413, "body-too-large", f"over {self._limits.body_bytes} bytes")
        if self._left:
            out.append(b"%x\r\n" % self._left)
            self.stage = Stage.CHUNK
        else:
            self.stage = Stage.TRAILER

    def _chunk_end(self, out: list[bytes]) -> None:
        end = self._buffer[self._at : self._at + 2]
        if not b"\r\n".startswith(end):
            raise BadRequest(400, "bad-chunk", "a chunk is longer than it says")
        if len(end) == 2:
            self._at += 2
            out.append(b"\r\n")
            self.stage = Stage.CHUNK_LINE

    def _trailer(self, out: list[bytes]) -> None:
        """Trailers are checked for form and dropped: nothing here uses them."""
        line = self._line(self._limits.head_bytes)
        if line is None:
            return
        self._body_bytes += len(line)
        self._trailers += 1
        limits = self._limits
        if (
            self._trailers > limits.head_fields
            or self._body_bytes > limits.body_bytes + limits.head_bytes
        ):
            raise BadRequest(431, "head-too-large", "endless trailers")
        if line:
            parse_fields(line + b"\r\n", self._limits)
        else:
            out.append(b"0\r\n\r\n")
            self.stage = Stage.HEAD

    def _line(self, most_bytes: int) -> bytes | None:
        """Takes a line without its end from the buffer; None where it is not whole yet."""
        at = self._at
        end = self._buffer.find(b"\n", at)
        if end - at > most_bytes or (end < 0 and len(self._buffer) - at > most_bytes):
            raise BadRequest(400, "bad-chunk", "a line of a chunked body is too long")
        if end < 0:
            return None
        if end == at or self._buffer[end - 1 : end] != b"\r":
            raise BadRequest(400, "bare-line-end", "a line ends without CR LF")
        self._at = end + 1
        return self._buffer[at : end - 1]


def _written(line: RequestLine, fields: Fields) -> bytes:
    """The head in one plain form. Upgrades other than to WebSocket (h2c) are left out."""
    websocket = wants_websocket(line, fields)
    out = [b"%s %s HTTP/1.%d\r\n" % (line.method.encode(), line.target, line.minor)]
    out += [b"%s: %s\r\n" % field for field in fields.raw if field[0] not in _NOT_PASSED]
    if websocket:
        out.append(b"upgrade: websocket\r\nconnection: upgrade\r\n")
    elif "close" in fields.connection:
        out.append(b"connection: close\r\n")
    elif "keep-alive" in fields.connection:
        out.append(b"connection: keep-alive\r\n")
    out.append(b"\r\n")
    return b"".join(out)
