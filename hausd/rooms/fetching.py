"""Fetches whole archive segments into the store: nodes, then leaves, then the close.

What the store has of a segment already (a lane that lost a part, a fetch that was cut short by a
crash) is gone on with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import MAX_BLOCK_BYTES
from hausd.core.following import LeafMissing, Priority
from hausd.core.ids import RoomId
from hausd.core.manifest import ManifestError, SegmentRecord, encode_record
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import PeerId
from hausd.core.storage import MAX_SEGMENT_BYTES, Append, Close, SegmentKey
from hausd.core.unixfs import FileNode, read_node, spans
from hausd.rooms.leaftable import LeafTable
from hausd.rooms.packing import MAX_SEGMENT_LEAVES
from hausd.rooms.ports import BlockStore, Leaves
from hausd.rooms.recorder import Recorder
from hausd.rooms.turns import Turns

LEAVES_AT_ONCE = 16
"""Of one segment: 2 MiB in memory and on the way."""
_DEADLINE_S = 15.0
MAX_TREE_BYTES = 16 * 1024 * 1024
"""Of a segment's nodes together, which are in memory: four times what so many leaves need."""


@dataclass(slots=True)
class Fetcher:
    """One room's fetching of what is not live."""

    room: RoomId
    store: BlockStore
    leaves: Leaves
    table: LeafTable
    recorder: Recorder
    turns: Turns
    weight: Callable[[], float]
    """The room's share of the line, among others."""

    async def node(self, cid: CID, told_by: PeerId | None, max_bytes: int) -> bytes:
        """A node of at most so many bytes; what was fetched is kept for who asks here.

        Raises LeafMissing.
        """
        return await self._kept(cid, max_bytes, told_by)

    async def passing(self, cid: CID, told_by: PeerId | None) -> bytes:
        """A small block that will soon be another, and is not stored. Raises LeafMissing."""
        return await self._get(cid, LEAF_BYTES, told_by)

    async def sprite(self, cid: CID, size: int, told_by: PeerId | None) -> None:
        """Brings an image into the store. Raises LeafMissing."""
        if not self.store.has(cid):
            await self._kept(cid, min(size, LEAF_BYTES), told_by)

    async def segment(self, record: SegmentRecord, told_by: PeerId | None) -> None:
        """Brings a segment into the store, under its key, as the origin's store has it.

        Raises LeafMissing, RecordingStopped, ManifestError, UnixFsError.
        """
        key, segment = record.key, record.segment
        if segment.size > MAX_SEGMENT_BYTES:
            raise ManifestError("a segment is larger than this node takes")
        await self._kept(segment.init, LEAF_BYTES, told_by)
        nodes = await self._nodes(segment.cid, told_by)
        wanted = await self._leaves(record, nodes)
        for at in range(await self._begun(key, wanted), len(wanted), LEAVES_AT_ONCE):
            window = wanted[at : at + LEAVES_AT_ONCE]
            fetched = await self._together(window, told_by)
            await self.store.write([Append(key, fetched)])
        await self.store.write([Close(key, _in_order(segment.cid, nodes), encode_record(record))])

    async def _nodes(self, root: CID, told_by: PeerId | None) -> dict[CID, bytes]:
        """The nodes of a segment's tree: GOPs, and the segment over them."""
        found: dict[CID, bytes] = {}
        if root.codec is Codec.RAW:
            return found
        found[root] = await self._get(root, MAX_BLOCK_BYTES, told_by)
        node = read_node(root, found[root])
        below = [link.cid for link in node.links if link.cid.codec is Codec.DAG_PB]
        for at in range(0, len(below), LEAVES_AT_ONCE):
            wanted = [(cid, MAX_BLOCK_BYTES) for cid in below[at : at + LEAVES_AT_ONCE]]
            found |= {cid: bytes(block) for cid, block in await self._together(wanted, told_by)}
            if sum(map(len, found.values())) > MAX_TREE_BYTES:
                raise ManifestError("a segment's tree is larger than any can be")
        return found

    async def _leaves(
        self, record: SegmentRecord, nodes: dict[CID, bytes]
    ) -> list[tuple[CID, int]]:
        """A segment's leaves with their sizes, in order."""
        segment = record.segment
        if segment.cid.codec is Codec.RAW:
            if segment.size > LEAF_BYTES:
                raise ManifestError("a segment of one leaf is larger than a leaf")
            return [(segment.cid, segment.size)]

        async def get(cid: CID) -> bytes:
            if cid not in nodes:
                raise ManifestError("a segment's tree is deeper than GOPs")
            return nodes[cid]

        found: list[tuple[CID, int]] = []
        async for span in spans(segment.cid, get):
            if span.data is not None or span.size > LEAF_BYTES or len(found) >= MAX_SEGMENT_LEAVES:
                raise ManifestError("a segment is not made of leaves")
            found.append((span.cid, span.size))
        if sum(size for _, size in found) != segment.size:
            raise ManifestError("a segment's size is not that of its leaves")
        return found

    async def _begun(self, key: SegmentKey, wanted: Sequence[tuple[CID, int]]) -> int:
        """How many of its leaves the store has in place; what is otherwise there is removed."""
        for unclosed in self.store.unclosed(self.room):
            if unclosed.key == key:
                if list(unclosed.leaves) == list(wanted[: len(unclosed.leaves)]):
                    return len(unclosed.leaves)
                await self.store.discard([key])
        return 0

    async def _together(
        self, wanted: Sequence[tuple[CID, int]], told_by: PeerId | None
    ) -> tuple[tuple[CID, bytes], ...]:
        """Blocks of these sizes (leaves) or at most them (nodes), in order."""
        fetched: dict[int, bytes] = {}

        async def one(at: int, cid: CID, size: int) -> None:
            block = await self._get(cid, size, told_by)
            if cid.codec is Codec.RAW and len(block) != size:
                raise ManifestError("a leaf has not the size that its node says")
            fetched[at] = block

        faults: list[BaseException] = []
        try:
            async with trio.open_nursery() as nursery:
                for at, (cid, size) in enumerate(wanted):
                    nursery.start_soon(one, at, cid, size)
        except* (LeafMissing, ManifestError) as group:
            faults.extend(group.exceptions)
        if faults:
            raise faults[0]
        return tuple((cid, fetched[at]) for at, (cid, _) in enumerate(wanted))

    async def _kept(self, cid: CID, max_bytes: int, told_by: PeerId | None) -> bytes:
        """A small block that belongs into the store by itself."""
        if not self.store.has(cid):
            block = await self._get(cid, max_bytes, told_by)
            self.table.add(((cid, block),))
            self.recorder.put(((cid, block),))
            return block
        return await self._get(cid, max_bytes, told_by)

    async def _get(self, cid: CID, max_bytes: int, told_by: PeerId | None) -> bytes:
        held = self.table.peek(cid)
        if held is None and self.store.has(cid):
            held = await self.store.block(cid)
        if held is not None:
            return bytes(held)
        async with self.turns.turn(self.room, self.weight(), max_bytes):
            return await self.leaves.fetch(
                self.room,
                cid,
                max_bytes,
                told_by=told_by,
                deadline_s=trio.current_time() + _DEADLINE_S,
                priority=Priority.ARCHIVE,
            )


def _in_order(root: CID, nodes: dict[CID, bytes]) -> tuple[tuple[CID, bytes], ...]:
    """GOPs as they follow each other, then the segment: as the origin's file has them."""
    if root not in nodes:
        return ()
    node = read_node(root, nodes[root])
    links = node.links if isinstance(node, FileNode) else ()
    below = [(link.cid, nodes[link.cid]) for link in links if link.cid in nodes]
    return (*below, (root, nodes[root]))
