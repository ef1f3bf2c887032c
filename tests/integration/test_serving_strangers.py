"""What a stranger can do to the servers behind hypercorn: nothing that others notice."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import pytest
import structlog
import trio
from support.adminnode import running as running_admin
from support.chain import running_chain

from hausd.telemetry import set_up_logs

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)
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
    """What comes back until the server ends the connection."""
    got = b""
    with trio.fail_after(20):
        try:
            await stream.send_all(untrusted)
            async for data in stream:
                got += data
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
