"""A recorder over a real store, on a file system that is full for a while."""

from __future__ import annotations

import os
from pathlib import Path

import trio
from support.content import ROOM, SESSION
from support.disk import mounted, needs_root
from support.store import LIMITS

from hausd.blocks.store import open_store
from hausd.core.cid import CID
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
