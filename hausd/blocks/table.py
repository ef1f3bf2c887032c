"""Which blocks lie where in one file: the leaves in order, and the nodes above them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from hausd.blocks import prints
from hausd.core import unixfs
from hausd.core.cid import CID, Codec

DIGEST_BYTES = 32
_PLACE_BYTES = 12
_NODE_BYTES = 400
"""About what a node's CID and the objects around it take."""


@dataclass(slots=True, eq=False)
class Table:
    """The blocks of a file.

    ``digests`` holds one SHA-256 of 32 bytes after the other, ``offsets`` and ``lengths`` where
    each of these blocks lies. ``nodes`` are small blocks that stand in the trailer itself.
    """

    digests: bytearray = field(default_factory=bytearray)
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("I"))
    nodes: dict[bytes, tuple[CID, bytes]] = field(default_factory=dict)
    _ranges: dict[bytes, tuple[int, int] | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lengths)

    def append(self, digest: bytes, offset: int, length: int) -> None:
        """Adds a block behind the others."""
        self.digests += digest
        self.offsets.append(offset)
        self.lengths.append(length)

    def copy(self) -> Table:
        """One that can grow on its own."""
        return Table(bytearray(self.digests), self.offsets[:], self.lengths[:], dict(self.nodes))

    def cut(self, count: int) -> None:
        """Forgets all but the first ``count`` blocks."""
        del self.digests[count * DIGEST_BYTES :]
        del self.offsets[count:]
        del self.lengths[count:]

    @property
    def weight(self) -> int:
        """About what it takes in memory, in bytes."""
        nodes = sum(len(block) + _NODE_BYTES for _, block in self.nodes.values())
        return len(self.digests) + _PLACE_BYTES * len(self) + nodes

    @property
    def end(self) -> int:
        """Where the last block ends."""
        return self.offsets[-1] + self.lengths[-1] if self.lengths else 0

    def leaves(self) -> tuple[tuple[CID, int], ...]:
        """The blocks as raw leaves with their lengths, in order."""
        return tuple(
            (CID(Codec.RAW, self.digest(index)), length)
            for index, length in enumerate(self.lengths)
        )

    def digest(self, index: int) -> bytes:
        return bytes(self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])

    def find(self, digest: bytes) -> Iterator[int]:
        """The places of a block among the others; mostly one or none."""
        at = self.digests.find(digest)
        while at >= 0:
            if at % DIGEST_BYTES == 0:
                yield at // DIGEST_BYTES
            at = self.digests.find(digest, at + 1)

    def all_digests(self) -> Iterator[bytes]:
        """Of the blocks, then of the nodes."""
        for index in range(len(self.lengths)):
            yield self.digest(index)
        yield from self.nodes

    def prints(self) -> bytes:
        """Of all of them, as ``Prints.load`` takes them."""
        return prints.pack(self.digests, self.nodes)

    def span(self, digest: bytes) -> tuple[int, int] | None:
        """First and past-the-last block under a node, where its content lies contiguously."""
        if digest not in self._ranges:
            self._ranges[digest] = self._span(digest)
        return self._ranges[digest]

    def _span(self, digest: bytes) -> tuple[int, int] | None:
        leaves = bytearray()
        size = 0
        stack = [digest]
        while stack:
            above = stack.pop()
            found = self.nodes.get(above)
            if found is None:
                leaves += above
                continue
            try:
                node = unixfs.read_node(*found)
            except unixfs.UnixFsError:
                return None
            if not isinstance(node, unixfs.FileNode) or node.data:
                return None
            if above == digest:
                size = node.size
            stack.extend(link.cid.digest for link in reversed(node.links))
            if len(leaves) > len(self.digests) or len(stack) > len(self.lengths) + len(self.nodes):
                return None
        for first in self.find(bytes(leaves)) if leaves else ():
            last = first + len(leaves) // DIGEST_BYTES
            if sum(self.lengths[first:last]) == size:
                return first, last
        return None


def table_of(digests: bytes, lengths: Sequence[int]) -> Table:
    """Blocks that lie one after the other from offset 0."""
    offsets = array("Q", accumulate(lengths, initial=0))
    offsets.pop()
    return Table(bytearray(digests), offsets, array("I", lengths))
