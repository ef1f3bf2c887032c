"""The admin socket over a real Unix socket: what it answers, and to whom."""

from __future__ import annotations

import io
import json
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import structlog
import trio
from support.adminnode import STREAM_KEY, MemoryNode, live_room, running

from hausd.admin import admin_app, serve_admin
from hausd.core.ids import open_room_id
from hausd.telemetry import LogRing, set_up_logs

ROOM = open_room_id(b"r" * 32)


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    log = io.StringIO()
    set_up_logs("info", "json", None, log)
    yield log
    structlog.reset_defaults()


@asynccontextmanager
async def asking(home: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(uds=str(home / "admin.sock"))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://hausd", timeout=10
    ) as client:
        yield client


async def test_only_its_owner_may_open_the_socket_and_it_goes_with_the_node(tmp_path: Path) -> None:
    async with running(tmp_path):
        mode = (tmp_path / "admin.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not (tmp_path / "admin.sock").exists()


async def test_a_dead_nodes_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "admin.sock"))
    async with running(tmp_path), asking(tmp_path) as client:
        assert (await client.get("/v1/status")).status_code == 200


async def test_rooms_are_created_shown_and_closed(tmp_path: Path) -> None:
    async with running(tmp_path), asking(tmp_path) as client:
        made = await client.post("/v1/rooms", json={"title": "  Night show "})
        assert made.status_code == 201
        room = made.json()
        assert room["title"] == "Night show"
        assert room["stream_key"] == STREAM_KEY
        assert room["created"].endswith("Z")
        (listed,) = (await client.get("/v1/rooms")).json()
        assert listed["stream_key"] is None
        shown = await client.get(f"/v1/rooms/{room['id']}")
        assert shown.json()["stream_key"] == STREAM_KEY
        closed = await client.post(f"/v1/rooms/{room['id']}/close")
        assert closed.json()["state"] == "closed"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", f"/v1/rooms/{ROOM}", None, 404, "not-found"),
        ("GET", "/v1/rooms/nonsense", None, 400, "bad-room-id"),
        ("POST", f"/v1/rooms/{ROOM}/follow", None, 409, "no-network"),
        ("POST", f"/v1/rooms/{ROOM}/unfollow", None, 409, "not-followed"),
        ("POST", "/v1/peers", {"address": "/ip4/192.0.2.1/tcp/1"}, 502, "unreachable"),
        ("POST", "/v1/peers/nobody/ban", {"for_s": 60}, 422, "bad-peer"),
        ("POST", "/v1/peers/nobody/ban", {"for_s": -1}, 422, "bad-request"),
        ("POST", f"/v1/rooms/{ROOM}/export", {"format": "car"}, 400, "no-path"),
        ("POST", f"/v1/rooms/{ROOM}/export", {"format": "car", "path": "a"}, 400, "bad-path"),
        ("POST", f"/v1/rooms/{ROOM}/export", {"format": "avi"}, 422, "bad-request"),
        ("POST", f"/v1/rooms/{ROOM}/export", {}, 404, "not-found"),
        ("POST", "/v1/rooms", {"title": " "}, 400, "bad-title"),
        ("POST", "/v1/rooms", {"title": "x" * 201}, 400, "bad-title"),
        ("POST", "/v1/rooms", {"title": "a\x1b[2Jb"}, 400, "bad-title"),
        ("POST", "/v1/rooms", {"title": "a", "x": 1}, 422, "bad-request"),
        ("POST", "/v1/rooms", None, 422, "bad-request"),
        ("POST", "/v1/pins", {"target": "what"}, 400, "bad-target"),
        ("DELETE", "/v1/pins/baf", None, 404, "not-found"),
        ("DELETE", "/v1/rooms", None, 405, "method-not-allowed"),
        ("GET", "/v1/nothing", None, 404, "not-found"),
        ("GET", "/v1/logs?level=loud", None, 422, "bad-request"),
    ],
)
async def test_what_can_not_be_done_is_an_error_in_words(
    tmp_path: Path, method: str, path: str, body: object, status: int, code: str
) -> None:
    async with running(tmp_path), asking(tmp_path) as client:
        answer = await client.request(method, path, json=body)
        assert answer.status_code == status
        assert set(answer.json()) == {"error"}
        error = answer.json()["error"]
        assert set(error) == {"code", "message", "hint"}
        assert error["code"] == code
        assert error["message"]


