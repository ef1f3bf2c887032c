"""One client of the fast lane: what it sent, and what is known about it from before."""

from __future__ import annotations

import socket

import trio

from hausd.http.conditional import DECIDING_HEADERS
from hausd.http.door import Door
from hausd.http.head import (
    HEAD_END,
    BadRequest,
    Fields,
    check_line_length,
    check_partial,
    check_together,
    keeps_alive,
    parse_fields,
    parse_line,
)
from hausd.http.limits import Limits
from hausd.http.messages import Request, Response


class Connection:
    """A client between and during requests.

    ``block`` is the last request's head, ``request`` what it said: players repeat themselves, and
    what is equal need not be read again. The same holds for the field lines alone, which hardly
    change on a connection. ``rest`` are bytes read and not yet used. ``since`` (trio's clock) is
    when the head began to arrive, or when the last answer ended.

    ``refused``: the door's answer in place of the responder's. ``leaves``: the ASGI lane is to
    check and answer (a body, a WebSocket). ``keep``: the connection may be used again.
    ``plain``: an HTTP/1.1 GET without range and conditions on a connection that is kept, so that
    everyone gets the same bytes.
    """

    __slots__ = (
        "_decided",
        "_fields",
        "_fields_block",
        "_method_let_in",
        "answered",
        "block",
        "fd",
        "keep",
        "leaves",
        "peer",
        "plain",
        "refused",
        "request",
        "rest",
        "since",
        "sock",
        "viewer",
        "waiting",
    )

    def __init__(self, sock: socket.socket, peer: str, now: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.peer = peer
        self.since = now
        self.rest = b""
        self.block = b""
        self._fields_block = b""
        self._fields: Fields | None = None
        self._method_let_in = ""
        self._decided = False
        self.request: Request | None = None
        self.refused: Response | None = None
        self.viewer = ""
        self.answered = False
        self.leaves = False
        self.keep = False
        self.plain = False
        self.waiting: trio.CancelScope | None = None

    def next_request(self, data: bytes, door: Door, limits: Limits) -> tuple[Request | None, bytes]:
        """Reads the request at the front of ``data``, and gives what comes behind it.

        None where it is not whole yet (what there is of it is kept). Raises BadRequest.
        """
        if data.startswith(b"\r\n"):
            data = data[2:]  # RFC 9112 section 2.2: one empty line before a request is ignored
            if data.startswith(b"\r\n"):
                raise BadRequest(400, "bad-line", "empty lines before a request")
        end = data.find(HEAD_END)
        if end < 0:
            if data not in (b"", b"\r"):
                check_partial(data, limits)
            self.rest = data
            return None, b""
        block, data = data[: end + 4], data[end + 4 :]
        if block != self.block:
            self._understand(block, door, limits)
        return self.request, data

    def _understand(self, block: bytes, door: Door, limits: Limits) -> None:
        self.block = b""
        if len(block) > limits.head_bytes:
            raise BadRequest(431, "head-too-large", f"a head of over {limits.head_bytes} bytes")
        line_end = block.find(b"\r\n")
        check_line_length(line_end, limits)
        line = parse_line(block[:line_end])
        fields_block = block[line_end + 2 : -2]
        fields = self._fields
        if fields is None or fields_block != self._fields_block:
            fields = parse_fields(fields_block, limits)
            self._fields, self._fields_block = fields, fields_block
            self._method_let_in = self.viewer = ""
            self._decided = any(name in fields.kept for name in DECIDING_HEADERS)
        check_together(line, fields)
        method = line.method
        self.request = door.request(line, fields, self.peer, secure=False)
        self.keep = keeps_alive(line, fields)
        self.plain = self.keep and method == "GET" and line.minor == 1 and not self._decided
        if method != self._method_let_in:
            websocket = fields.upgrade == "websocket"
            self.leaves = bool(fields.length) or fields.chunked or websocket
            self.refused = None if self.leaves else door.refuse(method, fields)
            self._method_let_in = "" if self.refused else method
        if not self.viewer:
            self.viewer = door.viewer(self.request)
        self.block = b"" if self.refused else block  # each refusal is counted
