"""The index on disk: what each closed file holds, in SQLite.

It is a cache of the files' trailers that is quick to read at a start, and a second copy of them.
Written every few seconds, after the files it speaks of are on disk; if it is lost or broken it is
made again from the files.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cbor2

from hausd.blocks.layout import FileKind

_VERSION = 1
_SCHEMA = """
CREATE TABLE files (id INTEGER PRIMARY KEY, kind INTEGER, name TEXT, size INTEGER, content INTEGER,
    blocks INTEGER, closed_ms INTEGER, prints BLOB, record BLOB, checksum INTEGER);
CREATE TABLE trailers (id INTEGER PRIMARY KEY, trailer BLOB);
CREATE TABLE rooms (room TEXT PRIMARY KEY, last_use_ms INTEGER) WITHOUT ROWID;
CREATE TABLE corrupt (id INTEGER, block INTEGER, PRIMARY KEY (id, block)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A closed file. ``size`` is that of the whole file, ``content`` without its
    trailer, ``prints`` are ``prints.pack``'s."""

    id: int
    kind: FileKind
    name: str
    size: int
    content: int
    blocks: int
    closed_ms: int
    prints: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not as it was written; the name as far as it is known."""

    id: int
    name: str


class IndexIsNewer(Exception):
    """The index was written by a later version of hausd."""


class Index:
    """The SQLite file. Calls block; one at a time. Raises sqlite3.Error."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except UnicodeDecodeError as fault:
            self._db.close()
            # what SQLite says of a damaged schema quotes it, and need not be text
            raise sqlite3.DatabaseError("its schema is damaged") from fault
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        # Exclusive: no shared memory file, whose pages would be a SIGBUS on a full disk.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise IndexIsNewer
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint=0")
        self._db.execute("PRAGMA cache_size=-1024")
        if version < _VERSION:
            self._db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={_VERSION};COMMIT;")

    def close(self) -> None:
        self._db.close()

    def rows(self) -> Iterator[Row | BadRow]:
        """All closed files that the index knows."""
        for *values, checksum in self._db.execute(
            "SELECT id, kind, name, size, content, blocks, closed_ms, prints, record, checksum "
            "FROM files"
        ):
            if checksum != _checksum(*values):
                yield BadRow(values[0], values[2] if isinstance(values[2], str) else "")
                continue
            id_, kind, *rest = values
            yield Row(id_, FileKind(kind), *rest)

    def last_uses(self) -> dict[str, int]:
        """When each room was last read, in Unix ms."""
        return {
            room: used
            for room, used in self._db.execute("SELECT room, last_use_ms FROM rooms")
            if isinstance(room, str) and isinstance(used, int)
        }

    def corrupt(self) -> list[tuple[int, int]]:
        """File and block number of what was found corrupt."""
        return [
            (id_, block)
            for id_, block in self._db.execute("SELECT id, block FROM corrupt")
            if isinstance(id_, int) and isinstance(block, int)
        ]

    def trailer(self, id_: int) -> bytes | None:
        """The copy of a file's trailer."""
        found = self._db.execute("SELECT trailer FROM trailers WHERE id=?", (id_,)).fetchone()
        return found[0] if found is not None and isinstance(found[0], bytes) else None

    def records(self, ids: Iterable[int]) -> dict[int, bytes]:
        """The records of segments."""
        told = {}
        for id_ in ids:
            found = self._db.execute("SELECT record FROM files WHERE id=?", (id_,)).fetchone()
            if found is not None and isinstance(found[0], bytes):
                told[id_] = found[0]
        return told

    def write(
        self,
        added: Iterable[tuple[Row, bytes]],
        removed: Iterable[int],
        uses: Iterable[tuple[str, int]] = (),
        corrupt: Iterable[tuple[int, int]] = (),
        healed: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Puts files with their trailers in and takes others out, as one transaction."""
        gone = [(id_,) for id_ in removed]
        fresh = list(added)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("DELETE FROM files WHERE id=?", gone)
            self._db.executemany("DELETE FROM trailers WHERE id=?", gone)
            self._db.executemany("DELETE FROM corrupt WHERE id=?", gone)
            self._db.executemany("DELETE FROM corrupt WHERE id=? AND block=?", healed)
            self._db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?,?)",
                [_values(row) for row, _ in fresh],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO trailers VALUES (?,?)",
                [(row.id, trailer) for row, trailer in fresh],
            )
            self._db.executemany("INSERT OR REPLACE INTO rooms VALUES (?,?)", uses)
            self._db.executemany("INSERT OR REPLACE INTO corrupt VALUES (?,?)", corrupt)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def forget_room(self, room: str) -> None:
        self._db.execute("DELETE FROM rooms WHERE room=?", (room,))

    def checkpoint(self) -> None:
        """Makes what was written durable against power loss, and empties the WAL."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def size(self) -> int:
        """Bytes on disk."""
        total = 0
        for path in (self._path, f"{self._path}-wal"):
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(path).st_size
        return total


def _values(row: Row) -> tuple[object, ...]:
    values = (
        *(row.id, int(row.kind), row.name, row.size, row.content),
        *(row.blocks, row.closed_ms, row.prints, row.record),
    )
    return (*values, _checksum(*values))


def _checksum(*values: object) -> int:
    """SQLite doesn't notice a bit that flips within a value."""
    try:
        return zlib.crc32(cbor2.dumps(values))
    except cbor2.CBOREncodeError:
        return -1
