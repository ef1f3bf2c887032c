"""What both sides are fed with: streams made once a run, and FLV files read as tags."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hausd.wire.flv import Tag

PART = Path(__file__).resolve().parents[1] / "part.py"
"""Runs a module of this package as a program."""


@dataclass(frozen=True, slots=True)
class Made:
    """How a test stream is: H.264 at 30 frames a second without B-frames, AAC at 48 kHz."""

    width: int
    height: int
    video_bps: int
    seconds: float
    gop_frames: int = 60


def make(path: Path, shape: Made) -> Path:
    """Encodes a moving picture with noise in it, and a tone, with the ffmpeg program."""
    rate = str(shape.video_bps)
    gop = str(shape.gop_frames)
    subprocess.run(
        [
            *("ffmpeg", "-nostdin", "-y", "-v", "error"),
            *("-f", "lavfi", "-i", f"testsrc2=s={shape.width}x{shape.height}:r=30"),
            *("-f", "lavfi", "-i", "sine=f=440:r=48000"),
            *("-t", str(shape.seconds), "-vf", "noise=alls=8:allf=t", "-pix_fmt", "yuv420p"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
            *("-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate),
            *("-g", gop, "-keyint_min", gop, "-sc_threshold", "0"),
            *("-x264-params", "nal-hrd=cbr", "-c:a", "aac", "-b:a", "128k", "-ac", "2"),
            str(path),
        ],
        check=True,
    )
    return path


def read_tags(path: Path) -> Iterator[Tag]:
    """The tags of an FLV file (Adobe FLV specification 10.1, annex E)."""
    data = memoryview(path.read_bytes())
    at = 9 + 4
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4])
        stamp_ms = int.from_bytes(data[at + 4 : at + 7]) | data[at + 7] << 24
        yield Tag(data[at], stamp_ms, bytes(data[at + 11 : at + 11 + size]))
        at += 11 + size + 4


def payload_bytes(path: Path) -> int:
    """The stream's own bytes in an FLV file, without what frames the tags."""
    return sum(len(tag.data) for tag in read_tags(path))


def run_for_cpu(command: list[str]) -> tuple[float, float]:
    """Runs a program to its end: its user and system CPU seconds, and its wall seconds."""
    began_s = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}: {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime, wall_s
