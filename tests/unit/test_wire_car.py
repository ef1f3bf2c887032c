"""CAR files: everything below a root goes out once, and nothing damaged comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.content import BlockBox, content, leaf, record
from support.recorded import recorded_room

from hausd.core import dagpb, unixfs
from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import encode
from hausd.core.manifest import Manifest
from hausd.core.unixfs import BlockMissing
from hausd.wire import car
from hausd.wire.car import CarError, CarReader, encode_block, encode_header, walk, write


async def written(root: CID, box: BlockBox) -> bytes:
    return b"".join([piece async for piece in write(root, box.get)])


def read(
    data: bytes, step: int = 1 << 20
) -> tuple[tuple[CID, ...] | None, list[tuple[CID, bytes]]]:
    reader = CarReader()
    blocks = [
        block for at in range(0, len(data), step) for block in reader.feed(data[at : at + step])
    ]
    reader.finish()
    return reader.roots, blocks


async def a_file() -> tuple[CID, BlockBox, bytes]:
    child, blocks = unixfs.file_of(content(0, 300_000))
    box = BlockBox(blocks)
    return child.cid, box, await written(child.cid, box)


async def test_what_is_written_is_read_back_in_whatever_pieces_it_comes() -> None:
    root, box, data = await a_file()
    for step in (1, 7, 1000, 1 << 20):
        roots, blocks = read(data, step)
        assert roots == (root,)
        assert dict(blocks) == box.blocks
    assert read(data)[1][0][0] == root, "parents come before children"


async def test_a_manifest_takes_its_segments_along() -> None:
    room = recorded_room(2)
    manifest = Manifest(record(0).room)
    playlist = room.tracks[0][1]
    for at, segment in enumerate(playlist.segments):
        made = record(at)
        made = type(made)(made.room, playlist.rendition, segment)
        room.box.blocks.update(manifest.append(made))
    found = [cid async for cid, _ in walk(manifest.cid, room.box.get)]
    assert found[0] == manifest.cid
    for segment in playlist.segments:
        assert {segment.cid, segment.init} <= set(found)


async def test_nodes_linked_twice_are_written_once_so_that_no_tree_explodes() -> None:
    box = BlockBox({CID.of(b"x"): b"x"})
    cid = CID.of(b"x")
    for _ in range(60):
        block = encode([cid, cid])
        cid = CID.of(block, Codec.DAG_CBOR)
        box.blocks[cid] = block
    found = [one async for one, _ in walk(cid, box.get)]
    assert len(found) == 62, "the leaf comes twice, every node once"


async def test_more_nodes_than_any_room_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    root, box, _ = await a_file()
    monkeypatch.setattr(car, "MAX_NODES", 0)
    with pytest.raises(CarError, match="more than 0 nodes"):
        await written(root, box)


async def test_a_missing_block_is_named() -> None:
    root, box, _ = await a_file()
    gone = CID.of(content(0, 131_072))
    del box.blocks[gone]
    with pytest.raises(BlockMissing) as missing:
        await written(root, box)
    assert missing.value.cid == gone


async def test_a_node_that_is_not_of_its_codec_is_refused() -> None:
    for codec in (Codec.DAG_PB, Codec.DAG_CBOR):
        cid = CID.of(b"\xff", codec)
        with pytest.raises(CarError, match=str(cid)):
            await written(cid, BlockBox({cid: b"\xff"}))


async def test_a_node_of_more_values_than_any_needs_is_refused() -> None:
    longest = encode([leaf(at) for at in range(20_000)])
    assert len(car.child_links(CID.of(longest, Codec.DAG_CBOR), longest)) == 20_000
    block = b"\x9a" + (10**6).to_bytes(4, "big") + b"\xa0" * 10**6
    with pytest.raises(CarError, match="values allowed"):
        car.child_links(CID.of(block, Codec.DAG_CBOR), block)


@given(st.integers(0, 300_300 * 8), st.integers(64, 100_000))
async def test_any_flipped_bit_is_found_out(bit: int, step: int) -> None:
    root, box, data = await a_file()
    flipped = bytearray(data)
    flipped[bit // 8 % len(data)] ^= 1 << bit % 8
    try:
        roots, blocks = read(bytes(flipped), step)
    except CarError:
        return
    # Nothing vouches for the root in the header, nor for the codec in a block's CID: they can be
    # bent into names that nobody asked for, never into other bytes.
    assert roots != (root,) or dict(blocks) != box.blocks
    given_bytes = {cid.digest: block for cid, block in box.blocks.items()}
    assert {cid.digest: block for cid, block in blocks} == given_bytes


@given(st.integers(0, 300_300))
async def test_a_file_cut_short_is_found_out_at_its_end(length: int) -> None:
    _, box, data = await a_file()
    cut = data[: length % len(data)]
    reader = CarReader()
    blocks = list(reader.feed(cut))
    boundaries = {0}
    at = len(encode_header(next(iter(box.blocks))))
    boundaries.add(at)
    for _, block in read(data)[1]:
        at += 36 + len(block) + len(dagpb.varint(36 + len(block)))
        boundaries.add(at)
    if len(cut) in boundaries - {0}:
        reader.finish()  # a CAR file does not say how many blocks it has
    else:
        with pytest.raises(CarError, match="cut short"):
            reader.finish()
    assert set(dict(blocks)) <= set(box.blocks)


HEADER = encode_header(CID.of(b""))


def frame(body: bytes) -> bytes:
    return dagpb.varint(len(body)) + body


@pytest.mark.parametrize(
    "untrusted",
    [
        pytest.param(b"\x00", id="empty header"),
        pytest.param(b"\xff" * 10, id="length longer than 64 bits"),
        pytest.param(dagpb.varint(1 << 40), id="huge header"),
        pytest.param(frame(b"\xff"), id="header that is no CBOR"),
        pytest.param(frame(encode({"version": 2, "roots": [CID.of(b"")]})), id="version 2"),
        pytest.param(frame(encode({"version": 1, "roots": []})), id="no roots"),
        pytest.param(frame(encode({"version": 1, "roots": ["x"]})), id="roots that are no CIDs"),
        pytest.param(frame(encode({"version": 1})), id="roots left out"),
        pytest.param(HEADER + dagpb.varint(1 << 30), id="huge block"),
        pytest.param(HEADER + frame(bytes(36)), id="no CID"),
        pytest.param(HEADER + frame(b"\x12\x20" + bytes(32)), id="CID of version 0"),
        pytest.param(HEADER + frame(bytes(CID.of(b"a")) + b"b"), id="another block's CID"),
    ],
)
def test_what_is_no_car_file_is_refused(untrusted: bytes) -> None:
    with pytest.raises(CarError):
        list(CarReader().feed(untrusted))


def test_an_empty_block_can_stand_in_a_file() -> None:
    data = HEADER + b"".join(encode_block(CID.of(b""), b""))
    assert read(data) == ((CID.of(b""),), [(CID.of(b""), b"")])
