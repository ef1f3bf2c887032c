"""No request is read in two ways: what is ambiguous is refused at the door, and counted."""

from __future__ import annotations

import contextlib
import itertools
import time

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http import Closed, running

from hausd.http.gate import Gate, Stage
from hausd.http.head import BadRequest, check_partial, parse_fields, parse_line
from hausd.http.limits import Limits

HOST = b"Host: localhost\r\n"
GET = b"GET /live/a HTTP/1.1\r\n"
POST = b"POST /api HTTP/1.1\r\n" + HOST

MALFORMED: dict[str, tuple[bytes, str, int]] = {
    "both lengths": (
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two-lengths",
        400,
    ),
    "both lengths, other order": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "two-lengths",
        400,
    ),
    "two lengths": (
        POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "repeated-field",
        400,
    ),
    "the same length twice": (
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "repeated-field",
        400,
    ),
    "lengths in a list": (POST + b"Content-Length: 3, 3\r\n\r\nabc", "bad-length", 400),
    "a signed length": (POST + b"Content-Length: +3\r\n\r\nabc", "bad-length", 400),
    "a negative length": (POST + b"Content-Length: -3\r\n\r\nabc", "bad-length", 400),
    "a hexadecimal length": (POST + b"Content-Length: 0x3\r\n\r\nabc", "bad-length", 400),
    "a length with underscore": (POST + b"Content-Length: 1_0\r\n\r\nabc", "bad-length", 400),
    "an endless length": (POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", "bad-length", 400),
    "an empty length": (POST + b"Content-Length:\r\n\r\n", "bad-length", 400),
    "another coding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", "unknown-coding", 501),
    "two codings": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "unknown-coding", 501),
    "a coding hidden by a tab": (
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
        "bad-field",
        400,
    ),
    "two codings in two fields": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        "repeated-field",
        400,
    ),
    "a coding in HTTP/1.0": (
        b"POST /api HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        "unknown-coding",
        400,
    ),
    "a folded line": (GET + HOST + b"X-A: b\r\n Content-Length: 5\r\n\r\n", "folded-line", 400),
    "a folded first line": (GET + b" X: b\r\n" + HOST + b"\r\n", "folded-line", 400),
    "space before the colon": (GET + HOST + b"Content-Length : 5\r\n\r\n", "bad-field", 400),
    "an empty name": (GET + HOST + b": x\r\n\r\n", "bad-field", 400),
    "no colon": (GET + HOST + b"nonsense\r\n\r\n", "bad-field", 400),
    "a bare LF": (GET + b"Host: localhost\nX: y\r\n\r\n", "bare-line-end", 400),
    "only LFs": (b"GET /live/a HTTP/1.1\nHost: localhost\n\n", "bare-line-end", 400),
    "a bare CR": (GET + HOST + b"X: a\rContent-Length: 5\r\n\r\n", "bare-line-end", 400),
    "a NUL": (GET + HOST + b"X: a\x00b\r\n\r\n", "bad-field", 400),
    "an odd name": (GET + HOST + b"X(a): b\r\n\r\n", "bad-field", 400),
    "a name that is not ASCII": (GET + HOST + b"X\xe4: b\r\n\r\n", "bad-field", 400),
    "no Host": (GET + b"X: y\r\n\r\n", "no-host", 400),
    "no fields at all": (GET + b"\r\n", "no-host", 400),
    "two Hosts": (GET + HOST + b"Host: other\r\n\r\n", "repeated-field", 400),
    "HTTP/0.9": (b"GET /live/a\r\n\r\n", "bad-line", 400),
    "HTTP/1.2": (b"GET /live/a HTTP/1.2\r\n" + HOST + b"\r\n", "bad-target", 400),
    "HTTP/2.0 in clear": (b"GET /live/a HTTP/2.0\r\n" + HOST + b"\r\n", "bad-version", 505),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad-version", 505),
    "lower case version": (b"GET /live/a http/1.1\r\n" + HOST + b"\r\n", "bad-line", 400),
    "an absolute target": (
        b"GET http://localhost/live/a HTTP/1.1\r\n" + HOST + b"\r\n",
        "absolute-target",
        400,
    ),
    "an authority": (b"GET localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", "bad-target", 400),
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", "bad-target", 400),
    "CONNECT": (b"CONNECT localhost:22 HTTP/1.1\r\n" + HOST + b"\r\n", "bad-target", 400),
    "TRACE": (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", "unknown-method", 501),
    "another method": (b"BREW /pot HTTP/1.1\r\n" + HOST + b"\r\n", "unknown-method", 501),
    "a lower case method": (b"get /live/a HTTP/1.1\r\n" + HOST + b"\r\n", "bad-method", 400),
    "a mixed method": (b"GEt /live/a HTTP/1.1\r\n" + HOST + b"\r\n", "bad-method", 400),
    "a method with odd bytes": (b"G<T /live/a HTTP/1.1\r\n" + HOST + b"\r\n", "bad-method", 400),
    "two spaces": (b"GET  /live/a HTTP/1.1\r\n" + HOST + b"\r\n", "bad-line", 400),
    "a tab for a space": (b"GET\t/live/a HTTP/1.1\r\n" + HOST + b"\r\n", "bad-line", 400),
    "a space in the target": (b"GET /live/a b HTTP/1.1\r\n" + HOST + b"\r\n", "bad-line", 400),
    "a fragment": (b"GET /live/a#b HTTP/1.1\r\n" + HOST + b"\r\n", "bad-target", 400),
    "a backslash": (b"GET /live\\a HTTP/1.1\r\n" + HOST + b"\r\n", "bad-target", 400),
    "bytes above ASCII in the target": (
        b"GET /live/\xff HTTP/1.1\r\n" + HOST + b"\r\n",
        "bad-target",
        400,
    ),
    "TLS at a clear port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "bad-method", 400),
    "many empty lines": (b"\r\n\r\n" + GET + HOST + b"\r\n", "bad-line", 400),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_ambiguous_requests_are_refused_and_closed(case: str) -> None:
    data, fault, status = MALFORMED[case]
    async with running() as node:
        client = await node.connect()
        await client.send(data + b"GET /live/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await client.read()
        assert (answer.status, answer.fields["connection"]) == (status, "close")
        assert f'"code":"{fault}"'.encode() in answer.body
        assert await client.rest() == b"", "nothing behind it is answered"
        assert node.refused(fault) == 1
        assert not node.responder.requests
        assert not node.server.tally.failed


@pytest.mark.parametrize("case", MALFORMED)
async def test_after_a_hand_over_they_are_refused_as_well(case: str) -> None:
    data, fault, _ = MALFORMED[case]
    async with running() as node:
        client = await node.connect()
        assert (await client.get("/api")).status == 200
        asked = len(node.responder.requests)
        await client.send(data + b"GET /live/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await client.read()
        assert (answer.status, answer.fields["connection"]) == (400, "close")
        assert await client.rest() == b""
        assert node.refused(fault) == 1
        assert len(node.responder.requests) == asked
        assert not node.server.tally.failed


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"-1\r\na\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"fffffffff\r\nabc\r\n0\r\n\r\n",
        b"3;" + b"e" * 400 + b"\r\nabc\r\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\nTransfer-Encoding : x\n\r\n",
    ],
)
async def test_bad_chunks_end_the_connection(body: bytes) -> None:
    async with running() as node:
        client = await node.connect()
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        await client.send(GET + HOST + b"\r\n")
        with contextlib.suppress(Closed):
            assert (await client.read()).status == 400
        assert await client.rest() == b"", "what follows is not taken for a request"
        assert sum(node.server.tally.refused.values()) == 1


async def test_h2c_is_not_a_way_around_the_door() -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    async with running() as node:
        for path in (b"/live/a", b"/api"):
            client = await node.connect()
            await client.send(b"GET " + path + b" HTTP/1.1\r\n" + HOST + upgrade + b"\r\n")
            assert (await client.read()).status == 200
            assert (await client.get("/api")).status == 200, "it is still HTTP/1.1"


async def test_half_a_request_is_counted_and_forgotten() -> None:
    async with running() as node:
        client = await node.connect()
        await client.send(b"GET /live/a HTTP/1.1\r\nHost: loc")
        await client.stream.send_eof()
        assert await client.rest() == b""
        assert node.refused("half-sent") == 1


async def test_a_stranger_host_is_told_so_on_both_lanes() -> None:
    async with running() as node:
        client = await node.connect()
        for _ in range(2):
            answer = await client.get("/live/a", "Host: evil.example")
            assert answer.status == 421
            assert b'"unknown-host"' in answer.body
        assert (await client.get("/live/a")).status == 200
        assert (await client.get("/api")).status == 200
        assert (await client.get("/live/a", "Host: evil.example")).status == 421
        assert (await client.get("/api", "Host: evil.example:80")).status == 421
        assert node.refused("unknown-host") == 4
        paths = {request.host for request in node.responder.requests}
        assert paths == {"localhost"}


async def test_other_sites_pages_neither_change_anything_nor_open_websockets() -> None:
    evil = "Origin: https://evil.example"
    websocket = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    async with running() as node:
        assert (await node.get("/api", evil, method="POST")).status == 403
        assert (await node.get("/live/a", evil, method="POST")).status == 403
        assert (await node.get("/api", "Origin: null", method="DELETE")).status == 403
        refused = await node.get("/ws", evil, *websocket)
        assert refused.status == 403
        assert b'"cross-origin"' in refused.body
        ours = f"Origin: http://{node.host}"
        assert (await node.get("/ws", f"Host: {node.host}", ours, *websocket)).status == 101
        assert (await node.get("/api", f"Host: {node.host}", ours, method="POST")).status == 200
        assert (await node.get("/api", method="POST")).status == 200, "programs have no origin"


TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=8)
VALUE = st.text(st.characters(min_codepoint=9, max_codepoint=255), max_size=12)
LINE_END = st.sampled_from(["\r\n"] * 12 + ["\n", "\r", "\r\n ", "\r\n\t", "\r\n\r\n"])
NAMES = st.sampled_from(["Host", "Content-Length", "Transfer-Encoding", "X", "connection"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["GET", "POST", "PUT", "G T", "get"]))
    target = "/" + draw(st.text("ab/%20?&=.;~", max_size=8))
    version = draw(st.sampled_from(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/1.2", "HTTP/11"]))
    text = f"{method} {target} {version}\r\nHost: localhost\r\n"
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.one_of(NAMES, TOKEN))
        value = draw(st.one_of(VALUE, st.sampled_from(["5", "chunked", "close"])))
        space = draw(st.sampled_from(["", " ", "\t"]))
        text += f"{name}:{space}{value}{draw(LINE_END)}"
    return text.encode("latin-1") + b"\r\n"


@given(heads())
def test_what_the_door_lets_in_h11_reads_the_same(head: bytes) -> None:
    """The door's grammar is a subset of h11's, and both see the same fields."""
    end = head.find(b"\r\n\r\n") + 4
    block = head[:end]
    line_end = block.find(b"\r\n")
    try:
        line = parse_line(block[:line_end])
        fields = parse_fields(block[line_end + 2 : -2], Limits())
    except BadRequest:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(block)
    if line.minor == 0 and fields.chunked:
        return  # refused by check_together
    event = server.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method.decode(), event.target) == (line.method, line.target)
    assert event.http_version == b"1.%d" % line.minor
    assert tuple(event.headers) == fields.raw


