"""What a node takes, without a peer: memory, bytes written, time to start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from support.node import Node, node

from mediabench import processes
from mediabench.inputs import PART, Made, make, payload_bytes
from mediabench.report import Row

ROOT = Path(__file__).resolve().parents[3]
WRITTEN_WANTED = 1.05
READY_WANTED_S = 2.0
RUN_WANTED_S = 3.0
_SETTLE_S = 3.0
_LOCK = "requirements-dev.lock"


def measure(folder: Path, *, seconds: float, viewers: int, starts: int) -> list[Row]:
    """The rows. ``seconds`` of stream; each start is made so often."""
    source = make(folder / "costs.flv", Made(1280, 720, 2_470_000, seconds))
    rows = _streaming(folder, source, seconds, viewers)
    return rows + _starting(folder, starts)


# -- memory and disk --


def _streaming(folder: Path, source: Path, seconds: float, viewers: int) -> list[Row]:
    with node(folder / "costs-home", "media.ladder=[]") as running:
        pid = running.process.pid
        time.sleep(_SETTLE_S)
        idle_mb, node_idle_mb = processes.family_memory(pid), processes.own_memory(pid)
        rooms = [running.room(f"costs {n}") for n in range(2)]
        written = processes.written_bytes(pid)
        with _published(running, source, rooms[0]["stream_key"]) as first:
            time.sleep(seconds / 2)
            one_mb, before_mb = processes.family_memory(pid), processes.own_memory(pid)
            with _watched(running, rooms[0]["id"], viewers):
                time.sleep(seconds / 6)
                watched_mb = processes.own_memory(pid)
            first.wait()
        running.wait_state(rooms[0]["id"], "waiting")
        time.sleep(_SETTLE_S * 2)  # past store.sync_seconds
        ratio = (processes.written_bytes(pid) - written) / payload_bytes(source)
        with (
            _published(running, source, rooms[0]["stream_key"]),
            _published(running, source, rooms[1]["stream_key"]),
        ):
            time.sleep(seconds / 2)
            two_mb = processes.family_memory(pid)
    note = f"{seconds:g} s of 2.6 Mbit/s, everything that reached the disk"
    if not _on_disk(folder):
        note += "; this folder is not on a disk, so 0 says nothing (set TMPDIR)"
    return [
        Row(
            "memory idle",
            "MB",
            [idle_mb],
            note=f"node {node_idle_mb:.0f} MB, the rest is the worker kept warm",
        ),
        Row(
            "memory of a stream",
            "MB",
            [two_mb - one_mb],
            note=f"the second of two, with its worker; all together {two_mb:.0f} MB",
        ),
        Row(
            "memory of a viewer",
            "KB",
            [max(watched_mb - before_mb, 0) * 1000 / viewers],
            note=f"{viewers} LL-HLS viewers; node {before_mb:.0f} MB without them",
        ),
        Row("bytes written for a byte of stream", "", [ratio], wanted=WRITTEN_WANTED, note=note),
    ]


@contextmanager
def _published(running: Node, source: Path, key: str) -> Iterator[subprocess.Popen[bytes]]:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-re", "-i", str(source), "-c", "copy"]
    process = subprocess.Popen([*command, "-f", "flv", f"{running.rtmp}/{key}"])
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(10)


@contextmanager
def _watched(running: Node, room: str, viewers: int) -> Iterator[None]:
    url = f"{running.http}/live/{room}/index.m3u8"
    httpx.get(url, timeout=30).raise_for_status()
    process = subprocess.Popen(
        [sys.executable, str(PART), "viewers", url, str(viewers)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit("the viewers did not come")
        yield
        if process.poll() is not None:
            raise SystemExit("the viewers left early")
    finally:
        process.terminate()
        process.wait(10)


def _on_disk(folder: Path) -> bool:
    """Whether writing there reaches a block device."""
    before = processes.written_bytes(os.getpid())
    with (folder / "probe").open("wb") as probe:
        probe.write(os.urandom(1 << 16))
        probe.flush()
        os.fsync(probe.fileno())
    return processes.written_bytes(os.getpid()) > before


# -- starts --


def _starting(folder: Path, starts: int) -> list[Row]:
    first = [
        _seconds_to_ready([sys.executable, "-m", "hausd"], folder / f"s{n}") for n in range(starts)
    ]
    again = [
        _seconds_to_ready([sys.executable, "-m", "hausd"], folder / "s0") for _ in range(starts)
    ]
    rows = [
        Row("start to ready, fresh home", "s", first, wanted=READY_WANTED_S),
        Row("start to ready, home that exists", "s", again, wanted=READY_WANTED_S),
    ]
    name = "second start of scripts/run, to ready"
    stamp, lock = ROOT / ".venv" / f".hausd-{_LOCK}", ROOT / _LOCK
    if stamp.is_file() and stamp.read_bytes() == lock.read_bytes():
        script = [str(ROOT / "scripts" / "run")]
        _seconds_to_ready(script, folder / "s0")
        taken = [_seconds_to_ready(script, folder / "s0") for _ in range(starts)]
        rows.append(Row(name, "s", taken, wanted=RUN_WANTED_S))
    else:
        # running it would change .venv, which a benchmark should not
        print(f"{name}: not measured, .venv was not made from {_LOCK}", file=sys.stderr)
    return rows


def _seconds_to_ready(command: list[str], home: Path) -> float:
    began_s = time.monotonic()
    process = subprocess.Popen(
        [
            *(*command, "--home", str(home)),
            *("--set", "http.listen=127.0.0.1:0", "--set", "rtmp.listen=127.0.0.1:0"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    took_s = time.monotonic() - began_s
    process.terminate()
    process.wait(30)
    if not line.startswith("ready "):
        raise SystemExit(f"{command[-1]} did not become ready")
    return took_s
