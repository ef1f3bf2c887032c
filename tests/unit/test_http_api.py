"""The public API, health and metrics, through the whole server."""

from __future__ import annotations

import ipaddress
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
from structlog.testing import capture_logs
from support.http import Answered, Client, running
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, RejectConnection, TextMessage
from wsproto.events import Request as Ask

from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.core.shapes import DiskShape, RoomShape, StatusShape
from hausd.http.api import ApiPorts, create_api

BIRTH = datetime(2026, 11, 23, tzinfo=UTC)


def room_id(n: int) -> RoomId:
    return RoomId(f"k51{n:059d}")


@dataclass
class StubRoom:
    """A room that says only what the API asks."""

    n: int
    title: str
    state: RoomState = RoomState.LIVE
    happened: trio.Event = field(default_factory=trio.Event)

    @property
    def id(self) -> RoomId:
        return room_id(self.n)

    def shape(self) -> RoomShape:
        created = BIRTH + timedelta(minutes=self.n)
        return RoomShape(id=self.id, title=self.title, state=self.state, created=created)

    def turn(self, state: RoomState) -> None:
        self.state = state
        self.happened.set()
        self.happened = trio.Event()

    async def changed(self) -> None:
        await self.happened.wait()


class StubCatalog:
    def __init__(self, *rooms: StubRoom) -> None:
        self._rooms = {room.id: room for room in rooms}

    def room(self, room: RoomId) -> Any:
        return self._rooms.get(room)

    def rooms(self) -> Any:
        return list(self._rooms.values())


def status() -> StatusShape:
    store = DiskShape(
        path="/secret/place",
        quota_bytes=1,
        used_bytes=1,
        quota_files=1,
        used_files=1,
        pinned_bytes=0,
        free_bytes=1,
        blocks=1,
    )
    return StatusShape(
        version="1.2.3",
        home="/secret/home",
        pid=1,
        started=BIRTH,
        uptime_s=5.0,
        rtmp=None,
        http=None,
        cpu_percent=1.0,
        memory_bytes=1,
        open_files=1,
        tasks=1,
        rooms=2,
        rooms_live=1,
        viewers=3,
        bitrate_in=4,
        bitrate_out=5,
        store=store,
        sandbox=[],
        sandbox_missing=[],
    )


@asynccontextmanager
async def api(*rooms: StubRoom, ready: str = "", **options: Any):
    ports = ApiPorts(StubCatalog(*rooms), status, lambda: ready)
    async with running({}, app=create_api(ports, "1.2.3"), **options) as node:
        yield node


def said(answer: Answered) -> Any:
    assert answer.fields["content-type"] == "application/json"
    assert answer.fields["x-content-type-options"] == "nosniff"
    return json.loads(answer.body)


def error(answer: Answered, status: int, code: str) -> dict[str, str]:
    assert answer.status == status
    body = said(answer)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint"}
    assert body["error"]["code"] == code
    assert body["error"]["message"]
    assert "access-control-allow-origin" not in answer.fields
    return dict(body["error"])


async def test_rooms_are_a_bare_array_newest_first() -> None:
    async with api(StubRoom(1, "First"), StubRoom(2, "Second")) as node:
        found = said(await node.get("/api/v1/rooms"))
        assert [room["title"] for room in found] == ["Second", "First"]
        assert found[0]["created"] == "2026-11-23T00:02:00Z"
        assert "stream_key" not in found[0]


async def test_long_lists_go_on_at_the_link() -> None:
    rooms = [StubRoom(n, f"Room {n} & more") for n in range(25)]
    async with api(*rooms) as node:
        path, titles, pages = "/api/v1/rooms?limit=10&q=%26", [], 0
        while path:
            answer = await node.get(path)
            titles += [room["title"] for room in said(answer)]
            link = answer.fields.get("link", "")
            assert not link or link.endswith('>; rel="next"')
            path = link[1:].partition(">")[0]
            pages += 1
        assert pages == 3
        assert titles == [room.title for room in reversed(rooms)]