@given(heads(), st.lists(st.integers(0, 200), max_size=5))
def test_the_gate_gives_h11_what_it_read_itself_however_it_is_cut(
    head: bytes, cuts: list[int]
) -> None:
    stream = head + b"5\r\nhello\r\n0\r\n\r\n" + GET + HOST + b"\r\n"
    whole = _through(Gate(Limits()), [stream])
    places = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    assert _through(Gate(Limits()), pieces)[0] == whole[0]
    passed, _ = whole
    if not passed:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(passed)
    event = server.next_event()
    assert event is h11.NEED_DATA or isinstance(event, h11.Request)


def _through(gate: Gate, pieces: list[bytes]) -> tuple[bytes, str]:
    passed = b""
    for piece in pieces:
        # One byte at a time where a fault would hide what was passed before it.
        for byte in piece:
            try:
                passed += gate.feed(bytes([byte]))
            except BadRequest as fault:
                return passed, fault.fault
    return passed, ""


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def test_tiny_chunks_cost_no_more_the_more_of_them_come_at_once() -> None:
    def cost(chunks: int) -> float:
        gate, body = Gate(Limits()), b"1\r\nx\r\n" * chunks
        gate.feed(CHUNKED)
        begun = time.process_time()
        gate.feed(body)
        return time.process_time() - begun

    few, many = min(cost(5_000) for _ in range(3)), min(cost(80_000) for _ in range(3))
    assert many / few < 2 * 16


