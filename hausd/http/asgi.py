"""The slow lane's front: the same door and responder as the fast lane's, then the ASGI app.

Serves what comes by TLS or HTTP/2, and connections that the fast lane handed over.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

import trio

from hausd.core.live import FileRange
from hausd.http.conditional import reply_to
from hausd.http.door import Door
from hausd.http.files import OpenFiles
from hausd.http.head import BadRequest, Fields, RequestLine, parse_target, read_fields
from hausd.http.limits import Limits
from hausd.http.messages import Answer, Chunks, Fetch, Request, Responder, Response, Wait, refusal
from hausd.http.ports import Audience
from hausd.http.sending import SlowClient, in_memory
from hausd.serving.connections import plain_address

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_PIECE_BYTES = 64 * 1024
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class Front:
    """An ASGI app in front of ``app``."""

    def __init__(
        self,
        app: AsgiApp,
        responder: Responder,
        door: Door,
        limits: Limits,
        audience: Audience,
        files: OpenFiles,
    ) -> None:
        self._app = app
        self._respond = responder.respond
        self._door = door
        self._limits = limits
        self._audience = audience
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, _Paced(send, self._limits, self._door))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: _Paced) -> None:
        try:
            line, fields = _read(scope)
        except BadRequest as fault:
            self._door.tally.refused[fault.fault] += 1
            asked = Request("GET", "/", "", {}, "2", True, "", "")
            answer = refusal(fault.status, fault.fault, f"Malformed request: {fault}.")
            await self._send(asked, answer, send)
            return
        secure = scope["scheme"] == "https"
        request = self._door.request(line, fields, _peer(scope), secure)
        refused = self._door.refuse(line.method, fields)
        if refused is None and fields.length and fields.length > self._limits.body_bytes:
            refused = self._too_large()
        response = refused or await self._answer(request, receive)
        if response is not None:
            await self._send(request, response, send)
            return
        body = _Bounded(receive, self._limits.body_bytes)
        send.instead = lambda: self._too_large() if body.too_large else None
        seen = {"client": (request.peer, 0), "scheme": request.scheme}
        await self._app({**scope, **seen}, body, send)

    async def _answer(self, request: Request, receive: Receive) -> Response | None:
        """The responder's answer; None where it has none or the client is gone."""
        first = answer = self._respond(request)
        if isinstance(answer, Response):
            return answer
        if isinstance(first, Wait | Fetch):
            answer = await self._awaited(request, first, receive)
        return answer if isinstance(answer, Response) else None

    async def _awaited(self, request: Request, first: Wait | Fetch, receive: Receive) -> Answer:
        answer: Answer = first
        gone = False

        async def watch(scope: trio.CancelScope) -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            with trio.move_on_after(first.deadline_s if isinstance(first, Wait) else float("inf")):
                while isinstance(answer, Wait):
                    await answer.until()
                    answer = self._respond(request)
                if isinstance(answer, Fetch):
                    answer = await answer.get()
            nursery.cancel_scope.cancel()
        if isinstance(answer, Wait | Fetch) and isinstance(first, Wait):
            return first.expired
        if not isinstance(answer, Response) and not gone:
            raise TypeError("a responder's Wait or Fetch led to no Response")
        return answer if isinstance(answer, Response) else refusal(499, "gone", "")

    async def _send(self, request: Request, response: Response, send: _Paced) -> None:
        reply = reply_to(request, response)
        file = None
        if isinstance(reply.body, FileRange):
            file = self._files.borrow(reply.body.path, reply.body.offset + reply.body.length)
            if file is None:
                self._door.tally.refused["file-gone"] += 1
                gone = refusal(404, "gone", "This content is no longer in the store.")
                reply = reply_to(request, gone)
        body = reply.body
        size = 0
        try:
            await send.start(reply.status, list(reply.headers))
            if isinstance(body, FileRange):
                assert file is not None
                offset, end = body.offset, body.offset + body.length
                while offset < end:
                    piece = await _read_piece(file.descriptor, offset, end)
                    await send.body(piece)
                    offset += len(piece)
                size = body.length
            elif isinstance(body, Chunks):
                async with aclosing(body.begin()) as pieces:
                    async for chunk in pieces:
                        await send.body(bytes(chunk))  # it may be kept for a while
                        size += len(chunk)
            else:
                for chunk in body:
                    await send.body(chunk)
                    size += len(chunk)
            await send.end()
        finally:
            if file is not None:
                self._files.give_back(file)
            account = response.account
            if account is not None:
                viewer = self._door.viewer(request) if account.watches else ""
                self._audience.served(account.room, viewer, size)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            line, fields = _read({**scope, "method": "GET"})
        except BadRequest as fault:
            self._door.tally.refused[fault.fault] += 1
            refused: Response | None = refusal(fault.status, fault.fault, f"{fault}.")
        else:
            refused = self._door.refuse(line.method, fields, websocket=True)
        if refused is None:
            await self._app(scope, receive, send)
            return
        start = {"type": "websocket.http.response.start", "status": refused.status}
        assert isinstance(refused.body, tuple)
        await send({**start, "headers": [*refused.headers, _NOSNIFF, (b"connection", b"close")]})
        await send({"type": "websocket.http.response.body", "body": b"".join(refused.body)})

    def _too_large(self) -> Response:
        self._door.tally.refused["body-too-large"] += 1
        return refusal(
            413, "body-too-large", f"A body may have at most {self._limits.body_bytes} bytes."
        )


