"""The store keeps inside its budget, and what it removes for that is the right thing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.store import LIMITS, ManualClock, disk_bytes, leaf, room, segment

from hausd.blocks import packs
from hausd.blocks.store import Store, no_progress, open_store
from hausd.core.cid import CID
from hausd.core.live import RoomState
from hausd.core.storage import FOR_A_WHILE, LEFT, RecordingStopped, RoomRating, SegmentKey

SMALL = replace(LIMITS, quota_bytes=600_000)
"""Some ten segments of 48 kB."""
SIZE = 4000


def numbers(store: Store, of: int = 1) -> list[int]:
    account = store._state.catalog.rooms.get(room(of))
    return sorted({key.number for key in account.segments}) if account is not None else []


async def fill(store: Store, count: int) -> None:
    for number in range(count):
        await store.write(segment(number, size=SIZE).changes())


async def test_a_full_store_never_takes_more_than_its_quota(tmp_path: Path) -> None:
    async with open_store(tmp_path, SMALL) as store:
        for number in range(40):
            for change in segment(number, size=SIZE).changes():
                await store.write([change])
                assert store.usage().used_bytes <= SMALL.quota_bytes
            if number % 5 == 0:
                await store.sync()
            assert disk_bytes(tmp_path) <= SMALL.quota_bytes
        kept = numbers(store)
        assert kept == list(range(kept[0], 40))
        assert len(kept) >= 7


async def test_nor_more_files(tmp_path: Path) -> None:
    async with open_store(tmp_path, replace(LIMITS, quota_files=6)) as store:
        for number in range(9):
            await store.write(segment(number).changes())
            await store.put([(CID.of(leaf(number)), leaf(number))], room())
            assert store.usage().used_files <= 6
        assert numbers(store) == [4, 5, 6, 7, 8]


async def test_a_segment_goes_in_all_renditions_together(tmp_path: Path) -> None:
    told: list[SegmentKey] = []
    async with open_store(tmp_path, SMALL, evicted=told.extend) as store:
        for number in range(10):
            for rendition in ("source", "720p", "audio"):
                await store.write(segment(number, rendition=rendition, size=SIZE).changes())
        assert told
        by_number: dict[int, set[str]] = {}
        for key in told:
            by_number.setdefault(key.number, set()).add(key.rendition)
        assert set(map(len, by_number.values())) == {3}
        assert sorted(by_number) == list(range(len(by_number)))
        for key in told:
            one = segment(key.number, rendition=key.rendition, size=SIZE)
            assert store.locate(one.cid) is None
            assert not store.has(CID.of(one.leaves[0]))


async def test_pinned_rooms_stay_and_then_recording_stops_in_plain_words(tmp_path: Path) -> None:
    async with open_store(tmp_path, SMALL) as store:
        await store.pins.add(room(1), lambda *_: None)
        with pytest.raises(RecordingStopped, match=r"^quota: .* \(hausctl pins remove\)"):
            await fill(store, 20)
        held = numbers(store)
        assert held == list(range(len(held)))
        with pytest.raises(RecordingStopped):
            await store.write([segment(30, of=room(2), size=100_000).append(0)])
        # What is unpinned makes room again, without a restart.
        await store.pins.remove(room(1))
        await store.write(segment(21, size=SIZE).changes())
        assert held[0] not in numbers(store)


async def test_worthless_rooms_go_before_others_and_unused_before_used(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_store(tmp_path, replace(SMALL, quota_bytes=650_000), clock=clock) as store:
        store.rate(room(1), RoomRating(value=10))
        for of in (1, 2, 3):
            for number in range(3):
                clock.ms += 1000
                await store.write(segment(number, of=room(of), size=SIZE).changes())
        clock.ms += 1000
        assert store.locate(segment(0, of=room(2), size=SIZE).cid) is not None
        await store.write(segment(0, of=room(4), size=2 * SIZE).changes())
        assert (numbers(store, 1), numbers(store, 2)) == ([0, 1, 2], [0, 1, 2])
        assert numbers(store, 3) == [1, 2]
        await store.write(segment(1, of=room(4), size=2 * SIZE).changes())
        await store.write(segment(2, of=room(4), size=2 * SIZE).changes())
        assert numbers(store, 1) == [0, 1, 2]
        assert numbers(store, 3) == []


async def test_the_live_edge_and_what_is_being_written_stay(tmp_path: Path) -> None:
    limits = replace(SMALL, live_segments=4)
    async with open_store(tmp_path, limits) as store:
        store.rate(room(), RoomRating(value=0, state=RoomState.LIVE))
        for number in range(5):
            await store.write(segment(number, size=SIZE).changes())
        await store.write([segment(5, size=SIZE).append(0)])
        with pytest.raises(RecordingStopped, match="quota"):
            await store.write([segment(9, of=room(2), size=120_000).append(0)])
        assert numbers(store) == [0, 1, 2, 3, 4, 5]
        await store.write([segment(9, of=room(2), size=75_000).append(0)])
        assert numbers(store) == [2, 3, 4, 5]


async def test_segments_given_up_half_way_can_go(tmp_path: Path) -> None:
    async with open_store(tmp_path, SMALL) as store:
        for number in range(20):
            await store.write([segment(number, size=SIZE).append(0)])
            await store.write([segment(number, size=SIZE).append(1)])
            await store.write([segment(number, size=SIZE).append(2)])
        assert numbers(store)[-1] == 19
        assert numbers(store)[0] > 0


async def test_a_lower_quota_holds_from_the_next_write_on(tmp_path: Path) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        for number in range(20):
            await store.write(segment(number, size=SIZE).changes())
        store.set_limits(replace(LIMITS, quota_bytes=400_000))
        await store.write(segment(20, size=SIZE).changes())
        assert store.usage().used_bytes <= 400_000
        assert 20 in numbers(store)


async def test_recording_stops_before_the_disk_is_full(tmp_path: Path) -> None:
    async with open_store(tmp_path, replace(LIMITS, reserve_bytes=1 << 60)) as store:
        with pytest.raises(RecordingStopped, match=r"^free space: .* store.reserve_free"):
            await store.write([segment().append(0)])
        with pytest.raises(RecordingStopped, match="free space"):
            await store.put([(CID.of(b"x"), b"x")], room())
        assert store.usage().used_files == 0
        store.set_limits(LIMITS)
        await store.write(segment().changes())


async def test_collecting_removes_what_nobody_wants(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    async with open_store(tmp_path, LIMITS) as store:
        for of in (1, 2, 3, 4):
            await store.write(segment(of=room(of)).changes())
            await store.put([(CID.of(leaf(of)), leaf(of))], room(of))
        await store.pins.add(room(1), lambda *_: None)
        store.rate(room(2), RoomRating(value=5))
        store.rate(room(3), RoomRating(state=RoomState.LIVE))
        store.rate(room(4), RoomRating(value=4))
        found = await store.gc(lambda *step: steps.append(step), keep_value=5)
        assert store.rooms() == sorted([room(1), room(2), room(3), room(4)])
        assert found.removed_files == 1
        assert numbers(store, 4) == []
        assert found.kept_bytes == store.usage().used_bytes
        # A room that nobody knows any more keeps nothing.
        store.rate(room(4), None)
        store.rate(room(2), None)
        found = await store.gc()
        assert store.rooms() == sorted([room(1), room(3)])
        assert found.removed_files == 3
        assert steps[-1] == ("removing", 1, 1)


async def junk(store: Store, of: int, seed: int = 0) -> int:
    """Puts blocks of a hostile manifest until it is refused; gives how many were taken."""
    for number in range(100):
        data = leaf((of, seed, number), 60_000)
        try:
            await store.put([(CID.of(data), data)], room(of))
        except RecordingStopped:
            return number
    return 100


WATCHED = RoomRating(FOR_A_WHILE, RoomState.LIVE)


async def test_small_blocks_of_a_strangers_room_are_bounded(tmp_path: Path) -> None:
    async with open_store(tmp_path, SMALL) as store:
        store.rate(room(2), RoomRating(state=RoomState.LIVE))
        assert await junk(store, 2) == 2  # a quarter of the quota
        assert store.room_bytes(room(2)) <= SMALL.quota_bytes // 4
        with pytest.raises(RecordingStopped, match=r"150\.0 kB of small blocks"):
            await store.put([(CID.of(leaf("more", 60_000)), leaf("more", 60_000))], room(2))
        # Only that room's recording stops; this node's own, and pinned ones, go beyond.
        await fill(store, 3)
        await store.pins.add(room(2), no_progress)
        data = leaf("pinned", 60_000)
        await store.put([(CID.of(data), data)], room(2))
        store.rate(room(3), RoomRating(state=RoomState.LIVE, own=True))
        for number in range(3):
            data = leaf(("own", number), 60_000)
            await store.put([(CID.of(data), data)], room(3))


async def test_small_blocks_of_rooms_that_were_left_make_room(tmp_path: Path) -> None:
    async with open_store(tmp_path, SMALL) as store:
        for of in range(2, 6):
            store.rate(room(of), WATCHED)
            await junk(store, of)
            store.rate(room(of), LEFT)
        await fill(store, 10)
        assert len(numbers(store)) >= 9
        assert store.rooms() == [room(1)]


async def test_and_of_rooms_that_are_only_watched_but_for_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", 50_000)
    async with open_store(tmp_path, SMALL) as store:
        for of in range(2, 6):
            store.rate(room(of), WATCHED)
            assert await junk(store, of) == 2
        await fill(store, 10)
        assert len(numbers(store)) >= 5
        for of in range(2, 6):
            assert [store.has(CID.of(leaf((of, 0, n), 60_000))) for n in (0, 1)] == [False, True]


async def test_small_blocks_go_with_the_last_segment_that_needs_them(tmp_path: Path) -> None:
    """Also where all were closed within one tick of the clock."""
    async with open_store(tmp_path, SMALL, clock=ManualClock()) as store:
        node = leaf("node", 20_000)
        await store.put([(CID.of(node), node)], room(2))
        for number in range(4):
            await store.write(segment(number, of=room(2), size=SIZE).changes())
        await store.shrink(room(2), 150_000)
        assert numbers(store, 2) == [2, 3]
        assert store.has(CID.of(node))
        store.rate(room(2), LEFT)
        for number in range(20):
            await store.write(segment(number, size=SIZE).changes())
            assert store.has(CID.of(node)) == bool(numbers(store, 2))
        assert numbers(store, 2) == []


async def test_what_live_edges_show_takes_no_more_than_half(tmp_path: Path) -> None:
    """A stranger's stream of huge segments does not keep others from being recorded."""
    async with open_store(tmp_path, replace(SMALL, live_segments=6)) as store:
        store.rate(room(2), WATCHED)
        store.rate(room(1), RoomRating(state=RoomState.LIVE))
        for number in range(6):
            await store.write(segment(number, of=room(2), size=2 * SIZE).changes())
        await fill(store, 8)
        assert numbers(store) == list(range(1, 8))
        assert numbers(store, 2) == [5]
