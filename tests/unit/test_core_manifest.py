"""The manifest: same records, same CID, and every segment a few blocks away."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.content import AUDIO, OTHER_ROOM, ROOM, VIDEO, BlockBox, record, segment_seals

from hausd.core import manifest_nodes
from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import decode, encode
from hausd.core.gating import SegmentSeal
from hausd.core.live import RoomState
from hausd.core.manifest import (
    FANOUT,
    Manifest,
    ManifestError,
    SegmentRecord,
    decode_record,
    encode_record,
    find,
    read_root,
    records,
    verify,
)
from hausd.core.manifest_nodes import decode_leaf, encode_leaf
from hausd.core.media import Rendition
from hausd.core.storage import SegmentKey
from hausd.core.unixfs import BlockMissing

EMPTY = encode({"v": 1, "room": ROOM, "state": "created", "renditions": {}})


def built(*batches: list[SegmentRecord]) -> tuple[Manifest, BlockBox]:
    box = BlockBox()
    manifest = Manifest(ROOM)
    box.blocks.update([manifest.root])
    for batch in batches:
        box.blocks.update(manifest.append(*batch))
    return manifest, box


Steps = list[tuple[int, Rendition]]
numbers: st.SearchStrategy[Steps] = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([VIDEO, AUDIO])), min_size=1, max_size=150
)


def sparse(steps: Steps) -> list[SegmentRecord]:
    """Records whose numbers leave holes, in two renditions, as renditions are shed and return."""
    at = {VIDEO.name: -1, AUDIO.name: -1}
    found = []
    for step, rendition in steps:
        at[rendition.name] += 1 + step
        found.append(record(at[rendition.name], rendition))
    return found


@given(numbers, st.lists(st.integers(1, 150), max_size=5))
async def test_same_records_same_cid_in_whatever_batches(steps: Steps, cuts: list[int]) -> None:
    appended = sparse(steps)
    at_once, box = built(appended)
    one_by_one, _ = built(*[[one] for one in appended])
    edges = [0, *sorted(min(cut, len(appended)) for cut in cuts), len(appended)]
    batches, _ = built(*[appended[a:b] for a, b in pairwise(edges)])
    assert at_once.cid == one_by_one.cid == batches.cid

    by_rendition = sorted(appended, key=lambda one: one.rendition.name)
    assert built(by_rendition)[0].cid == at_once.cid, "a slow rendition may come later"

    counts = await verify(at_once.cid, box.get)
    assert sum(counts.values()) == len(appended)


@settings(max_examples=10)
@given(st.integers(1, 2500), st.integers(1, 2500))
async def test_a_manifest_taken_up_again_goes_on_as_if_never_left(before: int, more: int) -> None:
    appended = [record(n) for n in range(before + more)]
    whole, _ = built(appended)
    first, box = built(appended[:before])
    again = await Manifest.load(first.cid, box.get)
    assert (again.cid, again.count("720p"), again.last("720p")) == (first.cid, before, before - 1)
    again.append(*appended[before:])
    assert again.cid == whole.cid


@pytest.mark.parametrize("count", [1, 31, 32, 33, 1023, 1024, 1025, 1056, 1057, 2048])
async def test_at_every_seam_of_the_tree_loading_finding_and_growing_work(count: int) -> None:
    manifest, box = built([record(n) for n in range(count)])
    again = await Manifest.load(manifest.cid, box.get)
    grown, _ = built([record(n) for n in range(count + 1)])
    again.append(record(count))
    assert again.cid == grown.cid
    for number in {0, count // 2, count - 1}:
        assert await find(manifest.cid, box.get, "720p", number) == record(number)
    assert await find(manifest.cid, box.get, "720p", count) is None
    start = count - 5
    tail = [one async for one in records(manifest.cid, box.get, "720p", start)]
    assert tail == [record(n) for n in range(max(start, 0), count)]


async def test_twelve_hours_cost_few_blocks_to_find_and_to_append() -> None:
    """4,320 segments: 4 blocks from the CID to any, 4 new ones and under 8 KiB for the next."""
    manifest, box = built([record(n) for n in range(4320)])
    for number in (0, 1, 2000, 4319):
        box.asked = 0
        assert await find(manifest.cid, box.get, "720p", number) == record(number)
        assert box.asked <= 4
    new = manifest.append(record(4320))
    assert len(new) <= 4
    assert sum(len(block) for _, block in new) < 8192
    assert new[-1][0] == manifest.cid


async def test_numbers_may_have_holes() -> None:
    manifest, box = built([record(n) for n in range(5, 500, 3)])
    assert await find(manifest.cid, box.get, "720p", 8) == record(8)
    for absent in (0, 6, 9, 498, 10**9):
        assert await find(manifest.cid, box.get, "720p", absent) is None
    assert await find(manifest.cid, box.get, "1080p", 8) is None
    assert [one async for one in records(manifest.cid, box.get, "1080p")] == []


def test_what_does_not_fit_changes_nothing() -> None:
    manifest, _ = built([record(5)])
    before = manifest.cid
    for wrong in (
        [record(5)],
        [record(4)],
        [record(6), record(6)],
        [record(6), record(7, room=OTHER_ROOM)],
        [record(0, replace(VIDEO, name=f"r{n}")) for n in range(16)],
    ):
        with pytest.raises(ValueError):
            manifest.append(*wrong)
        assert manifest.cid == before
        assert manifest.append() == [manifest.root]


async def test_the_state_is_part_of_it() -> None:
    manifest, box = built([record(0)])
    live = manifest.cid
    box.blocks.update(manifest.append(state=RoomState.ENDED))
    assert manifest.cid != live
    assert (await read_root(manifest.cid, box.get)).state is RoomState.ENDED
    assert (await Manifest.load(manifest.cid, box.get)).state is RoomState.ENDED


async def test_an_empty_manifest_can_be_loaded() -> None:
    manifest, box = built()
    assert manifest.root[1] == EMPTY
    again = await Manifest.load(manifest.cid, box.get)
    assert (again.cid, again.count("720p"), again.last("720p")) == (manifest.cid, 0, None)


@given(st.integers(0, 10**6), st.sampled_from([VIDEO, AUDIO]))
def test_a_record_alone_reads_back(number: int, rendition: Rendition) -> None:
    made = record(number, rendition)
    assert decode_record(encode_record(made)) == made
    assert made.key == SegmentKey(ROOM, made.segment.session, made.rendition.name, number)
    assert SegmentRecord.of(made.key, made.segment, made.rendition) == made


def test_a_record_is_of_what_its_key_says() -> None:
    made = record(1)
    with pytest.raises(ValueError, match="belong together"):
        SegmentRecord.of(replace(made.key, number=2), made.segment, made.rendition)


@pytest.mark.parametrize("at", range(0, 300, 7))
def test_a_damaged_record_is_refused_or_another_record(at: int) -> None:
    encoded = bytearray(encode_record(record(3)))
    encoded[at % len(encoded)] ^= 0x41
    with suppress(ManifestError):
        assert encode_record(decode_record(bytes(encoded))) == encoded


async def test_nodes_that_do_not_fit_together_are_found_out() -> None:
    """A store or a peer may give blocks that are right by their CIDs and wrong by their claims."""
    leaf = manifest_nodes.encode_leaf([record(n) for n in range(FANOUT)])
    leaf_cid = CID.of(leaf, Codec.DAG_CBOR)
    entry = manifest_nodes.Entry(0, FANOUT, leaf_cid)

    def wrong(
        *children: manifest_nodes.Entry, level: int = 1, count: int = 0
    ) -> tuple[CID, BlockBox]:
        inner = manifest_nodes.encode_inner(level, children)
        cid = CID.of(inner, Codec.DAG_CBOR)
        total = count or sum(child.count for child in children)
        root = manifest_nodes.encode_root(
            manifest_nodes.Root(ROOM, RoomState.LIVE, {"720p": (total, cid)})
        )
        box = BlockBox({leaf_cid: leaf, cid: inner})
        box.blocks[CID.of(root, Codec.DAG_CBOR)] = root
        return CID.of(root, Codec.DAG_CBOR), box

    later = replace(entry, first=40, count=5)
    for cid, box in (
        wrong(entry, later),  # the second leaf's first and count are lies
        wrong(entry, entry),
        wrong(later, entry),
        wrong(replace(entry, first=1), replace(later, count=1)),
        wrong(entry, later, count=40),
        wrong(entry, later, level=2),
        wrong(replace(entry, count=31), later),
    ):
        with pytest.raises(ManifestError):
            await verify(cid, box.get)
        with pytest.raises(ManifestError):
            await Manifest.load(cid, box.get)

    # Two honest leaves, the first of them not full: another CID for the same records.
    halves = [manifest_nodes.encode_leaf([record(n) for n in ns]) for ns in (range(5), range(5, 9))]
    half_cids = [CID.of(half, Codec.DAG_CBOR) for half in halves]
    cid, box = wrong(
        manifest_nodes.Entry(0, 5, half_cids[0]), manifest_nodes.Entry(5, 32, half_cids[1])
    )
    box.blocks.update(zip(half_cids, halves, strict=True))
    with pytest.raises(ManifestError, match="does not hold"):
        await verify(cid, box.get)

    cid, box = wrong(entry, replace(entry, first=40, cid=CID.of(b"gone", Codec.DAG_CBOR), count=1))
    with pytest.raises(BlockMissing):
        await verify(cid, box.get)


def test_a_leaf_has_one_form() -> None:
    leaf = decode(manifest_nodes.encode_leaf([record(0), record(1)]))
    assert isinstance(leaf, dict)
    match leaf["runs"]:
        case [{"segments": [first, second], **run}]:
            parted = [run | {"segments": [first]}, run | {"segments": [second]}]
    with pytest.raises(ManifestError, match="are one"):
        manifest_nodes.decode_leaf(ROOM, "720p", encode({"runs": parted}))
    backwards = [run | {"segments": [second, first]}]
    with pytest.raises(ManifestError, match="grow"):
        manifest_nodes.decode_leaf(ROOM, "720p", encode({"runs": backwards}))
    with pytest.raises(ManifestError, match="tree of audio"):
        manifest_nodes.decode_leaf(ROOM, "audio", encode(leaf))


@pytest.mark.parametrize(
    "form",
    [
        [],
        {"v": 2, "room": ROOM, "state": "live", "renditions": {}},
        {"v": True, "room": ROOM, "state": "live", "renditions": {}},
        {"v": 1, "room": "x", "state": "live", "renditions": {}},
        {"v": 1, "room": ROOM, "state": "asleep", "renditions": {}},
        {"v": 1, "room": ROOM, "state": "live"},
        {"v": 1, "room": ROOM, "state": "live", "renditions": []},
        {"v": 1, "room": ROOM, "state": "live", "renditions": {}, "more": 1},
        {"v": 1, "room": ROOM, "state": "live", "renditions": {"../x": [1, CID.of(b"")]}},
        {"v": 1, "room": ROOM, "state": "live", "renditions": {"x": [1, CID.of(b"")]}},
        {"v": 1, "room": ROOM, "state": "live", "renditions": {"x": [0, None]}},
        {"v": 1, "room": ROOM, "state": "live", "renditions": {f"r{n}": [] for n in range(17)}},
    ],
)
async def test_a_root_that_is_none_is_refused(form: object) -> None:
    block = encode(form)
    cid = CID.of(block, Codec.DAG_CBOR)
    with pytest.raises(ManifestError):
        await Manifest.load(cid, BlockBox({cid: block}).get)


@given(segment_seals)
def test_how_a_segment_is_sealed_is_read_again(seal: SegmentSeal) -> None:
    sealed = record(3, seal=seal)
    assert decode_record(encode_record(sealed)) == sealed
    manifest = Manifest(ROOM)
    blocks = dict(manifest.append(record(2), sealed, record(4, seal=seal)))
    leaf = next(block for block in blocks.values() if b"runs" in block)
    assert decode_leaf(ROOM, VIDEO.name, leaf) == [record(2), sealed, record(4, seal=seal)]


BEYOND = [
    {"program_time_ms": 253_402_300_799_001},
    {"program_time_ms": 2**53 - 1},
    {"program_time_ms": 253_402_300_799_000, "duration_ms": 1},
    {"duration_ms": 3_600_001},
    {"duration_ms": 2**53 - 1},
    {"number": 10**12},
]


@pytest.mark.parametrize("changed", [*BEYOND, {"init": CID.of(b"init", Codec.DAG_CBOR)}])
def test_a_record_of_which_nothing_can_be_made_is_none(changed: dict[str, int]) -> None:
    true = record(3)
    wrong = replace(true, segment=replace(true.segment, **changed))  # type: ignore[arg-type]
    with pytest.raises(ManifestError):
        decode_record(encode_record(wrong))
    with pytest.raises(ManifestError):
        decode_leaf(ROOM, VIDEO.name, encode_leaf([wrong]))


@pytest.mark.parametrize("changed", BEYOND[:-1])
def test_a_manifest_takes_no_record_that_could_not_be_read_again(changed: dict[str, int]) -> None:
    manifest, before = built([record(1)])[0], built([record(1)])[0].cid
    true = record(3)
    with pytest.raises(ValueError, match="segment 3"):
        manifest.append(replace(true, segment=replace(true.segment, **changed)))  # type: ignore[arg-type]
    assert manifest.cid == before


def test_the_last_second_of_the_calendar_and_a_whole_hour_are_read() -> None:
    at = replace(record(3).segment, program_time_ms=253_402_300_799_000 - 3_600_000)
    last = replace(record(3), segment=replace(at, duration_ms=3_600_000))
    assert decode_record(encode_record(last)) == last