class _Paced:
    """An ASGI ``send`` that counts, adds what every answer has, and drops slow clients.

    Large bodies go in pieces, so that the time limit is one of progress and not of the whole.
    """

    def __init__(self, send: Send, limits: Limits, door: Door) -> None:
        self._send = send
        self._limits = limits
        self._tally = door.tally
        self._replaced = False
        self.instead: Callable[[], Response | None] = lambda: None

    async def __call__(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            replacement = self.instead()
            if replacement is not None:
                self._replaced = True
                assert isinstance(replacement.body, tuple)
                await self.start(replacement.status, list(replacement.headers))
                await self.body(b"".join(replacement.body))
                await self.end()
                return
            await self.start(message["status"], list(message.get("headers", ())))
        elif message["type"] == "http.response.body":
            await self.body(message.get("body", b""))
            if not message.get("more_body", False):
                await self.end()
        else:
            await self._send(message)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if not any(name == b"x-content-type-options" for name, _ in headers):
            headers.append(_NOSNIFF)
        self._tally.asgi[status] += 1
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, data: bytes) -> None:
        for at in range(0, len(data), _PIECE_BYTES):
            piece = data[at : at + _PIECE_BYTES]
            with trio.move_on_after(self._limits.send_timeout_s) as scope:
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            if scope.cancelled_caught:
                self._tally.refused["slow-client"] += 1
                raise SlowClient

    async def end(self) -> None:
        with trio.move_on_after(self._limits.send_timeout_s) as scope:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        if scope.cancelled_caught:
            self._tally.refused["slow-client"] += 1
            raise SlowClient


class _Bounded:
    """An ASGI ``receive`` that ends a request whose body is too large."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._left = most_bytes
        self.too_large = False

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.too_large = True
                return {"type": "http.disconnect"}
        return message


def _read(scope: Scope) -> tuple[RequestLine, Fields]:
    line = parse_target(scope["method"], scope["raw_path"], scope["query_string"])
    return line, read_fields(tuple((bytes(n), bytes(v)) for n, v in scope["headers"]))


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return plain_address(client[0]) if client else ""


async def _read_piece(descriptor: int, offset: int, end: int) -> bytes:
    size = min(end - offset, _PIECE_BYTES)
    if in_memory(descriptor, offset + size - 1):
        piece = os.pread(descriptor, size, offset)
    else:
        piece = await trio.to_thread.run_sync(os.pread, descriptor, size, offset)
    if not piece:
        raise OSError("a file lost bytes while it was sent")
    return piece
