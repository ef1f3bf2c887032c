"""A disk that was full for a while leaves nothing in a recording that can't be played."""

from __future__ import annotations

import pytest
import trio
from support.memorystore import MemoryStore
from support.stage import Show, Stage, same_archive

from hausd.core.cid import CID
from hausd.core.ids import SessionId, open_room_id
from hausd.core.manifest import SegmentRecord, verify
from hausd.core.storage import RecordingStopped, SegmentKey
from hausd.rooms.live import StoredPart
from hausd.rooms.recorder import MAX_OWED_BYTES, Recorder

NAMES = ("source", "720p", "audio")
ROOM = open_room_id(bytes(32))


@pytest.mark.parametrize("full", ["origin", "follower"])
async def test_what_is_recorded_after_the_disk_was_full_has_its_init_and_manifest(
    autojump_clock: trio.testing.MockClock, full: str
) -> None:
    async with Stage(1) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = (await origin.rooms.create("A room")).id
        await follower.rooms.follow(room)
        await trio.sleep(1)
        store = {"origin": origin, "follower": follower}[full].home.store
        assert isinstance(store, MemoryStore)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(7)
            store.full = True
            show.begin_run()
            await show.play(4)
            store.full = False
            await show.play(22)
        await trio.sleep(60)
        recorded = origin.room(room).archive_of.playlist("source").segments
        assert [one for one in recorded if one.run > recorded[0].run], "of the later run too"
        await same_archive(origin, follower, room)


async def test_a_room_that_ends_while_the_disk_is_full_gets_its_manifest_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(1) as stage:
        origin = await stage.node("origin")
        room = (await origin.rooms.create("A room")).id
        assert isinstance(origin.home.store, MemoryStore)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(12)
            origin.home.store.full = True
            await show.play(2)
        await trio.sleep(60)
        manifest = CID.parse(origin.room(room).record.manifest)
        assert not origin.home.store.has(manifest)
        origin.home.store.full = False
        await trio.sleep(10)
        assert sum((await verify(manifest, origin.home.store.block)).values()) > 0


async def test_what_is_owed_to_a_full_disk_is_bounded_and_pictures_go_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = MemoryStore()
    store.full = True
    said: list[str] = []
    recorder = Recorder(ROOM, store, lambda record: None, said.append, lambda: None)
    init = b"init"
    pictures = [bytes([at]) * (MAX_OWED_BYTES // 10) for at in range(30)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        for block in (init, *pictures):
            recorder.put(((CID.of(block), block),))
            await trio.sleep(1)
        store.full = False
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert store.has(CID.of(init))
    assert sum(len(block) for block in store.small.values()) <= MAX_OWED_BYTES
    assert said == ["the disk is full"]


async def test_pictures_that_find_no_room_stop_no_recording(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Nearly(MemoryStore):
        async def put(self, blocks: object, room: object) -> None:
            if sum(len(block) for _, block in blocks) > 100_000:  # type: ignore[attr-defined]
                raise RecordingStopped("the disk is full")
            await super().put(blocks, room)  # type: ignore[arg-type]

    store, said = Nearly(), list[str]()
    recorded = list[SegmentRecord]()
    recorder = Recorder(ROOM, store, recorded.append, said.append, lambda: None)
    picture, data = bytes(200_000), b"a part"
    part = StoredPart(CID.of(data), len(data), data)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        recorder.put(((CID.of(picture), picture),))
        key = SegmentKey(ROOM, SessionId(1, 1), "source", 0)
        recorder.append(key, ((part.cid, data),), part)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert part.stored is not None
    assert not said
