"""The index on disk: what transactions did to events, in SQLite. It is made anew where it is lost.

A row says at which slot its transaction was, and whether that is final; what is not may be taken
back by a fork, and its rows go with it. One connection, used by one thread at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from solders.pubkey import Pubkey

from hausd.core.programs.logs import ProgramEvent

VERSION = 1
MAX_PAGE = 1_000
_PLACES = 100_000
"""More transactions than a slot has: what was first in a batch stays first within its slot."""
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE transactions (
    signature TEXT PRIMARY KEY, slot INTEGER, time INTEGER, final INTEGER) WITHOUT ROWID;
CREATE INDEX open_transactions ON transactions (slot) WHERE final = 0;
CREATE TABLE entries (
    place INTEGER, signature TEXT, n INTEGER, kind TEXT, account TEXT, who TEXT, fields BLOB,
    PRIMARY KEY (signature, n)) WITHOUT ROWID;
CREATE INDEX entries_of ON entries (account, kind, place DESC);
CREATE INDEX entries_by ON entries (who, place DESC);
"""


@dataclass(frozen=True, slots=True)
class Indexed:
    """A transaction as it is indexed. ``time_s`` is 0 where the chain told none."""

    signature: str
    slot: int
    time_s: int
    final: bool
    events: tuple[ProgramEvent, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a program. ``account`` is the event or vault that it is of; ``who`` whose deed
    it is; both may be empty."""

    kind: str
    account: str
    who: str
    fields: dict[str, object]
    signature: str
    slot: int
    time_s: int
    final: bool


class Index:
    """The SQLite file of one chain. Calls block. Raises sqlite3.Error."""

    def __init__(self, path: Path, chain: str) -> None:
        """``chain``: what the index is of (genesis hash and program); another one's is emptied."""
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._prepare(chain)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, chain: str) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == VERSION and self.fact("chain") == chain:
            return
        # of another chain, or written by another version: it is made anew from the chain
        self._db.execute("BEGIN IMMEDIATE")
        for (name,) in self._db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall():
            self._db.execute(f"DROP TABLE {name}")
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {VERSION}")
        self._set("chain", chain)
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()

    # -- what is known of how far it is --

    def fact(self, name: str) -> str:
        """A note of the indexer's own, empty where there is none."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row is not None else ""

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def known(self, signatures: Iterable[str]) -> set[str]:
        """Those of them that are indexed already."""
        found = "SELECT 1 FROM transactions WHERE signature = ?"
        return {each for each in signatures if self._db.execute(found, (each,)).fetchone()}

    def open(self, limit: int = MAX_PAGE) -> list[tuple[str, int]]:
        """Transactions that are not final, with their slots, the oldest first."""
        return self._db.execute(
            "SELECT signature, slot FROM transactions WHERE final = 0 ORDER BY slot LIMIT ?",
            (limit,),
        ).fetchall()

    # -- writing --

    def take(self, transactions: Sequence[Indexed], marks: dict[str, str] | None = None) -> None:
        """Adds transactions, the oldest first, and sets facts with them, all at once or not at
        all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for at, each in enumerate(transactions):
                self._take(each, each.slot * _PLACES + at)
            for name, value in (marks or {}).items():
                self._set(name, value)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _take(self, one: Indexed, place: int) -> None:
        self._db.execute("DELETE FROM entries WHERE signature = ?", (one.signature,))
        self._db.execute(
            "INSERT OR REPLACE INTO transactions VALUES (?, ?, ?, ?)",
            (one.signature, one.slot, one.time_s, int(one.final)),
        )
        for n, entry in enumerate(entries_of(one)):
            fields = msgspec.json.encode(entry.fields)
            row = (place, one.signature, n, entry.kind, entry.account, entry.who, fields)
            self._db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def settle(self, final: Iterable[str], gone: Iterable[str]) -> None:
        """Transactions that became final, and those that no fork has any more."""
        self._db.execute("BEGIN IMMEDIATE")
        for each in final:
            self._db.execute("UPDATE transactions SET final = 1 WHERE signature = ?", (each,))
        for each in gone:
            self._db.execute("DELETE FROM transactions WHERE signature = ?", (each,))
            self._db.execute("DELETE FROM entries WHERE signature = ?", (each,))
        self._db.execute("COMMIT")

    # -- reading --

    def entries(
        self, *, account: str = "", kind: str = "", who: str = "", limit: int = 100
    ) -> list[Entry]:
        """What matches all that is named, the newest first."""
        named = {"e.account": account, "e.kind": kind, "e.who": who}
        wanted = {name: value for name, value in named.items() if value}
        where = " AND ".join(f"{name} = ?" for name in wanted) or "1"
        rows = self._db.execute(
            "SELECT e.kind, e.account, e.who, e.fields, e.signature, t.slot, t.time, t.final "  # noqa: S608 names of columns are ours
            f"FROM entries e JOIN transactions t USING (signature) WHERE {where} "
            "ORDER BY e.place DESC, e.n DESC LIMIT ?",
            (*wanted.values(), min(limit, MAX_PAGE)),
        )
        return [
            Entry(
                kind_,
                account_,
                who_,
                msgspec.json.decode(fields),
                signature,
                slot,
                time,
                bool(final),
            )
            for kind_, account_, who_, fields, signature, slot, time, final in rows
        ]

    def count(self) -> int:
        """Transactions that are indexed."""
        (count,) = self._db.execute("SELECT count(*) FROM transactions").fetchone()
        return int(count)


def entries_of(one: Indexed) -> list[Entry]:
    """What a transaction did, in its order."""
    found = []
    for event in one.events:
        fields = {name: _plain(value) for name, value in event.fields.items()}
        account = str(fields.get("event") or fields.get("vault") or "")
        who = str(fields.get("tipper") or fields.get("holder") or fields.get("artist") or "")
        place = (one.signature, one.slot, one.time_s, one.final)
        found.append(Entry(event.name, account, who, fields, *place))
    return found


def _plain(value: object) -> object:
    match value:
        case Pubkey():
            return str(value)
        case bytes():
            return value.hex()
        case tuple():
            return [_plain(each) for each in value]
        case dict():
            return {name: _plain(each) for name, each in value.items()}
    return value
