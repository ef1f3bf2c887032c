"""Who watched gated rooms here a moment ago, and who signed out: on disk, so that a restart of the
node puts nobody out who was inside, and lets nobody back in who left.

One SQLite file of mode 0600. In it lie keyed hashes (``PlaybackKey.lease``): who reads it learns no
token, wallet or address. It may be lost: players whose token's time is over sign in once more then.
"""

from __future__ import annotations

import os
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
import trio

log = structlog.get_logger("hausd.keys")

FILE = "playbacks.sqlite"
MAX_LEASES = 16_384
"""Players, and as many who signed out. Those that end first make way."""
_VERSION = 1
_SCHEMA = """
CREATE TABLE leases (name BLOB PRIMARY KEY, gone INTEGER NOT NULL, until_s INTEGER NOT NULL)
WITHOUT ROWID
"""
# Whole seconds only: SQLite compares an integer with a float by x87, which is wrong once after a
# library left its registers in use (docs/decisions/0022-embedded-chain.md).
_GOOD = "SELECT name, gone, until_s FROM leases WHERE until_s > ?"
_OVER = "DELETE FROM leases WHERE until_s <= ?"
_SURPLUS = """
DELETE FROM leases WHERE gone = ?1 AND name IN
(SELECT name FROM leases WHERE gone = ?1 ORDER BY until_s DESC LIMIT -1 OFFSET ?2)
"""


class Leases:
    """Times are seconds since 1970. Where the disk takes nothing it goes on in memory, and the log
    says so once."""

    def __init__(self, db: sqlite3.Connection | None, now_s: float) -> None:
        self._db = db
        self._turn = trio.Lock()
        self._failed = False
        self._before: dict[bytes, int] = {}
        self._gone: OrderedDict[bytes, int] = OrderedDict()
        if db is not None:
            rows = db.execute(_GOOD, (int(now_s),))
            for name, gone, until_s in rows.fetchall():
                (self._gone if gone else self._before)[name] = until_s

    def had(self, name: bytes, now_s: float) -> bool:
        """Whether a player watched before the node's start, a moment ago."""
        return self._before.get(name, 0) > now_s

    def has_left(self, name: bytes) -> bool:
        """Whether who has this name signed out."""
        return name in self._gone

    async def leave(self, name: bytes, until_s: float, now_s: float) -> None:
        """Who has this name signed out; it is kept until no token is good any more."""
        self._gone[name] = int(until_s)
        if len(self._gone) > MAX_LEASES:
            self._gone.popitem(last=False)
        await self._do(partial(_write, [(name, 1, int(until_s))], int(now_s)))

    async def keep(self, players: Iterable[bytes], until_s: float, now_s: float) -> None:
        """These watch now. What is over is removed."""
        for ended in [name for name, at_s in self._before.items() if at_s <= now_s]:
            del self._before[ended]
        for ended in [name for name, at_s in self._gone.items() if at_s <= now_s]:
            del self._gone[ended]
        await self._do(partial(_write, [(name, 0, int(until_s)) for name in players], int(now_s)))

    async def _do(self, work: Callable[[sqlite3.Connection], None]) -> None:
        db = self._db
        if db is None:
            return
        async with self._turn:
            try:
                await trio.to_thread.run_sync(work, db)
                self._failed = False
            except sqlite3.Error as fault:
                if not self._failed:
                    log.warning("playbacks-not-kept", because=str(fault))
                self._failed = True


def _write(rows: list[tuple[bytes, int, int]], now_s: int, db: sqlite3.Connection) -> None:
    with db:
        db.executemany("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", rows)
        db.execute(_OVER, (now_s,))
        for gone in (0, 1):
            db.execute(_SURPLUS, (gone, MAX_LEASES))


def _open(path: Path) -> sqlite3.Connection:
    # SQLite gives the files beside it the same mode
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, check_same_thread=False)
    with ExitStack() as opened:
        opened.callback(db.close)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with db:
                db.execute(_SCHEMA)
                db.execute(f"PRAGMA user_version={_VERSION}")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, not {_VERSION}")
        db.execute("SELECT count(*) FROM leases WHERE until_s > 0").fetchone()
        opened.pop_all()
    return db


def _open_or_new(path: Path) -> sqlite3.Connection | None:
    """A file that can't be read is made anew: it is no loss that anybody has to be asked about."""
    for again in (False, True):
        try:
            return _open(path)
        except (sqlite3.Error, OSError) as fault:
            log.warning("playbacks-not-read", because=str(fault))
            if not again:
                for one in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
                    with suppress(OSError):
                        one.unlink(missing_ok=True)
    return None


@asynccontextmanager
async def open_leases(folder: Path, now_s: float) -> AsyncIterator[Leases]:
    """Those of a home."""
    db = await trio.to_thread.run_sync(_open_or_new, folder / FILE)
    try:
        yield Leases(db, now_s)
    finally:
        if db is not None:
            db.close()
