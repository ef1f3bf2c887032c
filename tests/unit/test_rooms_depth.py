"""Who wants only the newest of a recording fetches only that, and lists it like anyone else."""

from __future__ import annotations

import pytest
import trio
from support.stage import GOP_S, GOPS_A_SEGMENT, Peer, Show, Stage, same_archive

from hausd.core.following import Priority
from hausd.core.ids import RoomId
from hausd.policy.depth import Depth

NAMES = ("source", "audio")
SEGMENT_MS = round(GOP_S * GOPS_A_SEGMENT * 1000)


def numbers(peer: Peer, room: str, rendition: str = "source") -> list[int]:
    playlist = peer.room(room).archive(rendition)
    return [one.number for one in playlist.segments] if playlist is not None else []


def fetched_bytes(peer: Peer) -> int:
    """What the origin sent of its archive."""
    return sum(priority is Priority.ARCHIVE for _, priority in peer.node.served.of)


@pytest.mark.parametrize("by_pin", [False, True])
async def test_only_the_newest_is_fetched_and_the_recording_goes_on_from_there(
    autojump_clock: trio.testing.MockClock, by_pin: bool
) -> None:
    async with Stage(3) as stage:
        origin = await stage.node("origin")
        part, whole = await stage.node("part"), await stage.node("whole")
        for one in (part, whole):
            stage.swarm.link(origin.node, one.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        depth_ms = 3 * SEGMENT_MS
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(40 * GOPS_A_SEGMENT)
            if by_pin:
                part.home.store.pins[room] = Depth(depth_ms)  # type: ignore[union-attr]
            await part.rooms.follow(room, last_ms=0 if by_pin else depth_ms)
            await show.play(4 * GOPS_A_SEGMENT)
            few = fetched_bytes(origin)
            assert numbers(part, room)[0] in (36, 37), "three segments before it joined"
            await whole.rooms.follow(room)
            await show.play(4 * GOPS_A_SEGMENT)
            assert numbers(whole, room)[0] == 0
            assert few < (fetched_bytes(origin) - few) / 4
            assert part.room(room).missing_segments == 0
        await trio.sleep(60)
        for name in NAMES:
            assert numbers(part, room, name) == list(range(numbers(part, room, name)[0], 48))
            here, there = part.room(room).archive(name), origin.room(room).archive(name)
            assert here is not None
            assert there is not None
            assert here.ended
            assert list(here.segments) == list(there.segments)[-len(here.segments) :]


async def test_a_room_that_is_over_is_had_back_to_its_depth_and_after_a_restart_still(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(4) as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(30 * GOPS_A_SEGMENT)
        await trio.sleep(1000)
        await node.rooms.follow(room, last_ms=5 * SEGMENT_MS)
        await trio.sleep(60)
        assert numbers(node, room) == [25, 26, 27, 28, 29]
        stage.kill("node")
        node = await stage.node("node")
        await trio.sleep(60)
        assert numbers(node, room) == [25, 26, 27, 28, 29]


async def test_a_pin_that_is_widened_has_what_was_left_out_fetched_and_keeps_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(5) as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        pins = node.home.store.pins
        pins[room] = Depth(3 * SEGMENT_MS)  # type: ignore[index]
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(20 * GOPS_A_SEGMENT)
            await node.rooms.follow(room)
            await show.play(2 * GOPS_A_SEGMENT)
            begins = numbers(node, room)[0]
            assert begins > 10
            pins[room] = Depth(8 * SEGMENT_MS)  # type: ignore[index]
            await show.play(2 * GOPS_A_SEGMENT)
            assert numbers(node, room)[0] == begins - 3, "eight from the newest back"
            node.room(room).archive_opened()
            pins[room] = Depth()  # type: ignore[index]
            playing = numbers(node, room)[0]
            for _ in range(GOPS_A_SEGMENT):
                await show.play(1)
                node.room(room).archive_opened()
            assert numbers(node, room)[0] == playing, "a player's list grows at its end alone"
            stored = await node.home.store.segments(room)
            assert {one.key.number for one in stored} >= set(range(20))
            await show.play(6 * GOPS_A_SEGMENT)
            assert numbers(node, room)[0] == 0
        await trio.sleep(60)
        await same_archive(origin, node, room)
        stage.kill("node")
        node = await stage.node("node")
        await trio.sleep(30)
        await same_archive(origin, node, room)
        assert not node.followed(room).record.passed


async def test_following_all_of_a_room_of_which_the_newest_was_followed_fetches_the_rest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(6) as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(20 * GOPS_A_SEGMENT)
        await trio.sleep(60)
        await node.rooms.follow(room, last_ms=3 * SEGMENT_MS)
        await trio.sleep(60)
        assert numbers(node, room) == [17, 18, 19]
        stage.kill("node")
        node = await stage.node("node")
        await trio.sleep(5)
        await node.rooms.follow(room)
        await trio.sleep(60)
        await same_archive(origin, node, room)
