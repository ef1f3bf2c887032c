"""1080p in, three rungs and the source out: our media worker against the ffmpeg program.

Both get the same FLV file and make 720p, 480p and 360p with x264 (veryfast, zerolatency, one rate
and buffer, a keyframe every 2 s), the source's video and sound untouched beside them.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import trio

from hausd.media.supervisor import Worker, Workers
from hausd.policy.ladder import rungs_for
from hausd.wire.flv import Tag
from hausd.wire.worker import (
    FromWorker,
    Notice,
    PartMade,
    TrackStarted,
    TrackStopped,
    WorkerConfig,
    WorkerStats,
)
from mediabench import processes
from mediabench.inputs import Made, make, read_tags, run_for_cpu
from mediabench.report import Row

WANTED = 0.85
LADDER = ((720, 2_800_000), (480, 1_400_000), (360, 800_000))
_SOURCE = Made(1920, 1080, 6_000_000, 0)
# Below what makes a ladder shed (policy.ladder.BEHIND_MS), above one part of every rendition.
_AHEAD_MS = 900
_STALLED_S = 30.0


@dataclass(frozen=True, slots=True)
class _Run:
    cpu_s: float
    wall_s: float
    start_s: float
    shed: bool
    made_bytes: int


def measure(folder: Path, *, seconds: float, rounds: int, paced: bool) -> list[Row]:
    """The rows. ``paced``: at the stream's own speed, else as fast as each side goes."""
    source = make(
        folder / "ladder.flv", Made(_SOURCE.width, _SOURCE.height, _SOURCE.video_bps, seconds)
    )
    ours: list[_Run] = []
    typed: list[tuple[float, float]] = []
    single: list[tuple[float, float]] = []
    plain: list[tuple[float, float]] = []
    start = _ffmpeg(source, folder, single=False, paced=False, seconds=0)
    for _ in range(rounds):
        ours.append(trio.run(_ours, source, paced))
        typed.append(_ffmpeg(source, folder, single=False, paced=paced))
        single.append(_ffmpeg(source, folder, single=True, paced=paced))
        plain.append(_ffmpeg(source, folder, single=False, paced=paced, plain=True))
    shed = sum(run.shed for run in ours)
    fed = "at 1x" if paced else "as fast as it goes"
    note = f"{seconds:g} s of media {fed}; start of ours apart: {_median_start(ours):.2f} s"
    if shed:
        note += f"; {shed} of {rounds} runs SHED renditions, so this is no comparison"
    peer = "ffmpeg, its own choice of threads"
    name = "1080p30 to source, 720p, 480p, 360p"
    cpu_s = [run.cpu_s for run in ours]
    rows = [
        Row(name, "CPU s", cpu_s, [one[0] - start[0] for one in typed], peer, WANTED, note),
        Row(
            "  the same",
            "CPU s",
            cpu_s,
            [one[0] - start[0] for one in single],
            "ffmpeg, one thread for each decoder, filter and encoder",
        ),
        Row(
            "  the same",
            "CPU s",
            cpu_s,
            [one[0] - start[0] for one in plain],
            "ffmpeg as it comes: bicubic scaling, AAC for each rendition",
        ),
    ]
    if not paced:
        walls = [run.wall_s for run in ours]
        speed = f"{seconds / sorted(walls)[len(walls) // 2]:.2f} x real time"
        rows.append(Row("  wall time", "s", walls, [one[1] for one in typed], peer, None, speed))
    return rows


def _median_start(runs: list[_Run]) -> float:
    return sorted(run.start_s for run in runs)[len(runs) // 2]


async def _ours(source: Path, paced: bool) -> _Run:
    tags = list(read_tags(source))
    config = WorkerConfig(ladder=LADDER, images=False)
    async with Workers(spare=False) as workers, workers.start(config) as worker:
        await _settled(worker.pid)
        start_s = processes.cpu(worker.pid).all_s
        feed = _Feed(worker, tags, paced)
        began_s = time.monotonic()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.send)
            async for message, body in worker.messages():
                feed.heard(message, body)
        wall_s = time.monotonic() - began_s
    return _Run(feed.cpu_s - start_s, wall_s, start_s, feed.shed, feed.made_bytes)


async def _settled(pid: int) -> None:
    """Until the worker has loaded everything and waits."""
    before = -1.0
    while (now := processes.cpu(pid).all_s) != before or now == 0:
        before = now
        await trio.sleep(0.3)


