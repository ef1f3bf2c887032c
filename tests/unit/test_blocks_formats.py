"""Trailers, journal records, packs and the print index say what was put in, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.content import ROOM, SESSION
from support.store import key, leaf, segment

from hausd.blocks import journal, packs, prints, trailer
from hausd.blocks.errors import Damaged
from hausd.blocks.journal import Appended
from hausd.blocks.layout import FileKind, parse_segment_name, segment_name
from hausd.blocks.table import Table, table_of
from hausd.core.cid import CID
from hausd.core.forms import MAX_SEGMENT, Fields, FormError
from hausd.core.storage import SegmentKey

digests = st.binary(min_size=32, max_size=32)
leaves = st.lists(st.tuples(digests, st.integers(1, 2**20)), max_size=20)


def table(pairs: list[tuple[bytes, int]]) -> Table:
    return table_of(b"".join(digest for digest, _ in pairs), [length for _, length in pairs])


def same(one: Table, other: Table) -> bool:
    return (one.digests, one.offsets, one.lengths, one.nodes) == (
        other.digests,
        other.offsets,
        other.lengths,
        other.nodes,
    )


@given(leaves, st.lists(st.binary(max_size=50), max_size=5), st.binary(max_size=50))
def test_a_trailer_tells_what_it_was_told(
    pairs: list[tuple[bytes, int]], nodes: list[bytes], record: bytes
) -> None:
    own = table(pairs)
    own.nodes = {CID.of(node).digest: (CID.of(node), node) for node in nodes}
    contents = trailer.Contents(FileKind.SEGMENT, segment_name(key()), 17, own, record)
    encoded = trailer.encode(contents)
    told = trailer.decode(encoded)
    assert (told.kind, told.name, told.closed_ms, told.record) == (
        FileKind.SEGMENT,
        segment_name(key()),
        17,
        record,
    )
    assert same(told.table, own)
    assert trailer.encode(told) == encoded


def test_a_trailer_with_any_bit_turned_over_is_refused() -> None:
    encoded = trailer.encode(
        trailer.Contents(
            FileKind.SEGMENT, segment_name(key()), 17, table([(bytes(32), 5)]), b"record"
        )
    )
    for bit in range(8 * len(encoded)):
        damaged = bytearray(encoded)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            trailer.decode(bytes(damaged))


names = st.sampled_from(["a", "b", "c"])
batches = st.lists(
    st.one_of(
        st.lists(st.tuples(names, leaves, st.booleans()), min_size=1, max_size=3),
        st.lists(names, min_size=1, max_size=3),
    ),
    max_size=8,
)


def write_journal(steps: list[list[object]]) -> tuple[bytes, list[int]]:
    head, encoder = journal.begin(b"8 bytes!")
    data, ends = head, [len(head)]
    for step in steps:
        if isinstance(step[0], str):
            data += encoder.removed([str(name) for name in step])
        else:
            changes = []
            for name, pairs, closed in step:  # type: ignore[misc]  # the strategy above says so
                own = table(pairs)
                changes.append(Appended(name, bytes(own.digests), own.lengths, closed))
            data += encoder.batch(changes)
        ends.append(len(data))
    return data, ends


@given(batches, st.data())
def test_a_journal_cut_anywhere_tells_its_whole_records(
    steps: list[list[object]], data: st.DataObject
) -> None:
    written, ends = write_journal(steps)
    cut = data.draw(st.integers(0, len(written)))
    told = journal.replay(written[:cut])
    whole = max((end for end in ends if end <= cut), default=0)
    assert told.end == whole
    assert told.lost_bytes == cut - whole
    expected = journal.replay(written[:whole])
    assert told.open.keys() == expected.open.keys()
    assert told.closed.keys() == expected.closed.keys()
    assert told.removed == expected.removed


def test_what_is_left_of_a_longer_tail_never_counts() -> None:
    """A record that was taken back is overwritten by a shorter one."""
    head, encoder = journal.begin(b"8 bytes!")
    before = encoder.checksum
    long = encoder.batch([Appended("a", bytes(64), [1, 2], False)])
    after = encoder.removed(["x"])
    encoder.checksum = before
    short = encoder.removed(["b"])
    for filler in range(len(long)):
        data = head + short + (long + after)[len(short) + filler :]
        assert journal.replay(data).removed == {"b"}
        assert not journal.replay(data).open


@given(st.lists(st.binary(max_size=200), max_size=10), st.data())
def test_a_pack_cut_anywhere_tells_its_whole_blocks(
    blocks: list[bytes], data: st.DataObject
) -> None:
    ends = [0]
    written = b""
    for block in blocks:
        written += packs.head(CID.of(block), len(block)) + block
        ends.append(len(written))
    cut = data.draw(st.integers(0, len(written)))
    found = packs.scan(written[:cut], check=True)
    assert found.end == max(end for end in ends if end <= cut)
    count = len(found.table)
    assert [found.table.digest(n) for n in range(count)] == [
        CID.of(b).digest for b in blocks[:count]
    ]
    assert not found.corrupt


entries = st.lists(
    st.tuples(st.sampled_from([leaf(n, 32) for n in range(20)]), st.integers(0, 3)), max_size=60
)


@given(entries, entries, st.integers(0, 3))
def test_prints_find_what_was_added(
    loaded: list[tuple[bytes, int]], added: list[tuple[bytes, int]], forgotten: int
) -> None:
    index = prints.Prints()
    for digest, handle in loaded:
        index.load(prints.pack(digest), handle)
    index.settle()
    for digest, handle in added:
        index.add(digest, handle)
    for digest, handle in added[::2]:
        index.remove(digest, handle)
    kept = {*loaded, *added}.difference(added[::2])
    index.forget(forgotten)
    for digest in {digest for digest, _ in loaded + added}:
        expected = [handle for own, handle in sorted(kept) if own == digest and handle != forgotten]
        assert sorted(index.find(digest)) == expected
    assert index.count == sum(handle != forgotten for _, handle in kept)


@pytest.mark.parametrize("load", [False, True])
def test_a_leaf_that_a_file_repeats_is_one_entry(load: bool) -> None:
    """A stranger's segment may be one byte, tens of thousands of times."""
    index, digest = prints.Prints(), leaf("again", 32)
    for handle in range(3):
        if load:
            index.load(prints.pack(digest * 1000), handle)
            index.settle()
        else:
            for _ in range(1000):
                index.add(digest, handle)
    assert sorted(index.find(digest)) == [0, 1, 2]
    assert index.count == 3


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        f"{key().room}/1-0000000000000007/source",
        f"{key().room}/1-0000000000000007/../1",
        f"{key().room}/1-0000000000000007/Source/1",
        f"{key().room}/1-0000000000000007/source/01",
        f"{key().room}/1-0000000000000007/source/-1",
        f"{key().room}/1-7/source/1",
        f"../{key().room}/1-0000000000000007/source/1",
        f"{key().room}/1-0000000000000007/source/1\n",
    ],
)
def test_only_well_formed_names_become_files(name: str) -> None:
    with pytest.raises(ValueError):
        parse_segment_name(name)


