"""The index on disk: what transactions did to events, in SQLite. It is made anew where it is lost.

A row says at which slot its transaction was, and whether that is final; what is not may be taken
back by a fork, and its rows go with it. One connection, used by one thread at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from solders.pubkey import Pubkey

from hausd.chain.answers import SignatureInfo
from hausd.core.programs.logs import ProgramEvent

VERSION = 3
MAX_PAGE = 1_000
MAX_WAITING = 262_144
"""Of a program; some 50 MB. What is newer than those is listed again once they are read."""
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE transactions (
    signature TEXT PRIMARY KEY, slot INTEGER, time INTEGER, final INTEGER) WITHOUT ROWID;
CREATE INDEX open_transactions ON transactions (slot) WHERE final = 0;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, signature TEXT, slot INTEGER, kind TEXT, account TEXT, who TEXT,
    fields BLOB);
CREATE INDEX entries_in ON entries (signature);
CREATE INDEX entries_of ON entries (account, kind, slot);
CREATE INDEX entries_by ON entries (who, slot);
CREATE TABLE waiting (
    program TEXT, n INTEGER, signature TEXT, slot INTEGER, final INTEGER, failed INTEGER,
    PRIMARY KEY (program, n)) WITHOUT ROWID;
"""
# within a slot entries are in the order in which they were read: a program's, the oldest first


@dataclass(frozen=True, slots=True)
class Indexed:
    """A transaction as it is indexed. ``time_s`` is 0 where the chain told none."""

    signature: str
    slot: int
    time_s: int
    final: bool
    events: tuple[ProgramEvent, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A transaction that names a program, and waits to be read. ``n`` grows with its age."""

    n: int
    signature: str
    slot: int
    final: bool
    failed: bool


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

    def slots(self, signatures: Iterable[str]) -> dict[str, int]:
        """At which slots those of them are that are indexed already."""
        found = "SELECT slot FROM transactions WHERE signature = ?"
        rows = ((each, self._db.execute(found, (each,)).fetchone()) for each in signatures)
        return {each: row[0] for each, row in rows if row is not None}

    def open(self, limit: int = MAX_PAGE) -> list[tuple[str, int]]:
        """Transactions that are not final, with their slots, the oldest first."""
        return self._db.execute(
            "SELECT signature, slot FROM transactions WHERE final = 0 ORDER BY slot LIMIT ?",
            (limit,),
        ).fetchall()

    # -- what waits to be read --

    def enlist(self, program: str, page: Sequence[SignatureInfo], facts: dict[str, str]) -> bool:
        """Adds a page, the newest first, behind what waits of a program, and sets facts.

        Of more than MAX_WAITING the newest are let go: whether there are such.
        """
        with self._all_or_nothing():
            last = "SELECT coalesce(max(n), 0) FROM waiting WHERE program = ?"
            (last_n,) = self._db.execute(last, (program,)).fetchone()
            self._db.executemany(
                "INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        program,
                        n,
                        one.signature,
                        one.slot,
                        one.confirmation_status == "finalized",
                        one.err is not None,
                    )
                    for n, one in enumerate(page, last_n + 1)
                ],
            )
            self._set_all(facts)
            let_go = "DELETE FROM waiting WHERE program = ? AND n <= ?"
            newest = last_n + len(page) - MAX_WAITING
            return self._db.execute(let_go, (program, newest)).rowcount > 0

    def unlist(self, program: str, facts: dict[str, str]) -> None:
        """Nothing waits of a program any more, and facts are set."""
        with self._all_or_nothing():
            self._db.execute("DELETE FROM waiting WHERE program = ?", (program,))
            self._set_all(facts)

    def waiting(self, program: str, limit: int = MAX_PAGE) -> list[Listed]:
        """What is to be read next of a program: the oldest first."""
        rows = self._db.execute(
            "SELECT n, signature, slot, final, failed FROM waiting WHERE program = ? "
            "ORDER BY n DESC LIMIT ?",
            (program, limit),
        )
        return [
            Listed(n, signature, slot, bool(final), bool(failed))
            for n, signature, slot, final, failed in rows
        ]

    # -- writing --

    def take(
        self,
        transactions: Sequence[Indexed],
        program: str = "",
        read: Sequence[Listed] = (),
        facts: dict[str, str] | None = None,
    ) -> None:
        """Adds transactions, the oldest first, in place of what is there of them; ``read`` waits
        no more, and facts are set: all at once or not at all."""
        with self._all_or_nothing():
            self._db.executemany(
                "DELETE FROM entries WHERE signature = ?",
                [(one.signature,) for one in transactions],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO transactions VALUES (?, ?, ?, ?)",
                [(one.signature, one.slot, one.time_s, int(one.final)) for one in transactions],
            )
            self._db.executemany(
                "INSERT INTO entries VALUES (NULL, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        entry.signature,
                        entry.slot,
                        entry.kind,
                        entry.account,
                        entry.who,
                        msgspec.json.encode(entry.fields),
                    )
                    for one in transactions
                    for entry in entries_of(one)
                ],
            )
            self._db.executemany(
                "DELETE FROM waiting WHERE program = ? AND n = ?",
                [(program, one.n) for one in read],
            )
            self._set_all(facts or {})

    def settle(self, final: Iterable[str], gone: Iterable[str]) -> None:
        """Transactions that became final, and those that no fork has any more."""
        with self._all_or_nothing():
            for each in final:
                self._db.execute("UPDATE transactions SET final = 1 WHERE signature = ?", (each,))
            for each in gone:
                self._db.execute("DELETE FROM transactions WHERE signature = ?", (each,))
                self._db.execute("DELETE FROM entries WHERE signature = ?", (each,))

    def _set_all(self, facts: dict[str, str]) -> None:
        for name, value in facts.items():
            self._set(name, value)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            yield

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
            "ORDER BY e.slot DESC, e.id DESC LIMIT ?",
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


_WHO = ("tipper", "holder", "artist", "payee")


def entries_of(one: Indexed) -> list[Entry]:
    """What a transaction did, in its order."""
    found = []
    for event in one.events:
        fields = {name: _plain(value) for name, value in event.fields.items()}
        account = str(fields.get("event") or fields.get("vault") or "")
        who = next((str(fields[name]) for name in _WHO if name in fields), "")
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
