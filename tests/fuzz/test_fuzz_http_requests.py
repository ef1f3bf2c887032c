"""Bytes of any kind at the HTTP port: refused or answered, never a fault, never unbounded."""

from __future__ import annotations

import h11
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.http import PLAYLIST, Client, Running, running

from hausd.http.conditional import reply_to
from hausd.http.door import Door
from hausd.http.gate import Gate
from hausd.http.head import BadRequest, parse_fields, parse_line, parse_path
from hausd.http.limits import Limits
from hausd.http.messages import Request
from hausd.http.metrics import Tally
from hausd.policy.origin import HostNames

GET = b"GET /live/a HTTP/1.1\r\nHost: localhost\r\n"
SEEDS = (
    b"",
    b"\r\n",
    GET + b"\r\n",
    GET + b"Range: bytes=0-1\r\n\r\n" + GET + b"\r\n",
    GET.replace(b"GET", b"POST") + b"Content-Length: 5\r\n\r\nhello",
    GET.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    GET + b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    GET + b"Upgrade: h2c\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    GET + b"Origin: null\r\nIf-None-Match: *\r\nIf-Modified-Since: x\r\n\r\n",
)
PIECES = st.sampled_from(
    [
        *SEEDS,
        b"GET ",
        b" HTTP/1.1",
        b"\r\n",
        b"\n",
        b"\r",
        b"Host: localhost\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"0\r\n\r\n",
        b"%00",
        b"/live/a",
        b"\x00",
        b"\xff",
    ]
)
STREAMS = st.lists(PIECES | st.binary(max_size=20), max_size=12).map(b"".join)


def with_seeds(test):
    for seed in SEEDS:
        test = example(seed)(test)
    return test


@with_seeds
@given(STREAMS)
def test_the_gate_refuses_or_passes_on_what_h11_takes(stream: bytes) -> None:
    limits = Limits(head_bytes=2000, request_line_bytes=1000, body_bytes=1000)
    gate, server = Gate(limits), h11.Connection(h11.SERVER)
    try:
        passed = gate.feed(stream)
    except BadRequest as refused:
        assert refused.status in (400, 413, 414, 431, 501, 505)  # noqa: PT017
        return
    assert len(gate._buffer) <= limits.head_bytes + 4
    if gate.stage.name == "TUNNEL" or not passed:
        return
    server.receive_data(passed)
    while True:  # raises RemoteProtocolError where h11 disagrees
        event = server.next_event()
        if event is h11.PAUSED:
            server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            server.send(h11.EndOfMessage())
            if server.our_state is h11.MUST_CLOSE:
                return  # "Connection: close" or HTTP/1.0: what follows is nobody's
            server.start_next_cycle()
        elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            return


@given(st.binary(max_size=60), st.binary(max_size=60))
@example(b"GET /%C3%28 HTTP/1.1", b"Host: a\r\n")
@example(b"GET /live/a HTTP/1.1", b"Host: [::1\r\nOrigin: http://[::1\r\nRange: bytes=9-1\r\n")
def test_line_fields_door_and_conditions_raise_nothing_else(line: bytes, fields: bytes) -> None:
    door = Door(HostNames(), frozenset({"127.0.0.1"}), b"salt", Tally())
    for read_line in (line, b"GET /" + line + b" HTTP/1.1", b"GET /live/a HTTP/1.1"):
        for read_fields in (fields, b"Host: " + fields + b"\r\nRange: bytes=" + line + b"\r\n"):
            try:
                parsed = parse_line(read_line)
                found = parse_fields(read_fields, Limits())
            except BadRequest:
                continue
            request = door.request(parsed, found, "127.0.0.1", False)
            assert request.path.startswith("/")
            assert not any(character < " " for character in request.path)
            door.refuse(parsed.method, found)
            reply = reply_to(request, PLAYLIST)
            assert reply.status in (200, 206, 304, 416)


@given(st.binary(max_size=30))
def test_any_path_is_text_or_refused(path: bytes) -> None:
    try:
        text = parse_path(b"/" + path if path.isascii() else b"/")
    except BadRequest:
        return
    assert isinstance(text, str)


@given(st.dictionaries(st.sampled_from(["range", "if-range", "if-none-match"]), st.text()))
def test_any_condition_gets_an_answer(fields: dict[str, str]) -> None:
    request = Request("GET", "/live/a", "", fields, "1.1", False, "", "localhost")
    assert reply_to(request, PLAYLIST).status in (200, 206, 304, 416)


@settings(max_examples=25)
@with_seeds
@given(STREAMS)
def test_no_bytes_harm_the_server(stream: bytes) -> None:
    trio.run(_survives, stream)


async def _survives(stream: bytes) -> None:
    async with running(drain_s=0.2) as node:
        for before in (b"", b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            client = await node.connect()
            if before:
                await client.send(before)
                await client.read()
            await _say(client, stream)
        assert not node.server.tally.failed
        assert (await node.get("/live/a")).status == 200
        await _all_are_gone(node)


async def _say(client: Client, stream: bytes) -> None:
    try:
        await client.send(stream)
        await client.stream.send_eof()
        with trio.move_on_after(2) as scope:
            await client.rest()
        assert not scope.cancelled_caught, "it neither answers nor closes"
    except trio.BrokenResourceError:
        pass
    finally:
        await client.stream.aclose()


async def _all_are_gone(node: Running) -> None:
    with trio.fail_after(5):
        while node.server.tally.connections:
            await trio.sleep(0.005)
