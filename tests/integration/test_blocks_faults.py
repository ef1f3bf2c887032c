"""A full or failing disk stops the recording, says why, harms nothing, and needs no restart."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.disk import mounted, needs_root, run
from support.store import LIMITS, Segment, flip, leaf, room, segment

from hausd.blocks.store import Store, open_store
from hausd.core.cid import CID
from hausd.core.storage import RecordingStopped

SIZE = 10_000
STARVED = Path(__file__).parents[1] / "support" / "storestarved.py"


async def write_until_stopped(store: Store, first: int) -> tuple[int, str]:
    """Gives the number of the first segment that was not written whole, and the reason."""
    for number in range(first, first + 1000):
        for change in segment(number, size=SIZE).changes():
            try:
                await store.write([change])
            except RecordingStopped as stopped:
                return number, str(stopped)
    raise AssertionError("nothing stopped it")


async def assert_whole(store: Store, numbers: range) -> None:
    for number in numbers:
        one = segment(number, size=SIZE)
        place = store.locate(one.cid)
        assert place is not None
        assert await store.read_range(place) == one.content


@needs_root
async def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=3m", "tmpfs") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(500_000))
        async with open_store(disk / "store", LIMITS) as store:
            stopped_at, reason = await write_until_stopped(store, 0)
            assert stopped_at > 10
            assert reason.startswith("the disk is full: free some space")
            big = leaf("big", 1_000_000)
            with pytest.raises(RecordingStopped, match="the disk is full"):
                await store.put([(CID.of(big), big)], room())
            # Not even the index can grow now; what was written stays readable all the same.
            await store.sync()
            await assert_whole(store, range(stopped_at))
            ballast.unlink()
            for change in segment(500, size=SIZE).changes():
                await store.write([change])
            assert await store.sync()
            await assert_whole(store, range(500, 501))
            second, _ = await write_until_stopped(store, 600)
            await assert_whole(store, range(600, second))
        # Full as it is, the store opens again, whole.
        async with open_store(disk / "store", LIMITS) as store:
            await assert_whole(store, range(stopped_at))
            await assert_whole(store, range(600, second))
            found = await store.verify()
            assert (found.corrupt, found.missing) == (0, 0)


@needs_root
async def test_a_disk_that_turns_read_only(tmp_path: Path) -> None:
    path = tmp_path / "store"
    async with open_store(path, LIMITS) as store:
        await store.write([segment(0, size=SIZE).append(0)])
        run("mount", "--bind", str(path), str(path))
        try:
            run("mount", "-o", "remount,bind,ro", str(path))
            with pytest.raises(RecordingStopped, match="mounted read-only"):
                await store.write([segment(0, size=SIZE).append(1), segment(1).append(0)])
            data = segment(0, size=SIZE).leaves[0]
            assert await store.block(CID.of(data)) == data
        finally:
            run("umount", str(path))
        await store.write(segment(0, size=SIZE).changes()[1:])
        await store.write(segment(1, size=SIZE).changes())
        await assert_whole(store, range(2))
    async with open_store(path, LIMITS) as store:
        assert store.repaired == []


@needs_root
async def test_a_disk_with_input_output_errors(tmp_path: Path) -> None:
    """An ext4 file system on a device whose own storage has run out of space: EIO when synced."""
    if shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists():
        pytest.skip("no loop devices here")
    with mounted(tmp_path / "backing", "-t", "tmpfs", "-o", "size=6m", "tmpfs") as backing:
        image = backing / "image"
        with image.open("wb") as file:
            file.truncate(64 * 1024 * 1024)
        run("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "nodiscard", str(image))
        try:
            mount = mounted(tmp_path / "disk", "-o", "loop,errors=continue", str(image))
            disk = mount.__enter__()
        except subprocess.CalledProcessError as fault:
            pytest.skip(f"no loop device can be mounted: {fault.stderr}")
        try:
            async with open_store(disk / "store", LIMITS) as store:
                await store.write(segment(0, size=SIZE).changes())
                assert await store.sync()
                failed = False
                for number in range(1, 60):
                    await store.write(segment(number, size=SIZE).changes())
                    if not await store.sync():
                        failed = True
                        break
                assert failed
                with pytest.raises(RecordingStopped, match=r"input/output errors|disk is full"):
                    await store.write([segment(99, size=SIZE).append(0)])
                await assert_whole(store, range(1))
        finally:
            mount.__exit__(None, None, None)


async def test_a_batch_that_fails_half_way_counts_not_at_all(tmp_path: Path) -> None:
    """The first file of the batch can be written, the second can't; and the other way round."""
    big, small = segment(0, size=50_000), segment(1, size=100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with open_store(tmp_path, LIMITS) as store:
        await store.write([big.append(0), small.append(0)])
        before = store.usage()
        for order in ((small, big), (big, small)):
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
            try:
                with pytest.raises(RecordingStopped, match="ulimit -f"):
                    await store.write([one.append(1) for one in order])
                with pytest.raises(RecordingStopped, match="ulimit -f"):
                    await store.write([segment(7, size=100).append(0), big.append(1)])
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert store.usage() == before.model_copy(
                update={"free_bytes": store.usage().free_bytes}
            )
            for data in (*big.gops[1], *small.gops[1], *segment(7, size=100).gops[0]):
                assert not store.has(CID.of(data))
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.seg")) == 200_400
        for one in (big, small):
            await store.write([one.append(1), one.append(2), one.close()])
            place = store.locate(one.cid)
            assert place is not None
            assert await store.read_range(place) == one.content
    async with open_store(tmp_path, LIMITS) as store:
        assert store.repaired == []


async def test_the_journal_failing_takes_the_batch_back(tmp_path: Path) -> None:
    """The files fit under the limit, the journal's record doesn't."""
    one, path = segment(0, size=10), tmp_path / "store"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with open_store(path, LIMITS) as store:
        for number in range(1, 60):
            await store.write([segment(number, gops=1, size=10).append(0)])
        size = (path / "journal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
        try:
            with pytest.raises(RecordingStopped, match="ulimit -f"):
                await store.write([one.append(0)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not store.has(CID.of(one.leaves[0]))
        await store.write(one.changes())
        shutil.copytree(path, tmp_path / "crashed")
    async with open_store(tmp_path / "crashed", LIMITS) as store:
        assert store.repaired == []
        assert store.locate(one.cid) is not None
        assert len(store.unclosed(room())) == 59


async def test_without_descriptors_nothing_is_taken_for_damaged(tmp_path: Path) -> None:
    """Nobody can look just now: that says nothing of the files."""
    async with open_store(tmp_path, LIMITS) as store:
        for number in range(2):
            await store.write(segment(number).changes())
    done = subprocess.run(
        [sys.executable, str(STARVED), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "starved": [True, True, True],
        "verified": [0, 0],
        "block": True,
        "located": [True, True],
        "lost": [],
        "suspects": 0,
        "again": {"checked": 32, "corrupt": 0, "missing": 0, "repaired": 0},
    }
    assert "too many files open: raise its limit (ulimit -n" in done.stderr


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
async def test_a_start_that_can_not_read_files_leaves_them_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    one = segment(0)
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(one.changes())
        await store.put([(CID.of(leaf("old")), leaf("old"))], room())
    for name in ("index.sqlite", "journal"):  # so that the files themselves are asked
        (tmp_path / name).unlink()

    def refused(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr("hausd.blocks.trailer.read_path", refused)
        patch.setattr("hausd.blocks.files.read_at", refused)
        async with open_store(tmp_path, LIMITS) as store:
            assert store.locate(one.cid) is None
            # The next small block goes into another file.
            await store.put([(CID.of(leaf("new")), leaf("new"))], room())
            assert any("left where they are" in line for line in store.repaired)
    assert os.listdir(tmp_path / "lost+found") == []
    async with open_store(tmp_path, LIMITS) as store:
        await assert_served(store, one)
        for word in ("old", "new"):
            assert await store.block(CID.of(leaf(word))) == leaf(word)


async def test_a_block_on_a_bad_place_of_the_disk_is_not_served_until_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = segment(0)
    bad, good = (CID.of(data) for data in one.leaves[:2])
    read = os.pread

    def failing(descriptor: int, length: int, offset: int) -> bytes:
        if offset == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, length, offset)

    async with open_store(tmp_path, LIMITS) as store:
        await store.write(one.changes())
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", failing)
            assert await store.block(bad) is None
            assert not store.has(bad)
            assert await store.block(good) == one.leaves[1]
            assert (await store.verify()).corrupt == 1
        assert (await store.verify()).corrupt == 0
        await assert_served(store, one)


async def assert_served(store: Store, one: Segment) -> None:
    place = store.locate(one.cid)
    assert place is not None
    assert await store.read_range(place) == one.content


async def test_what_a_failed_sync_lost_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux may drop what it could not write, and calls the next sync a success."""
    kept, lost, cut = (segment(number, size=SIZE) for number in range(3))
    block = leaf("small")
    sync, failing = os.fsync, False

    def fsync(descriptor: int) -> None:
        if failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(kept.changes())
        assert await store.sync()
        await store.write([*lost.changes(), *cut.changes(), segment(3, size=SIZE).append(0)])
        await store.put([(CID.of(block), block)], room())
        failing = True
        assert not await store.sync()
        with pytest.raises(RecordingStopped, match="input/output errors"):
            await store.write([segment(4).append(0)])
        failing = False
        files = sorted(tmp_path.rglob("*.seg"))
        flip(files[1], 0)
        flip(files[2], 8 * (files[2].stat().st_size - 100))
        flip(files[3], 0)
        flip(next(tmp_path.rglob("*.pack")), 8 * 100)
        (tmp_path / "journal").write_bytes(b"nothing of it")
        assert await store.sync()
        await assert_served(store, kept)
        await assert_served(store, cut)  # its trailer was still in memory
        assert not store.has(CID.of(lost.leaves[0]))
        assert await store.block(CID.of(lost.leaves[1])) == lost.leaves[1]
        assert not store.has(CID.of(segment(3, size=SIZE).leaves[0]))
        assert not store.has(CID.of(block))
        # Recording goes on, and what comes then is on disk.
        await store.write(segment(4, size=SIZE).changes())
        shutil.copytree(tmp_path, tmp_path / "crashed")
    async with open_store(tmp_path / "crashed", LIMITS) as store:
        await assert_served(store, kept)
        await assert_served(store, segment(4, size=SIZE))
        assert store.locate(lost.cid) is None
