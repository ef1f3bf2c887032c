"""Whatever a crash left, a store opens, keeps what proves itself, and says the rest."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.store import LIMITS, Segment, key, room, segment

from hausd.blocks.errors import StoreError
from hausd.blocks.store import Store, open_store
from hausd.core.cid import CID


async def filled(path: Path) -> list[Segment]:
    """Three closed segments, one open, one small block; stopped in order."""
    made = [segment(number) for number in range(3)]
    async with open_store(path, LIMITS) as store:
        for one in made:
            await store.write(one.changes())
        await store.write([segment(3).append(0)])
        await store.put([(CID.of(b"small"), b"small")], room())
    return made


async def all_there(store: Store, made: list[Segment]) -> None:
    for one in made:
        place = store.locate(one.cid)
        assert place is not None
        assert await store.read_range(place) == one.content
    assert [told.key.number for told in await store.segments(room())] == [0, 1, 2]
    assert await store.block(CID.of(b"small")) == b"small"


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "page", "schema", "no text"])
async def test_a_lost_index_is_made_again_from_the_files(tmp_path: Path, damage: str) -> None:
    made = await filled(tmp_path)
    index = tmp_path / "index.sqlite"
    match damage:
        case "missing":
            index.unlink()
        case "empty":
            index.write_bytes(b"")
        case "garbage":
            index.write_bytes(b"not a database at all" * 1000)
        case "page":
            data = bytearray(index.read_bytes())
            data[4096:] = b"\xff" * (len(data) - 4096)
            index.write_bytes(data)
        case "no text":  # nor is what SQLite then says of it
            data = bytearray(index.read_bytes())
            data[data.index(b"CREATE TABLE") + 2] |= 0x80
            index.write_bytes(data)
        case "schema":
            with closing(sqlite3.connect(index)) as db:
                db.execute("DROP TABLE files")
    steps: list[tuple[str, int, int]] = []
    async with open_store(tmp_path, LIMITS, progress=lambda *step: steps.append(step)) as store:
        await all_there(store, made)
        assert [one.key.number for one in store.unclosed(room())] == [3]
        if damage != "empty":
            assert "made again from the files" in store.repaired[0]
        assert ("reading segments", 0, 4) in steps
    async with open_store(tmp_path, LIMITS) as store:
        assert store.repaired == []
        await all_there(store, made)


async def test_a_damaged_entry_of_the_index_is_read_again_from_the_file(tmp_path: Path) -> None:
    made = await filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as db, db:
        db.execute("UPDATE files SET prints=zeroblob(8) WHERE name LIKE '%/1'")
    async with open_store(tmp_path, LIMITS) as store:
        await all_there(store, made)
        assert any("entries of the index were damaged" in line for line in store.repaired)
    async with open_store(tmp_path, LIMITS) as store:
        assert store.repaired == []


async def test_files_put_in_are_taken_in_and_files_taken_away_are_told(tmp_path: Path) -> None:
    await filled(tmp_path / "a")
    async with open_store(tmp_path / "b", LIMITS) as store:
        await store.write(segment(7).changes())
        (place,) = await store.write([segment(8).append(0)])
    for found in (tmp_path / "b").rglob("*.seg"):
        shutil.copy(found, tmp_path / "a" / found.relative_to(tmp_path / "b"))
    next((tmp_path / "a").rglob("1.seg")).unlink()
    (tmp_path / "a" / "segments" / "notes.txt").write_text("mine")
    async with open_store(tmp_path / "a", LIMITS) as store:
        assert [told.key.number for told in await store.segments(room())] == [0, 2, 7]
        told = "\n".join(store.repaired)
        assert "files that the index did not know were taken in" in told
        assert "files were missing; what they held is forgotten" in told
        assert "moved to lost+found" in told
        assert store.locate(segment(1).cid) is None
        assert not store.has(CID.of(segment(8).leaves[0]))
        assert not Path(tmp_path / "a" / Path(place.path).relative_to(tmp_path / "b")).exists()
    assert (tmp_path / "a" / "segments" / "notes.txt").exists()
    async with open_store(tmp_path / "a", LIMITS) as store:
        assert store.repaired == []


async def test_a_segment_cut_short_keeps_its_whole_leaves(tmp_path: Path) -> None:
    one = segment(gops=2, leaves=3)
    crashed = tmp_path / "crashed"
    async with open_store(tmp_path / "store", LIMITS) as store:
        await store.write([one.append(0), one.append(1)])
        shutil.copytree(tmp_path / "store", crashed)
    (path,) = crashed.rglob("*.seg")
    data = path.read_bytes()
    # As a power cut leaves it: the end is gone, and a leaf before it never reached the disk.
    path.write_bytes(data[:3000] + bytes(1000) + data[4000:4500])
    async with open_store(crashed, LIMITS) as store:
        (told,) = store.unclosed(room())
        assert [cid for cid, _ in told.leaves] == [CID.of(leaf) for leaf in one.leaves[:3]]
        assert "lost their last leaves" in store.repaired[0]
        assert path.stat().st_size == 3000
        await store.write([one.append(1), one.close()])
        place = store.locate(one.cid)
        assert place is not None
        assert await store.read_range(place) == one.content


async def test_bytes_that_were_never_acknowledged_are_cut_off(tmp_path: Path) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        await store.write([segment().append(0)])
    (path,) = tmp_path.rglob("*.seg")
    with path.open("ab") as file:
        file.write(b"half a batch")
    async with open_store(tmp_path, LIMITS) as store:
        assert path.stat().st_size == 4000
        await store.write([segment().append(1), segment().append(2), segment().close()])
        assert store.locate(segment().cid) is not None


async def test_at_every_length_of_the_journal_the_store_opens_and_is_right(tmp_path: Path) -> None:
    """What a power cut leaves of the journal is some of its beginning."""
    source = tmp_path / "source"
    async with open_store(source, LIMITS) as store:
        await store.write(segment(0).changes())
        await store.sync()
        await store.write([segment(1).append(0)])
        await store.discard([key(0)])
        await store.write([segment(1).append(1), segment(2).append(0)])
        await store.write([segment(1).append(2), segment(1).close()])
        shutil.copytree(source, tmp_path / "killed")
    journal = (tmp_path / "killed" / "journal").read_bytes()
    known = {CID.of(leaf): leaf for number in range(3) for leaf in segment(number).leaves}
    for length in [*range(0, len(journal), 37), len(journal) - 1, len(journal)]:
        path = tmp_path / str(length)
        shutil.copytree(tmp_path / "killed", path)
        (path / "journal").write_bytes(journal[:length])
        async with open_store(path, LIMITS) as store:
            for cid, leaf in known.items():
                assert await store.block(cid) in (leaf, None)
            # The file says itself that it is whole, whatever the journal knows.
            assert store.locate(segment(1).cid) is not None
            found = await store.verify()
            assert (found.corrupt, found.missing) == (0, 0)
            await store.write([segment(5).append(0)])
        async with open_store(path, LIMITS) as store:
            assert store.repaired == []
            assert store.has(CID.of(segment(5).leaves[0]))
        shutil.rmtree(path)


async def test_a_torn_pack_keeps_its_whole_blocks(tmp_path: Path) -> None:
    blocks = [bytes([number]) * 500 for number in range(4)]
    torn = tmp_path / "torn"
    async with open_store(tmp_path / "store", LIMITS) as store:
        for block in blocks:
            await store.put([(CID.of(block), block)], room())
        shutil.copytree(tmp_path / "store", torn)
    (path,) = torn.rglob("*.pack")
    data = bytearray(path.read_bytes())
    data[3] ^= 1  # the first head is unreadable
    path.write_bytes(data[:-100])
    async with open_store(torn, LIMITS) as store:
        held = [await store.block(CID.of(block)) for block in blocks]
        assert held == [None, blocks[1], blocks[2], None]
        assert len(store.repaired) == 2
        await store.put([(CID.of(block), block) for block in blocks], room())
        assert [await store.block(CID.of(block)) for block in blocks] == blocks


async def test_a_store_of_a_newer_hausd_is_left_alone(tmp_path: Path) -> None:
    await filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="written by a newer hausd"):
        async with open_store(tmp_path, LIMITS):
            pass


async def test_a_path_that_cannot_be_a_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"no directory|permission"):
        async with open_store(tmp_path / "file" / "store", LIMITS):
            pass
