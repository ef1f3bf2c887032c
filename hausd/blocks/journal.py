"""What happened since the index was last written: one short record for each batch.

The index (SQLite) is brought up to date every few seconds; between, and for segments that are
still open, this file tells which leaves lie where. It costs some 40 bytes a leaf, where a
transaction for each batch would cost pages. A record counts whole or not at all, so a batch does.

    magic | nonce (8 bytes) | { body length, u32 | checksum, u32 | body (CBOR) } …

Each checksum is a CRC-32 that goes on from the record before, so that what is left of an older,
longer tail never counts.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import cbor2

from hausd.blocks.errors import Damaged
from hausd.blocks.table import DIGEST_BYTES, Table, table_of

_MAGIC = b"hausjnl\x01"
_NONCE_BYTES = 8
_HEAD = struct.Struct("!II")
MAX_BODY_BYTES = 64 * 1024 * 1024


class _Kind(IntEnum):
    OPENED = 0
    """A run of the node began to change the store."""
    CLOSED = 1
    """It ended in order; all is in the index but what is still open."""
    BATCH = 2
    REMOVED = 3
    CREATED = 4
    """Packs tell themselves what they hold, but not that an older one of the name is gone."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Leaves added to a segment, and whether it was closed after them."""

    name: str
    digests: bytes
    lengths: Sequence[int]
    closed: bool


@dataclass(slots=True)
class Replay:
    """What the journal tells.

    ``open`` are segments not yet closed, ``closed`` those closed since the journal began, with
    the leaves that were told of each; ``removed`` names files that were taken away.
    """

    open: dict[str, Table] = field(default_factory=dict)
    closed: dict[str, Table] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    clean: bool = False
    end: int = 0
    """Where the last whole record ends; 0 where not even the head is whole."""
    checksum: int = 0
    lost_bytes: int = 0
    """What follows the last whole record."""


class Encoder:
    """Makes records that go on from a checksum."""

    def __init__(self, checksum: int) -> None:
        self.checksum = checksum

    def opened(self) -> bytes:
        return self._record([_Kind.OPENED])

    def closed(self) -> bytes:
        return self._record([_Kind.CLOSED])

    def batch(self, changes: Iterable[Appended]) -> bytes:
        return self._record(
            [
                _Kind.BATCH,
                [
                    [
                        change.name,
                        change.digests,
                        struct.pack(f"!{len(change.lengths)}I", *change.lengths),
                        change.closed,
                    ]
                    for change in changes
                ],
            ]
        )

    def removed(self, names: Sequence[str]) -> bytes:
        return self._record([_Kind.REMOVED, list(names)])

    def created(self, name: str) -> bytes:
        return self._record([_Kind.CREATED, [name]])

    def _record(self, value: list[object]) -> bytes:
        body = cbor2.dumps(value)
        self.checksum = zlib.crc32(body, zlib.crc32(_length(body), self.checksum))
        return _HEAD.pack(len(body), self.checksum) + body


def begin(nonce: bytes) -> tuple[bytes, Encoder]:
    """The head of a new journal."""
    head = _MAGIC + nonce
    return head, Encoder(zlib.crc32(head))


def replay(untrusted: bytes) -> Replay:
    """Reads as far as the records are whole."""
    told = Replay()
    head = untrusted[: len(_MAGIC) + _NONCE_BYTES]
    if len(head) < len(_MAGIC) + _NONCE_BYTES or not head.startswith(_MAGIC):
        told.lost_bytes = len(untrusted)
        return told
    at = len(head)
    checksum = zlib.crc32(head)
    while at + _HEAD.size <= len(untrusted):
        length, expected = _HEAD.unpack_from(untrusted, at)
        body = untrusted[at + _HEAD.size : at + _HEAD.size + length]
        if length > MAX_BODY_BYTES or len(body) != length:
            break
        actual = zlib.crc32(body, zlib.crc32(_length(body), checksum))
        if actual != expected:
            break
        try:
            _apply(told, body)
        except Damaged:
            break
        checksum = actual
        at += _HEAD.size + length
    told.end, told.checksum, told.lost_bytes = at, checksum, len(untrusted) - at
    return told


