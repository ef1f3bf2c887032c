"""What is written can be read, located and told again, also by the next start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.store import LIMITS, key, leaf, room, segment

from hausd.blocks import state
from hausd.blocks.errors import StoreInUse
from hausd.blocks.store import open_store
from hausd.core import dagcbor
from hausd.core.cid import CID, Codec
from hausd.core.live import FileRange
from hausd.core.storage import Append, Close


async def test_leaves_of_a_segment_lie_one_after_the_other(tmp_path: Path) -> None:
    one = segment(gops=2, leaves=3)
    async with open_store(tmp_path, LIMITS) as store:
        first = await store.write([one.append(0)])
        second = await store.write([one.append(1)])
        assert [(place.offset, place.length) for place in first + second] == [
            (0, 3000),
            (3000, 3000),
        ]
        assert Path(first[0].path).read_bytes() == one.content
        assert await store.read_range(second[0]) == b"".join(one.gops[1])


async def test_parts_gops_and_segments_are_one_range_of_one_file(tmp_path: Path) -> None:
    one = segment(gops=3, leaves=4)
    async with open_store(tmp_path, LIMITS) as store:
        places = await store.write(one.changes())
        path = places[0].path
        assert places[-1] == FileRange(path, 0, 12_000)
        assert store.locate(one.cid) == FileRange(path, 0, 12_000)
        assert store.locate(one.gop_cid(1)) == FileRange(path, 4000, 4000)
        assert store.locate(CID.of(one.gops[2][1])) == FileRange(path, 9000, 1000)
    async with open_store(tmp_path, LIMITS) as store:
        assert store.locate(one.cid) == FileRange(path, 0, 12_000)
        assert store.locate(one.gop_cid(2)) == FileRange(path, 8000, 4000)


async def test_every_block_comes_back_verified_also_after_a_restart(tmp_path: Path) -> None:
    one = segment()
    other = segment(1)
    small = dagcbor.encode({"a": 1})
    small_cid = CID.of(small, Codec.DAG_CBOR)
    for start in range(2):
        async with open_store(tmp_path, LIMITS) as store:
            if not start:
                await store.write(one.changes())
                await store.write([other.append(0)])
                await store.put([(small_cid, small)], room())
            assert store.repaired == []
            for data in [*one.leaves, *other.gops[0]]:
                assert store.has(CID.of(data))
                assert await store.block(CID.of(data)) == data
            for cid, node in one.nodes():
                assert await store.block(cid) == node
            assert await store.block(small_cid) == small
            place = store.locate(small_cid)
            assert place is not None
            assert await store.read_range(place) == small
            absent = CID.of(b"absent")
            assert not store.has(absent)
            assert store.locate(absent) is None
            assert await store.block(absent) is None


async def test_a_room_can_be_told_again_from_its_store(tmp_path: Path) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        for number in (1, 0):
            for rendition in ("source", "audio"):
                await store.write(segment(number, rendition=rendition).changes())
        half = segment(2, gops=1)
        await store.write([half.append(0)])
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(segment(3).changes())
        told = await store.segments(room())
        assert [(one.key.number, one.key.rendition, one.record, one.size) for one in told] == [
            (0, "audio", b"record of 0", 12_000),
            (0, "source", b"record of 0", 12_000),
            (1, "audio", b"record of 1", 12_000),
            (1, "source", b"record of 1", 12_000),
            (3, "source", b"record of 3", 12_000),
        ]
        (open_one,) = store.unclosed(room())
        assert open_one.key == half.key
        assert open_one.leaves == tuple((CID.of(data), len(data)) for data in half.leaves)
        await store.write([half.close()])
        assert store.unclosed(room()) == []
        assert store.locate(half.cid) is not None
        assert store.rooms() == [room()]


async def test_equal_leaves_survive_the_removal_of_one_of_their_files(tmp_path: Path) -> None:
    data = leaf("same")
    same = (CID.of(data), data)
    async with open_store(tmp_path, LIMITS) as store:
        for number in range(3):
            own = leaf(number)
            await store.write([Append(key(number), (same, (CID.of(own), own), same))])
            await store.write([Close(key(number), (), b"")])
        await store.discard([key(0)])
        assert await store.block(same[0]) == data
        assert not store.has(CID.of(leaf(0)))
        await store.discard([key(2), key(1)])
        assert not store.has(same[0])
        assert await store.block(same[0]) is None
        assert store.usage().blocks == 0


async def test_a_dropped_room_leaves_no_file_and_other_rooms_alone(tmp_path: Path) -> None:
    block = b"small"
    gone: list[int] = []
    async with open_store(
        tmp_path, LIMITS, evicted=lambda keys: gone.extend(k.number for k in keys)
    ) as store:
        for number in (1, 2):
            await store.write(segment(of=room(number)).changes())
            await store.put([(CID.of(block), block)], room(number))
        await store.write([segment(5).append(0)])
        assert await store.drop_room(room(1)) is None
        assert sorted(gone) == [0, 5]
        assert await store.block(CID.of(block)) == block
        assert store.rooms() == [room(2)]
    assert not list(tmp_path.rglob(f"*{room(1)}*"))
    async with open_store(tmp_path, LIMITS) as store:
        assert store.repaired == []
        assert store.rooms() == [room(2)]
        assert await store.drop_room(room(2)) is None
        assert not store.has(CID.of(block))


async def test_small_blocks_fill_packs_that_are_closed_when_full(tmp_path: Path) -> None:
    blocks = [leaf(number, 300_000) for number in range(40)]
    cids = [CID.of(data) for data in blocks]
    for _ in range(2):
        async with open_store(tmp_path, LIMITS) as store:
            for cid, data in zip(cids, blocks, strict=True):
                await store.put([(cid, data)], room())
            assert store.usage().used_files == 3
            for cid, data in zip(cids, blocks, strict=True):
                assert await store.block(cid) == data


@pytest.mark.parametrize(
    "changes",
    [
        [Close(key(), (), b"")],
        [*segment().changes(), segment().append(0)],
        [Append(key(), ((CID.of(b""), b""),))],
        [Append(key(), ((CID.of(b"x", Codec.DAG_PB), b"x"),))],
        [Append(key(rendition="../up"), ((CID.of(b"x"), b"x"),))],
        [Append(key(number=-1), ((CID.of(b"x"), b"x"),))],
    ],
    ids=["close-of-nothing", "after-close", "empty-leaf", "codec", "rendition", "number"],
)
async def test_a_batch_that_makes_no_sense_changes_nothing(
    tmp_path: Path, changes: list[Append | Close]
) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        with pytest.raises(ValueError):
            await store.write([segment(9).append(0), *changes])
        assert store.usage().blocks == 0
        await store.write(segment(9).changes())


async def test_bytes_that_are_not_their_cids_are_not_taken_as_small_blocks(tmp_path: Path) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        with pytest.raises(ValueError, match="not those of"):
            await store.put([(CID.of(b"a"), b"b")], room())


async def test_two_nodes_cannot_share_a_store(tmp_path: Path) -> None:
    async with open_store(tmp_path, LIMITS):
        with pytest.raises(StoreInUse, match=f"in use by another hausd .process {os.getpid()}"):
            async with open_store(tmp_path, LIMITS):
                pass
    async with open_store(tmp_path, LIMITS):
        pass


async def test_usage_says_what_du_says(tmp_path: Path) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        for number in range(20):
            await store.write(segment(number, size=10_000).changes())
        await store.sync()
        used = store.usage()
        files = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
        on_disk = sum(path.stat().st_size for path in files)
        assert used.used_files == 20
        assert used.blocks == 20 * 16
        assert on_disk <= used.used_bytes <= on_disk * 1.1


async def test_tables_at_hand_are_bounded_by_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a segment of many tiny leaves the table is larger than what it tells of."""
    monkeypatch.setattr(state, "_CACHED_BYTES", 20_000)
    async with open_store(tmp_path, LIMITS) as store:
        for number in range(30):
            await store.write(segment(number, gops=1, leaves=50, size=1).changes())
        held = store._state._tables
        assert 1 <= len(held) < 10
        assert sum(table.weight for table in held.values()) <= 20_000
        for number in range(30):
            one = segment(number, gops=1, leaves=50, size=1)
            assert await store.block(CID.of(one.leaves[0])) == one.leaves[0]
            assert sum(table.weight for table in held.values()) <= 20_000
        # One that is larger than all may be is kept as long as it is asked for.
        big = segment(99, gops=1, leaves=1000, size=1)
        await store.write(big.changes())
        assert len(held) == 1
        assert store.locate(big.cid) is not None
        assert store._state._table_bytes == sum(table.weight for table in held.values())
