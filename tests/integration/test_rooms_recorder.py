"""A recorder over a real store: on a file system that is full for a while, and given what a store
refuses."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio
from support.content import ROOM, SESSION, record
from support.disk import mounted, needs_root
from support.store import LIMITS

from hausd.blocks.store import Store, open_store
from hausd.core.cid import CID
from hausd.core.manifest import SegmentRecord
from hausd.core.storage import SegmentKey
from hausd.rooms.live import StoredPart
from hausd.rooms.recorder import Recorder


@needs_root
async def test_an_init_that_a_full_disk_refused_is_there_once_segments_are(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=3m", "tmpfs") as disk:
        async with open_store(disk / "store", LIMITS) as store, trio.open_nursery() as nursery:
            stopped = trio.Event()
            recorder = Recorder(
                ROOM, store, lambda record: None, lambda why: stopped.set(), lambda: None
            )
            nursery.start_soon(recorder.run)
            ballast = disk / "ballast"
            with open(ballast, "wb", buffering=0) as file:
                while file.write(bytes(4096)) == 4096:
                    if os.statvfs(disk).f_bavail == 0:
                        break
            init, data = b"init of the second run", bytes(200_000)
            recorder.put(((CID.of(init), init),))
            with trio.fail_after(10):
                await stopped.wait()
            assert not store.has(CID.of(init))
            ballast.unlink()
            part = StoredPart(CID.of(data), len(data), data)
            recorder._retry_at_s = trio.current_time()  # as if it had waited
            recorder.append(SegmentKey(ROOM, SESSION, "source", 4), ((part.cid, data),), part)
            with trio.fail_after(10):
                await recorder.drained()
            assert part.stored is not None
            assert await store.block(CID.of(init)) == init
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def recording(
    path: Path, on_recorded: Callable[[SegmentRecord], None]
) -> AsyncIterator[tuple[Recorder, Store, list[str]]]:
    """``on_stopped`` puts into the list."""
    said: list[str] = []
    async with open_store(path, LIMITS) as store, trio.open_nursery() as nursery:
        recorder = Recorder(ROOM, store, on_recorded, said.append, lambda: None)
        nursery.start_soon(recorder.run)
        yield recorder, store, said
        nursery.cancel_scope.cancel()


def write(recorder: Recorder, key: SegmentKey, data: bytes) -> StoredPart:
    part = StoredPart(CID.of(data), len(data), data)
    recorder.append(key, ((part.cid, data),), part)
    return part


def close(recorder: Recorder, key: SegmentKey) -> None:
    made = record(key.number)
    segment = replace(made.segment, session=key.session)
    rendition = replace(made.rendition, name=key.rendition)
    recorder.close((), SegmentRecord(ROOM, rendition, segment))


async def drained(recorder: Recorder) -> None:
    with trio.fail_after(10):
        await recorder.drained()


async def test_what_the_store_refuses_ends_that_recording_only(tmp_path: Path) -> None:
    recorded: list[SegmentKey] = []
    async with recording(tmp_path, lambda one: recorded.append(one.key)) as (recorder, store, said):
        shouted = SegmentKey(ROOM, SESSION, "Video", 5)
        beyond = SegmentKey(ROOM, SESSION, "beyond", 10**12)
        good = [SegmentKey(ROOM, SESSION, name, 5) for name in ("source", "audio")]
        begun = SegmentKey(ROOM, SESSION, "source", 6)
        parts = {}
        for at, key in enumerate((good[0], shouted, beyond, good[1])):
            parts[key] = write(recorder, key, b"part %d" % at)
            close(recorder, key)
        parts[begun] = write(recorder, begun, b"of the next segment")
        again = write(recorder, good[0], b"more of what is closed")
        close(recorder, good[0])
        parts[begun] = write(recorder, begun, b"more of the next segment")
        close(recorder, begun)
        await drained(recorder)
        assert recorded == [*good, begun]
        assert [one.key for one in await store.segments(ROOM)] == [good[1], good[0], begun]
        assert all((part.stored is not None) == (key in recorded) for key, part in parts.items())
        assert again.stored is None
        assert not said, "the store has room"


async def test_a_block_that_the_store_refuses_is_left_out(tmp_path: Path) -> None:
    put: list[str] = []
    async with recording(tmp_path, lambda one: None) as (recorder, store, _):
        recorder.put(((CID.of(b"one"), b"another"),), lambda: put.append("wrong"))
        recorder.put(((CID.of(b"init"), b"init"),), lambda: put.append("init"))
        part = write(recorder, SegmentKey(ROOM, SESSION, "source", 5), b"a part")
        await drained(recorder)
        assert put == ["init"]
        assert store.has(CID.of(b"init"))
        assert part.stored is not None
        recorder.put(((CID.of(b"late"), b"late"),))
        await drained(recorder)
        assert store.has(CID.of(b"late"))


async def test_a_room_that_can_t_list_a_segment_goes_on_recording(tmp_path: Path) -> None:
    recorded: list[int] = []

    def list_it(one: SegmentRecord) -> None:
        recorded.append(one.segment.number)
        if one.segment.number == 5:
            raise ValueError("a date that no calendar has")

    async with recording(tmp_path, list_it) as (recorder, _, _):
        for number in (5, 6):
            key = SegmentKey(ROOM, SESSION, "source", number)
            write(recorder, key, b"part %d" % number)
            close(recorder, key)
        await drained(recorder)
        assert recorded == [5, 6]


async def test_who_puts_the_same_blocks_at_once_is_told_each(tmp_path: Path) -> None:
    put: list[int] = []
    sprite = bytes(5000)  # of two black rows
    async with recording(tmp_path, lambda one: None) as (recorder, store, _):
        for at in range(3):
            recorder.put(((CID.of(sprite), sprite),), partial(put.append, at))
        await drained(recorder)
        assert put == [0, 1, 2]
        assert store.has(CID.of(sprite))
