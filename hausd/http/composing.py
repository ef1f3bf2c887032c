"""Putting an answer of the fast lane together: its head, and small bodies behind it."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

from hausd.core.clock import Clock
from hausd.core.live import FileRange
from hausd.http.conditional import Reply, reply_to
from hausd.http.files import OpenFiles
from hausd.http.messages import Chunks, Request, Response, refusal
from hausd.http.metrics import Tally
from hausd.http.sending import Outgoing

_WIRE_BODY_BYTES = 64 * 1024  # larger bodies are not copied behind their heads
_WIRES = 512  # answers put together, kept for the rest of their second
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


class Composer:
    """Makes bytes of answers. What many ask for in one second is put together once."""

    def __init__(self, files: OpenFiles, tally: Tally, clock: Clock) -> None:
        self._files = files
        self._tally = tally
        self._clock = clock
        self._wires: dict[Response, bytes] = {}
        self._second = 0
        self._date = b""

    def look_at_clock(self) -> None:
        """Keeps the Date field true; to be called before answers are made."""
        second = self._clock.now_ms() // 1000
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True).encode()
            self._wires.clear()

    def wire(self, request: Request, response: Response) -> bytes | None:
        """The whole answer to a plain GET on a kept HTTP/1.1 connection; None for large ones."""
        wire = self._wires.get(response)
        if wire is not None:
            return wire
        body = response.body
        if not isinstance(body, tuple) or sum(map(len, body)) > _WIRE_BODY_BYTES:
            return None
        wire = head_bytes(reply_to(request, response), self._date) + b"".join(body)
        if len(self._wires) >= _WIRES:
            self._wires.clear()
        self._wires[response] = wire
        return wire

    def compose(self, request: Request, reply: Reply, keep: bool) -> tuple[Outgoing, Reply, bool]:
        """What is to be sent, the reply that it is (404 where a file is gone), and whether the
        connection can be kept after it. The body of ``Chunks`` is the caller's to send."""
        file = None
        if isinstance(reply.body, FileRange):
            file = self._files.borrow(reply.body.path, reply.body.offset + reply.body.length)
            if file is None:
                self._tally.refused["file-gone"] += 1
                gone = refusal(404, "gone", "This content is no longer in the store.")
                reply = reply_to(request, gone)
        body = reply.body
        old = request.version == "1.0"
        chunked = False
        if isinstance(body, Chunks) and body.length is None:
            chunked = not old
            keep = keep and chunked  # HTTP/1.0: the end of the connection is the body's
        option = b"" if keep and not old else b"keep-alive" if keep else b"close"
        head = head_bytes(reply, self._date, option, chunked)
        if isinstance(body, FileRange):
            return Outgoing([head], file, body.offset, body.length), reply, keep
        if isinstance(body, Chunks):
            out = Outgoing([head])
            out.more = True
            return out, reply, keep
        return Outgoing([head, *filter(None, body)]), reply, keep


def head_bytes(reply: Reply, date: bytes, connection: bytes = b"", chunked: bool = False) -> bytes:
    """Status line and fields as they are sent. ``connection`` is the option's name, or empty."""
    lines = [b"HTTP/1.1 %d %s\r\n" % (reply.status, _PHRASES.get(reply.status, b""))]
    lines += [b"%s: %s\r\n" % field for field in reply.headers]
    lines.append(b"date: %s\r\n" % date)
    if connection:
        lines.append(b"connection: %s\r\n" % connection)
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
        raise ValueError("a response's header field contains a line end")
    return head + b"\r\n"
