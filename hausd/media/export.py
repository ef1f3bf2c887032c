"""A recording as one MP4 that plays everywhere: remuxed, never encoded again.

``export`` remuxes in a process of its own, so the daemon neither waits nor parses; what it does
there is ``remux.export_mp4``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import trio

from hausd.media.remux import ExportError, Progress, RunMedia, draft_of, export_mp4

__all__ = ["ExportError", "Progress", "RunMedia", "export", "export_mp4"]


class _Job(msgspec.Struct, frozen=True):
    video: tuple[RunMedia, ...]
    audio: tuple[RunMedia, ...]
    out_path: str


class _Said(msgspec.Struct, frozen=True):
    """One line of the exporting process."""

    kind: Literal["progress", "done", "error"]
    done: int = 0
    total: int = 0
    text: str = ""


async def export(
    video: Sequence[RunMedia],
    audio: Sequence[RunMedia],
    out_path: str | Path,
    on_progress: Progress = lambda done, total: None,
) -> int:
    """``export_mp4`` in a process of its own, which ends when this is cancelled.

    Raises ExportError, also where ``out_path`` can't be written.
    """
    job = _Job(tuple(video), tuple(audio), str(out_path))
    process = await trio.lowlevel.open_process(
        [sys.executable, "-I", "-c", _PROGRAM, _ROOT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        async with process.stdin:
            with contextlib.suppress(trio.BrokenResourceError):  # it says why on its way out
                await process.stdin.send_all(msgspec.json.encode(job))
        async for said in _lines(process.stdout):
            match said.kind:
                case "progress":
                    on_progress(said.done, said.total)
                case "done":
                    return said.done
                case "error":
                    raise ExportError(said.text)
        status = await process.wait()
        raise ExportError(f"the exporting process ended with status {status}")
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.terminate()
                with trio.move_on_after(_END_S):
                    await process.wait()
                process.kill()
            await process.wait()
            draft_of(Path(out_path)).unlink(missing_ok=True)
            if process.stdout is not None:
                await process.stdout.aclose()


_END_S = 5.0
_NICE = 10
_ROOT = str(Path(__file__).resolve().parents[2])
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from hausd.media.export import main; main()"
)


def main() -> None:
    """The exporting process: a job on standard input, lines on standard output."""
    os.nice(_NICE)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=_Job)

    def say(said: _Said) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()

    def progress(done: int, total: int) -> None:
        say(_Said("progress", done, total))

    # A terminated process still has to remove its draft.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        size = export_mp4(job.video, job.audio, job.out_path, progress)
    except ExportError as failure:
        say(_Said("error", text=str(failure)))
    except OSError as failure:
        say(_Said("error", text=f"{job.out_path}: {failure.strerror or failure}"))
    else:
        say(_Said("done", size))


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[_Said]:
    buffer = b""
    async for data in stream:
        buffer += data
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            yield msgspec.json.decode(line, type=_Said)
