"""A disk that takes nothing ends no node: what could not be written down is tried again."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from support.eventchain import EVENT, EventChain
from support.stage import Peer, Show, Stage

from hausd.blocks.store import Store
from hausd.core.events import RoomEvent
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.rooms.records import RoomRecord

NAMES = ("source", "audio")
FIRST, SECOND = SigningKey(bytes(range(1, 33))), SigningKey(bytes(range(2, 34)))


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _authority_on_disk(peer: Peer) -> bytes:
    return msgspec.json.decode(peer.home.records.files[EVENT], type=RoomRecord).authority


async def _followed(stage: Stage, chain: EventChain) -> tuple[Peer, RoomEvent]:
    follower = await stage.node("follower")
    event = chain.has(EVENT, FIRST, slot=5)
    await follower.rooms.follow(EVENT)
    return follower, replace(event, slot=30, authority=SECOND.public, authority_slot=20)


async def test_a_key_that_can_not_be_written_down_is_not_followed_and_is_taken_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(chain=chain) as stage:
        follower, event = await _followed(stage, chain)
        follower.home.records.full = True
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                await follower.rooms.event_changed(event)
            assert follower.room(EVENT).record.authority == FIRST.public.raw
        follower.home.records.full = False
        await follower.rooms.event_changed(event)
        assert follower.room(EVENT).record.authority == SECOND.public.raw
        assert _authority_on_disk(follower) == SECOND.public.raw


async def test_a_room_is_left_though_the_disk_lets_go_of_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        node = await stage.node("node")
        rooms = [SigningKey(bytes([n]) * 32).public.open_room for n in (1, 2)]
        for room in rooms:
            await node.rooms.join(room)
        node.home.records.fails_to_delete = True
        with capture_logs() as logs:
            await trio.sleep(300)
        assert not node.rooms.list()
        assert set(node.home.records.files) == set(rooms)
        assert [one["event"] for one in logs].count("room-not-put-away") == 1
        node.home.records.fails_to_delete = False
        await trio.sleep(10)
        assert not node.home.records.files, "what the disk kept is tried again"


async def test_what_was_relayed_goes_once_the_disk_lets_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage() as stage:
        origin, relay = await stage.node("origin"), await stage.node("relay")
        stage.swarm.link(origin.node, relay.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        joined = await relay.rooms.join(room)
        joined.record.auto = True
        joined.audience.expected()
        async with Show(stage, origin, room, NAMES).on() as show:
            joined.record.followed = True
            await show.play(12)
            joined.record.followed = False
        shrink = relay.home.store.shrink
        monkeypatch.setattr(relay.home.store, "shrink", _full)
        await trio.sleep(300)
        assert not relay.rooms.list()
        assert relay.home.store.rooms() == [room]
        monkeypatch.setattr(relay.home.store, "shrink", shrink)
        await trio.sleep(10)
        assert not relay.home.store.rooms()


async def test_a_node_starts_though_what_is_left_of_rooms_can_not_be_put_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        node = await stage.node("node")
        room = SigningKey(bytes(32)).public.open_room
        await node.rooms.join(room)
        stage.kill("node")
        node.home.records.fails_to_delete = True
        node = await stage.node("node")
        assert not node.rooms.list()
        node.home.records.fails_to_delete = False
        await trio.sleep(10)
        assert not node.home.records.files


async def test_a_node_starts_though_a_segment_that_was_cut_short_can_not_be_removed(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with Stage(folder=tmp_path) as stage:
        node = await stage.node("node")
        room = (await node.rooms.create("A room")).id
        async with Show(stage, node, room, NAMES).on() as show:
            await show.play(7)
            stage.kill("node")
            await trio.sleep(1)
        monkeypatch.setattr(Store, "discard", _full)
        node = await stage.node("node")
        assert node.room(room)
        assert any("No space left" in one for one in node.rooms.repaired)


async def test_who_can_not_unfollow_a_room_follows_it_still(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        node = await stage.node("node")
        room = SigningKey(bytes(32)).public.open_room
        await node.rooms.follow(room)
        node.home.records.full = True
        with pytest.raises(OSError, match="No space left"):
            await node.rooms.unfollow(room)
        assert node.room(room).record.followed
        node.home.records.full = False
        await node.rooms.unfollow(room)
        assert not node.rooms.list()
