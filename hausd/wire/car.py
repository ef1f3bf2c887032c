"""CARv1: a file of blocks with their CIDs, as IPFS implementations exchange them.

Source: https://ipld.io/specs/transport/car/carv1/. The writer goes through a tree of blocks and
holds the way down only; the reader takes bytes as they come and gives blocks that are what their
CIDs say. No I/O here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from hausd.core import dagcbor, dagpb
from hausd.core.cid import CID, CIDError, Codec
from hausd.core.unixfs import Block, BlockMissing, Getter

MAX_BLOCK_BYTES = 2 * 1024 * 1024
"""Largest block read: more than other implementations exchange."""
MAX_HEADER_BYTES = 64 * 1024
MAX_NODES = 1_000_000
"""Nodes (blocks with links) in one walk. A 12 h room of 5 renditions has some 130,000."""

_CID_BYTES = 36


class CarError(ValueError):
    """The bytes are not a CAR file that hausd reads, or a block is not what its CID says."""


def encode_header(root: CID) -> bytes:
    """How a CAR file with one root begins."""
    header = dagcbor.encode({"roots": [root], "version": 1})
    return dagpb.varint(len(header)) + header


def encode_block(cid: CID, block: bytes) -> tuple[bytes, bytes]:
    """A block as it stands in the file: its frame, then its bytes, which are not copied."""
    return dagpb.varint(_CID_BYTES + len(block)) + bytes(cid), block


def child_links(cid: CID, block: bytes) -> list[CID]:
    """What a block links to; raises CarError where it is not of its codec."""
    try:
        match cid.codec:
            case Codec.RAW:
                return []
            case Codec.DAG_PB:
                return [link.cid for link in dagpb.decode(block).links]
            case Codec.DAG_CBOR:
                value = dagcbor.decode(block, max_items=dagcbor.MAX_LISTED_ITEMS)
                return list(dagcbor.links(value))
    except (dagpb.DagPbError, dagcbor.DagCborError) as fault:
        raise CarError(f"{cid}: {fault}") from None


async def walk(root: CID, get: Getter) -> AsyncIterator[Block]:
    """Every block from a root down, parents before children, in the order of the links.

    A node that is linked to twice comes once; a raw leaf may come again. Memory is one entry for
    each node. Raises BlockMissing, and CarError where there are more than MAX_NODES.
    """
    seen: set[bytes] = set()
    stack = [root]
    while stack:
        cid = stack.pop()
        if cid.codec is not Codec.RAW:
            if bytes(cid) in seen:
                continue
            if len(seen) == MAX_NODES:
                raise CarError(f"more than {MAX_NODES} nodes below {root}")
            seen.add(bytes(cid))
        block = await get(cid)
        if block is None:
            raise BlockMissing(cid)
        yield cid, block
        stack.extend(reversed(child_links(cid, block)))


async def write(root: CID, get: Getter) -> AsyncIterator[bytes]:
    """A CAR file of all blocks from a root down, piece by piece; raises as ``walk`` does."""
    yield encode_header(root)
    async for cid, block in walk(root, get):
        frame, body = encode_block(cid, block)
        yield frame
        yield body


@dataclass(slots=True)
class CarReader:
    """Reads a CAR file from bytes as they come; holds one block at most besides what it is fed.

    ``roots`` is set with the header, before the first block is given.
    """

    roots: tuple[CID, ...] | None = None
    _buffer: bytearray = field(default_factory=bytearray)
    _at: int = 0

    def feed(self, untrusted: bytes) -> Iterator[Block]:
        """The blocks that these bytes complete, each checked against its CID.

        To be exhausted before the next call. Raises CarError; nothing can be read after that.
        """
        self._buffer += untrusted
        while (frame := self._next_frame()) is not None:
            if self.roots is None:
                self.roots = _read_header(frame)
            else:
                yield _read_block(frame)
        del self._buffer[: self._at]
        self._at = 0

    def finish(self) -> None:
        """To be called at the end of the file; raises CarError where it is cut short."""
        if self.roots is None or self._buffer:
            raise CarError("the CAR file is cut short")

    def _next_frame(self) -> bytes | None:
        head = bytes(self._buffer[self._at : self._at + 10])
        if len(head) < 10 and all(byte >= 0x80 for byte in head):
            return None  # the length itself is still to come
        try:
            length, width = dagpb.read_varint(head, 0)
        except dagpb.DagPbError as fault:
            raise CarError(f"the length of a block: {fault}") from None
        most = MAX_HEADER_BYTES if self.roots is None else _CID_BYTES + MAX_BLOCK_BYTES
        if not 0 < length <= most:
            raise CarError(f"a block of {length} bytes is not read here, at most {most} are")
        begin = self._at + width
        if len(self._buffer) < begin + length:
            return None
        self._at = begin + length
        return bytes(self._buffer[begin : self._at])


def _read_header(untrusted: bytes) -> tuple[CID, ...]:
    try:
        header = dagcbor.decode(untrusted)
    except dagcbor.DagCborError as fault:
        raise CarError(f"the header of the CAR file: {fault}") from None
    match header:
        case {"version": 1, "roots": [*roots], **rest} if not rest:
            listed = [root for root in roots if isinstance(root, CID)]
            if listed and len(listed) == len(roots):
                return tuple(listed)
    raise CarError("not a CAR file of version 1 with at least one root")


def _read_block(untrusted: bytes) -> Block:
    try:
        cid = CID.from_bytes(untrusted[:_CID_BYTES])
    except CIDError as fault:
        raise CarError(f"the CID of a block: {fault}") from None
    block = untrusted[_CID_BYTES:]
    if not cid.matches(block):
        raise CarError(f"block {cid} is damaged")
    return cid, block
