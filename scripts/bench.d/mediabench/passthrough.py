"""A stream to segments on disk without encoding: room, recorder, store and worker against ffmpeg.

``main`` is our side, in a process tree of its own.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import trio

from hausd.blocks.quota import StoreLimits
from hausd.blocks.store import open_store
from hausd.core.clock import SystemClock
from hausd.core.publishing import Publisher
from hausd.media.supervisor import Workers
from hausd.rooms.manager import Rooms
from hausd.rooms.records import RoomRecords
from hausd.rooms.room import RoomParts, RoomSettings
from hausd.telemetry.logs import set_up_logs
from hausd.telemetry.ring import LogRing
from hausd.wire.flv import Tag
from hausd.wire.worker import WorkerConfig
from mediabench import floor, processes
from mediabench.inputs import PART, Made, make, read_tags, run_for_cpu
from mediabench.report import Row

WANTED = 1.0
_BATCH_BYTES = 64 * 1024
"""As much as the RTMP server reads at once."""


@dataclass(frozen=True, slots=True)
class Taken:
    """CPU seconds of our process tree. ``start``: until it was ready for the first tag."""

    room_s: float
    worker_s: float
    start_s: float
    wall_s: float
    segments: int


def measure(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """The rows: against segments of 2 s and of 10 s."""
    source = make(folder / "passthrough.flv", Made(1280, 720, 2_470_000, seconds))
    ours: list[Taken] = []
    peers: dict[int, list[float]] = {10: [], 2: []}
    starts = []
    floors = []
    for n in range(rounds):
        floors.append(floor.measure(source, folder / "floor"))
        ours.append(_ours(source, folder / f"ours-{n}"))
        for segment_s, found in peers.items():
            start_s = _ffmpeg(source, folder, segment_s, nothing=True)
            found.append(_ffmpeg(source, folder, segment_s, nothing=False) - start_s)
            starts.append(start_s)
    work = [one.room_s + one.worker_s for one in ours]
    middle = sorted(ours, key=lambda one: one.room_s + one.worker_s)[len(ours) // 2]
    start_s = sorted(starts)[len(starts) // 2]
    note = (
        f"{seconds:g} s of media; ours: room and store {middle.room_s:.2f} s, worker "
        f"{middle.worker_s:.2f} s; without the start of either: ours {middle.start_s:.2f} s, "
        f"ffmpeg {start_s:.2f} s"
    )
    peer = "ffmpeg -c copy -f hls, fmp4"
    name = "passthrough to segments in the store"
    return [
        Row(name, "CPU s", work, peers[10], f"{peer}, 10 s", WANTED, note),
        Row("  the same", "CPU s", work, peers[2], f"{peer}, 2 s", WANTED),
        Row(
            "  with the start of both",
            "CPU s",
            [one.room_s + one.worker_s + one.start_s for one in ours],
            [one + start_s for one in peers[10]],
            f"{peer}, 10 s",
        ),
        Row(
            "  the bytes' own way in ours",
            "CPU s",
            [sum(one.values()) for one in floors],
            peers[10],
            f"{peer}, 10 s",
            None,
            ", ".join(f"{name} {seconds:.3f} s" for name, seconds in floors[-1].items()),
        ),
    ]


def _ours(source: Path, folder: Path) -> Taken:
    command = [sys.executable, str(PART), "passthrough", str(source), str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    shutil.rmtree(folder)
    return Taken(**json.loads(done.stdout))


def _ffmpeg(source: Path, folder: Path, segment_s: int, *, nothing: bool) -> float:
    out = folder / "ffmpeg-copy"
    out.mkdir()
    command = ["ffmpeg", "-nostdin", "-y", "-v", "error", "-i", str(source)]
    command += ["-t", "0.001"] if nothing else []
    command += ["-c", "copy", "-f", "hls", "-hls_segment_type", "fmp4", "-hls_list_size", "0"]
    command += ["-hls_time", str(segment_s), str(out / "index.m3u8")]
    try:
        return run_for_cpu(command)[0]
    finally:
        shutil.rmtree(out)


def room_settings(*, part_ms: int = 400, ladder: tuple[tuple[int, int], ...] = ()) -> RoomSettings:
    """As a node's on its defaults, but for the ladder."""
    return RoomSettings(
        worker=WorkerConfig(part_ms=part_ms, ladder=ladder, images=False),
        reconnect_s=60,
        live_target_s=2,
        live_window_s=30,
        archive_target_s=10,
    )


def batches(source: Path) -> Iterator[list[Tag]]:
    """Tags as they come from a connection that is read as fast as it goes."""
    batch: list[Tag] = []
    size = 0
    for tag in read_tags(source):
        batch.append(tag)
        size += len(tag.data)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def _record(source: Path, folder: Path) -> Taken:
    # Read before the clock runs: a node gets tags from a connection, not from a file.
    tags = list(batches(source))
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(folder / "store", StoreLimits()))
        workers = await stack.enter_async_context(Workers(spare=False))
        parts = RoomParts(
            settings=room_settings(),
            workers=workers,
            store=store,
            records=RoomRecords(folder / "rooms"),
            clock=SystemClock(),
            random_bytes=os.urandom,
        )
        rooms = await stack.enter_async_context(Rooms(parts).open())
        room = rooms.find((await rooms.create("bench")).id)
        async with room.publish(Publisher("127.0.0.1", "rtmp", "bench")) as stint:
            while not stint.pid:
                await trio.sleep(0.01)
            await _idle(stint.pid)
            # As a node does once it is ready.
            gc.collect()
            gc.freeze()
            own, worker = _own_s(), processes.cpu(stint.pid).all_s
            began_s = time.monotonic()
            for batch in tags:
                await stint.send(batch)
        await stint.done.wait()
        await room.recorder.drained()
        wall_s = time.monotonic() - began_s
        await rooms.close(room.id)
        segments = sum(
            len(playlist.segments)
            for variant in room.archive_variants()
            if (playlist := room.archive(variant.rendition.name))
        )
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(
        room_s=_own_s() - own,
        worker_s=children.ru_utime + children.ru_stime - worker,
        start_s=own + worker,
        wall_s=wall_s,
        segments=segments,
    )


async def _idle(pid: int) -> None:
    before = -1.0
    while (now := processes.cpu(pid).all_s) != before or now == 0:
        before = now
        await trio.sleep(0.3)


def _own_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(arguments: Sequence[str]) -> None:
    """Our side: an FLV file and a folder to work in; prints what it took as JSON."""
    set_up_logs("error", "human", LogRing(10))
    source, folder = map(Path, arguments)
    print(json.dumps(asdict(trio.run(_record, source, folder))))