class _Feed:
    """Feeds a worker no faster than its slowest rendition makes parts, so that none is shed."""

    def __init__(self, worker: Worker, tags: list[Tag], paced: bool) -> None:
        self._worker = worker
        self._tags = deque(tags)
        self._paced = paced
        self._scales: dict[str, int] = {}
        self._made_ms: dict[str, float] = {}
        self._heard = trio.Event()
        self.cpu_s = 0.0
        self.shed = False
        self.made_bytes = 0

    async def send(self) -> None:
        """All tags, then the end."""
        first_ms = self._tags[0].timestamp_ms
        began_s = trio.current_time()
        while self._tags:
            at_ms = self._tags[0].timestamp_ms - first_ms
            if self._paced:
                await trio.sleep_until(began_s + at_ms / 1000)
            else:
                await self._until_made(at_ms - _AHEAD_MS)
            await self._worker.send([self._tags.popleft()])
        await self._worker.finish()

    def heard(self, message: FromWorker, body: bytes) -> None:
        """What the worker said."""
        match message:
            case TrackStarted():
                self._scales[message.rendition] = message.timescale
                self._made_ms.setdefault(message.rendition, 0.0)
            case PartMade():
                end = message.start + message.duration
                self._made_ms[message.rendition] = end * 1000 / self._scales[message.rendition]
                self.made_bytes += len(body)
            case TrackStopped():
                self.shed = True
            case WorkerStats():
                self.cpu_s = message.cpu_s
                self.shed = self.shed or bool(message.shed)
            case Notice():
                self.shed = self.shed or message.code == "shed"
            case _:
                return
        self._heard.set()
        self._heard = trio.Event()

    async def _until_made(self, ms: float) -> None:
        with trio.move_on_after(_STALLED_S) as patience:
            while len(self._made_ms) < len(LADDER) + 2 and ms > 0:
                await self._heard.wait()
            while ms > 0 and min(self._made_ms.values()) < ms:
                await self._heard.wait()
        if patience.cancelled_caught:
            raise SystemExit(f"the worker made nothing for {_STALLED_S:g} s: {self._made_ms}")


def _ffmpeg(
    source: Path,
    folder: Path,
    *,
    single: bool,
    paced: bool,
    seconds: float | None = None,
    plain: bool = False,
) -> tuple[float, float]:
    """CPU and wall seconds of ffmpeg at the same work, into fragments on disk.

    ``plain``: scaled as ffmpeg does unasked, and with a sound of its own for each rendition.
    """
    out = folder / "ffmpeg-ladder"
    out.mkdir()
    rungs = rungs_for(_SOURCE.width, _SOURCE.height, LADDER)
    flags = "bicubic" if plain else "area"
    split = "".join(f"[i{n}]" for n in range(len(rungs)))
    scales = ";".join(
        f"[i{n}]scale={rung.width}:{rung.height}:flags={flags}[o{n}]"
        for n, rung in enumerate(rungs)
    )
    gop = str(_SOURCE.gop_frames)
    one = ("1",) if single else ()
    command = ["ffmpeg", "-nostdin", "-y", "-v", "error"]
    command += [
        word for each in one for word in ("-filter_complex_threads", each, "-threads", each)
    ]
    command += ["-re"] if paced else []
    command += ["-i", str(source), "-filter_complex", f"[0:v]split={len(rungs)}{split};{scales}"]
    command += ["-map", "0:v", "-c:v:0", "copy"]
    for n, rung in enumerate(rungs):
        rate = rung.bandwidth_bps
        at = f":v:{n + 1}"
        command += ["-map", f"[o{n}]", f"-c{at}", "libx264", f"-preset{at}", "veryfast"]
        command += [f"-tune{at}", "zerolatency", f"-b{at}", str(rate), f"-maxrate{at}", str(rate)]
        command += [f"-bufsize{at}", str(rate * 3 // 2), f"-g{at}", gop, f"-keyint_min{at}", gop]
        command += [f"-sc_threshold{at}", "0", f"-forced-idr{at}", "1"]
        command += [word for each in one for word in (f"-threads{at}", each)]
    if plain:
        command += ["-map", "0:a"] * (len(rungs) + 1) + ["-c:a", "aac", "-b:a", "128k"]
        command += ["-c:a:0", "copy"]
        streams = " ".join(f"v:{n},a:{n}" for n in range(len(rungs) + 1))
    else:
        command += ["-map", "0:a", "-c:a", "copy"]
        streams = " ".join(f"v:{n},agroup:a" for n in range(len(rungs) + 1)) + " a:0,agroup:a"
    command += ["-t", f"{seconds or 0.001}"] if seconds is not None else []
    command += ["-f", "hls", "-hls_segment_type", "fmp4", "-hls_time", "2", "-hls_list_size", "0"]
    command += ["-var_stream_map", streams, "-master_pl_name", "index.m3u8"]
    command += ["-hls_segment_filename", f"{out}/%v-%d.m4s", f"{out}/%v.m3u8"]
    try:
        return run_for_cpu(command)
    finally:
        shutil.rmtree(out)
