"""Publishes files to a node in real time with programs that nobody here wrote."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.node import running


def make(
    path: Path,
    *codecs: str,
    seconds: float = 20,
    size: str = "320x180",
    rate: str = "30",
    gop: int = 60,
    audio_rate: int = 48_000,
) -> Path:
    """Encodes a test picture and tone with ffmpeg; ``codecs`` are further ffmpeg arguments."""
    subprocess.run(
        [
            *("ffmpeg", "-y", "-loglevel", "error"),
            *("-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}"),
            *("-f", "lavfi", "-i", f"sine=f=440:r={audio_rate}"),
            *("-t", str(seconds), "-g", str(gop), "-keyint_min", str(gop), "-sc_threshold", "0"),
            *("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "300k"),
            *("-c:a", "aac", "-b:a", "64k", *codecs, str(path)),
        ],
        check=True,
        timeout=120,
    )
    return path


@contextmanager
def publishing(
    path: Path, url: str, *, loop: bool = True, arguments: Sequence[str] = ("-c", "copy")
) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg publishes the file in real time while the block lasts."""
    with running(
        [
            *("ffmpeg", "-loglevel", "error", "-re"),
            *(("-stream_loop", "-1") if loop else ()),
            *("-i", str(path), *arguments, "-f", "flv", url),
        ]
    ) as process:
        yield process
