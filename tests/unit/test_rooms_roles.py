"""Following is begun, kept across restarts and left; old room files are an origin's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from support.content import KEY, OTHER_ROOM, ROOM
from support.stage import Show, Stage

from hausd.core.errors import Problem
from hausd.core.publishing import FeedOver, Publisher, Refused
from hausd.core.storage import RoomRating
from hausd.rooms.records import RecordIsNewer, Role, RoomRecord, RoomRecords
from hausd.rooms.shared import SharedRooms


async def test_a_followed_room_is_there_after_a_restart_and_gone_after_unfollowing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        node = await stage.node("node")
        shape = await node.rooms.follow(ROOM)
        assert (shape.id, shape.stream_key, shape.ingest_url) == (ROOM, None, "")
        assert (await node.rooms.follow(ROOM)).id == ROOM, "twice is once"
        stage.kill("node")
        await trio.sleep(1)
        node = await stage.node("node")
        assert [room.id for room in node.rooms.list()] == [ROOM]
        assert node.rooms.room(ROOM) is not None
        await node.rooms.unfollow(ROOM)
        assert node.rooms.list() == []
        assert node.rooms.room(ROOM) is None
        assert ROOM not in node.node.topics
        assert node.home.store.ratings[ROOM] is None
        stage.kill("node")
        await trio.sleep(1)
        assert (await stage.node("node")).rooms.list() == []


async def test_nobody_publishes_into_or_closes_what_is_followed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        node = await stage.node("node")
        await node.rooms.follow(ROOM)
        assert isinstance(node.rooms.admit(""), Refused), "it has no key, not even an empty one"
        with pytest.raises(FeedOver):
            node.rooms.publish(ROOM, Publisher("192.0.2.1", "rtmp", "x"))
        with pytest.raises(Problem, match="only its origin"):
            await node.rooms.close(ROOM)
        own = (await node.rooms.create("Mine")).id
        with pytest.raises(Problem, match="origin is this node"):
            await node.rooms.unfollow(own)
        assert (await node.rooms.follow(own)).title == "Mine", "one's own room is there already"


@pytest.mark.parametrize("id_", ["nonsense", "4" * 40])
async def test_what_cannot_be_followed_says_why(
    autojump_clock: trio.testing.MockClock, id_: str
) -> None:
    async with Stage() as stage:
        node = await stage.node("node")
        with pytest.raises(Problem):
            await node.rooms.follow(id_)
        assert node.rooms.list() == []


async def test_other_nodes_are_told_of_rooms_that_are_here_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node)
        room = (await origin.rooms.create("A room")).id
        async with Show(stage, origin, room, ("source",)).on() as show:
            await show.play(1)
            ask = node.node.asked[0] if node.node.asked else None
            assert ask is None
            await node.rooms.follow(room)
            await show.play(1)
            shared = SharedRooms()
            shared.rooms = node.rooms
            here = shared.shared(node.room(room).id)
            assert here is not None
            assert not here.is_origin
            told = here.tell(node.node.asked[0])
            assert told is not None
            assert told.untrusted_tracks
            assert told.untrusted_ticks
            assert shared.shared(OTHER_ROOM) is None
        assert isinstance(node.home.store.ratings[node.room(room).id], RoomRating)


def test_a_file_of_the_first_version_is_an_origins(tmp_path: Path) -> None:
    records = RoomRecords(tmp_path)
    seed = bytes(range(32))
    record = RoomRecord(id=ROOM, title="Old", created_ms=7, seed=seed, stream_key="sk_1")
    records.save(record)
    path = next(tmp_path.iterdir())
    old = json.loads(path.read_text())
    for name in ("role", "head", "listed", "evidence"):
        del old[name]
    path.write_text(json.dumps(old | {"version": 1}))
    (found,), faults = records.load()
    assert not faults
    assert (found.role, found.seed, found.stream_key) == (Role.ORIGIN, seed, "sk_1")
    assert found.version == record.version
    assert KEY.public.open_room == found.id


def test_an_origins_file_without_its_keys_is_damaged_and_a_newer_one_refused(
    tmp_path: Path,
) -> None:
    records = RoomRecords(tmp_path)
    records.save(RoomRecord(id=ROOM, title="", created_ms=7))
    found, faults = records.load()
    assert not found
    assert "keys" in faults[0]
    newer = RoomRecord(id=ROOM, title="", created_ms=7, role=Role.FOLLOWER, version=99)
    records.save(newer)
    with pytest.raises(RecordIsNewer, match="newer"):
        records.load()
