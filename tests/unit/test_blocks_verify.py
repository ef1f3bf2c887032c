"""Bytes that went bad on the disk are found, never served once found, and mended if they can be."""

from __future__ import annotations

from pathlib import Path

from support.store import LIMITS, flip, key, room, segment

from hausd.blocks.store import open_store
from hausd.core.cid import CID
from hausd.core.storage import Append, Close, SegmentKey


def the_file(path: Path, pattern: str = "*.seg") -> Path:
    (found,) = path.rglob(pattern)
    return found


async def test_a_bad_leaf_is_never_given_out_and_no_longer_located(tmp_path: Path) -> None:
    one = segment(gops=2, leaves=3)
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(one.changes())
        flip(the_file(tmp_path), 8 * 1500)
        bad, good = CID.of(one.leaves[1]), CID.of(one.leaves[0])
        assert await store.block(bad) is None
        assert await store.block(good) == one.leaves[0]
        assert not store.has(bad)
        assert store.locate(bad) is None
        assert store.locate(one.gop_cid(0)) is None
        assert store.locate(one.cid) is None
        assert store.locate(one.gop_cid(1)) is not None
    async with open_store(tmp_path, LIMITS) as store:
        assert store.locate(one.cid) is None
        assert store.locate(one.gop_cid(1)) is not None
        # Fetched from elsewhere, it is whole again.
        assert not await store.mend(bad, b"something else")
        assert await store.mend(bad, one.leaves[1])
        assert await store.block(bad) == one.leaves[1]
        assert store.locate(one.cid) is not None
    async with open_store(tmp_path, LIMITS) as store:
        assert store.locate(one.cid) is not None


async def test_verify_counts_what_it_finds(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    async with open_store(tmp_path, LIMITS) as store:
        for number in range(3):
            await store.write(segment(number, gops=1, leaves=4).changes())
        await store.put([(CID.of(b"small"), b"small")], room())
        files = sorted(tmp_path.rglob("*.seg"))
        flip(files[0], 0)
        flip(files[0], 8 * 3999)
        files[1].unlink()
        found = await store.verify(lambda *step: steps.append(step))
        assert (found.checked, found.corrupt, found.missing, found.repaired) == (16, 2, 5, 0)
        assert steps[-1] == ("verifying", 16, 16)
        assert store.locate(segment(0, gops=1).cid) is None
        assert store.locate(segment(1, gops=1).cid) is None
        assert store.locate(segment(2, gops=1).cid) is not None
        again = await store.verify()
        assert (again.checked, again.corrupt, again.missing, again.repaired) == (11, 2, 0, 0)


async def test_a_bad_leaf_is_mended_from_a_good_copy(tmp_path: Path) -> None:
    one = segment(gops=1, leaves=3)
    other = key(rendition="other")
    pairs = one.append(0).leaves
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(one.changes())
        await store.write([Append(other, pairs), Close(other, (), b"")])
        flip(sorted(tmp_path.rglob("*.seg"))[0], 8 * 1000)
        # The other copy is given out where the first is bad.
        assert await store.block(pairs[1][0]) == pairs[1][1]
        found = await store.verify()
        assert (found.corrupt, found.missing, found.repaired) == (1, 0, 1)
        assert (await store.verify()).corrupt == 0
        flip(sorted(tmp_path.rglob("*.seg"))[1], 8 * 1000)
        found = await store.verify()
        assert (found.corrupt, found.missing, found.repaired) == (1, 0, 1)


async def test_a_bad_trailer_is_written_again_from_the_index(tmp_path: Path) -> None:
    one = segment()
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(one.changes())
    path = the_file(tmp_path)
    whole = path.read_bytes()
    for damage in ("flip", "cut"):
        if damage == "flip":
            flip(path, 8 * (len(whole) - 100))
        else:
            path.write_bytes(whole[:-30])
        async with open_store(tmp_path, LIMITS) as store:
            assert store.locate(one.cid) is None or damage == "cut"
            found = await store.verify()
            assert found.missing == found.corrupt - found.repaired == 0
            assert store.locate(one.cid) is not None
        assert path.read_bytes() == whole


async def test_a_bad_copy_in_the_index_is_written_again_from_the_file(tmp_path: Path) -> None:
    one = segment()
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(one.changes())
        await store.sync()
        store._state.index._db.execute("UPDATE trailers SET trailer=x'00'")
        found = await store.verify()
        assert (found.corrupt, found.repaired) == (1, 1)
        found = await store.verify()
        assert (found.corrupt, found.repaired) == (0, 0)


async def test_a_file_that_lost_both_trailers_is_set_aside_and_told(tmp_path: Path) -> None:
    gone: list[SegmentKey] = []
    async with open_store(tmp_path, LIMITS, evicted=gone.extend) as store:
        await store.write(segment().changes())
        await store.sync()
        store._state.index._db.execute("UPDATE trailers SET trailer=x'00'")
        store._state._tables.clear()
        path = the_file(tmp_path)
        flip(path, 8 * (path.stat().st_size - 100))
        found = await store.verify()
        assert found.missing == 16
        assert gone == [key()]
        assert [one.name for one in (tmp_path / "lost+found").iterdir()]
        assert store.usage().used_files == 1
        await store.gc()
        assert store.usage().used_files == 0


async def test_a_bad_small_block_can_be_stored_again(tmp_path: Path) -> None:
    block = b"small" * 100
    cid = CID.of(block)
    async with open_store(tmp_path, LIMITS) as store:
        await store.put([(cid, block), (CID.of(b"other"), b"other")], room())
        flip(the_file(tmp_path, "*.pack"), 8 * 100)
        assert await store.block(cid) is None
        assert not store.has(cid)
        await store.put([(cid, block)], room())
        assert await store.block(cid) == block