async def test_a_value_out_of_bounds_is_named_with_its_bounds(tmp_path: Path) -> None:
    async with running(tmp_path), asking(tmp_path) as client:
        for body, message in (
            ({"last_s": 0.5}, "last_s: should be greater than or equal to 1"),
            ({"last_s": 0.5, "x": 1}, "last_s: should be greater than or equal to 1; x: Extra"),
            (None, "body: Field required"),
        ):
            path = "/v1/rooms" if body is None else f"/v1/rooms/{ROOM}/follow"
            error = (await client.post(path, json=body)).json()["error"]
            assert error["message"].startswith(message)
            assert error["hint"].startswith("nothing was done")


async def test_a_fault_of_the_node_is_logged_and_told_without_its_inside(
    tmp_path: Path, log: io.StringIO
) -> None:
    async with running(tmp_path, breaks=True), asking(tmp_path) as client:
        answer = await client.get("/v1/status")
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal"
        assert "secret" not in answer.text
        answer = await client.post("/v1/store/verify")
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal"
        assert (await client.get("/v1/rooms")).status_code == 200
    first, second = (json.loads(line) for line in log.getvalue().splitlines())
    assert (first["event"], second["event"]) == ("request-failed", "work-failed")
    assert "RuntimeError: a fault of the node" in first["exception"]
    assert "secretsecret" not in log.getvalue()


async def test_long_work_tells_its_progress_then_its_result(tmp_path: Path) -> None:
    async with running(tmp_path, steps=5, step_s=0.15), asking(tmp_path) as client:
        answer = await client.post("/v1/store/verify")
        *progress, last = [json.loads(line) for line in answer.text.splitlines()]
        assert last == {"result": {"checked": 40000, "corrupt": 2, "missing": 1, "repaired": 1}}
        assert len(progress) >= 2
        done = [each["progress"]["done"] for each in progress]
        assert done == sorted(done)
        assert progress[0]["progress"]["total"] == 5


async def test_a_fault_amid_long_work_is_its_last_line(tmp_path: Path) -> None:
    async with running(tmp_path, steps=3, step_s=0.15, breaks=True), asking(tmp_path) as client:
        answer = await client.post("/v1/store/verify")
        last = json.loads(answer.text.splitlines()[-1])
        assert last["error"]["code"] == "internal"


async def test_long_work_ends_when_its_client_goes(tmp_path: Path) -> None:
    async with running(tmp_path, steps=1000, step_s=0.05) as (node, _), asking(tmp_path) as client:
        async with client.stream("POST", "/v1/store/gc") as answer:
            async for _line in answer.aiter_lines():
                break
        with trio.fail_after(60):
            await node.cancelled.wait()


async def test_the_log_is_read_and_followed(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, ring), asking(tmp_path) as client:
        now = datetime.now(UTC)
        ring.append(now, "debug", "hausd.x", "hint", {})
        ring.append(now, "error", "hausd.x", "failed", {"n": 1})
        lines = (await client.get("/v1/logs?level=info")).text.splitlines()
        assert [json.loads(line)["event"] for line in lines] == ["failed"]
        heard = []
        with trio.fail_after(60):
            async with client.stream("GET", "/v1/logs?follow=true&count=1") as answer:
                async for line in answer.aiter_lines():
                    heard.append(json.loads(line)["event"])
                    if len(heard) == 3:
                        break
                    ring.append(now, "info", "hausd.x", f"more-{len(heard)}", {})
        assert heard == ["failed", "more-1", "more-2"]


async def test_a_stop_waits_for_no_follower(tmp_path: Path) -> None:
    begun = trio.Event()
    heard = []

    async def follow() -> None:
        async with asking(tmp_path) as client:
            try:
                async with client.stream("GET", "/v1/logs?follow=true") as answer:
                    async for line in answer.aiter_lines():
                        heard.append(line)
                        begun.set()
            except httpx.TransportError:
                heard.append("cut off")

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, running(tmp_path) as (_, ring):
            ring.append(datetime.now(UTC), "info", "hausd.x", "one", {})
            nursery.start_soon(follow)
            await begun.wait()
    assert heard[1:] in (["cut off"], [])


async def test_a_home_too_deep_for_a_sockets_address_works(tmp_path: Path) -> None:
    home = tmp_path / ("deep-" * 20) / ("er-" * 20)
    home.mkdir(parents=True)
    node = MemoryNode(home)
    node.known[ROOM] = live_room(ROOM, "Deep")
    async with serve_admin(admin_app(node, LogRing(10)), home / "admin.sock"):
        assert (home / "admin.sock").stat().st_mode & 0o777 == 0o600
    assert not (home / "admin.sock").exists()
