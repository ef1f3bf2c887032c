"""A running HTTP server over a stub responder, and a client that sends exactly what it is told."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from hausd.core.ids import RoomId
from hausd.http.limits import Limits
from hausd.http.messages import NOT_MINE, Accounting, Answer, Request, Response
from hausd.http.server import HttpServer, listen, serve
from hausd.http.tls import TlsFiles

ROOM = RoomId("k51" + "a" * 59)
PLAYLIST = Response(
    200,
    (
        (b"content-type", b"application/vnd.apple.mpegurl"),
        (b"cache-control", b"no-cache"),
        (b"etag", b'"v1"'),
    ),
    (b"#EXTM3U\n" + b"x" * 1000,),
    Accounting(ROOM, watches=True),
)


class StubResponder:
    """Answers paths from a table: a ready answer, or a function of the request."""

    def __init__(self, answers: Mapping[str, Answer | Callable[[Request], Answer]]) -> None:
        self.answers = dict(answers)
        self.requests: list[Request] = []

    def respond(self, request: Request) -> Answer:
        self.requests.append(request)
        answer = self.answers.get(request.path, NOT_MINE)
        return answer(request) if callable(answer) else answer


@dataclass
class Heard:
    """An Audience that remembers."""

    served_bytes: list[tuple[RoomId, str, int]] = field(default_factory=list)

    def served(self, room: RoomId, viewer: str, size: int) -> None:
        self.served_bytes.append((room, viewer, size))


async def echo_app(scope: Any, receive: Any, send: Any) -> None:
    """Says over ASGI what it was asked, and what the body was."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "echo " + (message["text"] or "")})
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message.get("more_body"):
            break
    told = f"{scope['method']} {scope['path']} {body.decode('latin-1')}".encode()
    headers = [(b"content-length", b"%d" % len(told))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


@dataclass
class Running:
    """A server and what it was given."""

    server: HttpServer
    responder: StubResponder
    audience: Heard

    @property
    def port(self) -> int:
        return self.server.addresses[0][1]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def refused(self, reason: str) -> int:
        return self.server.tally.refused[reason]

    async def connect(self) -> Client:
        return await Client.connect(self.port)

    async def get(self, path: str, *fields: str, method: str = "GET") -> Answered:
        """One request on a connection of its own."""
        client = await self.connect()
        async with client.stream:
            await client.send_request(path, *fields, method=method)
            return await client.read(method)


@asynccontextmanager
async def running(
    answers: Mapping[str, Any] | None = None,
    *,
    app: Any = echo_app,
    limits: Limits | None = None,
    tls: TlsFiles | None = None,
    responder: Any = None,
    **options: Any,
) -> AsyncIterator[Running]:
    """A server on a port of its own, stopped at the end."""
    stub = responder or StubResponder({"/live/a": PLAYLIST} if answers is None else answers)
    heard = Heard()
    async with serve(
        [listen("127.0.0.1", 0)],
        responder=stub,
        app=app,
        audience=heard,
        limits=limits,
        tls=tls,
        **{"drain_s": 1.0, **options},
    ) as server:
        yield Running(server, stub, heard)


@dataclass
class Answered:
    """An answer as it came."""

    status: int
    fields: dict[str, str]
    body: bytes


class Closed(Exception):
    """The server closed the connection; ``args[0]`` is what it had sent before."""


class Client:
    """A connection on which anything can be said."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    @classmethod
    async def connect(cls, port: int, receive_buffer: int = 0) -> Client:
        sock = trio.socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect(("127.0.0.1", port))
        return cls(trio.SocketStream(sock))

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_request(self, path: str, *fields: str, method: str = "GET") -> None:
        lines = [f"{method} {path} HTTP/1.1", *fields]
        if not any(line.lower().startswith("host:") for line in fields):
            lines.insert(1, "Host: localhost")
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def get(self, path: str, *fields: str, method: str = "GET") -> Answered:
        await self.send_request(path, *fields, method=method)
        return await self.read(method)

    async def read(self, method: str = "GET", within_s: float = 10.0) -> Answered:
        """The next answer; raises Closed."""
        with trio.fail_after(within_s):
            while b"\r\n\r\n" not in self._buffer:
                await self._more()
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            pairs = [line.partition(": ")[::2] for line in lines[1:]]
            fields = {name.lower(): value for name, value in pairs}
            assert len(fields) == len(pairs), f"a header field came twice: {pairs}"
            status = int(lines[0].split(" ")[1])
            if method == "HEAD" or status in (204, 304) or status < 200:
                return Answered(status, fields, b"")
            if fields.get("transfer-encoding") == "chunked":
                return Answered(status, fields, await self._chunks())
            if "content-length" in fields:
                return Answered(status, fields, await self._exactly(int(fields["content-length"])))
            return Answered(status, fields, await self.rest())

    async def rest(self, within_s: float = 10.0) -> bytes:
        """All until the server closes."""
        with trio.fail_after(within_s):
            try:
                while True:
                    await self._more()
            except Closed:
                data, self._buffer = self._buffer, b""
                return data

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return body

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self._buffer:
                await self._more()
            size, _, self._buffer = self._buffer.partition(b"\r\n")
            chunk = await self._exactly(int(size, 16) + 2)
            body += chunk[:-2]
            if chunk == b"\r\n":
                return body

    async def _more(self) -> None:
        try:
            data = await self.stream.receive_some(1 << 20)
        except (trio.BrokenResourceError, ConnectionError):
            data = b""
        if not data:
            raise Closed(self._buffer)
        self._buffer += data
