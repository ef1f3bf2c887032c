"""Opening a store after whatever happened to it.

The files are the truth; the index is a quick copy of what closed files say, and the journal tells
of open ones. Where they disagree, the files are believed as far as they prove themselves: a
trailer by its checksum, a leaf by its digest. Everything here blocks, so it runs in a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from hausd.blocks import files, journal, packs, trailer
from hausd.blocks.catalog import Catalog, Volume
from hausd.blocks.errors import Damaged
from hausd.blocks.index import BadRow, Index, Row
from hausd.blocks.indexfile import open_index
from hausd.blocks.journal import Journal, Replay
from hausd.blocks.layout import FileKind, Layout
from hausd.blocks.table import Table
from hausd.core.ids import RoomId

log = structlog.get_logger("hausd.blocks")

Progress = Callable[[str, int, int], None]
_CHUNK_FILES = 500
"""So many files taken in are written to the index at once, rather than kept in memory."""
_NAMED = 3
"""A message names at most so many files."""


@dataclass(slots=True)
class Recovered:
    """A store that is whole again, with what was done to it in plain words."""

    catalog: Catalog
    index: Index
    journal: Journal
    next_id: int
    lost: dict[str, int]
    repaired: list[str]
    pending: dict[int, tuple[Row, bytes]]
    gone: dict[int, str]
    found_corrupt: set[tuple[int, int]]


def recover(layout: Layout, progress: Progress) -> Recovered:
    """Opens all there is below an existing directory; raises StoreError, OSError."""
    for folder in (layout.folder(FileKind.SEGMENT), layout.folder(FileKind.PACK), layout.lost):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    told = journal.read(layout.journal)
    index, known, notes = open_index(layout)
    run = _Recovery(layout, told, index, progress, rebuilt=bool(notes), notes=notes)
    if told.lost_bytes and told.end:
        run.notes.append("an unfinished write at the journal's end was dropped")
    elif told.lost_bytes:
        run.notes.append("the journal was unreadable and begun anew")
    run.rows(known)
    run.segments()
    run.packs()
    run.catalog.prints.settle()
    run.last_uses()
    log_ = Journal.resume(layout.journal, told)
    return Recovered(
        catalog=run.catalog,
        index=index,
        journal=log_,
        next_id=run.next_id,
        lost={str(path): path.stat().st_size for path in Path(layout.lost).iterdir()},
        repaired=[*run.notes, *run.summary()],
        pending=run.pending,
        gone=run.gone,
        found_corrupt=run.found_corrupt,
    )


@dataclass(slots=True)
class _Recovery:
    layout: Layout
    told: Replay
    index: Index
    progress: Progress
    rebuilt: bool
    catalog: Catalog = field(default_factory=Catalog)
    notes: list[str] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=dict)
    """What happened to which files, to be told in one line each."""
    pending: dict[int, tuple[Row, bytes]] = field(default_factory=dict)
    gone: dict[int, str] = field(default_factory=dict)
    found_corrupt: set[tuple[int, int]] = field(default_factory=set)
    next_id: int = 1
    known: dict[tuple[FileKind, str], Row] = field(default_factory=dict)
    _corrupt: dict[int, set[int]] = field(default_factory=dict)

    def rows(self, rows: Iterable[Row | BadRow]) -> None:
        """Takes what the index knows."""
        for row in rows:
            self.next_id = max(self.next_id, row.id + 1)
            if isinstance(row, BadRow):
                self._note("entries of the index were damaged and dropped", row.name)
                self.gone[row.id] = row.name
                continue
            self.known[row.kind, row.name] = row
        with self._tolerate("the list of corrupt blocks was damaged; verify finds them again"):
            for id_, block in self.index.corrupt():
                self._corrupt.setdefault(id_, set()).add(block)

    def last_uses(self) -> None:
        with self._tolerate("when rooms were last used was damaged and forgotten"):
            for room, used_ms in self.index.last_uses().items():
                account = self.catalog.rooms.get(RoomId(room))
                if account is not None:
                    account.last_use_ms = account.saved_use_ms = used_ms

    def segments(self) -> None:
        names = self._names(FileKind.SEGMENT)
        for done, name in enumerate(names):
            if done % 500 == 0:
                self.progress("reading segments", done, len(names))
            row = self.known.pop((FileKind.SEGMENT, name), None)
            with self._readable(name):
                if name in self.told.open:
                    self._open_segment(name, self.told.open.pop(name), row)
                elif row is not None and self._fits(row):
                    self._enter_row(row)
                else:
                    self._closed_segment(name, row)
        for name in self.told.open:
            self._note("segments being written were missing", name)
        self._missing_rows(FileKind.SEGMENT)

    def packs(self) -> None:
        names = self._names(FileKind.PACK)
        for done, name in enumerate(names):
            if done % 100 == 0:
                self.progress("reading packs", done, len(names))
            row = self.known.pop((FileKind.PACK, name), None)
            with self._readable(name):
                if row is not None and self._fits(row):
                    self._enter_row(row)
                elif not self._adopt(FileKind.PACK, name, row, check=False):
                    self._open_pack(name, row)
        self._missing_rows(FileKind.PACK)

    def summary(self) -> list[str]:
        """What was done, one line for each kind of thing."""
        lines = []
        for what, names in self.found.items():
            shown = ", ".join(names[:_NAMED])
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            lines.append(f"{what}: {shown}{more}")
        return lines

    def _names(self, kind: FileKind) -> list[str]:
        """Files that are there, without those that were about to be removed."""
        names = []
        for name in self.layout.names(kind):
            if name in self.told.removed:
                files.remove(self.layout.path(kind, name), self.layout.folder(kind))
            else:
                names.append(name)
        return sorted(names)

    def _fits(self, row: Row) -> bool:
        """Whether a file is the one that the index knows."""
        if self.told.clean:
            return True
        told = self.told.closed.get(row.name)
        if told is not None:
            own = told.prints()
            if row.prints[: len(own)] != own:
                return False
        return os.stat(self.layout.path(row.kind, row.name)).st_size == row.size

    def _enter_row(self, row: Row) -> None:
        volume = Volume(
            *(row.id, row.kind, row.name, row.size, row.blocks, row.content, row.closed_ms)
        )
        volume.corrupt = self._corrupt.get(row.id, set())
        self.catalog.enter(volume)
        self.catalog.prints.load(row.prints, volume.handle)

    def _missing_rows(self, kind: FileKind) -> None:
        for (of_kind, name), row in list(self.known.items()):
            if of_kind is kind:
                del self.known[of_kind, name]
                self.gone[row.id] = name
                if name not in self.told.removed:
                    self._note("files were missing; what they held is forgotten", name)

    def _closed_segment(self, name: str, row: Row | None) -> None:
        """A file that the index doesn't know, or not as it is now."""
        told = self.told.closed.get(name)
        # Where the index had to be made again, nearly all files are unknown but long on disk.
        check = not self.told.clean and (told is not None or not self.rebuilt)
        if self._adopt(FileKind.SEGMENT, name, row, check=check):
            if told is None and not self.rebuilt:
                self._note("files that the index did not know were taken in", name)
            return
        if row is not None and self._restore_trailer(row):
            self._note("trailers were damaged and written again", name)
            self._enter_row(row)
            return
        if told is not None:
            self._note("segments had lost their trailer and are open again", name)
            self._open_segment(name, told, row)
            return
        self._lose(FileKind.SEGMENT, name, row)

    def _adopt(self, kind: FileKind, name: str, row: Row | None, *, check: bool) -> bool:
        """Takes in a file that proves itself by its trailer."""
        path = self.layout.path(kind, name)
        try:
            contents, encoded = trailer.read_path(path, kind, name)
        except Damaged:
            return False
        table = contents.table
        volume = self._volume(kind, name, row)
        volume.size = os.stat(path).st_size
        volume.content = volume.size - len(encoded)
        volume.blocks = len(table) + len(table.nodes)
        volume.closed_ms = contents.closed_ms
        self.catalog.enter(volume)
        packed = table.prints()
        self.catalog.prints.load(packed, volume.handle)
        if check:
            for block in _bad_blocks(path, table):
                volume.corrupt.add(block)
                self.found_corrupt.add((volume.id, block))
                self._note("blocks of these files were lost", name)
        row = Row(
            *(volume.id, kind, name, volume.size, volume.content, volume.blocks),
            *(contents.closed_ms, packed, contents.record),
        )
        self.pending[row.id] = (row, encoded)
        if name in self.told.closed:
            files.sync(path)  # the index must not know of what is not on disk
        if len(self.pending) >= _CHUNK_FILES:
            with self._tolerate("the index could not be written"):
                self.index.write(self.pending.values(), self.gone)
                self.pending.clear()
                self.gone.clear()
        return True

    def _restore_trailer(self, row: Row) -> bool:
        """Writes a damaged trailer again from the index's copy."""
        path = self.layout.path(row.kind, row.name)
        try:
            encoded = self.index.trailer(row.id)
            contents = trailer.decode(encoded or b"")
        except (Damaged, sqlite3.Error):
            return False
        if (contents.kind, contents.name) != (row.kind, row.name):
            return False
        return encoded is not None and write_trailer(path, contents.table, encoded, row.size)

    def _open_segment(self, name: str, table: Table, row: Row | None) -> None:
        """A segment that was being written: keeps the leaves that are whole."""
        path = self.layout.path(FileKind.SEGMENT, name)
        if self._adopt(FileKind.SEGMENT, name, row, check=True):
            return
        size = os.stat(path).st_size
        count = len(table)
        while count and table.offsets[count - 1] + table.lengths[count - 1] > size:
            count -= 1
        if not self.told.clean:
            count = min(_bad_blocks(path, table, count), default=count)
        if count < len(table):
            self._note("segments being written lost their last leaves", name)
            table.cut(count)
        if not count:
            if row is not None:
                self.gone[row.id] = name
            files.remove(path, self.layout.folder(FileKind.SEGMENT))
            return
        if size > table.end:
            os.truncate(path, table.end)
        volume = self._volume(FileKind.SEGMENT, name, row)
        volume.size, volume.blocks, volume.table = table.end, len(table), table
        self.catalog.enter(volume)
        self.catalog.prints.load(table.prints(), volume.handle)

    def _open_pack(self, name: str, row: Row | None) -> None:
        """A pack without a trailer tells itself what it holds."""
        path = self.layout.path(FileKind.PACK, name)
        size = os.stat(path).st_size
        found = packs.scan(files.read_at(path, 0, size), check=not self.told.clean)
        if not found.table:
            self._lose(FileKind.PACK, name, row)
            return
        if found.end < size:
            os.truncate(path, found.end)
            self._note("unfinished writes at the ends of packs were dropped", name)
        if found.holes:
            self._note("packs were damaged; what could be read is kept", name)
        volume = self._volume(FileKind.PACK, name, row)
        volume.size, volume.blocks, volume.table = found.end, len(found.table), found.table
        volume.corrupt = found.corrupt
        self.found_corrupt.update((volume.id, block) for block in found.corrupt)
        if found.corrupt:
            self._note("blocks of these files were lost", name)
        self.catalog.enter(volume)
        self.catalog.prints.load(found.table.prints(), volume.handle)

    def _volume(self, kind: FileKind, name: str, row: Row | None) -> Volume:
        if row is not None:
            self.gone[row.id] = name
        self.next_id += 1
        return Volume(self.next_id - 1, kind, name)

    def _lose(self, kind: FileKind, name: str, row: Row | None) -> None:
        """Sets a file aside that nothing is known about."""
        path = self.layout.path(kind, name)
        if row is not None:
            self.gone[row.id] = name
        if not os.stat(path).st_size:
            files.remove(path, self.layout.folder(kind))
            return
        self._note("files that tell nothing of themselves were moved to lost+found", name)
        move_to_lost(self.layout, path, name)

    def _note(self, what: str, name: str) -> None:
        names = self.found.setdefault(what, [])
        if name not in names[-1:]:
            names.append(name)

    @contextlib.contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        """One file that the disk can't read must not keep the others from being served."""
        try:
            yield
        except OSError as fault:
            log.error("recovery-failed", file=name, reason=str(fault))
            self._note("files could not be read by the disk; they are left where they are", name)

    @contextlib.contextmanager
    def _tolerate(self, note: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error:
            self.notes.append(note)


def move_to_lost(layout: Layout, path: str, name: str) -> tuple[str, int]:
    """Sets a file aside; gives its new path and its size. Raises OSError."""
    target = f"{layout.lost}/{name.replace('/', '~')}"
    os.replace(path, target)
    files.prune(os.path.dirname(path), layout.root)
    return target, os.stat(target).st_size


def write_trailer(path: str, table: Table, encoded: bytes, size: int) -> bool:
    """Writes a trailer where it belongs; False where the file lost more than that.

    Raises OSError where the disk refuses.
    """
    start = size - len(encoded)
    try:
        if start < table.end or os.stat(path).st_size < table.end:
            return False
        with open(path, "r+b") as file:
            file.truncate(start)
            file.seek(start)
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return False
    return True


def _bad_blocks(path: str, table: Table, count: int | None = None) -> Iterator[int]:
    """Numbers of blocks whose bytes are not their digest's, among the first ``count``."""
    with open(path, "rb", buffering=0) as file:
        for index in range(len(table) if count is None else count):
            file.seek(table.offsets[index])
            data = file.read(table.lengths[index])
            if hashlib.sha256(data).digest() != table.digest(index):
                yield index
