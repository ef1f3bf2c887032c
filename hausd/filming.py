"""A finished room as one film: where its media lie, and what of it has to be opened first.

A film is clear. Of a gated room it is made where the node has its keys, for its owner: who may
watch may record. What was opened lies on the film's disk meanwhile, for nobody else to read, in a
file without a name: nothing is left of it, however the node ends.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import aclosing
from io import FileIO
from itertools import groupby
from pathlib import Path

import trio

from hausd.core.cid import CID
from hausd.core.errors import Problem
from hausd.core.gating import Withheld
from hausd.core.live import ArchivePlaylist, FileRange, Flow, Sealed
from hausd.core.media import Kind
from hausd.media.export import export
from hausd.media.remux import ExportError, RunMedia
from hausd.rooms.ports import BlockStore
from hausd.rooms.room import Room
from hausd.telemetry.progress import Progress


async def film(
    room: Room,
    playlists: Sequence[ArchivePlaylist],
    store: BlockStore,
    path: Path,
    progress: Progress,
) -> int:
    """Writes the best picture and its sound; gives the file's size. Raises Problem."""
    pictures = [one for one in playlists if one.rendition.kind is Kind.VIDEO]
    sounds = [one for one in playlists if one.rendition.kind is Kind.AUDIO]

    def tell(done: int, total: int) -> None:
        progress(done, total, "writing the film")

    opening = _Opening(room, path.with_name(f".{path.name}.clear"), progress)
    try:
        async with aclosing(opening):
            video = await _runs(pictures[0], opening, store) if pictures else []
            audio = await _runs(sounds[0], opening, store) if sounds else []
            return await export(video, audio, path, tell)
    except ExportError as fault:
        raise Problem("export-failed", str(fault), status=409) from fault
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise Problem("not-written", f"{path} can't be written: {why}", status=422) from fault


class _Opening:
    """Where media lie in clear: in the store, or, opened, in a file on the film's disk.

    ``draft``: its name, where a system has no other way to it (``_unnamed``).
    """

    def __init__(self, room: Room, draft: Path, progress: Progress) -> None:
        self._room, self._draft, self._progress = room, draft, progress
        self._file: FileIO | None = None
        self._path = str(draft)
        self._size = 0

    async def place(self, playlist: ArchivePlaylist, cid: CID) -> FileRange:
        """Raises Problem where it is not here, or does not open; OSError."""
        rendition = playlist.rendition.name
        media = self._room.archive_media(rendition, cid)
        if media is None:
            raise _missing(rendition)
        body = media.body
        if isinstance(body, FileRange):
            return body
        clear = await body.open() if isinstance(body, Sealed) else body
        if isinstance(clear, Withheld):
            raise _withheld(clear)
        if isinstance(clear, Flow):
            clear = await clear.whole()
        return await self._write(clear)

    async def _write(self, pieces: Sequence[bytes]) -> FileRange:
        begin, self._size = self._size, self._size + sum(map(len, pieces))
        await trio.to_thread.run_sync(self._append, pieces)
        self._progress(self._size, None, "opening what is encrypted")
        return FileRange(self._path, begin, self._size - begin)

    def _append(self, pieces: Sequence[bytes]) -> None:
        if self._file is None:
            self._draft.unlink(missing_ok=True)  # of a node that was killed
            self._file = open(self._draft, "xb", buffering=0, opener=_ours_only)  # noqa: SIM115 till aclose
            self._path = _unnamed(self._draft, self._file.fileno())
        for piece in pieces:
            self._file.write(piece)

    async def aclose(self) -> None:
        """Removes what was opened."""
        if self._file is not None:
            self._file.close()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._draft.unlink, True)


async def _runs(playlist: ArchivePlaylist, opening: _Opening, store: BlockStore) -> list[RunMedia]:
    runs: list[RunMedia] = []
    for number, group in groupby(playlist.segments, lambda segment: segment.run):
        segments = list(group)
        # An encoder that was made cheaper within a run has parameter sets in its pictures too.
        init = await store.read_range(await opening.place(playlist, segments[0].init))
        places = [await opening.place(playlist, segment.cid) for segment in segments]
        name = playlist.rendition.name
        if init is None:
            raise _missing(name)
        runs.append(RunMedia(number, init, tuple(places), f"{name}, run {number}"))
    return runs


def _unnamed(draft: Path, fd: int) -> str:
    """Takes an open file's name away, and gives the path by which the exporting process gets to it
    (proc_pid_fd(5)); where there is none, it keeps its name."""
    path = f"/proc/{os.getpid()}/fd/{fd}"
    if not os.path.exists(path):
        return str(draft)
    draft.unlink()
    return path


def _ours_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _missing(rendition: str) -> Problem:
    return Problem(
        "incomplete",
        f"a part of {rendition} is missing from the store",
        hint="`hausctl store verify` tells what is wrong",
        status=409,
    )


def _withheld(withheld: Withheld) -> Problem:
    return Problem(
        withheld.code,
        f"the recording is encrypted, and does not open here: {withheld.message}",
        hint=withheld.hint or "--format car gives it as it is",
        status=409,
    )
