"""UnixFS nodes from strangers: read within bounds, or an error."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support.content import BlockBox, leaf
from support.mangle import mangled, seeds

from hausd.core import dagpb, unixfs
from hausd.core.cid import CID, Codec

GOOD = [*seeds("unixfs"), b"\x0a\x04\x08\x02\x18\x00", b"\x0a\x0b\x08\x02\x12\x05hello\x18\x05"]
MOST_BYTES = 1000


@given(mangled(GOOD))
@example(b"\x0a\x02\x08\x05")
@example(b"\x12\x26\x0a\x24" + bytes(leaf(0)) + b"\x0a\x06\x08\x02\x18\x00\x20\x00")
async def test_any_block_is_a_node_or_refused(untrusted: bytes) -> None:
    cid = CID.of(untrusted, Codec.DAG_PB)
    try:
        node = unixfs.read_node(cid, untrusted)
    except unixfs.UnixFsError:
        return
    if isinstance(node, unixfs.FileNode):
        assert node.size == len(node.data) + sum(node.sizes)
    box = BlockBox({cid: untrusted})
    try:
        spans = [span async for span in unixfs.spans(cid, box.get, 0, MOST_BYTES)]
    except (unixfs.UnixFsError, unixfs.BlockMissing):
        return
    assert sum(span.size for span in spans) <= MOST_BYTES


@given(st.data())
async def test_any_tree_of_lies_ends(data: st.DataObject) -> None:
    """Nodes that name each other with any sizes: every read ends after bounded work."""
    box = BlockBox({CID.of(b"abc"): b"abc"})
    known = [CID.of(b"abc")]
    for _ in range(data.draw(st.integers(1, 6))):
        below = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3))
        sizes = [data.draw(st.sampled_from([0, 1, 3, 6, 9, 2**40])) for _ in below]
        message = b"\x08\x02\x18" + dagpb.varint(sum(sizes))
        message += b"".join(b"\x20" + dagpb.varint(size) for size in sizes)
        links = tuple(dagpb.Link(cid, "", 0) for cid in below)
        block = dagpb.encode(dagpb.Node(links, message))
        known.append(CID.of(block, Codec.DAG_PB))
        box.blocks[known[-1]] = block
    read = 0
    try:
        async for piece in unixfs.read(known[-1], box.get, 0, MOST_BYTES):
            read += len(piece)
    except (unixfs.UnixFsError, unixfs.BlockMissing):
        pass
    assert read <= MOST_BYTES
    assert box.asked <= 2 * MOST_BYTES