def test_trailers_have_an_end() -> None:
    gate = Gate(Limits(head_fields=100))
    gate.feed(CHUNKED + b"0\r\n" + b"a: b\r\n" * 90)
    with pytest.raises(BadRequest) as caught:
        gate.feed(b"a:\r\n" * 20)
    assert caught.value.status == 431


def test_the_gate_writes_heads_anew_and_drops_what_nobody_needs() -> None:
    gate = Gate(Limits())
    said = gate.feed(
        b"\r\nPOST /api?x=1 HTTP/1.1\r\nHoST:localhost\r\nX-A:  b \t\r\nTE: trailers\r\n"
        b"Transfer-Encoding: Chunked\r\nUpgrade: h2c\r\nConnection: x, Upgrade\r\n\r\n"
        b"0003;name=value\r\nabc\r\n0\r\nTrailer: dropped\r\n\r\nGET"
    )
    assert said == (
        b"POST /api?x=1 HTTP/1.1\r\nhost: localhost\r\nx-a: b\r\n"
        b"transfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    assert gate.stage is Stage.HEAD
    assert not gate.between_requests


def test_a_gate_is_a_tunnel_after_a_websocket_handshake_only() -> None:
    gate = Gate(Limits())
    head = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    assert gate.feed(head + b"\r\n\x81\x85abcd").endswith(b"\r\n\r\n\x81\x85abcd")
    assert gate.stage is Stage.TUNNEL
    with pytest.raises(BadRequest):
        Gate(Limits()).feed(head.replace(b"GET", b"POST") + b"\r\n\x81\x85abcd\r\n\r\n")


def test_no_prefix_of_a_good_request_is_refused() -> None:
    good = b"GET /live/a?x=1 HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n"
    for end in range(1, len(good) - 1):
        check_partial(good[:end], Limits())
