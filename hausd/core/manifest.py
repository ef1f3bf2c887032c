"""The manifest of a room: an append-only tree of segment records, addressed by content.

One tree per rendition, so that a slow or shed encoder holds nothing back: a leaf holds up to
FANOUT records in the order of their numbers, an inner node up to FANOUT children, all of them
full but the last. The root names the trees. So the CIDs depend on the records alone, never on
when or in what batches they were appended; an append writes one node of each level, and any
segment is that many blocks from the root: 4 for 32,768 segments (91 h of 10 s).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from hausd.core.cid import CID, Codec
from hausd.core.forms import MAX_INT, MAX_RENDITIONS
from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.core.manifest_nodes import (
    FANOUT,
    MAX_LEVEL,
    MAX_NODE_BYTES,
    Entry,
    ManifestError,
    Root,
    SegmentRecord,
    check_segment,
    decode_inner,
    decode_leaf,
    decode_record,
    decode_root,
    encode_inner,
    encode_leaf,
    encode_record,
    encode_root,
)
from hausd.core.unixfs import Block, BlockMissing, Getter

__all__ = [
    "FANOUT",
    "MAX_NODE_BYTES",
    "Manifest",
    "ManifestError",
    "SegmentRecord",
    "decode_record",
    "encode_record",
    "find",
    "read_root",
    "records",
    "verify",
]


class Manifest:
    """A manifest that grows. Holds the right edge of each tree only, never what is below."""

    def __init__(self, room: RoomId, state: RoomState = RoomState.CREATED) -> None:
        self.room = room
        self._state = state
        self._free: CID | None = None
        self._trees: dict[str, _Tree] = {}
        self._root = _block(encode_root(Root(room, state, {})))

    @property
    def state(self) -> RoomState:
        return self._state

    @property
    def cid(self) -> CID:
        """The root's CID."""
        return self._root[0]

    @property
    def root(self) -> Block:
        """The root block; that of an empty manifest is in no answer of ``append``."""
        return self._root

    def count(self, rendition: str) -> int:
        """How many segments of a rendition are recorded."""
        tree = self._trees.get(rendition)
        return tree.count if tree is not None else 0

    def last(self, rendition: str) -> int | None:
        """The number of the newest segment of a rendition."""
        tree = self._trees.get(rendition)
        return tree.last if tree is not None else None

    def append(
        self,
        *appended: SegmentRecord,
        state: RoomState | None = None,
        free: CID | None = None,
    ) -> list[Block]:
        """Adds records, sets the room's state and the list of its free keys, each None where it
        stays; gives the blocks that are new, the root last.

        The numbers of a rendition only grow; raises ValueError where they do not, or a record is
        another room's or none that could be read again, and has then changed nothing.
        """
        self._check(appended)
        blocks: list[Block] = []
        touched: dict[str, _Tree] = {}
        for record in appended:
            name = record.rendition.name
            touched[name] = self._trees.setdefault(name, _Tree())
            blocks.extend(touched[name].append(record))
        for tree in touched.values():
            blocks.extend(tree.seal())
        self._state = self._state if state is None else state
        trees = {name: (tree.count, tree.top.cid) for name, tree in self._trees.items() if tree.top}
        self._free = self._free if free is None else free
        self._root = _block(encode_root(Root(self.room, self._state, trees, self._free)))
        # A leaf or node that a batch filled is at once the edge: once is enough.
        return list(dict.fromkeys([*blocks, self._root]))

    @classmethod
    async def load(cls, cid: CID, get: Getter) -> Manifest:
        """Takes up a manifest where it ended; raises ManifestError, BlockMissing."""
        root = await read_root(cid, get)
        manifest = cls(root.room, root.state)
        for name, (count, top) in root.trees.items():
            manifest._trees[name] = await _load_tree(root.room, name, count, top, get)
        manifest._free, manifest._root = root.free, _block(encode_root(root))
        return manifest

    def _check(self, appended: Iterable[SegmentRecord]) -> None:
        lasts = {name: tree.last for name, tree in self._trees.items()}
        for record in appended:
            name, number = record.rendition.name, record.segment.number
            if record.room != self.room:
                raise ValueError(f"a segment of room {record.room} can't be in this manifest")
            if number <= lasts.get(name, -1):
                raise ValueError(f"segment {number} of {name} comes after {lasts[name]}")
            check_segment(record.segment)
            lasts[name] = number
        if len(lasts) > MAX_RENDITIONS:
            raise ValueError(f"a room has at most {MAX_RENDITIONS} renditions")


async def read_root(cid: CID, get: Getter) -> Root:
    """What a manifest's root says; raises ManifestError, BlockMissing."""
    return decode_root(await _get(cid, get))


async def find(cid: CID, get: Getter, rendition: str, number: int) -> SegmentRecord | None:
    """The record of a segment, None where there is none; raises ManifestError, BlockMissing."""
    root = await read_root(cid, get)
    if rendition not in root.trees:
        return None
    count, node = root.trees[rendition]
    for level in range(_level(count), 0, -1):
        children = _check_inner(level, count, decode_inner(await _get(node, get)))
        below = [child for child in children if child.first <= number]
        if not below:
            return None
        count, node = below[-1].count, below[-1].cid
    leaf = _check_leaf(count, decode_leaf(root.room, rendition, await _get(node, get)))
    return next((record for record in leaf if record.segment.number == number), None)


