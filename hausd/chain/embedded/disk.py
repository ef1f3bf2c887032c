"""The embedded chain on disk: SQLite, where a transaction and what it changed are written in one.

So there is no log to be replayed: the accounts on disk are those after the newest transaction on
disk, whenever the process died. Calls block.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS account (
    address BLOB PRIMARY KEY, owner BLOB NOT NULL, lamports INTEGER NOT NULL, data BLOB NOT NULL,
    executable INTEGER NOT NULL, token_owner BLOB, token_mint BLOB
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS account_owner ON account (owner);
CREATE INDEX IF NOT EXISTS account_token_owner ON account (token_owner)
    WHERE token_owner IS NOT NULL;
CREATE TABLE IF NOT EXISTS tx (
    number INTEGER PRIMARY KEY, signature BLOB NOT NULL UNIQUE, slot INTEGER NOT NULL,
    time INTEGER NOT NULL, raw BLOB NOT NULL, meta BLOB NOT NULL, failed INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS tx_slot ON tx (slot);
CREATE TABLE IF NOT EXISTS touched (
    address BLOB NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (address, number)
) WITHOUT ROWID;
"""
_VERSION = 1
_LAMPORTS_SIGN = 1 << 63


class NotOurs(Exception):
    """The file is no chain that this hausd can read; ``args[0]`` says why."""


