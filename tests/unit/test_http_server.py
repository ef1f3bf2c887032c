"""The server as a whole: how it starts, counts and stops."""

from __future__ import annotations

import socket

import pytest
import trio
from prometheus_client import generate_latest
from structlog.testing import capture_logs
from support.http import PLAYLIST, Closed, Heard, StubResponder, echo_app, running

from hausd.http.messages import Response, Wait
from hausd.http.server import listen, serve


async def test_it_says_where_it_listens_and_frees_the_port_at_the_end() -> None:
    sockets = [listen("127.0.0.1", 0), listen("127.0.0.1", 0)]
    options = {"responder": StubResponder({}), "app": echo_app, "audience": Heard()}
    async with serve(sockets, **options) as server:
        assert len(set(server.addresses)) == 2
        for host, port in server.addresses:
            assert host == "127.0.0.1"
            with pytest.raises(OSError, match="in use"):
                listen(host, port)
            socket.create_connection((host, port)).close()
    listen(*server.addresses[0]).close()


async def test_ipv6_and_ipv4_come_by_one_socket() -> None:
    try:
        sock = listen("::", 0)
    except OSError:
        pytest.fail("this machine has no IPv6, which the test needs")
    options = {"responder": StubResponder({"/live/a": PLAYLIST}), "audience": Heard()}
    async with serve([sock], app=echo_app, **options) as server:
        for host in ("127.0.0.1", "::1"):
            stream = await trio.open_tcp_stream(host, server.addresses[0][1])
            await stream.send_all(b"GET /live/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
            await stream.aclose()


async def test_stopping_takes_nobody_new_and_answers_what_was_asked() -> None:
    there, asked = trio.Event(), trio.Event()

    def slow(request: object) -> Response | Wait:
        asked.set()
        return PLAYLIST if there.is_set() else Wait(there.wait, 10.0, PLAYLIST)

    async def slow_app(scope, receive, send) -> None:
        await there.wait()
        await echo_app(scope, receive, send)

    async with running({"/live/w": slow}, app=slow_app, drain_s=5) as node:
        idle, waiting, by_asgi = [await node.connect() for _ in range(3)]
        idle_slow = await node.connect()
        await waiting.send_request("/live/w")
        await by_asgi.send_request("/api")
        await asked.wait()
        await trio.sleep(0.05)
        await node.server.stop_intake()
        assert await idle.rest() == b""
        with pytest.raises(OSError, match="refused"):
            await node.connect()
        there.set()
        answer = await waiting.read()
        assert (answer.status, answer.fields["connection"]) == (200, "close")
        assert (await by_asgi.read()).body == b"GET /api "
        with trio.fail_after(3):
            await node.server.drained()
        await idle_slow.stream.aclose()


async def test_stopping_waits_no_longer_than_it_was_told() -> None:
    started = trio.current_time()
    async with running({"/live/w": Wait(trio.sleep_forever, 60, PLAYLIST)}, drain_s=0.2) as node:
        client = await node.connect()
        await client.send_request("/live/w")
        await trio.sleep(0.05)
    assert trio.current_time() - started < 5
    with pytest.raises(Closed):
        await client.read()


async def test_a_request_that_arrived_before_the_stop_is_answered() -> None:
    async with running() as node:
        client = await node.connect()
        await client.get("/live/a")
        sock = client.stream.socket._sock
        sock.send(b"GET /live/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await node.server.stop_intake()
        assert (await client.read()).status == 200


async def test_websockets_are_told_that_the_node_stops() -> None:
    told = trio.Event()

    async def app(scope, receive, send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await scope["state"]["closing"].wait()
        told.set()
        await send({"type": "websocket.close", "code": 1001})

    fields = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    async with running(app=app, drain_s=5) as node:
        client = await node.connect()
        assert (await client.get("/ws", *fields)).status == 101
        await node.server.stop_intake()
        with trio.fail_after(3):
            await told.wait()
            assert (await client.rest())[:4] == b"\x88\x02\x03\xe9"
            await node.server.drained()


async def test_faults_of_the_app_are_counted_and_cost_one_answer() -> None:
    async def app(scope, receive, send) -> None:
        raise RuntimeError("a bug")

    with capture_logs() as logs:
        async with running(app=app) as node:
            assert (await node.get("/api")).status == 500
            assert (await node.get("/live/a")).status == 200
            assert node.server.tally.failed["asgi"] == 1
    told = [line["event"] for line in logs if line["log_level"] == "error"]
    assert told == ["http-asgi-failed"]


async def test_what_happened_can_be_read_as_metrics() -> None:
    async with running() as node:
        await node.get("/live/a")
        await node.get("/api")
        await node.get("/live/a", "Host: evil.example")
        text = generate_latest().decode()
    assert 'hausd_http_answered_total{lane="fast",status="200"}' in text
    assert 'hausd_http_answered_total{lane="asgi",status="200"}' in text
    assert 'hausd_http_refused_total{reason="unknown-host"}' in text
    for name in ("connections", "accepted_total", "handed_over_total", "sent_bytes_total"):
        assert f"\nhausd_http_{name} " in text
