"""A recording as one MP4 that plays everywhere: remuxed, never encoded again.

``export`` remuxes in a process of its own, so the daemon neither waits nor parses; what it does
there is ``remux.export_mp4``. What it reads may be a stranger's, so it is in a sandbox before it
opens it, and writes in a folder beside the file that goes when the film is put in place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import trio

from hausd.core.live import FileRange
from hausd.media import sandbox
from hausd.media.remux import ExportError, Progress, RunMedia, draft_of, export_mp4

__all__ = ["ExportError", "Progress", "RunMedia", "export", "export_mp4"]


class _Job(msgspec.Struct, frozen=True):
    video: tuple[RunMedia, ...]
    audio: tuple[RunMedia, ...]


class _Said(msgspec.Struct, frozen=True):
    """One line of the exporting process."""

    kind: Literal["progress", "done", "unwritten", "error"]
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
    target = Path(out_path).absolute()
    folder = draft_of(target)
    try:
        try:
            await trio.to_thread.run_sync(_make_anew, folder)
            return await _export_in(folder, _Job(tuple(video), tuple(audio)), target, on_progress)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_remove, folder)
    except OSError as failure:
        raise ExportError(f"{out_path}: {failure.strerror or failure}") from None


async def _export_in(folder: Path, job: _Job, target: Path, on_progress: Progress) -> int:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-I", "-c", _PROGRAM, _ROOT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=True,
        # Its way into the folder, which needs none of what leads there.
        cwd=str(folder),
        env=sandbox.ENVIRONMENT,
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
                    await trio.to_thread.run_sync((folder / _FILM).replace, target)
                    return said.done
                case "unwritten":
                    raise ExportError(f"{target}: {said.text}")
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
            if process.stdout is not None:
                await process.stdout.aclose()


_END_S = 5.0
_NICE = 10
_MEMORY_BYTES = 4 << 30
"""FFmpeg keeps an entry for every sample: by estimate 700 MB for 12 hours at 60 frames a second."""
_LINE_BYTES = 64 * 1024
_FILM = "film.mp4"
_ROOT = str(Path(__file__).resolve().parents[2])
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from hausd.media.export import main; main()"
)


def main() -> None:
    """The exporting process: a job on standard input, lines on standard output.

    Its film is made in the folder where it was started.
    """
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=_Job)
    folder = Path.cwd()
    # A terminated process still has to remove its draft.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    job, read = _reachable(job)
    files = sandbox.Files(read=read, write=folder)
    sandbox.enter(_MEMORY_BYTES, _NICE, files, on_orphaned=_remove_film)

    def say(said: _Said) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()

    def progress(done: int, total: int) -> None:
        say(_Said("progress", done, total))

    try:
        size = export_mp4(job.video, job.audio, _FILM, progress)
    except ExportError as failure:
        say(_Said("error", text=str(failure)))
    except OSError as failure:
        say(_Said("unwritten", text=failure.strerror or str(failure)))
    else:
        say(_Said("done", size))


def _make_anew(folder: Path) -> None:
    """An empty folder for nobody else; what an export left that was killed goes."""
    _remove(folder)
    folder.unlink(missing_ok=True)  # what an earlier version left was a file
    folder.mkdir(0o700)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _remove_film() -> None:
    for film in (Path(_FILM), draft_of(Path(_FILM))):
        film.unlink(missing_ok=True)


def _reachable(job: _Job) -> tuple[_Job, frozenset[Path]]:
    """The job, and what has to be readable for it: the folders of its segments.

    A file of the node's without a name (``filming``) is opened here: the sandbox knows no process
    but this one.
    """
    names: dict[str, str] = {}
    read: set[Path] = set()

    def reached(place: FileRange) -> FileRange:
        if place.path not in names:
            path = Path(place.path)
            names[place.path] = place.path
            if path.parts[1:2] == ("proc",):
                with contextlib.suppress(OSError):
                    path = Path(f"/proc/self/fd/{os.open(path, os.O_RDONLY)}")
                    names[place.path] = str(path)
                read.add(path)
            else:
                read.add(path.parent)
        return FileRange(names[place.path], place.offset, place.length)

    def all_reached(listed: tuple[RunMedia, ...]) -> tuple[RunMedia, ...]:
        return tuple(
            msgspec.structs.replace(one, segments=tuple(map(reached, one.segments)))
            for one in listed
        )

    return _Job(all_reached(job.video), all_reached(job.audio)), frozenset(read)


async def _lines(untrusted: trio.abc.ReceiveStream) -> AsyncIterator[_Said]:
    """What the process says, which may be somebody else's by now. Raises ExportError."""
    buffer = b""
    async for data in untrusted:
        buffer += data
        *lines, buffer = buffer.split(b"\n")
        if len(buffer) > _LINE_BYTES:
            raise ExportError("the exporting process says nothing that is understood")
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=_Said)
            except msgspec.DecodeError as fault:
                raise ExportError(f"the exporting process: {fault}") from None
