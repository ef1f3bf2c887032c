"""A room that somebody opens here is joined, kept while they watch, and left after a while."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from support.content import OTHER_ROOM, ROOM
from support.stage import GOPS_A_SEGMENT, Peer, Show, Stage, Wall, same_live

from hausd.core.following import Priority
from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.core.storage import LEFT
from hausd.policy.roles import GRACE_S, Why
from hausd.policy.watching import WatchKey
from hausd.rooms.directory import Directory
from hausd.rooms.ondemand import MAX_JOINING, OnDemand

KEY = WatchKey(bytes(32))


async def nobody(room: RoomId) -> bool:
    await trio.sleep(1)
    return False


@asynccontextmanager
async def on_demand(
    peer: Peer, seek: Callable[[RoomId], Awaitable[bool]] = nobody
) -> AsyncIterator[OnDemand]:
    made = OnDemand(peer.rooms, Directory(peer.rooms, Wall()), peer.node, KEY, seek)
    async with made.open():
        yield made


async def test_a_watched_room_is_left_when_its_last_viewer_has_been_gone_for_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        async with Show(stage, origin, room, ("source",)).on() as show, on_demand(node) as joins:
            await show.play(3)
            with trio.fail_after(8):
                await joins.join(room)
            joined = node.followed(room)
            assert joined.why is Why.WATCHED
            assert joined.state is RoomState.LIVE, "who waited for it can be answered"
            for _ in range(int(GRACE_S / 2)):  # longer than the grace time
                await show.play(2)
                node.rooms.served(room, "somebody", 100)
            assert node.followed(room) is joined
            await show.play(int(GRACE_S / 2) - 5)
            assert node.rooms.get(room) is joined, "who reloads the page finds it warm"
            await show.play(10)
            assert node.rooms.get(room) is None
            assert room not in node.node.topics
            assert node.home.store.ratings[room] == LEFT, "what was recorded goes first"
            assert await node.home.store.segments(room)

            await joins.join(room)
            node.followed(room).archive_opened()
            await show.play(10)
            assert node.followed(room).archive_of.segments, "what is still here is not lost"
            assert len(node.home.records.files) == 1


async def test_of_a_room_that_is_watched_live_nothing_that_was_before_is_fetched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        async with Show(stage, origin, room, ("source", "audio")).on() as show:
            await show.play(10 * GOPS_A_SEGMENT)
            async with on_demand(node) as joins:
                await joins.join(room)
                for _ in range(6 * GOPS_A_SEGMENT):
                    await show.play(1)
                    node.rooms.served(room, "somebody", 100)
                assert Priority.ARCHIVE not in [priority for _, priority in origin.node.served.of]
                await same_live(origin, node, room, late=True)
                assert node.followed(room).archive_opened(), "it is on its way now"
                await show.play(2 * GOPS_A_SEGMENT)
                playlist = node.followed(room).archive("source")
                assert playlist is not None
                assert [one.number for one in playlist.segments][:17] == list(range(17))
                assert not node.followed(room).archive_opened()


async def test_a_room_that_no_neighbour_has_is_looked_for_further_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        room = RoomId((await origin.rooms.create("A room")).id)

        async def found(sought: RoomId) -> bool:
            await trio.sleep(1)
            stage.swarm.link(origin.node, node.node)
            return True

        async with on_demand(node) as joins:
            await joins.join(room)
            assert node.rooms.get(room) is None
            assert joins.missed(room)
        async with on_demand(node, found) as joins:
            await joins.join(room)
            assert node.followed(room).why is Why.WATCHED


async def test_following_and_unfollowing_while_somebody_watches(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        async with on_demand(node) as joins:
            await joins.join(room)
            await node.rooms.follow(room)
            await trio.sleep(3 * GRACE_S)
            assert node.followed(room).why is Why.FOLLOWED
            node.rooms.served(room, "somebody", 100)
            await node.rooms.unfollow(room)
            assert node.followed(room).why is Why.WATCHED
            await trio.sleep(2 * GRACE_S)
            assert node.rooms.get(room) is None


async def test_what_is_watched_is_not_joined_again_by_a_restart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        async with Show(stage, origin, room, ("source",)).on() as show:
            async with on_demand(node) as joins:
                await show.play(1)
                await joins.join(room)
                await show.play(12)
            stage.kill("node")
            node = await stage.node("node")
            assert node.rooms.get(room) is None
            assert node.rooms.repaired == [], "the recordings have their room's file"
            assert node.home.store.ratings[room] == LEFT


async def test_a_room_that_nobody_has_is_not_joined_and_not_sought_at_every_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        node = await stage.node("node")
        async with on_demand(node) as joins:
            for room in (ROOM, OTHER_ROOM):
                await joins.join(room)
                assert joins.missed(room)
                assert node.rooms.get(room) is None
            await trio.sleep(60)
            assert not joins.missed(ROOM), "it may be there by then"
        assert node.home.records.files == {}


async def test_who_gives_up_waiting_ends_nothing_and_only_so_many_are_sought_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node, delay_s=0.1)
        rooms = [RoomId((await origin.rooms.create(f"Room {n}")).id) for n in range(9)]
        async with on_demand(node) as joins, trio.open_nursery() as nursery:
            for room in rooms[:MAX_JOINING]:
                nursery.start_soon(joins.join, room)
            await trio.sleep(0.05)
            assert joins.full(rooms[-1])
            assert not joins.full(rooms[0]), "who asks for the same waits with the others"
            nursery.cancel_scope.cancel()
        async with on_demand(node) as joins:
            with trio.move_on_after(0.05):
                await joins.join(rooms[0])
            await trio.sleep(20)
            assert node.rooms.get(rooms[0]) is not None


rooms_ = st.sampled_from([ROOM, OTHER_ROOM])


@given(st.binary(min_size=32, max_size=32), rooms_, rooms_, st.text(max_size=40))
def test_a_token_opens_its_own_room_at_its_own_node_only(
    secret: bytes, room: RoomId, other: RoomId, text: str
) -> None:
    key = WatchKey(secret)
    assert key.admits(room, key.token(room))
    assert key.admits(other, key.token(room)) is (room == other)
    assert not key.admits(room, text)
    assert not WatchKey(secret[::-1] + b"x").admits(room, key.token(room))
    assert secret.hex() not in repr(key)


@pytest.mark.parametrize("told", ["", "\ud800", "é" * 32, "0" * 10_000])
def test_a_token_of_any_form_is_no_fault(told: str) -> None:
    assert not KEY.admits(ROOM, told)