@dataclass(frozen=True, slots=True)
class Held:
    """An account as it is kept. ``token_owner`` and ``token_mint``: of a token account."""

    address: bytes
    owner: bytes
    lamports: int
    data: bytes
    executable: bool
    token_owner: bytes | None = None
    token_mint: bytes | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction that was executed. ``meta`` is JSON, as RPC gives it; ``time`` in seconds."""

    number: int
    signature: bytes
    slot: int
    time: int
    raw: bytes
    meta: bytes
    failed: bool
    touched: tuple[bytes, ...] = ()


class Disk:
    """One chain's file. One thread may write while another reads."""

    def __init__(self, path: Path) -> None:
        """Raises NotOurs, sqlite3.Error."""
        fresh = not path.exists()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._writes = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db = self._writes
        try:
            if fresh:
                path.chmod(0o600)
            self._writes.execute("PRAGMA journal_mode=WAL")
            self._writes.execute("PRAGMA synchronous=FULL")
            self._writes.executescript(_SCHEMA)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            version = self.word("version")
            if version is None:
                self.put_words({"version": bytes([_VERSION])})
            elif version != bytes([_VERSION]):
                raise NotOurs(f"{path} was written by another hausd (version {version[0]})")
        except (sqlite3.DatabaseError, UnicodeDecodeError) as fault:
            self.close()
            raise NotOurs(f"{path} is no chain, or damaged ({fault})") from fault
        except NotOurs:
            self.close()
            raise

    def close(self) -> None:
        """Nothing may be asked after it."""
        self._db.close()
        self._writes.close()

    # -- writing --

    def write(
        self,
        entries: Sequence[Entry],
        accounts: Sequence[Held],
        gone: Sequence[bytes],
        words: dict[str, bytes],
    ) -> None:
        """Writes all or nothing; durable against power loss when it returns."""
        db = self._writes
        db.execute("BEGIN IMMEDIATE")
        with db:
            db.executemany(
                "INSERT INTO tx VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (one.number, one.signature, one.slot, one.time, one.raw, one.meta, one.failed)
                    for one in entries
                ],
            )
            db.executemany(
                "INSERT OR IGNORE INTO touched VALUES (?, ?)",
                [(address, one.number) for one in entries for address in one.touched],
            )
            db.executemany(
                "INSERT OR REPLACE INTO account VALUES (?, ?, ?, ?, ?, ?, ?)",
                [_row(one) for one in accounts],
            )
            db.executemany("DELETE FROM account WHERE address = ?", [(one,) for one in gone])
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(words.items()))

    def put_words(self, words: dict[str, bytes]) -> None:
        """Keeps small facts."""
        self.write([], [], [], words)

    # -- reading --

    def word(self, name: str) -> bytes | None:
        """A small fact."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row is not None else None

    def accounts(self) -> Iterator[Held]:
        """All of them; data of programs before the programs themselves."""
        for row in self._db.execute("SELECT * FROM account ORDER BY executable"):
            yield _held(row)

    def owned(self, owner: bytes) -> Iterator[Held]:
        """A program's accounts, read as they are asked for: who has enough reads no further."""
        return map(_held, self._db.execute("SELECT * FROM account WHERE owner = ?", (owner,)))

    def tokens_of(self, owner: bytes) -> Iterator[Held]:
        """The token accounts of a wallet, read in the same way."""
        return map(_held, self._db.execute("SELECT * FROM account WHERE token_owner = ?", (owner,)))

    def entry(self, signature: bytes) -> Entry | None:
        """A transaction by its signature."""
        row = self._db.execute("SELECT * FROM tx WHERE signature = ?", (signature,)).fetchone()
        return _entry(row) if row is not None else None

    def entries_of(
        self, address: bytes, before: int | None, until: int | None, limit: int
    ) -> list[Entry]:
        """An address' transactions, newest first; ``before`` and ``until`` are numbers."""
        rows = self._db.execute(
            # by name of the table: else SQLite sorts all of them, each time
            "SELECT tx.* FROM touched JOIN tx ON tx.number = touched.number "
            "WHERE touched.address = ? AND touched.number < ? AND touched.number > ? "
            "ORDER BY touched.number DESC LIMIT ?",
            (address, before if before is not None else 1 << 62, until or 0, limit),
        )
        return [_entry(row) for row in rows]

    def raw_since(self, slot: int) -> Iterator[tuple[int, bytes]]:
        """Slot and bytes of each transaction from a slot on, in order."""
        rows = self._db.execute(
            "SELECT slot, raw FROM tx WHERE slot >= ? ORDER BY slot, number", (slot,)
        )
        return ((int(row[0]), bytes(row[1])) for row in rows)

    def in_slot(self, slot: int) -> list[Entry]:
        """A slot's transactions, in order."""
        rows = self._db.execute("SELECT * FROM tx WHERE slot = ? ORDER BY number", (slot,))
        return [_entry(row) for row in rows]

    def slots(self, first: int, last: int, limit: int) -> list[int]:
        """The slots in which something happened."""
        rows = self._db.execute(
            "SELECT DISTINCT slot FROM tx WHERE slot BETWEEN ? AND ? ORDER BY slot LIMIT ?",
            (first, last, limit),
        )
        return [int(row[0]) for row in rows]

    def newest(self) -> tuple[int, int, int]:
        """Number, slot and time of the newest transaction; zeros where there is none."""
        row = self._db.execute(
            "SELECT number, slot, time FROM tx ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return (int(row[0]), int(row[1]), int(row[2])) if row is not None else (0, 0, 0)


def _entry(row: tuple[int, bytes, int, int, bytes, bytes, int]) -> Entry:
    number, signature, slot, time, raw, meta, failed = row
    return Entry(number, signature, slot, time, raw, meta, bool(failed))


def _row(one: Held) -> tuple[object, ...]:
    # SQLite's integers have a sign, lamports have none
    lamports = one.lamports - 2 * _LAMPORTS_SIGN if one.lamports >= _LAMPORTS_SIGN else one.lamports
    return (
        one.address,
        one.owner,
        lamports,
        one.data,
        one.executable,
        one.token_owner,
        one.token_mint,
    )


def _held(row: tuple[bytes, bytes, int, bytes, int, bytes | None, bytes | None]) -> Held:
    address, owner, lamports, data, executable, token_owner, token_mint = row
    lamports = lamports + 2 * _LAMPORTS_SIGN if lamports < 0 else lamports
    return Held(address, owner, lamports, data, bool(executable), token_owner, token_mint)
