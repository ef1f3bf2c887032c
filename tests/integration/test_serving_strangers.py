"""What a stranger can do to the servers behind hypercorn: nothing that others notice."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import pytest
import structlog
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from support.adminnode import running as running_admin
from support.chain import held, running_chain
from support.http import running as running_http
from trio_websocket import open_websocket_url

from hausd.telemetry import set_up_logs

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)
CLOSING = b"\x88\x80" + bytes(4)
PLAIN = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    log = io.StringIO()
    set_up_logs("info", "json", None, log)
    yield log
    structlog.reset_defaults()


def http2(*headers: tuple[str, str | bytes]) -> bytes:
    """A request in clear, whatever it says."""
    config = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False
    )
    made = h2.connection.H2Connection(config)
    made.initiate_connection()
    made.send_headers(1, headers, end_stream=True)
    return made.data_to_send()


def priorities(count: int) -> bytes:
    made = h2.connection.H2Connection(h2.config.H2Configuration())
    made.initiate_connection()
    for number in range(count):
        made.prioritize(2 * number + 1, weight=16)
    return made.data_to_send()


PACKETS = {
    "an extension that is no text": UPGRADE % b"Sec-WebSocket-Extensions: \xff\r\n",
    "a protocol that is no text": UPGRADE % b"Sec-WebSocket-Protocol: \xff\r\n",
    "a path that is no text": http2(
        (":method", "GET"), (":path", b"/\xff"), (":scheme", "http"), (":authority", "x")
    ),
    "a tunnel to nowhere": http2((":method", "CONNECT"), (":authority", "x")),
    "more priorities than there are places": priorities(1_001),
}


async def all_of(stream: trio.abc.Stream, untrusted: bytes) -> bytes:
    """What comes back until the server ends the connection; a WebSocket is closed at once."""
    got = b""
    with trio.fail_after(20):
        try:
            await stream.send_all(untrusted)
            async for data in stream:
                got += data
                if got.startswith(b"HTTP/1.1 101"):
                    await stream.send_all(CLOSING)
        except trio.BrokenResourceError:
            pass
    await stream.aclose()
    return got


@pytest.mark.parametrize("packet", PACKETS)
async def test_what_one_client_sends_ends_its_connection_and_no_other(
    tmp_path: Path, packet: str, log: io.StringIO
) -> None:
    async with running_chain(tmp_path / "chain.sqlite") as one:
        other = await trio.open_tcp_stream("127.0.0.1", one.port)
        await all_of(await trio.open_tcp_stream("127.0.0.1", one.port), PACKETS[packet])
        assert (await all_of(other, PLAIN)).startswith(b"HTTP/1.1 200")
    assert "Traceback" not in log.getvalue()
    assert log.getvalue().count("connection-failed") <= 1


async def test_the_operators_socket_outlives_what_is_sent_to_it(tmp_path: Path) -> None:
    async with running_admin(tmp_path):
        path = tmp_path / "admin.sock"
        for packet in PACKETS.values():
            await all_of(await trio.open_unix_socket(path), packet)
        status = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert (await all_of(await trio.open_unix_socket(path), status)).startswith(b"HTTP/1.1 200")


# -- those that do not read --


async def test_who_reads_nothing_does_not_keep_the_chain_from_stopping(tmp_path: Path) -> None:
    large = held(Keypair().pubkey(), data=bytes(6_000_000))
    call = (
        b'{"jsonrpc":"2.0","id":1,"method":"getAccountInfo","params":["%b",{"encoding":"base64"}]}'
    )
    body = call % str(Pubkey(large.address)).encode()
    asking = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with trio.fail_after(15):
        async with running_chain(tmp_path / "chain.sqlite", genesis=[large]) as one:
            stream = await trio.open_tcp_stream("127.0.0.1", one.port)
            await stream.send_all(asking + body)
            await stream.receive_some(1)
        await stream.aclose()


async def test_who_reads_nothing_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    monkeypatch.setattr("hausd.serving.asgi._SEND_S", 0.2)
    large = held(Keypair().pubkey(), data=bytes(6_000_000))
    async with (
        running_chain(tmp_path / "chain.sqlite", genesis=[large]) as one,
        open_websocket_url(one.ws_url, message_queue_size=0) as deaf,
    ):
        wanted = {"jsonrpc": "2.0", "id": 1, "method": "getAccountInfo"}
        wanted["params"] = [str(Pubkey(large.address)), {"encoding": "base64"}]
        await deaf.send_message(json.dumps(wanted))
        with trio.fail_after(20):
            while "client-too-slow" not in log.getvalue():
                await trio.sleep(0.02)
            while one.chain.subscriptions._subscribers:
                await trio.sleep(0.02)


async def test_who_reads_nothing_of_the_slow_lane_does_not_keep_the_node_from_stopping() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(30_000_000)})

    with trio.fail_after(10):
        async with running_http(app=app, drain_s=0.2) as node:
            client = await node.connect()
            await client.send_request("/api")
            await client.stream.receive_some(1)
        await client.stream.aclose()


# -- those that are too many, or never done --


async def test_connections_of_the_chain_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hausd.chain.embedded.server._MAX_CONNECTIONS", 5)
    async with running_chain(tmp_path / "chain.sqlite") as one:
        held = [await trio.open_tcp_stream("127.0.0.1", one.port) for _ in range(5)]
        assert await all_of(await trio.open_tcp_stream("127.0.0.1", one.port), PLAIN) == b""
        for stream in held:
            assert (await all_of(stream, PLAIN)).startswith(b"HTTP/1.1 200")
        got = b""
        with trio.fail_after(20):
            while not got.startswith(b"HTTP/1.1 200"):
                got = await all_of(await trio.open_tcp_stream("127.0.0.1", one.port), PLAIN)


async def test_a_body_that_never_ends_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hausd.chain.embedded.server._BODY_S", 0.2)
    begun = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    async with running_chain(tmp_path / "chain.sqlite") as one:
        got = await all_of(await trio.open_tcp_stream("127.0.0.1", one.port), begun)
        assert got.startswith(b"HTTP/1.1 408")


# -- WebSockets --


@asynccontextmanager
async def served(where: str, folder: Path) -> AsyncIterator[int]:
    """The port of a server that takes WebSockets."""
    if where == "chain":
        async with running_chain(folder / "chain.sqlite") as one:
            yield one.port
    else:
        async with running_http() as node:
            yield node.port


async def shaken(port: int, *fields: bytes) -> tuple[trio.SocketStream, bytes]:
    """A WebSocket, and the head that opened it."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(UPGRADE % b"".join(fields))
    head = b""
    with trio.fail_after(20):
        while not head.endswith(b"\r\n\r\n"):
            head += bytes(await stream.receive_some(1))
    return stream, head


