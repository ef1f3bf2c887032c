"""What one client can't do to the others: every limit holds, and is counted."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from support.http import PLAYLIST, Client, Closed, running

from hausd.config import load
from hausd.core.live import FileRange
from hausd.http.limits import Limits
from hausd.http.messages import Chunks, Response
from hausd.http.server import _affordable
from hausd.serving.connections import Connections, plain_address
from hausd.terms import http_limits

QUICK = Limits(
    head_timeout_s=0.3, idle_timeout_s=0.3, send_timeout_s=0.3, body_timeout_s=0.3, body_bytes=1000
)


async def ends(client: Client) -> bytes:
    """What the server says until it closes, which it must do by itself."""
    return await client.rest(within_s=5)


async def test_a_head_that_dribbles_in_is_cut_off() -> None:
    async with running(limits=QUICK) as node:
        client = await node.connect()

        async def dribble() -> None:
            with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
                for byte in b"GET /live/a HTTP/1.1\r\nX: " + b"x" * 10_000:
                    await client.send(bytes([byte]))
                    await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(dribble)
            assert await ends(client) == b""
        assert node.refused("head-timeout") == 1


async def test_a_connection_that_never_says_anything_is_closed() -> None:
    async with running(limits=QUICK) as node:
        assert await ends(await node.connect()) == b""
        assert node.refused("head-timeout") == 1


async def test_an_idle_connection_is_closed_on_either_lane() -> None:
    async with running(limits=QUICK) as node:
        fast, slow = await node.connect(), await node.connect()
        await fast.get("/live/a")
        await slow.get("/api")
        assert await ends(fast) == b""
        assert await ends(slow) == b""
        assert node.refused("idle-timeout") == 1


async def test_a_dribbled_head_or_body_ends_after_a_hand_over_too() -> None:
    async with running(limits=QUICK) as node:
        half_head, half_body = await node.connect(), await node.connect()
        await half_head.get("/api")
        await half_head.send(b"GET /api HTTP/1.1\r\nHo")
        await half_body.send(
            b"POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab"
        )
        await ends(half_head)
        await ends(half_body)
        assert node.refused("body-timeout") == 1
        assert (await node.get("/live/a")).status == 200


@pytest.mark.parametrize(
    ("head", "status", "fault"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "line-too-long"),
        (b"GET /" + b"a" * 9000, 414, "line-too-long"),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 17_000 + b"\r\n\r\n",
            431,
            "head-too-large",
        ),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 3000, 431, "head-too-large"),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100 + b"\r\n",
            431,
            "too-many-fields",
        ),
    ],
)
async def test_heads_are_bounded(head: bytes, status: int, fault: str) -> None:
    async with running() as node:
        client = await node.connect()
        await client.send(head)
        assert (await client.read()).status == status
        assert await ends(client) == b""
        assert node.refused(fault) == 1
        later = await node.connect()
        await later.get("/api")
        await later.send(head)
        with pytest.raises((Closed, AssertionError)):
            assert (await later.read()).status == 200
        assert node.refused(fault) == 2


async def test_a_head_within_the_limits_is_taken() -> None:
    fields = [f"X-{n}: {'v' * 100}" for n in range(98)]
    async with running() as node:
        client = await node.connect()
        assert (await client.get("/live/a?" + "q" * 4000, *fields)).status == 200
        assert (await client.get("/api?" + "q" * 4000, *fields)).status == 200
        assert (await client.get("/api?" + "q" * 4000, *fields)).status == 200


async def test_bodies_are_bounded() -> None:
    async with running(limits=QUICK) as node:
        client = await node.connect()
        await client.send(b"POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n")
        answer = await client.read()
        assert (answer.status, b'"body-too-large"' in answer.body) == (413, True)
        chunked = await node.connect()
        await chunked.send(
            b"POST /api HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"64\r\n"
            + b"x" * 100
            + b"\r\n"
        )
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
            for _ in range(200):
                await chunked.send(b"64\r\n" + b"x" * 100 + b"\r\n")
                await trio.sleep(0.005)
        assert node.refused("body-too-large") == 2
        assert (await node.get("/api", method="POST")).status == 200


async def test_a_client_that_takes_nothing_is_dropped_and_frees_what_it_held(
    tmp_path: Path,
) -> None:
    path = tmp_path / "segment"
    path.write_bytes(os.urandom(8_000_000))

    async def pieces():
        while True:
            yield b"x" * 100_000

    answers = {
        "/live/file": Response(200, (), FileRange(str(path), 0, 8_000_000)),
        "/live/memory": Response(200, (), (b"x" * 8_000_000,)),
        "/live/chunks": Response(200, (), Chunks(pieces)),
    }
    async with running(answers, limits=QUICK) as node:
        stuck = []
        for n, name in enumerate(answers):
            client = await Client.connect(node.port, receive_buffer=4096)
            await client.send_request(name)
            stuck.append(client)
            with trio.fail_after(10):
                while node.refused("slow-client") <= n:
                    await trio.sleep(0.02)
        slow = await Client.connect(node.port, receive_buffer=4096)
        await slow.get("/api")
        await slow.send_request("/live/file")
        with trio.fail_after(10):
            while node.refused("slow-client") < 4:
                await trio.sleep(0.02)
            while node.server.tally.connections:
                await trio.sleep(0.02)


async def test_a_client_that_takes_it_slowly_gets_it_all(tmp_path: Path) -> None:
    """The limit is on progress, not on the whole time."""
    path = tmp_path / "segment"
    data = os.urandom(3_000_000)
    path.write_bytes(data)
    limits = Limits(send_timeout_s=0.5, send_progress_bytes=16_384)
    answers = {"/live/file": Response(200, (), FileRange(str(path), 0, len(data)))}
    async with running(answers, limits=limits) as node:
        for before in ("", "/api"):
            client = await Client.connect(node.port, receive_buffer=65_536)
            if before:
                await client.get(before)
            await client.send_request("/live/file")
            got = b""
            started = trio.current_time()
            with trio.fail_after(30):
                while not got.endswith(data[-1000:]):
                    got += await client.stream.receive_some(30_000)
                    await trio.sleep(0.01)
            assert trio.current_time() - started > 2 * limits.send_timeout_s
            assert got.endswith(b"\r\n\r\n" + data)
            assert node.refused("slow-client") == 0


async def test_connections_are_bounded_in_all() -> None:
    async with running(limits=Limits(connections=5)) as node:
        held = [await node.connect() for _ in range(5)]
        for client in held:
            assert (await client.get("/live/a")).status == 200
        assert await ends(await node.connect()) == b""
        assert node.refused("too-many-connections") == 1
        await held[0].stream.aclose()
        with trio.fail_after(5):
            while node.server.tally.connections == 5:
                await trio.sleep(0.01)
        assert (await node.get("/live/a")).status == 200


def test_there_are_two_descriptors_for_each_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))
    limits = _affordable(Limits(open_files=256))
    assert 2 * limits.connections + limits.open_files < 1024


def test_connections_are_bounded_by_address() -> None:
    proxy = "198.51.100.1"
    table = Connections(1000, 3, frozenset({proxy}))
    assert [table.admit("203.0.113.7") for _ in range(4)] == [
        "",
        "",
        "",
        "too-many-connections-of-address",
    ]
    assert table.admit("203.0.113.8") == ""
    one_net = [f"2001:db8::{n}" for n in range(4)]
    assert [bool(table.admit(peer)) for peer in one_net] == [False, False, False, True]
    assert table.admit("2001:db8:0:1::1") == ""
    for exempt in ("127.0.0.1", "127.9.9.9", "::1", proxy):
        assert not any(table.admit(exempt) for _ in range(10))
    table.release("203.0.113.7")
    assert table.admit("203.0.113.7") == ""
    assert plain_address("::ffff:203.0.113.7") == "203.0.113.7"
    assert plain_address("2001:db8::1") == "2001:db8::1"


def test_a_table_of_connections_forgets_whom_it_does_not_serve() -> None:
    table = Connections(10_000, 256)
    for n in range(1000):
        peer = f"10.0.{n // 256}.{n % 256}"
        table.admit(peer)
        table.release(peer)
    assert table.count == 0
    assert not table._by_address


async def test_2000_idle_connections_and_others_are_served() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4700:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    async with running() as node, AsyncExitStack() as stack:
        clients = []
        for n in range(2000):
            client = await node.connect()
            await stack.enter_async_context(client.stream)
            clients.append(client)
            if n % 2:
                assert (await client.get("/live/a")).status == 200
            elif n % 3 == 0:
                await client.send(b"GET /live/a HTTP/1.1\r\nHo")
        tasks = trio.lowlevel.current_statistics().tasks_living
        assert tasks < 50, "an idle connection costs no task"
        assert node.server.tally.connections == 2000
        active = await node.connect()
        for _ in range(100):
            assert (await active.get("/live/a")).status == 200
            assert (await clients[1].get("/live/a")).status == 200
        assert (await node.get("/api")).status == 200
        await clients[6].send(b"st: localhost\r\n\r\n")
        assert (await clients[6].read()).status == 200
    assert node.server.tally.connections == 0


async def test_one_that_pipelines_without_end_does_not_keep_others_waiting() -> None:
    async with running(limits=Limits(pipelined_requests=4)) as node:
        greedy, other = await node.connect(), await node.connect()
        request = b"GET /live/a HTTP/1.1\r\nHost: localhost\r\n\r\n"
        stop = trio.Event()

        async def ask() -> None:
            while not stop.is_set():
                await greedy.send(request * 200)

        async def read() -> None:
            while True:
                await greedy.stream.receive_some(1 << 20)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(read)
            for _ in range(20):
                assert (await other.get("/live/a")).body == PLAYLIST.body[0]
            stop.set()
            nursery.cancel_scope.cancel()


def test_an_operator_says_how_many_come_from_one_address() -> None:
    config = load(Path("/nonexistent"), sets=["http.max_connections_per_address=1000"]).config
    assert http_limits(config).connections_per_address == 1000