async def records(
    cid: CID, get: Getter, rendition: str, start: int = 0
) -> AsyncIterator[SegmentRecord]:
    """The records of a rendition from number ``start`` on; raises ManifestError, BlockMissing."""
    root = await read_root(cid, get)
    if rendition not in root.trees:
        return
    count, top = root.trees[rendition]
    stack = [(_level(count), Entry(-1, count, top), MAX_INT + 1)]
    newest = -1
    while stack:
        level, entry, end = stack.pop()
        if end <= start:
            continue
        block = await _get(entry.cid, get)
        if level:
            children = _check_inner(level, entry.count, decode_inner(block))
            _check_first(entry, children[0].first)
            ends = [*(child.first for child in children[1:]), end]
            stack.extend(
                (level - 1, child, stop)
                for child, stop in reversed(list(zip(children, ends, strict=True)))
            )
            continue
        leaf = _check_leaf(entry.count, decode_leaf(root.room, rendition, block))
        _check_first(entry, leaf[0].segment.number)
        for record in leaf:
            if record.segment.number <= newest:
                raise ManifestError("a manifest's numbers do not grow")
            newest = record.segment.number
            if newest >= start:
                yield record


async def verify(cid: CID, get: Getter) -> dict[str, int]:
    """Reads every node and gives the segments of each rendition.

    Raises ManifestError, BlockMissing.
    """
    root = await read_root(cid, get)
    found: dict[str, int] = {}
    for name, (count, _) in root.trees.items():
        found[name] = 0
        async for _record in records(cid, get, name):
            found[name] += 1
        if found[name] != count:
            raise ManifestError(f"the tree of {name} has {found[name]} segments, not {count}")
    return found


@dataclass(slots=True)
class _Tree:
    """The right edge of a tree: level 0 holds the records of the open leaf, level k the full
    nodes of level k - 1 that are not yet in a full node themselves."""

    records: list[SegmentRecord] = field(default_factory=list)
    levels: list[list[Entry]] = field(default_factory=list)
    count: int = 0
    last: int = -1
    top: Entry | None = None

    def append(self, record: SegmentRecord) -> list[Block]:
        """Adds a record; gives the nodes that it filled."""
        self.records.append(record)
        self.count += 1
        self.last = record.segment.number
        if len(self.records) < FANOUT:
            return []
        entry, block = _leaf(self.records)
        blocks = [block]
        self.records = []
        for level in range(1, MAX_LEVEL + 2):
            if level > len(self.levels):
                self.levels.append([])
            held = self.levels[level - 1]
            held.append(entry)
            if len(held) < FANOUT:
                break
            entry, block = _inner(level, held)
            blocks.append(block)
            self.levels[level - 1] = []
        return blocks

    def seal(self) -> list[Block]:
        """Sets ``top``; gives the nodes of the edge, which are not full."""
        blocks: list[Block] = []
        edge: Entry | None = None
        if self.records:
            edge, block = _leaf(self.records)
            blocks.append(block)
        for level, held in enumerate(self.levels, 1):
            children = held if edge is None else [*held, edge]
            if not children:
                continue
            if len(children) == 1 and level == len(self.levels):
                edge = children[0]  # a full node that is all there is
                break
            edge, block = _inner(level, children)
            blocks.append(block)
        self.top = edge
        return blocks


async def _load_tree(room: RoomId, name: str, count: int, top: CID, get: Getter) -> _Tree:
    """Goes down the right edge. A full node is held whole by the level above it."""
    height = _level(count)
    whole = count == FANOUT ** (height + 1)
    tree = _Tree(levels=[[] for _ in range(height + whole)], count=count)
    first: int | None = None
    edge = Entry(-1, count, top)
    held = whole
    for level in range(height, 0, -1):
        children = _check_inner(level, edge.count, decode_inner(await _get(edge.cid, get)))
        _check_first(edge, children[0].first)
        first = children[0].first if first is None else first
        if not held:
            tree.levels[level - 1] = [c for c in children if c.count == FANOUT**level]
        edge = children[-1]
        held = held or edge.count == FANOUT**level
    leaf = _check_leaf(edge.count, decode_leaf(room, name, await _get(edge.cid, get)))
    _check_first(edge, leaf[0].segment.number)
    if not held:
        tree.records = leaf
    tree.last = leaf[-1].segment.number
    tree.top = Entry(leaf[0].segment.number if first is None else first, count, top)
    if whole:
        tree.levels[height] = [tree.top]
    return tree


def _level(count: int) -> int:
    """The level of the top node over so many segments; a leaf's is 0."""
    level = 0
    while FANOUT ** (level + 1) < count:
        level += 1
    return level


def _check_inner(level: int, count: int, node: tuple[int, list[Entry]]) -> list[Entry]:
    found, children = node
    if (
        found != level
        or sum(child.count for child in children) != count
        or any(child.count != FANOUT**level for child in children[:-1])
    ):
        raise ManifestError("a node does not hold what the one above it says")
    return children


def _check_leaf(count: int, leaf: list[SegmentRecord]) -> list[SegmentRecord]:
    if len(leaf) != count:
        raise ManifestError(f"a leaf holds {len(leaf)} segments, the node above it says {count}")
    return leaf


def _check_first(entry: Entry, first: int) -> None:
    """The top's first number is not said anywhere: -1."""
    if entry.first not in (-1, first):
        raise ManifestError(f"a node begins with {first}, the one above it says {entry.first}")


def _leaf(held: list[SegmentRecord]) -> tuple[Entry, Block]:
    block = _block(encode_leaf(held))
    return Entry(held[0].segment.number, len(held), block[0]), block


def _inner(level: int, children: list[Entry]) -> tuple[Entry, Block]:
    block = _block(encode_inner(level, children))
    return Entry(children[0].first, sum(child.count for child in children), block[0]), block


def _block(encoded: bytes) -> Block:
    return CID.of(encoded, Codec.DAG_CBOR), encoded


async def _get(cid: CID, get: Getter) -> bytes:
    block = await get(cid)
    if block is None:
        raise BlockMissing(cid)
    return block