async def test_rooms_are_found_by_words_and_ids() -> None:
    rooms = (StubRoom(1, "Jazz in the Haus"), StubRoom(2, "Größe"), StubRoom(3, "Jazz"))
    async with api(*rooms) as node:

        async def search(query: str) -> list[str]:
            return [room["title"] for room in said(await node.get(f"/api/v1/rooms?q={query}"))]

        assert await search("haus%20JAZZ") == ["Jazz in the Haus"]
        assert await search("GR%C3%96SSE") == ["Größe"]
        assert await search(room_id(3)) == ["Jazz"]
        assert await search("nothing") == []


async def test_rooms_are_found_by_their_states_however_old() -> None:
    states = [RoomState.LIVE, RoomState.ENDED, RoomState.WAITING, RoomState.LIVE, RoomState.CLOSED]
    rooms = [StubRoom(n, f"Room {n}", state) for n, state in enumerate(states)]
    async with api(*rooms) as node:
        path, titles = "/api/v1/rooms?limit=2&state=live&state=waiting", []
        while path:
            answer = await node.get(path)
            titles += [room["title"] for room in said(answer)]
            path = answer.fields.get("link", "")[1:].partition(">")[0]
        assert titles == ["Room 3", "Room 2", "Room 0"]
        error(await node.get("/api/v1/rooms?state=asleep"), 422, "invalid")


async def test_one_room() -> None:
    async with api(StubRoom(1, "First")) as node:
        room = said(await node.get(f"/api/v1/rooms/{room_id(1)}"))
        assert (room["id"], room["state"]) == (room_id(1), "live")


async def test_every_error_has_the_one_shape() -> None:
    async with api(StubRoom(1, "First")) as node:
        error(await node.get(f"/api/v1/rooms/{room_id(9)}"), 404, "no-such-room")
        assert "k51" in error(await node.get("/api/v1/rooms/x"), 404, "no-such-room")["message"]
        error(await node.get("/api/v1/none"), 404, "not-found")
        error(await node.get("/none"), 404, "not-found")
        answer = await node.get("/api/v1/rooms", method="DELETE")
        error(answer, 405, "method-not-allowed")
        assert answer.fields["allow"] == "GET"
        assert "limit" in error(await node.get("/api/v1/rooms?limit=0"), 422, "invalid")["message"]
        error(await node.get("/api/v1/rooms?cursor=x"), 400, "bad-request")


async def test_a_fault_of_ours_tells_nothing_about_us() -> None:
    class Faulty(StubRoom):
        def shape(self) -> RoomShape:
            raise RuntimeError("secret")

    with capture_logs() as logs:
        async with api(Faulty(1, "x")) as node:
            answer = await node.get(f"/api/v1/rooms/{room_id(1)}")
            error(answer, 500, "internal")
            assert b"secret" not in answer.body
    events = [line["event"] for line in logs]
    events = [one for one in events if one != "http-connections-limited"]  # by ulimit -n
    assert events == ["http-asgi-failed"]


async def test_status_shows_the_public_part_only() -> None:
    async with api() as node:
        answer = await node.get("/api/v1/status")
        assert said(answer) == {
            "version": "1.2.3",
            "uptime_s": 5.0,
            "rooms": 2,
            "rooms_live": 1,
            "viewers": 3,
            "bitrate_in": 4,
            "bitrate_out": 5,
        }


async def test_health_and_readiness() -> None:
    async with api() as node:
        assert (await node.get("/healthz")).status == 200
        assert (await node.get("/readyz")).status == 200
    async with api(ready="the store is being repaired") as node:
        assert (await node.get("/healthz")).status == 200
        answer = await node.get("/readyz")
        assert "repaired" in error(answer, 503, "not-ready")["message"]


