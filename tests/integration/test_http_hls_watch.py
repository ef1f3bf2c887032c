"""A whole room over real sockets, followed by a player that checks everything it gets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction

import pytest
import trio
from support.hls_room import MemoryBlocks, Rooms, Script, StudioRoom
from support.hls_validator import Watched, inspect_archive, watch
from support.http import Running, running

from hausd.http.messages import Answer, Request, Response, refusal
from hausd.http.responder import RoomResponder


@asynccontextmanager
async def served(room: StudioRoom) -> AsyncIterator[tuple[Running, str]]:
    responder = RoomResponder(Rooms(room), MemoryBlocks(room.blocks))
    async with running(responder=responder) as server:
        yield server, f"http://{server.host}/live/{room.id}/index.m3u8"


async def perform(room: StudioRoom, *, parts: int, pause_s: float, happened: list[str]) -> None:
    """Makes the stream, part by part, faster than it plays."""
    for what in happened:
        if what == "drop":
            room.end_run()
            await trio.sleep(5 * pause_s)
            room.begin_run()
        elif what == "end":
            room.end()
            return
        for part in range(1, parts + 1):
            room.run_gops(parts=part)
            await trio.sleep(pause_s)
        room.run_gops()
        await trio.sleep(pause_s)


@pytest.mark.parametrize(
    "script",
    [
        Script(gop_s=Fraction(1), target_s=1, part_s=Fraction(1, 5)),
        Script(frame_rate=Fraction(24000, 1001), gop_s=Fraction(48048, 24000), target_s=2,
               sample_rate_hz=44_100),
        Script(videos=(), gop_s=Fraction(2)),
        Script(frame_rate=Fraction(25), audio=False),
    ],
)  # fmt: skip
async def test_a_room_is_followed_from_first_part_to_end_without_a_fault(script: Script) -> None:
    room = StudioRoom(script)
    found: list[Watched] = []
    happened = ["gop"] * 9 + ["drop", "gop", "end"]
    async with served(room) as (_, url), trio.open_nursery() as nursery:
        room.begin_run()
        room.run_gops(1)

        async def follow() -> None:
            found.append(await watch(url, 20))

        nursery.start_soon(follow)
        await perform(room, parts=3, pause_s=0.04, happened=happened)
    found[0].require()
    for track in found[0].tracks.values():
        assert len(track.fragments) >= 10
        assert track.playlist is not None
        assert track.playlist.ended
        assert len(track.waited_s) > 10, "hinted parts were asked for ahead"
    async with served(room) as (server, _):
        archive = await inspect_archive(f"http://{server.host}/archive/{room.id}/index.m3u8")
    archive.require()
    assert all(len(track.fragments) >= 2 for track in archive.tracks.values())


class Liar:
    """Answers as another does, but for one thing."""

    def __init__(self, room: StudioRoom, path: str, change: Callable[[Response], Response]) -> None:
        self._honest = RoomResponder(Rooms(room), MemoryBlocks(room.blocks))
        self._path = path
        self._change = change

    def respond(self, request: Request) -> Answer:
        answer = self._honest.respond(request)
        if self._path in request.path and isinstance(answer, Response):
            return self._change(answer)
        return answer


def text(old: str, new: str) -> Callable[[Response], Response]:
    def change(answer: Response) -> Response:
        assert isinstance(answer.body, tuple)
        body = b"".join(answer.body).replace(old.encode(), new.encode())
        return Response(answer.status, answer.headers, (body,))

    return change


def _longer(answer: Response) -> Response:
    assert isinstance(answer.body, tuple)
    return Response(answer.status, answer.headers, (*answer.body, b"\0\0\0\x08styp"))


@pytest.mark.parametrize(
    ("rule", "path", "change"),
    [
        ("status", "/source/1.1.m4s", lambda _: refusal(404, "x", "")),
        ("etag", "/source/1.1.m4s", lambda a: Response(200, (), a.body)),
        ("content-type", "/audio/1.1.m4s", lambda a: Response(200, (), a.body)),
        ("cache-control", "/audio/init", lambda a: Response(200, a.headers[:2], a.body)),
        ("part-bytes", "/source/1.4.m4s", _longer),
        ("bytes", "/source/1.2.m4s", text("mdat", "mdax")),
        ("bytes", "/source/init.1.0.mp4", text("avcC", "avcX")),
        ("codecs", "ROOM/index.m3u8", text("avc1.42C00D", "avc1.64C00D")),
        ("resolution", "ROOM/index.m3u8", text("320x180", "1280x720")),
        ("frame-rate", "ROOM/index.m3u8", text("FRAME-RATE=30.000", "FRAME-RATE=25.000")),
        ("bandwidth", "ROOM/index.m3u8", text("BANDWIDTH=1", "BANDWIDTH=")),
    ],
)  # fmt: skip
async def test_the_watcher_sees_through_a_lying_server(
    rule: str, path: str, change: Callable[[Response], Response]
) -> None:
    room = StudioRoom(Script(videos=("source",), frame_bytes=2000))
    room.begin_run()
    room.run_gops(5)
    liar = Liar(room, path.replace("ROOM", room.id), change)
    room.end()
    async with running(responder=liar) as server:
        found = await watch(f"http://{server.host}/live/{room.id}/index.m3u8", 10)
    assert rule in {finding.rule for finding in found.findings}, found.findings


async def test_a_part_of_a_segment_can_be_asked_for_and_asked_for_once_only() -> None:
    room = StudioRoom()
    room.begin_run()
    room.run_gops(2)
    async with served(room) as (server, _):
        path = f"/live/{room.id}/source/1.0.m4s"
        whole = await server.get(path)
        piece = await server.get(path, "Range: bytes=10-19")
        assert (piece.status, piece.body) == (206, whole.body[10:20])
        assert piece.fields["content-range"] == f"bytes 10-19/{len(whole.body)}"
        again = await server.get(path, f"If-None-Match: {whole.fields['etag']}")
        assert (again.status, again.body) == (304, b"")
        head = await server.get(path, method="HEAD")
        assert head.fields["content-length"] == str(len(whole.body))
        assert whole.fields["x-content-type-options"] == "nosniff"


async def test_hours_of_archive_are_not_sent_again_when_nothing_changed() -> None:
    room = StudioRoom()
    room.begin_run()
    room.run_gops(20)
    async with served(room) as (server, _):
        path = f"/archive/{room.id}/source/index.m3u8"
        first = await server.get(path)
        again = await server.get(path, f"If-None-Match: {first.fields['etag']}")
        assert again.status == 304
        room.run_gops(10)
        later = await server.get(path, f"If-None-Match: {first.fields['etag']}")
        assert later.status == 200
        assert later.body.startswith(first.body), "an EVENT playlist only grows"


async def test_viewers_are_those_who_ask_for_playlists() -> None:
    room = StudioRoom()
    room.begin_run()
    room.run_gops(2)
    async with served(room) as (server, _):
        await server.get(f"/live/{room.id}/source/1.0.m4s")
        await server.get(f"/live/{room.id}/source/index.m3u8")
        await server.get("/live/k51nobody/index.m3u8")
        served_to = [(room_id, bool(viewer)) for room_id, viewer, _ in
                     server.audience.served_bytes]  # fmt: skip
    assert served_to == [(room.id, False), (room.id, True)]


async def test_errors_have_the_shape_of_all_errors() -> None:
    async with served(StudioRoom()) as (server, _):
        answer = await server.get("/live/nobody/index.m3u8")
        assert answer.status == 404
        assert answer.fields["content-type"] == "application/json"
        assert set(json.loads(answer.body)["error"]) == {"code", "message", "hint"}
