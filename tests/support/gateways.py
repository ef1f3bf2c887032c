"""HTTP gateways that misbehave, on real sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from hausd.core.cid import CID

Behave = Callable[["BadGateway", str, trio.SocketStream], Awaitable[None]]


@dataclass
class BadGateway:
    """Answers each request as it is told, and remembers the requests' heads."""

    behave: Behave
    blocks: dict[CID, bytes] = field(default_factory=dict)
    port: int = 0
    tls: ssl.SSLContext | None = None
    heads: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def block(self, path: str) -> bytes | None:
        """The block that a path asks for."""
        return self.blocks.get(CID.parse(path.partition("?")[0].rpartition("/")[2]))

    async def _serve(self, raw: trio.SocketStream) -> None:
        received = b""
        stream: Any = raw if self.tls is None else trio.SSLStream(raw, self.tls, server_side=True)
        try:
            while True:
                while b"\r\n\r\n" not in received:
                    more = await stream.receive_some(65536)
                    if not more:
                        return
                    received += more
                head, _, received = received.partition(b"\r\n\r\n")
                self.heads.append(head.decode("latin-1"))
                await self.behave(self, head.split(b" ")[1].decode(), stream)
        except trio.BrokenResourceError:
            return
        finally:
            await trio.aclose_forcefully(raw)


async def answer(
    stream: trio.SocketStream, status: int, body: bytes = b"", *fields: str, length: int = -1
) -> None:
    """One HTTP answer; ``length``: what its head says of the body."""
    said = len(body) if length < 0 else length
    lines = [f"HTTP/1.1 {status} x", f"content-length: {said}", *fields, "", ""]
    await stream.send_all("\r\n".join(lines).encode() + body)


async def honest(gateway: BadGateway, path: str, stream: trio.SocketStream) -> None:
    block = gateway.block(path)
    await (answer(stream, 404) if block is None else answer(stream, 200, block))


async def lying(gateway: BadGateway, path: str, stream: trio.SocketStream) -> None:
    block = gateway.block(path) or b"?" * 100
    await answer(stream, 200, bytes([block[0] ^ 1]) + block[1:])


async def slow(gateway: BadGateway, path: str, stream: trio.SocketStream) -> None:
    """A byte now and then, for ever."""
    await stream.send_all(b"HTTP/1.1 200 x\r\ncontent-length: 100000\r\n\r\n")
    while True:
        await stream.send_all(b"x")
        await trio.sleep(0.05)


async def endless(gateway: BadGateway, path: str, stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await stream.send_all(b"10000\r\n" + bytes(65536) + b"\r\n")


async def broken_off(gateway: BadGateway, path: str, stream: trio.SocketStream) -> None:
    await answer(stream, 200, b"half", length=1000)
    await stream.send_eof()


async def no_http(gateway: BadGateway, path: str, stream: trio.SocketStream) -> None:
    await stream.send_all(b"\x16\x03\x01\x00 this is no HTTP\r\n\r\n")
    await stream.send_eof()


def refusing(status: int, *fields: str) -> Behave:
    async def behave(gateway: BadGateway, path: str, stream: trio.SocketStream) -> None:
        await answer(stream, status, b"", *fields)

    return behave


@asynccontextmanager
async def gateway(
    behave: Behave, blocks: dict[CID, bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[BadGateway]:
    """One gateway on a port of its own, until the context is left."""
    made = BadGateway(behave, blocks, tls=tls)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, made._serve, 0, host="127.0.0.1"))
        made.port = listeners[0].socket.getsockname()[1]
        yield made
        nursery.cancel_scope.cancel()
