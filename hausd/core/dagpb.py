"""DAG-PB: the node format under UnixFS, a list of links and some data.

Source: https://ipld.io/specs/codecs/dag-pb/spec/. The canonical form puts the links before the
data and a link's fields in the order Hash, Name, Tsize, all three of them. Reading takes any
node that other implementations write, within bounds, with links of a CIDv1 over SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hausd.core.cid import CID, CIDError

MAX_NODE_BYTES = 1024 * 1024
"""Largest node that is written or read."""
MAX_SIZE_BYTES = 1 << 50
"""Largest size that a node may claim for what lies below it."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NODE_DATA, _NODE_LINKS = 1, 2
_LINK_HASH, _LINK_NAME, _LINK_TSIZE = 1, 2, 3


class DagPbError(ValueError):
    """The bytes are not a DAG-PB node that hausd reads; the message says why."""


class Link(msgspec.Struct, frozen=True):
    """A child: its CID, its name ("" within files), and all bytes of blocks from it down."""

    cid: CID
    name: str
    tsize: int


class Node(msgspec.Struct, frozen=True):
    """One DAG-PB node."""

    links: tuple[Link, ...]
    data: bytes


def encode(node: Node) -> bytes:
    """The canonical bytes; raises DagPbError where they are more than a block holds."""
    out = bytearray()
    for link in node.links:
        name = link.name.encode()
        body = b"\x0a\x24%b\x12%b%b\x18%b" % (
            bytes(link.cid),
            varint(len(name)),
            name,
            varint(link.tsize),
        )
        out += b"\x12%b%b" % (varint(len(body)), body)
    out += b"\x0a" + varint(len(node.data)) + node.data
    if len(out) > MAX_NODE_BYTES:
        raise DagPbError(f"a node of {len(node.links)} links is larger than a block may be")
    return bytes(out)


def decode(untrusted: bytes) -> Node:
    """Reads a node; raises DagPbError."""
    if len(untrusted) > MAX_NODE_BYTES:
        raise DagPbError(f"{len(untrusted)} bytes are more than the {MAX_NODE_BYTES} of a block")
    links: list[Link] = []
    data: bytes | None = None
    for number, value in fields(untrusted):
        if number == _NODE_LINKS and isinstance(value, bytes):
            links.append(_link(value))
        elif number == _NODE_DATA and isinstance(value, bytes) and data is None:
            data = value
        else:
            raise DagPbError(f"field {number} does not belong into a node, or not here")
    return Node(tuple(links), data or b"")


def fields(untrusted: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of one protobuf message by number; raises DagPbError."""
    at = 0
    while at < len(untrusted):
        key, at = read_varint(untrusted, at)
        number, wire_type = key >> 3, key & 7
        value: int | bytes
        if wire_type == _VARINT:
            value, at = read_varint(untrusted, at)
        elif wire_type in (_BYTES, _FIXED32, _FIXED64):
            if wire_type == _BYTES:
                length, at = read_varint(untrusted, at)
            else:
                length = 4 if wire_type == _FIXED32 else 8
            value = untrusted[at : at + length]
            if len(value) != length:
                raise DagPbError("a field is longer than its message")
            at += length
        else:
            raise DagPbError(f"wire type {wire_type} is not used in protobuf 3")
        yield number, value


def varint(number: int) -> bytes:
    """An unsigned integer as LEB128, at its shortest."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(untrusted: bytes, at: int) -> tuple[int, int]:
    """An unsigned integer of at most 64 bits, and where it ended; raises DagPbError."""
    number = shift = 0
    for end in range(at, min(at + 10, len(untrusted))):
        byte = untrusted[end]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >= 1 << 64:
                break
            return number, end + 1
        shift += 7
    raise DagPbError("an integer is cut short, or longer than 64 bits")


def _link(untrusted: bytes) -> Link:
    cid: CID | None = None
    name = ""
    tsize = 0
    last = 0
    for number, value in fields(untrusted):
        if number <= last:
            raise DagPbError("a link's fields come once each, in order")
        last = number
        if number == _LINK_HASH and isinstance(value, bytes):
            try:
                cid = CID.from_bytes(value)
            except CIDError as fault:
                raise DagPbError(f"a link's CID: {fault}") from None
        elif number == _LINK_NAME and isinstance(value, bytes):
            try:
                name = value.decode()
            except UnicodeDecodeError:
                raise DagPbError("a link's name is not UTF-8") from None
        elif number == _LINK_TSIZE and isinstance(value, int) and value <= MAX_SIZE_BYTES:
            tsize = value
        else:
            raise DagPbError(f"field {number} does not belong into a link, or is out of range")
    if cid is None:
        raise DagPbError("a link has no CID")
    return Link(cid, name, tsize)
