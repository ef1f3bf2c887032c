"""From parts to addresses: leaves, GOP files and segment files of one rendition.

The same bytes get the same CIDs wherever they are cut (design, section 4): a part is a run of
leaves, a GOP a UnixFS file over its leaves, a segment a UnixFS file over its GOPs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hausd.core import unixfs
from hausd.core.cid import CID
from hausd.core.media import leaves

MAX_SEGMENT_LEAVES = 65_536
"""Of one segment: 8 GiB, were they full."""

Leaf = tuple[CID, memoryview]
Block = tuple[CID, bytes]


@dataclass(frozen=True, slots=True)
class Packed:
    """A file over blocks: its CID, its size in bytes, and the nodes above its leaves."""

    cid: CID
    size: int
    nodes: tuple[Block, ...]


@dataclass(slots=True)
class Packer:
    """Builds the tree of one rendition's open segment, part by part."""

    _gop: list[unixfs.Child] = field(default_factory=list)
    _gops: list[unixfs.Child] = field(default_factory=list)
    _nodes: list[Block] = field(default_factory=list)

    def add(self, part: bytes) -> tuple[tuple[Leaf, ...], CID]:
        """The leaves of a part, and the CID that its bytes have as one file."""
        cut = tuple((CID.of(leaf), leaf) for leaf in leaves(part))
        return cut, self.place(cut)

    def place(self, cut: tuple[Leaf, ...]) -> CID:
        """The same with leaves whose CIDs are known."""
        children = [unixfs.raw_child(cid, len(leaf)) for cid, leaf in cut]
        self._gop.extend(children)
        return unixfs.file_over(children).cid

    def end_gop(self) -> Packed | None:
        """Closes the GOP; None where it is empty."""
        if not self._gop:
            return None
        packed = self._pack(self._gop)
        self._gop = []
        self._gops.append(packed[0])
        self._nodes.extend(packed[1].nodes)
        return packed[1]

    def end_segment(self) -> Packed | None:
        """Closes the segment; ``nodes`` are all nodes of its tree. None where it is empty."""
        self.end_gop()
        if not self._gops:
            return None
        _, packed = self._pack(self._gops)
        nodes = (*self._nodes, *packed.nodes)
        self._gops, self._nodes = [], []
        return Packed(packed.cid, packed.size, nodes)

    @staticmethod
    def _pack(children: list[unixfs.Child]) -> tuple[unixfs.Child, Packed]:
        node = unixfs.file_over(children)
        blocks = () if node.block is None else ((node.cid, node.block),)
        return node.child, Packed(node.cid, node.child.size, blocks)
