"""Who gets what of a gated room at a node, where some of it is free."""

from __future__ import annotations

import json

import m3u8
import pytest
import trio
from support.hls_room import MemoryBlocks
from support.stage import Peer, Show, Stage
from test_rooms_gated import NAMES, gated
from test_rooms_preview import LADDER, ours

from hausd.http.messages import Fetch, NotMine, Request, Response, Wait
from hausd.http.responder import RoomResponder
from hausd.rooms.shape import Urls

AWAY, HERE = "203.0.113.7", "127.0.0.1"
OWN_PAGE = {"sec-fetch-site": "same-origin"}
FOREIGN = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}


class Site:
    """A node's HTTP, asked without a socket."""

    def __init__(self, peer: Peer, room: str) -> None:
        peer.rooms.reached_at(Urls("", "http://127.0.0.1:8080"))
        self._room = room
        self._responder = RoomResponder(peer.rooms, MemoryBlocks({}))

    async def get(self, path: str, peer: str = AWAY, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path, _, query = f"/{path.replace('ROOM', self._room)}".partition("?")
        request = Request("GET", path, query, named, "1.1", False, peer, "127.0.0.1:8080")
        while True:
            answer = self._responder.respond(request)
            match answer:
                case Response():
                    return answer
                case Fetch():
                    return await answer.get()
                case Wait():
                    await answer.until()
                case NotMine():
                    raise AssertionError(path)

    async def code(self, path: str, peer: str = AWAY, **headers: str) -> str:
        """``ok``, or the code of the refusal."""
        return code(await self.get(path, peer, **headers))

    async def names(self, path: str, peer: str = AWAY, **headers: str) -> list[str]:
        """The addresses in a playlist, in a room's."""
        answer = await self.get(path, peer, **headers)
        assert answer.status == 200, answer.body
        made = m3u8.loads(text(answer))
        media = [str(one.uri) for one in made.media if one.uri]
        return [*(one.uri for one in (*made.playlists, *made.segments) if one.uri), *media]


def text(answer: Response) -> str:
    assert isinstance(answer.body, tuple)
    return b"".join(answer.body).decode()


def code(answer: Response) -> str:
    return "ok" if answer.status == 200 else json.loads(text(answer))["error"]["code"]


def private(answer: Response) -> bool:
    fields = dict(answer.headers)
    cors = b"access-control-allow-origin" in fields
    return fields[b"cache-control"] == b"private, no-store" and not cors


async def test_without_a_token_the_beginning_is_to_be_had_and_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(40) as stage:
        origin = await stage.node("origin")
        room = await gated(origin)
        await ours(origin, room).choose_free(60, None, None)
        site = Site(origin, room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(8)
            assert await site.names("live/ROOM/index.m3u8")
            live = "live/ROOM/source/"
            first = (await site.names(f"{live}index.m3u8"))[0]
            for path in (f"{live}{first}", f"{live}index.m3u8"):
                answer = await site.get(path)
                assert (answer.status, private(answer)) == (200, True)
                assert await site.code(path, **FOREIGN) == "not-for-other-sites"
            await show.play(42)
            paid = (await site.names(f"{live}index.m3u8", HERE, **OWN_PAGE))[-1]
            assert await site.code(f"{live}{paid}", HERE, **OWN_PAGE) == "ok"
            for path in ("live/ROOM/index.m3u8", f"{live}index.m3u8", f"{live}{paid}"):
                answer = await site.get(path)
                assert (answer.status, code(answer)) == (401, "sign-in-needed")
                assert "The free preview is over." in text(answer)
        await trio.sleep(60)
        recorded = "archive/ROOM/source/"
        assert await site.code("archive/ROOM/index.m3u8") == "ok"
        names = [f"{recorded}{name}" for name in await site.names(f"{recorded}index.m3u8")]
        codes = [await site.code(name) for name in names]
        assert codes == ["ok"] * codes.count("ok") + ["no-ticket"] * codes.count("no-ticket")
        assert min(codes.count("ok"), codes.count("no-ticket")) >= 2
        assert private(await site.get(names[0]))
        owner = [await site.code(name, HERE, **OWN_PAGE) for name in names]
        assert set(owner) == {"ok"}


@pytest.mark.parametrize("which", ["origin", "stranger"])
async def test_only_the_renditions_that_are_free_are_listed(
    autojump_clock: trio.testing.MockClock, which: str
) -> None:
    """For who has no token at a node that has all keys, and for the owner of one that has none."""
    async with Stage(41) as stage:
        origin, stranger = await stage.node("origin"), await stage.node("stranger")
        stage.swarm.link(origin.node, stranger.node)
        room = await gated(origin)
        await ours(origin, room).choose_free(None, "lowest", None)
        await stranger.rooms.follow(room)
        peer, headers = (AWAY, {}) if which == "origin" else (HERE, OWN_PAGE)
        site = Site(origin if which == "origin" else stranger, room)
        async with Show(stage, origin, room, LADDER).on() as show:
            await show.play(10)
            listed = await site.names("live/ROOM/index.m3u8", peer, **headers)
            assert listed == ["720p/index.m3u8", "audio/index.m3u8"]
            for name in ("720p", "audio"):
                base = f"live/ROOM/{name}/"
                last = (await site.names(f"{base}index.m3u8", peer, **headers))[-1]
                assert await site.code(f"{base}{last}", peer, **headers) == "ok"
            refused = await site.get("live/ROOM/source/index.m3u8", peer, **headers)
            assert code(refused) == "no-ticket"
            assert "Only the preview (720p, audio) is free." in text(refused)
            if which == "origin":
                here = await site.names("live/ROOM/index.m3u8", HERE, **OWN_PAGE)
                assert "source/index.m3u8" in here
        await trio.sleep(60)
        low = ["720p/index.m3u8", "audio/index.m3u8"]
        assert await site.names("archive/ROOM/index.m3u8", peer, **headers) == low
        for name in ("720p", "source"):
            base = f"archive/ROOM/{name}/"
            first = (await site.names(f"{base}index.m3u8", peer, **headers))[0]
            opens = await site.code(f"{base}{first}", peer, **headers)
            assert opens == ("ok" if name == "720p" else "no-ticket")
        if which == "origin":
            here = await site.names("archive/ROOM/index.m3u8", HERE, **OWN_PAGE)
            assert "source/index.m3u8" in here


async def test_a_room_that_is_free_as_a_whole_is_for_everybody_and_every_cache(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(42) as stage:
        origin = await stage.node("origin")
        room = await gated(origin)
        site = Site(origin, room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(15)
        await ours(origin, room).close()
        recorded = "archive/ROOM/source/"
        assert await site.code(f"{recorded}index.m3u8") == "sign-in-needed"
        await ours(origin, room).make_free()
        name = (await site.names(f"{recorded}index.m3u8"))[0]
        answer = await site.get(f"{recorded}{name}", **FOREIGN)
        fields = dict(answer.headers)
        assert answer.status == 200
        assert b"public" in fields[b"cache-control"]
        assert fields[b"access-control-allow-origin"] == b"*"
        # an old link with a token plays as well
        assert await site.code(f"archive/ROOM/t/old/source/{name}") == "ok"
        assert await site.code("live/ROOM/index.m3u8") == "ok"
