"""UnixFS: what hausd cuts is a file to any IPFS implementation, and what it reads is bounded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.content import BlockBox, content

from hausd.core import dagpb, unixfs
from hausd.core.cid import CID, Codec
from hausd.core.media import LEAF_BYTES


async def read(cid: CID, box: BlockBox, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([piece async for piece in unixfs.read(cid, box.get, start, stop)])


def store(box: BlockBox, data: bytes) -> unixfs.Child:
    child, blocks = unixfs.file_of(data)
    box.blocks.update(blocks)
    return child


def node(links: Sequence[tuple[CID, int]], message: str, name: str = "") -> tuple[CID, bytes]:
    """A node with any UnixFS message, as another implementation may write it."""
    listed = tuple(dagpb.Link(cid, name, size) for cid, size in links)
    block = dagpb.encode(dagpb.Node(listed, bytes.fromhex(message)))
    return CID.of(block, Codec.DAG_PB), block


# ipfs add -r --cid-version 1 --raw-leaves --chunker size-131072, Kubo 0.43.1
KUBO_FILES = {
    0: "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
    5: "bafkreiaixnpf23vkyecj5xqispjq5ubcwgsntnnurw2bjby7khe4wnjihu",
    131_072: "bafkreih6whsebhiatyhmkaxkvprsd6dlkgl2rapjw5ssklwiu5owsv2znu",
    131_073: "bafybeicymapa4e2fsk5377nceepq4rf5m56ff2fvvtgji2let5rro2orpa",
    1_000_000: "bafybeidkmzu52jdymicbpcovfbrkte4kc43foctdt5d447txuo3l5n6bne",
}
KUBO_DIRECTORY = {"b": 5, "A": 131_073, "é": 0}
KUBO_DIRECTORY_CID = "bafybeiciherfehaqa7ue3gu5oq4cpzjgwyhzalogdmhsjueyj3pxblx34q"


def test_files_and_directories_have_the_cids_that_kubo_gives_them() -> None:
    for size, cid in KUBO_FILES.items():
        assert str(unixfs.file_of(content(0, size))[0].cid) == cid
    tree = {name: unixfs.file_of(content(0, size))[0] for name, size in KUBO_DIRECTORY.items()}
    assert str(unixfs.directory(tree).cid) == KUBO_DIRECTORY_CID
    assert (
        str(unixfs.directory({}).cid)
        == "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
    )


def test_a_file_over_one_child_is_that_child() -> None:
    leaf = unixfs.raw_child(CID.of(b"abc"), 3)
    made = unixfs.file_over([leaf])
    assert made.child == leaf
    assert made.blocks == ()
    with pytest.raises(ValueError, match="at least one"):
        unixfs.file_over([])


@given(st.data())
async def test_every_range_of_a_file_reads_as_that_range(data: st.DataObject) -> None:
    """Segments over GOPs over leaves, where a GOP may be a leaf itself."""
    box = BlockBox()
    whole = bytearray()
    gops: list[unixfs.Child] = []
    for _ in range(data.draw(st.integers(1, 4), label="gops")):
        leaves = []
        for size in data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)):
            leaf = content(len(whole), size)
            whole += leaf
            box.blocks[CID.of(leaf)] = leaf
            leaves.append(unixfs.raw_child(CID.of(leaf), size))
        gop = unixfs.file_over(leaves)
        box.blocks.update(gop.blocks)
        gops.append(gop.child)
    segment = unixfs.file_over(gops)
    box.blocks.update(segment.blocks)

    start = data.draw(st.integers(0, len(whole) + 2), label="start")
    stop = data.draw(st.none() | st.integers(0, len(whole) + 2), label="stop")
    assert await read(segment.cid, box, start, stop) == bytes(whole[start:stop])
    assert await unixfs.file_size(segment.cid, box.get) == len(whole) == segment.child.size

    spans = [span async for span in unixfs.spans(segment.cid, box.get, start, stop)]
    assert [span.offset for span in spans] == sorted(span.offset for span in spans)
    assert all(span.size > 0 for span in spans)
    assert all(span.data is None for span in spans) or not segment.blocks


async def test_a_range_touches_only_the_blocks_on_its_way() -> None:
    box = BlockBox()
    child = store(box, content(0, 10 * LEAF_BYTES))
    assert await read(child.cid, box, 5 * LEAF_BYTES, 5 * LEAF_BYTES + 1) == content(
        5 * LEAF_BYTES % 251, 1
    )
    assert box.asked == 2
    box.asked = 0
    assert len([span async for span in unixfs.spans(child.cid, box.get)]) == 10
    assert box.asked == 1


async def test_files_whose_nodes_hold_data_themselves_are_read_too() -> None:
    """What `ipfs add` makes without raw leaves."""
    inline, inline_block = node([], "0802" + "120568656c6c6f" + "1805")
    older, older_block = node([], "0800" + "120120")
    above, above_block = node([(inline, 13), (older, 7)], "0802" + "1806" + "2005" + "2001")
    packed, packed_block = node([(inline, 13), (older, 7)], "0802" + "1806" + "22020501")
    box = BlockBox({inline: inline_block, older: older_block, above: above_block})
    box.blocks[packed] = packed_block
    assert await read(above, box) == await read(packed, box) == b"hello "
    assert await read(above, box, 3, 6) == b"lo "


async def test_a_path_leads_through_directories() -> None:
    box = BlockBox()
    inner = unixfs.directory({"ä.txt": store(box, b"text")})
    outer = unixfs.directory({"sub": inner.child, "b": store(box, b"b")})
    box.blocks.update([*inner.blocks, *outer.blocks])
    assert await unixfs.resolve(outer.cid, [], box.get) == outer.cid
    found = await unixfs.resolve(outer.cid, ["sub", "ä.txt"], box.get)
    assert await read(found, box) == b"text"
    for path in (["x"], ["sub", "x"], ["b", "x"], ["sub", "ä.txt", "x"], [""], ["x"] * 100):
        with pytest.raises(unixfs.NotFound):
            await unixfs.resolve(outer.cid, path, box.get)


async def test_entries_stand_in_bytewise_order_and_sizes_add_up() -> None:
    box = BlockBox()
    small, large = store(box, b"x"), store(box, content(1, 3 * LEAF_BYTES))
    made = unixfs.directory({"é": small, "z": large, "Z": small})
    read_back = unixfs.read_node(made.cid, made.blocks[0][1])
    assert isinstance(read_back, unixfs.DirectoryNode)
    assert [link.name for link in read_back.links] == ["Z", "z", "é"]
    box.blocks.update(made.blocks)
    below = 2 * 1 + 3 * LEAF_BYTES + len(box.blocks[large.cid])
    assert made.child.tsize == below + len(made.blocks[0][1])
    assert await unixfs.child_of(made.cid, box.get) == made.child
    assert await unixfs.child_of(large.cid, box.get) == large
    assert await unixfs.child_of(small.cid, box.get) == small


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256, "é" * 128])
def test_names_that_no_file_system_takes_are_refused(name: str) -> None:
    with pytest.raises(unixfs.UnixFsError):
        unixfs.directory({name: unixfs.raw_child(CID.of(b""), 0)})


def test_a_directory_that_outgrows_its_block_is_refused() -> None:
    leaf = unixfs.raw_child(CID.of(b""), 0)
    with pytest.raises(unixfs.UnixFsError, match="larger than a block"):
        unixfs.directory({f"{n:06}.m4s": leaf for n in range(20_000)})


LEAF = CID.of(b"abc")


@pytest.mark.parametrize(
    ("links", "message", "why"),
    [
        pytest.param([(LEAF, 3)], "0802" + "1803", "do not fit", id="no block sizes"),
        pytest.param([(LEAF, 3)], "0802" + "1804" + "2003", "not the sum", id="size too large"),
        pytest.param([(LEAF, 3)], "0802" + "2003", "not the sum", id="no size"),
        pytest.param([(LEAF, 3)], "0802" + "1800" + "2000", "do not fit", id="empty child"),
        pytest.param([], "0802" + "1801", "not the sum", id="size of nothing"),
        pytest.param([(LEAF, 3)] * 2, "0801", "one name", id="a name twice"),
        pytest.param([], "0805", "sharded directory", id="sharded"),
        pytest.param([], "0804", "symbolic link", id="symbolic link"),
        pytest.param([], "0863", "99", id="unknown type"),
        pytest.param([], "", "no UnixFS message", id="nothing"),
        pytest.param([], "0802" + "12ff", "cut short", id="broken message"),
        pytest.param([], "0802" + "1205aa", "longer than", id="data cut short"),
        pytest.param([], "0802" + "18ffffffffffffffffff7f", "64 bits", id="huge integer"),
        pytest.param([], "0f", "wire type", id="unknown wire type"),
        pytest.param([], "0802" + "3801" * 50, "too many fields", id="unknown fields"),
        pytest.param([], "0802" * 50, "too many fields", id="the same over and over"),
        pytest.param([], "0802" + "2200" * 50, "too many fields", id="packed sizes of nothing"),
        # what follows the first size is not read: it would be broken
        pytest.param(
            [(LEAF, 3)],
            "0802" + "1803" + "220203ff",
            "more sizes",
            id="more packed sizes than links",
        ),
        pytest.param(
            [(LEAF, 3)], "0802" + "1803" + "2003" * 2, "do not fit", id="more sizes than links"
        ),
    ],
)
def test_nodes_that_lie_are_refused(links: list[tuple[CID, int]], message: str, why: str) -> None:
    with pytest.raises(unixfs.UnixFsError, match=why):
        unixfs.read_node(*node(links, message))


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("120a0a081220" + "00" * 6, id="link to a CID of version 0"),
        pytest.param("0a00" + "0a00", id="data twice"),
        pytest.param("1a00", id="unknown field"),
        pytest.param("1200", id="link to nothing"),
        pytest.param("12" + "28" + "0a24" + bytes(LEAF).hex() + "1200", id="cut short"),
        pytest.param("12" + "28" + "1200" + "0a24" + bytes(LEAF).hex(), id="fields out of order"),
        pytest.param("12" + "29" + "0a24" + bytes(LEAF).hex() + "1201ff", id="name not UTF-8"),
        pytest.param("0801", id="data that is a number"),
    ],
)
def test_blocks_that_are_no_dag_pb_are_refused(block: str) -> None:
    raw = bytes.fromhex(block)
    with pytest.raises(unixfs.UnixFsError):
        unixfs.read_node(CID.of(raw, Codec.DAG_PB), raw)


async def test_a_child_that_is_not_as_long_as_its_parent_says_is_found_out() -> None:
    box = BlockBox({LEAF: b"abc"})
    longer, longer_block = node([(LEAF, 9)], "0802" + "1809" + "2009")
    box.blocks[longer] = longer_block
    with pytest.raises(unixfs.UnixFsError, match="shorter"):
        await read(longer, box)
    above, above_block = node([(longer, 99)], "0802" + "1805" + "2005")
    box.blocks[above] = above_block
    with pytest.raises(unixfs.UnixFsError, match="9 bytes"):
        await read(above, box)


async def test_a_tree_deeper_than_any_file_needs_is_refused() -> None:
    box = BlockBox({LEAF: b"abc"})
    cid = LEAF
    for _ in range(unixfs.MAX_DEPTH + 2):
        cid, block = node([(cid, 3)], "0802" + "1803" + "2003")
        box.blocks[cid] = block
    with pytest.raises(unixfs.UnixFsError, match="deeper"):
        await read(cid, box)


async def test_a_missing_block_is_named() -> None:
    box = BlockBox()
    child = store(box, content(0, 2 * LEAF_BYTES))
    del box.blocks[CID.of(content(LEAF_BYTES % 251, LEAF_BYTES))]
    with pytest.raises(unixfs.BlockMissing) as missing:
        await read(child.cid, box)
    assert missing.value.cid == CID.of(content(LEAF_BYTES % 251, LEAF_BYTES))


def test_a_node_of_many_children_is_read_however_its_sizes_are_written() -> None:
    links = [(CID.of(content(at, 9)), 9) for at in range(200)]
    size = dagpb.varint(9 * 200).hex()
    for sizes in ("2009" * 200, "22" + dagpb.varint(200).hex() + "09" * 200, "220109" * 200):
        read_back = unixfs.read_node(*node(links, "0802" + "18" + size + sizes))
        assert isinstance(read_back, unixfs.FileNode)
        assert read_back.sizes == (9,) * 200
