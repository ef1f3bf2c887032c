"""What is fetched of a segment is bounded by what one can have, not by what is signed of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from support.content import ROOM, record
from support.memorystore import MemoryStore

from hausd.core import dagpb, unixfs
from hausd.core.cid import CID, Codec
from hausd.core.following import LeafMissing, Priority
from hausd.core.ids import RoomId
from hausd.core.manifest import ManifestError, SegmentRecord
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import PeerId
from hausd.rooms.fetching import Fetcher
from hausd.rooms.leaftable import LeafTable
from hausd.rooms.recorder import Recorder
from hausd.rooms.turns import Turns


class Lines:
    """Implements ``rooms.ports.Leaves``: has these blocks."""

    def __init__(self) -> None:
        self.blocks: dict[CID, bytes] = {}
        self.asked: list[tuple[CID, int]] = []

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> CID:
        cid = CID.of(block, codec)
        self.blocks[cid] = block
        return cid

    async def fetch(
        self,
        room: RoomId,
        cid: CID,
        max_bytes: int,
        *,
        told_by: PeerId | None,
        deadline_s: float,
        priority: Priority,
    ) -> bytes:
        self.asked.append((cid, max_bytes))
        await trio.lowlevel.checkpoint()
        if cid not in self.blocks:
            raise LeafMissing("nobody has it")
        return self.blocks[cid]


def fetcher(lines: Lines) -> Fetcher:
    store = MemoryStore()
    recorder = Recorder(ROOM, store, lambda made: None, lambda why: None, lambda: None)
    return Fetcher(ROOM, store, lines, LeafTable(store), recorder, Turns(), lambda: 1.0)


def named(lines: Lines, cid: CID, size: int) -> SegmentRecord:
    true = record(3)
    segment = replace(true.segment, cid=cid, size=size, init=lines.put(b"init"))
    return replace(true, segment=segment)


@pytest.mark.parametrize("size", [LEAF_BYTES + 1, 2**53 - 1, 0])
async def test_a_segment_of_one_leaf_is_no_larger_than_a_leaf(size: int) -> None:
    lines = Lines()
    with pytest.raises(ManifestError):
        await fetcher(lines).segment(named(lines, lines.put(b"leaf"), size), None)
    assert all(most <= LEAF_BYTES for _, most in lines.asked)


async def test_the_nodes_of_a_segment_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hausd.rooms.fetching.MAX_TREE_BYTES", 20_000)
    lines, gops = Lines(), []
    for at in range(200):
        leaves = [unixfs.raw_child(CID.of(b"%d %d" % (at, one)), 1) for one in range(20)]
        made = unixfs.file_over(leaves)
        assert made.block is not None
        lines.put(made.block, Codec.DAG_PB)
        gops.append(made.child)
    whole = unixfs.file_over(gops)
    assert whole.block is not None
    cid = lines.put(whole.block, Codec.DAG_PB)
    with pytest.raises(ManifestError):
        await fetcher(lines).segment(named(lines, cid, whole.child.size), None)
    assert len(lines.asked) < 60, "no more once it is too much"


async def test_a_segment_of_many_gops_is_fetched() -> None:
    lines, gops = Lines(), []
    for at in range(40):
        leaves = [lines.put(b"%d %d" % (at, one)) for one in range(3)]
        made = unixfs.file_over([unixfs.raw_child(one, len(lines.blocks[one])) for one in leaves])
        assert made.block is not None
        lines.put(made.block, Codec.DAG_PB)
        gops.append(made.child)
    whole = unixfs.file_over(gops)
    assert whole.block is not None
    assert len(whole.block) < dagpb.MAX_NODE_BYTES
    cid = lines.put(whole.block, Codec.DAG_PB)
    made_of = fetcher(lines)
    await made_of.segment(named(lines, cid, whole.child.size), None)
    (stored,) = await made_of.store.segments(ROOM)
    assert stored.size == whole.child.size