def _length(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big")


def _apply(told: Replay, body: bytes) -> None:
    try:
        value = cbor2.loads(body, max_depth=8, allow_indefinite=False)
        told.clean = value[0] == _Kind.CLOSED
        if value[0] == _Kind.BATCH:
            for name, digests, packed, closed in value[1]:
                _append(told, name, digests, packed, closed)
        elif value[0] == _Kind.REMOVED:
            for name in value[1]:
                told.open.pop(name, None)
                told.closed.pop(name, None)
                told.removed.add(name)
        elif value[0] == _Kind.CREATED:
            told.removed.difference_update(value[1])
    except (cbor2.CBORDecodeError, ValueError, TypeError, IndexError, KeyError) as fault:
        raise Damaged(f"a record is not as it should be: {fault}") from None


def _append(told: Replay, name: str, digests: bytes, packed: bytes, closed: bool) -> None:
    if not (isinstance(name, str) and isinstance(digests, bytes) and isinstance(packed, bytes)):
        raise Damaged("a record's fields are of other types")
    lengths = struct.unpack_from(f"!{len(packed) // 4}I", packed)
    if len(digests) != DIGEST_BYTES * len(lengths):
        raise Damaged("a record has not as many digests as lengths")
    told.removed.discard(name)
    table = told.open.setdefault(name, Table())
    added = table_of(digests, lengths)
    start = table.end
    for index, length in enumerate(lengths):
        table.append(added.digest(index), start + added.offsets[index], length)
    if closed:
        told.closed[name] = told.open.pop(name)


class Journal:
    """The file. One caller at a time, but for ``sync``."""

    def __init__(self, path: str, descriptor: int, end: int, encoder: Encoder) -> None:
        self._path = path
        self._descriptor = descriptor
        self.end = end
        self.encoder = encoder
        self.opened = False
        """Whether this run has told that it changes the store."""
        self._synced_end = -1

    @classmethod
    def resume(cls, path: str, told: Replay) -> Journal:
        """Goes on behind what was told, or begins anew; raises OSError."""
        if not told.end:
            journal = cls(path, -1, 0, Encoder(0))
            journal.rewrite({}, {}, ())
            journal.opened = False
            return journal
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        if told.lost_bytes:
            os.ftruncate(descriptor, told.end)
        return cls(path, descriptor, told.end, Encoder(told.checksum))

    def open_run(self) -> None:
        """Tells, once, that the store is about to change."""
        if not self.opened:
            self._tell(lambda encoder: encoder.opened())
            self.opened = True

    def write_batch(self, changes: Iterable[Appended]) -> None:
        """Tells of a batch; raises OSError, then it doesn't count."""
        self.opened = True
        self._tell(lambda encoder: encoder.batch(changes))

    def write_created(self, name: str) -> None:
        """Tells of a pack about to be made; raises OSError."""
        self.opened = True
        self._tell(lambda encoder: encoder.created(name))

    def write_removed(self, names: Sequence[str]) -> None:
        """Tells of files about to be taken away; raises OSError."""
        self.opened = True
        self._tell(lambda encoder: encoder.removed(names))

    def rewrite(
        self,
        still_open: Mapping[str, Table],
        closed: Mapping[str, Table],
        removed: Sequence[str],
    ) -> None:
        """Replaces the file by one that tells only this; durable when it returns.

        Raises OSError; then the old one goes on.
        """
        head, encoder = begin(os.urandom(_NONCE_BYTES))
        data = [head, encoder.opened()]
        if removed:
            data.append(encoder.removed(removed))
        for tables, is_closed in ((still_open, False), (closed, True)):
            data.extend(
                encoder.batch([Appended(name, bytes(table.digests), table.lengths, is_closed)])
                for name, table in tables.items()
            )
        fresh = f"{self._path}.new"
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        replaced = Journal(fresh, descriptor, 0, encoder)
        try:
            replaced._append(b"".join(data))
            os.fsync(descriptor)
            os.rename(fresh, self._path)
        except OSError:
            os.close(descriptor)
            raise
        self.close()
        self._descriptor, self.end, self.encoder = descriptor, replaced.end, encoder
        self._synced_end = self.end
        self.opened = True

    def finish(self) -> None:
        """Tells that the run ended in order, durably."""
        self._tell(lambda encoder: encoder.closed())
        self.sync()

    @property
    def synced(self) -> bool:
        """Whether all that was told is on disk."""
        return self._synced_end == self.end

    def sync(self) -> None:
        end = self.end
        os.fsync(self._descriptor)
        self._synced_end = end

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _tell(self, make: Callable[[Encoder], bytes]) -> None:
        before = self.encoder.checksum
        try:
            self._append(make(self.encoder))
        except OSError:
            self.encoder.checksum = before
            raise

    def _append(self, data: bytes) -> None:
        at = self.end
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, at)
            at += written
            view = view[written:]
        self.end = at


def read(path: str) -> Replay:
    """Replays a journal file; one that isn't there tells nothing. Raises OSError."""
    try:
        with open(path, "rb") as file:
            return replay(file.read())
    except FileNotFoundError:
        return Replay()