def test_nodes_that_are_not_the_files_own_bytes_have_no_range() -> None:
    one, other = segment(0), segment(1)
    own = Table()
    for data in one.leaves:
        own.append(CID.of(data).digest, own.end, len(data))
    for cid, node in (*one.nodes(), *other.nodes()):
        own.nodes[cid.digest] = (cid, node)
    assert own.span(one.cid.digest) == (0, 12)
    assert own.span(one.gop_cid(2).digest) == (8, 12)
    assert own.span(other.cid.digest) is None
    assert own.span(other.gop_cid(0).digest) is None


@given(st.from_regex(r"[A-Za-z0-9._-]{1,33}", fullmatch=True), st.integers(0, 2 * MAX_SEGMENT))
def test_a_file_can_be_named_after_whatever_rendition_and_segment_are_signed(
    name: str, number: int
) -> None:
    fields = Fields({"rendition": name, "segment": number}, "tick")
    try:
        named = fields.rendition_name(), fields.segment("segment")
    except FormError:
        return
    whole = SegmentKey(ROOM, SESSION, *named)
    assert parse_segment_name(segment_name(whole)) == whole


def test_of_names_and_numbers_what_origins_make_is_signed() -> None:
    names = ("source", "720p", "audio", "1080p60", "v.1_a-b")
    for name in names:
        assert Fields({"rendition": name}, "tick").rendition_name() == name
    assert Fields({"segment": MAX_SEGMENT}, "tick").segment("segment") == MAX_SEGMENT
    for name in ("Video", "..", "a/b", "a" * 33):
        with pytest.raises(FormError):
            Fields({"rendition": name}, "tick").rendition_name()
    with pytest.raises(FormError):
        Fields({"segment": MAX_SEGMENT + 1}, "tick").segment("segment")
