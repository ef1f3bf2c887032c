"""A follower shows the origin's poster and storyboard, live and when all is over."""

from __future__ import annotations

import pytest
import trio
from support.stage import GOPS_A_SEGMENT, Peer, Show, Stage

from hausd.core.cid import CID
from hausd.core.following import Priority
from hausd.core.ids import RoomId
from hausd.core.media import LEAF_BYTES
from hausd.core.pictures import FULL, MAX_OLDER, Picture, Sheet
from hausd.rooms.images import MAX_CUES, Images

NAMES = ("source", "audio")


async def same_pictures(origin: Peer, other: Peer, room: str) -> None:
    """Poster, storyboard and every sprite in it, byte for byte."""
    ours, theirs = origin.room(room), other.room(room)
    here, there = theirs.poster(), ours.poster()
    assert here is not None
    assert there is not None
    assert here.cid == there.cid
    assert await other.bytes_of(here) == await origin.bytes_of(there)
    storyboard = ours.storyboard()
    assert storyboard is not None
    assert theirs.storyboard() == storyboard
    names = {line.partition("#")[0] for line in storyboard.splitlines() if ".jpg#" in line}
    for name in names:
        mine, its = theirs.sprite(name), ours.sprite(name)
        assert mine is not None
        assert its is not None
        assert await other.bytes_of(mine) == await origin.bytes_of(its)


def jpeg(number: int, size: int = 3000) -> bytes:
    return number.to_bytes(4, "big") * (size // 4)


async def test_a_chain_of_followers_has_the_origins_pictures_as_they_change(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(8) as stage:
        origin, relay, last = [await stage.node(name) for name in ("origin", "relay", "last")]
        stage.swarm.link(origin.node, relay.node)
        stage.swarm.link(relay.node, last.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        await relay.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            show.depict("poster", 0, jpeg(1))
            show.depict("storyboard", 0, jpeg(2))
            await show.play(2 * GOPS_A_SEGMENT)
            await last.rooms.follow(room)
            for number in range(2 * FULL + 3):  # as if each minute made a sheet
                show.depict("poster", number * 60, jpeg(100 + number, LEAF_BYTES))
                show.depict("storyboard", number * 60, jpeg(200 + number))
                if number % 9 == 0:
                    await show.play(GOPS_A_SEGMENT)
            await show.play(2 * GOPS_A_SEGMENT)
            await trio.sleep(2)
            for one in (relay, last):
                await same_pictures(origin, one, room)
        await trio.sleep(60)
        for one in (relay, last):
            await same_pictures(origin, one, room)
        stage.kill("last")
        stage.kill("origin")
        await trio.sleep(1)
        last = await stage.node("last")
        await trio.sleep(60)
        await same_pictures(relay, last, room)
        stage.kill("relay")
        stage.kill("last")
        last = await stage.node("last")
        await trio.sleep(60)
        poster = last.room(room).poster()
        assert poster is not None, "what is over is kept, and needs nobody"
        assert last.room(room).storyboard() is not None


async def test_an_origin_that_was_stopped_shows_what_it_had_and_adds_to_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(11) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        await follower.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            show.depict("poster", 0, jpeg(1))
            for number in range(FULL + 2):
                show.depict("storyboard", number * 60, jpeg(200 + number))
            await show.play(2 * GOPS_A_SEGMENT)
            before = origin.room(room).storyboard()
            await origin.room(room).stop()
        stage.kill("origin")
        await trio.sleep(1)
        origin = await stage.node("origin")
        assert before is not None
        assert origin.room(room).storyboard() == before
        assert origin.room(room).poster() is not None
        async with Show(stage, origin, room, NAMES).on() as show:
            show.depict("storyboard", 5, jpeg(999))
            await show.play(3 * GOPS_A_SEGMENT)
            now = origin.room(room).storyboard()
            assert now is not None
            assert now.startswith(before)
            assert len(now) > len(before)
            await same_pictures(origin, follower, room)


async def test_pictures_go_behind_all_else_and_only_when_they_change(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(9) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        await follower.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            show.depict("poster", 0, jpeg(1))
            await show.play(6 * GOPS_A_SEGMENT)
            poster = origin.room(room).poster()
            assert poster is not None
            asked = [priority for cid, priority in origin.node.served.of if cid == poster.cid]
            assert asked == [Priority.ARCHIVE]


@pytest.mark.parametrize("size", [LEAF_BYTES + 1, 0])
async def test_a_worker_that_makes_what_no_node_would_take_is_replaced(
    autojump_clock: trio.testing.MockClock, size: int
) -> None:
    async with Stage(10) as stage:
        origin = await stage.node("origin")
        room = (await origin.rooms.create("A room")).id
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(1)
            show.depict("poster", 0, bytes(size))
            await trio.sleep(1)
            codes = [notice.code for notice in origin.room(room).notices]
            assert "worker-crashed" in codes


def sheet(number: int, tiles: int = 25) -> Sheet:
    return Sheet(Picture(CID.of(b"%d" % number), 9), number * 125_000, 5000, 5, tiles, 160, 90)


def test_a_storyboard_is_bounded_in_tiles_and_written_once() -> None:
    images = Images()
    images.take([sheet(number, tiles=100) for number in range(FULL * MAX_OLDER)])
    text = images.storyboard()
    assert text is not None
    assert text.count(" --> ") == MAX_CUES
    assert f"{sheet(FULL * MAX_OLDER - 1).picture.cid}.jpg" in text, "the newest"
    assert images.storyboard() is text


def test_a_storyboard_says_what_each_tile_shows_also_as_it_grows() -> None:
    images, same = Images(), sheet(1)
    images.take([sheet(0, tiles=2), same, same])
    text = images.storyboard()
    assert text is not None
    cid = sheet(0).picture.cid
    assert text.splitlines()[:7] == [
        "WEBVTT",
        "",
        "00:00:00.000 --> 00:00:05.000",
        f"{cid}.jpg#xywh=0,0,160,90",
        "",
        "00:00:05.000 --> 00:00:10.000",
        f"{cid}.jpg#xywh=160,0,160,90",
    ]
    assert text.count(" --> ") == 52
    images.take([sheet(0, tiles=2), same, same, sheet(2)])
    grown = images.storyboard()
    assert grown is not None
    assert grown.startswith(text)
    assert grown.count(" --> ") == 77
    images.take([])
    assert images.storyboard() is None
