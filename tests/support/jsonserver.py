"""A small HTTP/1.1 server on trio for JSON bodies, whose answers a test decides. It has no
WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio


@dataclass(frozen=True)
class Reply:
    """``takes_s``: the body comes byte by byte, and takes so long altogether."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    takes_s: float = 0.0


class Hangs(Exception):
    """The connection is closed without an answer."""


Handler = Callable[[bytes], Awaitable[Reply]]


@asynccontextmanager
async def serve_json(handler: Handler) -> AsyncIterator[str]:
    """Serves on loopback; gives the URL."""

    async def connection(stream: trio.SocketStream) -> None:
        pending = b""
        try:
            while True:
                while b"\r\n\r\n" not in pending:
                    piece = await stream.receive_some()
                    if not piece:
                        return
                    pending += piece
                head, _, pending = pending.partition(b"\r\n\r\n")
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                while len(pending) < length:
                    pending += await stream.receive_some()
                body, pending = pending[:length], pending[length:]
                reply = await handler(body) if head.startswith(b"POST ") else Reply(b"", 405)
                lines = [f"HTTP/1.1 {reply.status} x", f"content-length: {len(reply.body)}"]
                lines += [f"{name}: {value}" for name, value in reply.headers.items()]
                await stream.send_all("\r\n".join([*lines, "", ""]).encode())
                size = 1 if reply.takes_s else len(reply.body) or 1
                for at in range(0, len(reply.body), size):
                    await trio.sleep(reply.takes_s / len(reply.body))
                    await stream.send_all(reply.body[at : at + size])
        except (Hangs, trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, connection, listeners)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
