"""The fast lane: media and playlists in clear, and the way over to the ASGI lane."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
import trio
from support.http import PLAYLIST, ROOM, Client, Closed, Heard, StubResponder, running

from hausd.core.clock import SystemClock
from hausd.core.live import FileRange
from hausd.http.door import Door
from hausd.http.fastlane import FastLane
from hausd.http.files import OpenFiles
from hausd.http.limits import Limits
from hausd.http.messages import Accounting, Chunks, Fetch, Request, Response, Wait
from hausd.http.metrics import Tally
from hausd.http.poller import SelectorPoller, open_poller
from hausd.policy.origin import HostNames
from hausd.serving.connections import Connections

BODY = b"".join(PLAYLIST.body) if isinstance(PLAYLIST.body, tuple) else b""


def media(path: Path, size: int, offset: int = 0) -> Response:
    return Response(
        200,
        ((b"content-type", b"video/mp4"), (b"etag", b'"bafk"')),
        FileRange(str(path), offset, size),
        Accounting(ROOM),
    )


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "segment"
    path.write_bytes(os.urandom(3_000_000))
    return path


async def test_a_playlist_is_answered_again_and_again_on_one_connection() -> None:
    async with running() as node:
        client = await node.connect()
        for _ in range(3):
            answer = await client.get("/live/a")
            assert (answer.status, answer.body) == (200, BODY)
            assert answer.fields["content-type"] == "application/vnd.apple.mpegurl"
            assert answer.fields["x-content-type-options"] == "nosniff"
            assert answer.fields["date"].endswith("GMT")
        assert node.server.tally.accepted == 1
        assert node.server.tally.handed_over == 0
        assert node.server.tally.fast[200] == 3


async def test_head_range_and_conditions_work_on_the_fast_lane(segment: Path) -> None:
    data = segment.read_bytes()
    async with running({"/live/a": PLAYLIST, "/live/s": media(segment, len(data))}) as node:
        client = await node.connect()
        head = await client.get("/live/a", method="HEAD")
        assert (head.status, head.fields["content-length"]) == (200, str(len(BODY)))
        part = await client.get("/live/s", "Range: bytes=1000000-1999999")
        assert (part.status, part.body) == (206, data[1_000_000:2_000_000])
        assert (await client.get("/live/s", 'If-None-Match: "bafk"')).status == 304
        assert (await client.get("/live/s")).body == data
        assert node.server.tally.handed_over == 0


async def test_a_part_of_a_file_is_exactly_its_bytes(segment: Path) -> None:
    async with running({"/live/p": media(segment, 1000, offset=777)}) as node:
        assert (await node.get("/live/p")).body == segment.read_bytes()[777:1777]


async def test_large_bodies_in_memory_arrive_whole() -> None:
    pieces = tuple(os.urandom(100_000) for _ in range(100))
    async with running({"/live/p": Response(200, (), pieces)}) as node:
        client = await node.connect()
        for _ in range(2):
            assert (await client.get("/live/p")).body == b"".join(pieces)


async def test_pipelined_requests_are_answered_in_order() -> None:
    answers = {f"/live/{n}": Response(200, (), (b"answer %d" % n,)) for n in range(60)}
    async with running(answers) as node:
        client = await node.connect()
        await client.send(
            b"".join(b"GET /live/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % n for n in range(60))
        )
        for n in range(60):
            assert (await client.read()).body == b"answer %d" % n


async def test_a_request_may_come_byte_by_byte() -> None:
    async with running() as node:
        client = await node.connect()
        for byte in b"\r\nGET /live/a HTTP/1.1\r\nHost: localhost\r\n\r\n":
            await client.send(bytes([byte]))
            await trio.sleep(0.001)
        assert (await client.read()).body == BODY


async def test_http_1_0_and_connection_close_are_honoured() -> None:
    async with running() as node:
        for head, option in (
            (b"GET /live/a HTTP/1.0\r\nHost: localhost\r\n\r\n", "close"),
            (b"GET /live/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "close"),
        ):
            client = await node.connect()
            await client.send(head)
            answer = await client.read()
            assert (answer.body, answer.fields["connection"]) == (BODY, option)
            assert await client.rest() == b""
        client = await node.connect()
        for _ in range(2):
            await client.send(
                b"GET /live/a HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
            )
            answer = await client.read()
            assert (answer.body, answer.fields["connection"]) == (BODY, "keep-alive")


async def test_an_answer_that_is_waited_for_comes_as_soon_as_it_is_there() -> None:
    there = trio.Event()
    expired = Response(503, (), (b"too late",))

    def reload(request: Request) -> Response | Wait:
        return PLAYLIST if there.is_set() else Wait(there.wait, 5.0, expired)

    async with running({"/live/a": reload}) as node:
        client = await node.connect()
        await client.send_request("/live/a")
        with trio.move_on_after(0.1):
            await client.read()
            pytest.fail("answered before there was anything")
        there.set()
        assert (await client.read()).body == BODY
        assert (await client.get("/live/a")).body == BODY


async def test_a_wait_ends_at_its_deadline_with_its_own_answer() -> None:
    expired = Response(503, (), (b"too late",))
    wait = Wait(trio.sleep_forever, 0.05, expired)
    async with running({"/live/a": wait, "/live/b": PLAYLIST}) as node:
        client = await node.connect()
        answer = await client.get("/live/a")
        assert (answer.status, answer.body) == (503, b"too late")
        assert (await client.get("/live/b")).status == 200


async def test_what_is_got_after_a_wait_has_the_rest_of_its_time() -> None:
    async def late() -> Response:
        await trio.sleep_forever()
        raise AssertionError

    waited = trio.Event()

    async def until() -> None:
        waited.set()

    def answer(request: Request) -> Wait | Fetch:
        return Fetch(late) if waited.is_set() else Wait(until, 0.05, Response(503, (), (b"late",)))

    async with running({"/live/a": answer, "/live/b": PLAYLIST}) as node:
        client = await node.connect()
        assert (await client.get("/live/a")).body == b"late"
        assert (await client.get("/live/b")).status == 200  # on the same connection
        waited = trio.Event()
        # the other lane, where a request with a body goes
        await client.send(b"GET /live/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
        assert (await client.read()).body == b"late"
        assert not node.server.tally.failed


async def test_waiting_stops_when_the_client_hangs_up() -> None:
    stopped = trio.Event()

    async def until() -> None:
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()

    async with running({"/live/a": Wait(until, 60.0, PLAYLIST)}) as node:
        client = await node.connect()
        await client.send_request("/live/a")
        await trio.sleep(0.05)
        await client.stream.aclose()
        with trio.fail_after(5):
            await stopped.wait()


async def test_blocks_that_are_read_from_the_store_are_answered() -> None:
    async def get() -> Response:
        await trio.sleep(0.01)
        return Response(200, (), (b"block",))

    async with running({"/ipfs/b": Fetch(get)}) as node:
        client = await node.connect()
        assert (await client.get("/ipfs/b")).body == b"block"
        assert (await client.get("/ipfs/b", method="HEAD")).body == b""


async def test_a_body_made_while_it_is_sent_comes_in_chunks() -> None:
    async def pieces():
        for n in range(5):
            yield b"%d" % n * 50_000

    whole = b"".join(b"%d" % n * 50_000 for n in range(5))
    answers = {
        "/ipfs/car": Response(200, (), Chunks(pieces)),
        "/ipfs/known": Response(200, (), Chunks(pieces, len(whole))),
    }
    async with running(answers) as node:
        client = await node.connect()
        answer = await client.get("/ipfs/car")
        assert (answer.body, answer.fields["transfer-encoding"]) == (whole, "chunked")
        answer = await client.get("/ipfs/known")
        assert (answer.body, answer.fields["content-length"]) == (whole, str(len(whole)))
        last = await node.get("/ipfs/car", "Connection: close")
        assert (last.body, last.fields["transfer-encoding"]) == (whole, "chunked")
        await client.send(b"GET /ipfs/car HTTP/1.0\r\nHost: localhost\r\n\r\n")
        old = await client.read()
        assert (old.body, old.fields["connection"]) == (whole, "close")


async def test_a_body_that_breaks_off_is_seen_by_the_client() -> None:
    async def pieces():
        yield b"begun"
        raise RuntimeError("the disk failed")

    async with running({"/ipfs/car": Response(200, (), Chunks(pieces))}) as node:
        client = await node.connect()
        await client.send_request("/ipfs/car")
        with pytest.raises(Closed):
            await client.read()
        assert node.server.tally.failed["fast-lane"] == 1
        assert (await node.get("/none")).status == 200, "the others are served on"


async def test_a_fault_of_the_responder_costs_one_connection() -> None:
    def fault(request: Request) -> Response:
        raise KeyError("a bug")

    async with running({"/live/x": fault, "/live/a": PLAYLIST}) as node:
        other = await node.connect()
        assert (await other.get("/live/a")).status == 200
        client = await node.connect()
        await client.send_request("/live/x")
        assert await client.rest() == b""
        assert (await other.get("/live/a")).status == 200
        assert node.server.tally.failed["fast-lane"] == 1


async def test_a_header_field_can_not_smuggle_another() -> None:
    split = Response(200, ((b"x-title", b"a\r\nset-cookie: b"),), (b"",))
    async with running({"/live/x": split}) as node:
        client = await node.connect()
        await client.send_request("/live/x")
        assert await client.rest() == b""


async def test_evicted_content_is_404_and_never_the_old_bytes(segment: Path) -> None:
    async with running({"/live/s": media(segment, 1000)}) as node:
        client = await node.connect()
        old = segment.read_bytes()[:1000]
        assert (await client.get("/live/s")).body == old
        other = segment.with_name("other")
        other.write_bytes(b"o" * 3000)
        other.replace(segment)
        assert (await client.get("/live/s")).body == b"o" * 1000
        segment.unlink()
        answer = await client.get("/live/s")
        assert (answer.status, answer.fields["cache-control"]) == (404, "no-store")
        assert b'"gone"' in answer.body
        segment.write_bytes(b"n" * 2000)
        assert (await client.get("/live/s")).body == b"n" * 1000
        os.truncate(segment, 10)
        assert (await client.get("/live/s")).status == 404


async def test_descriptors_of_evicted_files_are_given_back(tmp_path: Path) -> None:
    paths = [tmp_path / str(n) for n in range(20)]
    for path in paths:
        path.write_bytes(b"x" * 10)
    answers = {f"/live/{path.name}": media(path, 10) for path in paths}

    def held() -> int:
        count = 0
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # the descriptor of the listing
                count += str(tmp_path) in os.readlink(f"/proc/self/fd/{fd}")
        return count

    limits = Limits(open_files=8, head_timeout_s=0.2)
    async with running(answers, limits=limits) as node:
        client = await node.connect()
        for path in paths:
            assert (await client.get(f"/live/{path.name}")).body == b"x" * 10
        assert held() == 8
        for path in paths:
            path.unlink()
        with trio.fail_after(5):
            while held():
                await trio.sleep(0.02)


async def test_what_is_not_media_goes_over_with_the_bytes_read_so_far() -> None:
    async with running() as node:
        client = await node.connect()
        assert (await client.get("/live/a")).body == BODY
        assert (await client.get("/api/v1/x")).body == b"GET /api/v1/x "
        assert (await client.get("/api/v1/y")).body == b"GET /api/v1/y "
        assert (await client.get("/live/a")).body == BODY, "media after the hand-over"
        assert node.server.tally.handed_over == 1
        await client.send(
            b"POST /api/v1/z HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\n\r\n"
            b"GET /api/v1/next HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert (await client.read()).body == b"POST /api/v1/z abcdefg"
        assert (await client.read()).body == b"GET /api/v1/next "


async def test_a_descriptors_number_used_again_is_the_new_connections() -> None:
    """A hand-over closes its socket, and the next connection may get its number at once."""
    limits, tally = Limits(), Tally()
    table = Connections(limits.connections, limits.connections_per_address)
    ours: list[socket.socket] = []

    async def leave(sock: socket.socket, peer: str, data: bytes) -> None:
        number = sock.fileno()
        sock.close()
        pair = sorted(socket.socketpair(), key=lambda end: end.fileno() != number)
        assert pair[0].fileno() == number
        come(pair[0])
        ours.append(pair[1])

    def come(sock: socket.socket) -> None:
        sock.setblocking(False)
        table.admit("127.0.0.1")
        lane.take(sock, "127.0.0.1")

    async with trio.open_nursery() as nursery:
        door = Door(HostNames(), frozenset(), b"salt", tally)
        responder = StubResponder({"/live/a": PLAYLIST})
        lane = FastLane(
            nursery, responder, door, limits, table, Heard(), leave, SystemClock(), OpenFiles(8)
        )
        nursery.start_soon(lane.run)
        first, theirs = socket.socketpair()
        come(theirs)
        first.send(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with trio.fail_after(5):
            while not ours or table.count != 1:
                await trio.sleep(0.01)
        ours[0].setblocking(False)
        client = Client(trio.SocketStream(trio.socket.from_stdlib_socket(ours[0])))
        assert (await client.get("/live/a")).body == BODY
        nursery.cancel_scope.cancel()
    first.close()


async def test_a_body_sends_a_request_over_even_to_a_media_path() -> None:
    async with running() as node:
        client = await node.connect()
        await client.send(
            b"POST /live/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
        )
        assert (await client.read()).body == b"POST /live/b hello"


async def test_ranges_files_waits_and_chunks_after_a_hand_over(segment: Path) -> None:
    there = trio.Event()

    def reload(request: Request) -> Response | Wait:
        return PLAYLIST if there.is_set() else Wait(there.wait, 5.0, PLAYLIST)

    async def get() -> Response:
        return Response(200, (), (b"block",))

    async def pieces():
        yield b"one"
        yield b"two"

    data = segment.read_bytes()
    answers = {
        "/live/s": media(segment, len(data)),
        "/live/w": reload,
        "/live/e": Wait(trio.sleep_forever, 0.05, Response(503, (), (b"late",))),
        "/ipfs/f": Fetch(get),
        "/ipfs/c": Response(200, (), Chunks(pieces)),
        "/live/gone": media(segment.with_name("gone"), 5),
    }
    async with running(answers) as node:
        client = await node.connect()
        assert (await client.get("/api")).status == 200
        assert (await client.get("/live/s")).body == data
        assert (await client.get("/live/s", "Range: bytes=-5")).body == data[-5:]
        assert (await client.get("/live/s", method="HEAD")).status == 200
        assert (await client.get("/live/s", 'If-None-Match: "bafk"')).status == 304
        await client.send_request("/live/w")
        await trio.sleep(0.05)
        there.set()
        assert (await client.read()).body == BODY
        assert (await client.get("/live/e")).body == b"late"
        assert (await client.get("/ipfs/f")).body == b"block"
        assert (await client.get("/ipfs/c")).body == b"onetwo"
        assert (await client.get("/live/gone")).status == 404
        assert node.server.tally.handed_over == 1


async def test_a_websocket_works_from_the_first_byte_and_later() -> None:
    from wsproto import ConnectionType, WSConnection
    from wsproto.events import AcceptConnection, Message, TextMessage
    from wsproto.events import Request as Ask

    async with running() as node:
        for before in (False, True):
            client = await node.connect()
            if before:
                assert (await client.get("/live/a")).status == 200
            ws = WSConnection(ConnectionType.CLIENT)
            await client.send(ws.send(Ask(host="localhost", target="/ws")))
            events: list[object] = []

            async def until(kind: type, stream=client.stream, ws=ws, events=events) -> object:
                with trio.fail_after(5):
                    while not any(isinstance(event, kind) for event in events):
                        ws.receive_data(await stream.receive_some())
                        events.extend(ws.events())
                return next(event for event in events if isinstance(event, kind))

            await until(AcceptConnection)
            await client.send(ws.send(Message("hello")))
            said = await until(TextMessage)
            assert isinstance(said, TextMessage)
            assert said.data == "echo hello"


async def test_bytes_and_viewers_are_accounted_to_the_room(segment: Path) -> None:
    answers = {"/live/a": PLAYLIST, "/live/s": media(segment, 1_000_000)}
    async with running(answers) as node:
        first, second = await node.connect(), await node.connect()
        await first.get("/live/a", "User-Agent: mpv")
        await first.get("/live/s", "User-Agent: mpv")
        await second.get("/live/a", "User-Agent: mpv")
        await second.get("/live/a", "User-Agent: VLC")
        viewers = [viewer for _, viewer, _ in node.audience.served_bytes]
        assert viewers[0] == viewers[2] != viewers[3]
        assert viewers[1] == "", "media alone makes no viewer: caches fetch it too"
        assert "127.0.0.1" not in "".join(viewers)
        room, _, size = node.audience.served_bytes[1]
        assert room == ROOM
        assert 1_000_000 <= size < 1_001_000
        slow = await node.connect()
        await slow.get("/api")
        await slow.get("/live/a", "User-Agent: mpv")
        with trio.fail_after(5):
            while len(node.audience.served_bytes) < 5:
                await trio.sleep(0.01)
        assert node.audience.served_bytes[-1][1] == viewers[0], "both lanes know one viewer as one"


async def test_only_a_trusted_proxy_names_the_client() -> None:
    seen: list[Request] = []

    def look(request: Request) -> Response:
        seen.append(request)
        return PLAYLIST

    fields = ("X-Forwarded-For: 10.9.9.9, 203.0.113.7", "X-Forwarded-Proto: https")
    for trusted in (frozenset({"127.0.0.1"}), frozenset[str]()):
        async with running({"/live/a": look}, trusted_proxies=trusted) as node:
            await node.get("/live/a", *fields)
            client = await node.connect()
            await client.get("/api")
            await client.get("/live/a", *fields)
    peers = [(request.peer, request.scheme) for request in seen]
    assert peers == [("203.0.113.7", "https")] * 2 + [("127.0.0.1", "http")] * 2


async def test_paths_are_decoded_once_and_strictly() -> None:
    async with running({"/ipfs/a b/ü%": PLAYLIST}) as node:
        assert (await node.get("/ipfs/a%20b/%C3%BC%25")).body == BODY
        for bad in ("/ipfs/%zz", "/ipfs/%", "/ipfs/%ff", "/ipfs/%00", "/ipfs/%0d%0a"):
            assert (await node.get(bad)).status == 400
        assert node.refused("bad-target") == 5


async def test_a_slow_disk_does_not_stop_the_others(
    segment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hausd.http.sending as sending

    # The page cache can't be emptied in a test: say that the file is not in it.
    monkeypatch.setattr(sending, "in_memory", lambda descriptor, offset: False)
    data = segment.read_bytes()
    async with running({"/live/s": media(segment, len(data))}) as node:
        assert (await node.get("/live/s")).body == data


async def test_it_works_without_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    import hausd.http.fastlane as fastlane

    assert open_poller is fastlane.open_poller
    monkeypatch.setattr(fastlane, "open_poller", SelectorPoller)
    wait = Wait(trio.sleep_forever, 0.05, PLAYLIST)
    async with running({"/live/a": PLAYLIST, "/live/w": wait}) as node:
        client = await node.connect()
        for path in ("/live/a", "/live/w", "/live/a", "/api", "/live/a"):
            assert (await client.get(path)).status == 200


async def test_a_client_that_is_gone_harms_nobody(segment: Path) -> None:
    async with running({"/live/s": media(segment, 3_000_000)}) as node:
        for _ in range(20):
            client = await Client.connect(node.port, receive_buffer=4096)
            await client.send_request("/live/s")
            sock = client.stream.socket
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await client.stream.aclose()
        assert len((await node.get("/live/s")).body) == 3_000_000
        with trio.fail_after(5):
            while node.server.tally.connections:
                await trio.sleep(0.01)
        assert not node.server.tally.failed