def frame(opcode: int, payload: bytes, *, last: bool = True, packed: bool = False) -> bytes:
    """A client's frame, masked with zeros."""
    first = opcode | (0x80 if last else 0) | (0x40 if packed else 0)
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else bytes((0x80 | 126,)) + size.to_bytes(2)
    return bytes((first,)) + length + bytes(4) + payload


@pytest.mark.parametrize("where", ["chain", "http"])
async def test_a_message_that_is_too_large_ends_its_websocket(tmp_path: Path, where: str) -> None:
    async with served(where, tmp_path) as port:
        stream, head = await shaken(port)
        assert head.startswith(b"HTTP/1.1 101")
        sent, ended = 0, False
        with trio.fail_after(20):
            await stream.send_all(frame(1, b"", last=False))
            try:
                while sent < 64_000_000:  # without an answer to the close frame
                    await stream.send_all(frame(0, b"x" * 60_000, last=False))
                    sent += 60_000
            except trio.BrokenResourceError:
                ended = True
        assert ended
        await stream.aclose()


@pytest.mark.parametrize("where", ["chain", "http"])
async def test_no_websocket_is_compressed(tmp_path: Path, where: str) -> None:
    async with served(where, tmp_path) as port:
        offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
        stream, head = await shaken(port, offer)
        assert head.startswith(b"HTTP/1.1 101")
        assert b"permessage-deflate" not in head
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(b"x" * 20_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
        await all_of(stream, frame(1, packed[:-4], packed=True))  # ends what was not agreed to
