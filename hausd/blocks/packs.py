"""Small blocks (inits, manifest nodes, images) of a room, one behind the other in a few files.

    { magic (4 bytes) | codec, u8 | length, u32 | digest (32 bytes) | CRC-32 of these | block } …

A pack tells itself what it holds; one that is full gets a trailer as segments do. A room's packs
are its own, so that dropping the room is dropping its files.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field

from hausd.blocks.table import Table
from hausd.core.cid import CID

_HEAD = struct.Struct("!4sBI32s")
_CHECKSUM = struct.Struct("!I")
_MAGIC = b"\xf5hb\x01"
HEAD_BYTES = _HEAD.size + _CHECKSUM.size
PACK_BYTES = 4 * 1024 * 1024
"""A pack that has reached this is closed. A start reads open ones through, so they are small."""
MAX_BLOCK_BYTES = 2 * 1024 * 1024
"""Largest block that IPFS implementations exchange."""


def head(cid: CID, length: int) -> bytes:
    """What stands before a block of ``length`` bytes."""
    fields = _HEAD.pack(_MAGIC, cid.codec, length, cid.digest)
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


@dataclass(slots=True)
class Scanned:
    """What an open pack holds: blocks in ``table``, those whose bytes are wrong in ``corrupt``.

    Past ``end`` nothing whole follows. ``holes`` counts places where a head was unreadable.
    """

    table: Table = field(default_factory=Table)
    corrupt: set[int] = field(default_factory=set)
    end: int = 0
    holes: int = 0


def scan(untrusted: bytes, *, check: bool) -> Scanned:
    """Reads a pack through. ``check``: compare each block with its digest."""
    found = Scanned()
    at = 0
    hole = False
    while True:
        length = _length_at(untrusted, at)
        if length is None:
            at = untrusted.find(_MAGIC, at + 1)
            if at < 0:
                return found
            hole = True
            continue
        if hole:
            found.holes += 1
            hole = False
        start = at + HEAD_BYTES
        digest = untrusted[at + _HEAD.size - 32 : at + _HEAD.size]
        if check and hashlib.sha256(untrusted[start : start + length]).digest() != digest:
            found.corrupt.add(len(found.table))
        found.table.append(digest, start, length)
        at = found.end = start + length


def _length_at(untrusted: bytes, at: int) -> int | None:
    """Length of the block whose head is here; None where there is no whole one."""
    if at + HEAD_BYTES > len(untrusted):
        return None
    magic, _, length, _ = _HEAD.unpack_from(untrusted, at)
    (checksum,) = _CHECKSUM.unpack_from(untrusted, at + _HEAD.size)
    if magic != _MAGIC or zlib.crc32(untrusted[at : at + _HEAD.size]) != checksum:
        return None
    if length > MAX_BLOCK_BYTES or at + HEAD_BYTES + length > len(untrusted):
        return None
    return int(length)
