"""Peers that are no encoders, or bad ones, over real sockets; artists next to them stay on air."""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import structlog
import trio
import trustme
from support.rtmp import RecordingRooms, RtmpClient, statuses

from hausd.core.ids import RoomId
from hausd.ingest.server import Limits, RtmpIngest, open_doors, serve_rtmp
from hausd.wire.flv import Tag

KEY = "sk_sockets"
VIDEO = Tag(9, 40, b"\x17\x01\x00\x00\x00" + bytes(range(256)) * 200)


@asynccontextmanager
async def served(limits: Limits | None = None) -> AsyncIterator[tuple[RtmpIngest, RecordingRooms]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    doors = await open_doors("127.0.0.1", 0) + await open_doors("127.0.0.1", 0, context)
    rooms = RecordingRooms({KEY: RoomId("room")})
    with trio.fail_after(30):
        async with serve_rtmp(doors, rooms, limits) as ingest:
            yield ingest, rooms


async def connect(
    ingest: RtmpIngest, door: int = 0, source: str = "127.0.0.1"
) -> trio.SocketStream:
    connection = trio.socket.socket()
    await connection.bind((source, 0))
    await connection.connect(ingest.doors[door].address)
    return trio.SocketStream(connection)


async def publish(stream: trio.abc.Stream, tags: int) -> None:
    client = RtmpClient()
    await stream.send_all(client.opening(KEY))
    heard: list[tuple[int, object]] = []
    while "NetStream.Publish.Start" not in statuses(heard):
        heard += client.receive(await stream.receive_some())
    for _ in range(tags):
        await stream.send_all(client.tag(VIDEO))
    await stream.send_all(client.unpublish())
    while "NetStream.Unpublish.Success" not in statuses(heard):
        heard += client.receive(await stream.receive_some())


async def until_closed(stream: trio.abc.Stream) -> bytes:
    heard = b""
    try:
        while data := await stream.receive_some():
            heard += data
    except trio.BrokenResourceError:
        pass  # closed before it had read all that was sent
    return heard


def test_doors_tell_where_they_are() -> None:
    async def ask() -> list[tuple[str, str, int]]:
        async with served() as (ingest, _):
            return [(door.protocol, *door.address) for door in ingest.doors]

    (plain, secure) = trio.run(ask)
    assert plain[:2] == ("rtmp", "127.0.0.1")
    assert secure[:2] == ("rtmps", "127.0.0.1")
    assert plain[2] > 0
    assert secure[2] not in (0, plain[2])


async def test_a_taken_port_is_an_error_of_the_system() -> None:
    async with served() as (ingest, _):
        host, port = ingest.doors[0].address
        with pytest.raises(OSError, match="in use"):
            await open_doors(host, port)


@pytest.mark.parametrize(
    ("door", "said", "code"),
    [
        (0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http"),
        (0, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "tls"),
        (0, b"SSH-2.0-x\r\n", "not-rtmp"),
        (1, b"\x03" + bytes(1536), "plain"),
        (1, b"GET / HTTP/1.1\r\n\r\n", "plain"),
        (1, b"\x16\x03\x01\x00\x05nonsense", "tls"),
    ],
)
async def test_who_speaks_something_else_is_closed_and_the_log_says_what_it_spoke(
    door: int, said: bytes, code: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with served() as (ingest, _):
            stream = await connect(ingest, door)
            await stream.send_all(said)
            await until_closed(stream)
            while ingest.connections:
                await trio.lowlevel.checkpoint()
    assert [entry["why"] for entry in logs if entry["event"] == "connection-closed"] == [code]


async def test_garbage_from_many_peers_leaves_a_publisher_alone() -> None:
    limits = Limits(max_connections_per_address=200, max_connections=200)
    async with served(limits) as (ingest, rooms):
        hello = RtmpClient().hello() + RtmpClient().echo()

        async def babble(number: int) -> None:
            stream = await connect(ingest)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(hello[: number * 60] + os.urandom(5000))
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish, await connect(ingest), 100)
            for number in range(60):
                nursery.start_soon(babble, number)
        feed = await rooms.feed()
        await feed.ended.wait()
    assert feed.tags == [VIDEO] * 100


async def test_300_idle_connections_keep_no_artist_out_and_are_closed_in_time() -> None:
    async with served(Limits(handshake_timeout_s=2)) as (ingest, rooms):
        idle = [await connect(ingest) for _ in range(300)]
        for number, source in enumerate(("127.0.0.2", "127.0.0.1")):
            await publish(await connect(ingest, source=source), 10)
            await (await rooms.feed(number)).ended.wait()
        assert ingest.connections <= Limits().max_connections
        for stream in idle:
            assert await until_closed(stream) == b""
    assert [feed.tags for feed in rooms.feeds] == [[VIDEO] * 10] * 2


async def test_a_flood_of_wrong_keys_is_answered_without_asking_the_rooms() -> None:
    async with served(Limits(linger_s=0.05, max_attempts=5)) as (ingest, rooms):

        async def guess(number: int) -> None:
            stream = await connect(ingest)
            await stream.send_all(RtmpClient().opening(f"guess-{number}"))
            await until_closed(stream)

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(guess, number)
        assert len(rooms.tried) == 5
        await publish(await connect(ingest, source="127.0.0.2"), 1)


async def test_a_busy_room_stops_the_reading_so_the_encoder_has_to_wait() -> None:
    async with served() as (ingest, rooms):
        rooms.busy = True
        stream = await connect(ingest)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        client = RtmpClient()
        await stream.send_all(client.opening(KEY))
        sent = 0
        with trio.move_on_after(1):
            while sent < 200 << 20:
                raw = client.tag(VIDEO)
                await stream.send_all(raw)
                sent += len(raw)
        assert sent < 50 << 20
        assert (await rooms.feed()).tags == []


async def test_the_last_tags_of_an_encoder_that_left_without_listening_are_kept() -> None:
    """It closes with our answers unread, which resets the connection under our feet."""
    async with served() as (ingest, rooms):
        rooms.busy = True
        stream = await connect(ingest)
        client = RtmpClient()
        await stream.send_all(client.opening(KEY))
        await stream.send_all(client.tag(VIDEO) + client.tag(VIDEO) + client.unpublish())
        feed = await rooms.feed()
        while fcntl.ioctl(stream.socket, termios.TIOCOUTQ, b"\0\0\0\0") != b"\0\0\0\0":
            await trio.sleep(0.01)
        await stream.aclose()
        feed.gate.set()
        await feed.ended.wait()
    assert feed.tags == [VIDEO] * 2
    assert feed.closed_because == "the encoder finished"


async def test_a_connection_that_breaks_ends_with_a_reason() -> None:
    async with served() as (ingest, rooms):
        stream = await connect(ingest)
        client = RtmpClient()
        await stream.send_all(client.opening(KEY) + client.tag(VIDEO))
        feed = await rooms.feed()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()  # with a reset
        await feed.ended.wait()
    assert feed.closed_because == "the connection to the encoder broke"
