"""What stands at the end of a closed file, so that the file alone tells everything.

    document (canonical CBOR) | its length, u32 | CRC-32 of document and length, u32 | magic

All integers are big-endian. The document is a map: ``v`` 1, ``kind``, ``name``, ``closed`` (Unix
time in ms), ``lengths`` (u32 each), ``digests`` (32 bytes each), and of a segment ``nodes`` (list
of CID and block) and ``record``, of a pack ``offsets`` (u32 each). A segment's leaves lie one
after the other from offset 0 up to the document.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import cbor2

from hausd.blocks.errors import Damaged
from hausd.blocks.layout import FileKind
from hausd.blocks.table import DIGEST_BYTES, Table, table_of
from hausd.core.cid import CID, CIDError

_FOOTER = struct.Struct("!II8s")
_MAGIC = b"\x89haus\r\n\x01"
"""As PNG does: not text, and what a transfer as text would spoil."""
_GUESS_BYTES = 16 * 1024
"""Most trailers are shorter, and then one read is enough."""
MAX_TRAILER_BYTES = 64 * 1024 * 1024

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a closed file says of itself."""

    kind: FileKind
    name: str
    closed_ms: int
    table: Table
    record: bytes = b""


def encode(contents: Contents) -> bytes:
    """The trailer, footer included."""
    table = contents.table
    document: dict[str, object] = {
        "v": 1,
        "kind": int(contents.kind),
        "name": contents.name,
        "closed": contents.closed_ms,
        "lengths": _pack(table.lengths),
        "digests": bytes(table.digests),
    }
    if contents.kind is FileKind.PACK:
        document["offsets"] = _pack(table.offsets)
    else:
        document["nodes"] = [[bytes(cid), block] for cid, block in table.nodes.values()]
        document["record"] = contents.record
    body = cbor2.dumps(document, canonical=True)
    length = struct.pack("!I", len(body))
    return body + _FOOTER.pack(len(body), zlib.crc32(length, zlib.crc32(body)), _MAGIC)


def decode(untrusted: bytes) -> Contents:
    """Reads a whole trailer, and nothing before it; raises Damaged."""
    length = _document_bytes(untrusted)
    if length + _FOOTER.size != len(untrusted):
        raise Damaged("the trailer's length is not what it says")
    body = untrusted[:length]
    _, checksum, _ = _FOOTER.unpack_from(untrusted, length)
    if zlib.crc32(struct.pack("!I", length), zlib.crc32(body)) != checksum:
        raise Damaged("the trailer's checksum is wrong")
    try:
        document = cbor2.loads(
            body, max_depth=8, allow_indefinite=False, strict_hashable_types=True
        )
    except cbor2.CBORDecodeError as fault:
        raise Damaged(f"the trailer is not CBOR: {fault}") from None
    return _contents(document)


def read(file: BinaryIO, size: int) -> tuple[Contents, bytes]:
    """The trailer of a file of ``size`` bytes, also as it stands; raises Damaged, OSError."""
    file.seek(max(0, size - _GUESS_BYTES))
    tail = file.read(_GUESS_BYTES)
    length = _document_bytes(tail) + _FOOTER.size
    if length > size:
        raise Damaged("the trailer is longer than the file")
    if length > len(tail):
        file.seek(size - length)
        tail = file.read(length)
        if len(tail) != length:
            raise Damaged("the file is shorter than it was")
    encoded = tail[len(tail) - length :]
    contents = decode(encoded)
    end = contents.table.end
    if end > size - length or (contents.kind is FileKind.SEGMENT and end != size - length):
        raise Damaged("the trailer's table does not fit the file")
    return contents, encoded


def read_path(path: str, kind: FileKind, name: str) -> tuple[Contents, bytes]:
    """The trailer of a file that must be of this kind and name; raises Damaged, OSError."""
    with open(path, "rb", buffering=0) as file:
        contents, encoded = read(file, file.seek(0, 2))
    if (contents.kind, contents.name) != (kind, name):
        raise Damaged(f"the trailer is that of {contents.name!r}")
    return contents, encoded


def _document_bytes(untrusted_tail: bytes) -> int:
    if len(untrusted_tail) < _FOOTER.size:
        raise Damaged("the file is shorter than a trailer")
    length, _, magic = _FOOTER.unpack(untrusted_tail[-_FOOTER.size :])
    if magic != _MAGIC:
        raise Damaged("the file has no trailer")
    if length > MAX_TRAILER_BYTES:
        raise Damaged("the trailer's length is out of range")
    return int(length)


def _contents(untrusted: object) -> Contents:
    if not isinstance(untrusted, dict) or untrusted.get("v") != 1:
        raise Damaged("the trailer is of a version that this hausd does not know")
    try:
        kind = FileKind(_typed(untrusted, "kind", int))
        lengths = _unpack(_typed(untrusted, "lengths", bytes))
        digests = _typed(untrusted, "digests", bytes)
        if len(digests) != DIGEST_BYTES * len(lengths):
            raise Damaged("the trailer has not as many digests as lengths")
        if kind is FileKind.PACK:
            offsets = _unpack(_typed(untrusted, "offsets", bytes))
            table = Table(bytearray(digests), array("Q", offsets), array("I", lengths))
            if len(offsets) != len(lengths) or list(offsets) != sorted(offsets):
                raise Damaged("the trailer's offsets are not in order")
            record = b""
        else:
            table = table_of(digests, lengths)
            record = _typed(untrusted, "record", bytes)
            for pair in _typed(untrusted, "nodes", list):
                cid, block = CID.from_bytes(pair[0]), pair[1]
                if not isinstance(block, bytes):
                    raise Damaged("a node in the trailer is not bytes")
                table.nodes[cid.digest] = (cid, block)
        return Contents(
            kind, _typed(untrusted, "name", str), _typed(untrusted, "closed", int), table, record
        )
    except Damaged:
        raise
    except (CIDError, ValueError, TypeError, IndexError) as fault:
        raise Damaged(f"the trailer's document is not as it should be: {fault}") from None


def _typed(document: dict[object, object], key: str, kind: type[_T]) -> _T:
    value = document.get(key)
    if not isinstance(value, kind):
        raise Damaged(f"{key!r} is missing from the trailer, or of another type")
    return value


def _pack(numbers: array[int]) -> bytes:
    return struct.pack(f"!{len(numbers)}I", *numbers)


def _unpack(untrusted: bytes) -> tuple[int, ...]:
    if len(untrusted) % 4:
        raise Damaged("a list in the trailer is cut short")
    return struct.unpack(f"!{len(untrusted) // 4}I", untrusted)
