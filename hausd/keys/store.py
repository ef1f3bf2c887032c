"""Keys at rest: one SQLite file of mode 0600, every key in it wrapped, and the delegations to this
node.

A key is on disk before it is used: what was sealed with it is readable after any crash.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hausd.core.gating import EpochId, EpochKey
from hausd.core.ids import RoomId
from hausd.keys.wrapping import WrapFault, Wrapper

FILE = "keys.sqlite"
VERSION = 2
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE keys (
    room TEXT, epoch BLOB, wrapped BLOB, since_ms INTEGER, source TEXT NOT NULL,
    PRIMARY KEY (room, epoch)) WITHOUT ROWID;
CREATE TABLE delegations (
    text TEXT PRIMARY KEY, signature BLOB, room TEXT, until_s INTEGER) WITHOUT ROWID;
CREATE TABLE bans (room TEXT, wallet TEXT, PRIMARY KEY (room, wallet)) WITHOUT ROWID;
"""
_FROM_1 = "ALTER TABLE keys ADD COLUMN source TEXT NOT NULL DEFAULT 'earlier'"
_PROOF, _PROOF_OF = b"hausd/1/wrapped-by", b"hausd keys"


class Source(StrEnum):
    """Where a key came from, which decides what this node may do with it."""

    OWN = "own"
    """It was made here."""
    IMPORTED = "imported"
    """The artist gave it, by ``keys export``."""
    HANDED = "handed"
    """It was given to this node because the room's head named it as a key holder."""
    ASKED = "asked"
    """Somebody's ticket brought it."""
    EARLIER = "earlier"
    """It was kept by version 1, which did not note any of this."""


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A key as it lies on disk."""

    room: RoomId
    epoch: EpochId
    wrapped: bytes
    since_ms: int
    source: Source


@dataclass(frozen=True, slots=True)
class KeptDelegation:
    """A delegation to this node; it was verified when it was kept."""

    text: str
    signature: bytes


class KeyStore:
    """Calls block, but ``unwrapped``. One thread at a time. Raises sqlite3.Error."""

    def __init__(self, folder: Path, wrapper: Wrapper) -> None:
        """Raises WrapFault where another key wrapped what is there."""
        self._wrapper = wrapper
        path = folder / FILE
        # SQLite gives the files beside it the same mode
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._prepare(path)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def _prepare(self, path: Path) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            proof = self._wrapper.wrap(_PROOF_OF, _PROOF)
            self._db.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute("INSERT INTO facts VALUES ('proof', ?)", (proof,))
            self._db.execute(f"PRAGMA user_version={VERSION}")
            self._db.execute("COMMIT")
            return
        if version not in (1, VERSION):
            hint = "run the newer hausd that wrote it"
            raise WrapFault(f"{path} is of version {version}, this hausd knows {VERSION}", hint)
        found = self._db.execute("SELECT value FROM facts WHERE name = 'proof'").fetchone()
        if found is None or self._wrapper.unwrap(found[0], _PROOF) != _PROOF_OF:
            hint = "put back the key that wrapped them (see [keys] in hausd.toml), from a backup"
            raise WrapFault(f"the keys in {path} were wrapped by another key", hint)
        if version == 1:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(_FROM_1)
            self._db.execute(f"PRAGMA user_version={VERSION}")
            self._db.execute("COMMIT")

    # -- keys --

    def all_keys(self) -> list[KeptKey]:
        """All that are kept, still wrapped, the oldest first."""
        rows = self._db.execute(
            "SELECT room, epoch, wrapped, since_ms, source FROM keys ORDER BY since_ms"
        )
        return [
            KeptKey(RoomId(room), EpochId(epoch), wrapped, since_ms, Source(source))
            for room, epoch, wrapped, since_ms, source in rows
        ]

    def add(
        self, room: RoomId, keys: Iterable[tuple[EpochId, EpochKey]], source: Source, now_ms: int
    ) -> list[KeptKey]:
        """Keeps keys, in the place of those of the same name; durable when it returns."""
        made = [
            KeptKey(room, epoch, self._wrapper.wrap(key.raw, _about(room, epoch)), now_ms, source)
            for epoch, key in keys
        ]
        self._all(
            "INSERT OR REPLACE INTO keys (room, epoch, wrapped, since_ms, source)"
            " VALUES (?, ?, ?, ?, ?)",
            [(one.room, one.epoch, one.wrapped, one.since_ms, one.source.value) for one in made],
        )
        return made

    def drop(self, keys: Iterable[tuple[RoomId, EpochId]]) -> None:
        """Forgets keys for good."""
        self._all("DELETE FROM keys WHERE room = ? AND epoch = ?", list(keys))

    def unwrapped(self, kept: KeptKey) -> EpochKey | None:
        """None where the disk damaged it."""
        clear = self._wrapper.unwrap(kept.wrapped, _about(kept.room, kept.epoch))
        return EpochKey(clear) if clear is not None else None

    # -- delegations --

    def delegations(self) -> list[KeptDelegation]:
        rows = self._db.execute("SELECT text, signature FROM delegations ORDER BY until_s DESC")
        return [KeptDelegation(*row) for row in rows]

    def add_delegation(self, kept: KeptDelegation, room: RoomId | None, until_s: int) -> None:
        row = (kept.text, kept.signature, room, until_s)
        self._all("INSERT OR REPLACE INTO delegations VALUES (?, ?, ?, ?)", [row])

    def drop_delegations(self, texts: Iterable[str]) -> None:
        self._all("DELETE FROM delegations WHERE text = ?", [(text,) for text in texts])

    # -- bans --

    def bans(self) -> list[tuple[RoomId, str]]:
        return [(RoomId(room), who) for room, who in self._db.execute("SELECT * FROM bans")]

    def ban(self, room: RoomId, wallet: str, *, banned: bool) -> None:
        """Bans a wallet from a room, or lets it in again."""
        told = "INSERT OR IGNORE INTO bans VALUES (?, ?)"
        told = told if banned else "DELETE FROM bans WHERE room = ? AND wallet = ?"
        self._all(told, [(room, wallet)])

    def _all(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.executemany(statement, rows)


def _about(room: RoomId, epoch: EpochId) -> bytes:
    return b"hausd/1/kept-key\0" + room.encode() + b"\0" + epoch
