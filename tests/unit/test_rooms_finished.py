"""Every node that has the whole recording makes the same directory of it, byte for byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from support.stage import GOPS_A_SEGMENT, SETTINGS, Peer, Show, Stage

from hausd.core import unixfs
from hausd.core.errors import Problem
from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.core.manifest import ManifestError
from hausd.core.unixfs import UnixFsError
from hausd.exporting import finished_directory
from hausd.rooms.finished import Finished
from hausd.rooms.room import RoomSettings

NAMES = ("source", "720p", "audio")
BADLY = ManifestError("no manifest")


async def made(peer: Peer, room: str) -> Finished:
    return await finished_directory(peer.room(room), peer.home.store)


async def same(room: str, *peers: Peer) -> Finished:
    """All make the same, and have all blocks of it."""
    first, *others = [await made(peer, room) for peer in peers]
    assert first.whole
    for other in others:
        assert other == first
    return first


def segments_of(seconds: int) -> RoomSettings:
    """The settings of a node that would cut segments of this length, were the room its own."""
    return replace(SETTINGS, archive_target_s=seconds)


async def test_a_follower_with_another_configuration_makes_the_origins_directory(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage() as stage:
        origin = await stage.node("origin")
        monkeypatch.setattr("support.stage.SETTINGS", segments_of(4))
        follower = await stage.node("follower")
        monkeypatch.setattr("support.stage.SETTINGS", segments_of(30))
        late = await stage.node("late")
        stage.swarm.link(origin.node, follower.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        await follower.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            show.depict("poster", 0, b"first poster")
            show.depict("storyboard", 0, b"sheet")
            await show.play(GOPS_A_SEGMENT)
            show.shed("720p")
            await show.play(2 * GOPS_A_SEGMENT)
            show.bring_back("720p")
            show.depict("poster", 20, b"another poster")
            await show.play(GOPS_A_SEGMENT + 2)
        await trio.sleep(60)
        stage.swarm.link(late.node, follower.node)
        await late.rooms.follow(room)
        await trio.sleep(60)
        found = await same(room, origin, follower, late)
        root = found.exported.root
        poster = await unixfs.resolve(root, ["poster.jpg"], late.home.store.block)
        assert await late.home.store.block(poster) == b"another poster"


async def test_an_origin_that_was_killed_ends_its_room_as_all_others_see_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(1) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        await follower.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            show.depict("poster", 0, b"poster")
            show.depict("storyboard", 0, b"sheet")
            await show.play(2 * GOPS_A_SEGMENT)
            show.depict("storyboard", 20, b"another sheet")
            await show.play(GOPS_A_SEGMENT // 2)
            storyboard = origin.room(room).storyboard()
            stage.kill("origin")
            await trio.sleep(1)
        origin = await stage.node("origin")
        assert origin.room(room).storyboard() == storyboard
        await trio.sleep(SETTINGS.reconnect_s + 1)
        assert origin.room(room).state is RoomState.ENDED
        assert follower.room(room).state is RoomState.ENDED, "it is signed, and told"
        await trio.sleep(60)
        before = await same(room, origin, follower)
        for name in ("origin", "follower"):
            stage.kill(name)
        await trio.sleep(1)
        again = [await stage.node(name) for name in ("origin", "follower")]
        await trio.sleep(60)
        assert await same(room, *again) == before


async def test_the_followers_of_an_origin_that_never_came_back_agree(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(2) as stage:
        origin, first, second = [await stage.node(name) for name in ("origin", "first", "second")]
        stage.swarm.link(origin.node, first.node)
        stage.swarm.link(first.node, second.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        await first.rooms.follow(room)
        await second.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            show.depict("poster", 0, b"poster")
            await show.play(2 * GOPS_A_SEGMENT + 2)
            stage.kill("origin")
            await trio.sleep(400)
        assert first.room(room).state is RoomState.ENDED
        before = await same(room, first, second)
        for name in ("first", "second"):
            stage.kill(name)
        await trio.sleep(1)
        assert await same(room, *[await stage.node(name) for name in ("first", "second")]) == before


async def test_what_is_not_whole_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async with Stage(3) as stage:
        origin = await stage.node("origin")
        room = RoomId((await origin.rooms.create("A room")).id)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(3 * GOPS_A_SEGMENT)
        await trio.sleep(30)
        whole = await made(origin, room)
        assert whole.whole
        playlist = origin.room(room).archive("720p")
        assert playlist is not None
        segment = playlist.segments[1]
        (stored,) = [
            one
            for one in await origin.home.store.segments(room)
            if (one.key.rendition, one.key.number) == ("720p", segment.number)
        ]
        origin.rooms.evicted([stored.key])
        rest = await made(origin, room)
        assert not rest.whole
        assert rest.exported.root != whole.exported.root


@pytest.mark.parametrize("fault", [UnixFsError("no file"), ValueError("two sizes"), BADLY])
async def test_what_no_directory_can_be_made_of_is_told_as_that(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    async def none(*_: object) -> Finished:
        raise fault

    async with Stage() as stage:
        origin = await stage.node("origin")
        room = (await origin.rooms.create("A room")).id
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(GOPS_A_SEGMENT)
        await trio.sleep(60)
        monkeypatch.setattr("hausd.rooms.finished.finished_directory", none)
        with pytest.raises(Problem, match=str(fault)):
            await made(origin, room)