async def test_metrics_are_for_loopback_and_configured_networks() -> None:
    forwarded = ("X-Forwarded-For: 203.0.113.7",)
    proxy = frozenset({"127.0.0.1"})
    async with api(trusted_proxies=proxy) as node:
        answer = await node.get("/metrics")
        assert answer.fields["content-type"].startswith("text/plain; version=")
        assert b"hausd_http_answered_total" in answer.body
        error(await node.get("/metrics", *forwarded), 403, "metrics-forbidden")
    async with api() as node:  # of a proxy that nobody told it about
        error(await node.get("/metrics", "X-Real-IP: 203.0.113.7"), 403, "metrics-forbidden")
    networks = (ipaddress.ip_network("203.0.113.0/24"),)
    ports = ApiPorts(StubCatalog(), status, lambda: "", metrics_from=networks)
    app = create_api(ports, "1")
    async with running({}, app=app, trusted_proxies=proxy) as node:
        assert (await node.get("/metrics", *forwarded)).status == 200


async def test_the_api_describes_itself() -> None:
    async with api() as node:
        described = said(await node.get("/api/v1/openapi.json"))
        assert described["info"]["version"] == "1.2.3"
        paths = set(described["paths"])
        assert {"/api/v1/rooms", "/api/v1/rooms/{room}", "/api/v1/status", "/readyz"} <= paths
        rooms = described["paths"]["/api/v1/rooms"]["get"]["responses"]
        assert rooms["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith("ErrorShape")


class Watching:
    """A WebSocket client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._events: list[Any] = []

    async def open(self, path: str, *fields: tuple[str, str]) -> Any:
        ask = Ask(host="localhost", target=path, extra_headers=[(n, v) for n, v in fields])
        await self._client.send(self._ws.send(ask))
        return await self.next(AcceptConnection, RejectConnection)

    async def next(self, *kinds: type) -> Any:
        with trio.fail_after(5):
            while True:
                for event in self._events:
                    if isinstance(event, kinds):
                        self._events.remove(event)
                        return event
                data = await self._client.stream.receive_some()
                self._ws.receive_data(data or None)
                self._events += list(self._ws.events())


async def test_a_room_is_pushed_at_first_and_at_each_change() -> None:
    room = StubRoom(1, "First")
    async with api(room) as node:
        watching = Watching(await node.connect())
        await watching.open(f"/api/v1/rooms/{room.id}/ws")
        first = json.loads((await watching.next(TextMessage)).data)
        assert first == json.loads(room.shape().model_dump_json(exclude_none=True))
        room.turn(RoomState.WAITING)  # while the first is hardly out
        room.turn(RoomState.ENDED)
        states = []
        while "ended" not in states:
            states.append(json.loads((await watching.next(TextMessage)).data)["state"])
        assert states[-1] == "ended"


async def test_watching_ends_when_the_node_stops() -> None:
    room = StubRoom(1, "First")
    async with api(room, drain_s=5) as node:
        watching = Watching(await node.connect())
        await watching.open(f"/api/v1/rooms/{room.id}/ws")
        await watching.next(TextMessage)
        await node.server.stop_intake()
        assert (await watching.next(CloseConnection)).code == 1001
        with trio.fail_after(3):
            await node.server.drained()


async def test_a_watcher_that_leaves_is_forgotten() -> None:
    room = StubRoom(1, "First")
    async with api(room) as node:
        before = trio.lowlevel.current_statistics().tasks_living
        client = await node.connect()
        watching = Watching(client)
        await watching.open(f"/api/v1/rooms/{room.id}/ws")
        await watching.next(TextMessage)
        await client.stream.aclose()
        with trio.fail_after(5):
            while trio.lowlevel.current_statistics().tasks_living > before:
                await trio.sleep(0.01)


async def test_other_sites_may_not_watch_and_other_rooms_are_not_there() -> None:
    async with api(StubRoom(1, "First")) as node:
        path = f"/api/v1/rooms/{room_id(1)}/ws"
        foreign = await Watching(await node.connect()).open(
            path, ("Origin", "https://evil.example")
        )
        assert isinstance(foreign, RejectConnection)
        assert foreign.status_code == 403
        ours = await Watching(await node.connect()).open(path, ("Origin", "http://localhost"))
        assert isinstance(ours, AcceptConnection)
        none = await Watching(await node.connect()).open(f"/api/v1/rooms/{room_id(2)}/ws")
        assert isinstance(none, RejectConnection)
        assert not node.server.tally.failed
