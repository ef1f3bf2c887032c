"""What of a followed room is recorded, a segment of a rendition at a time."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.content import AUDIO, ROOM, SESSION
from support.memorystore import MemoryStore
from support.store import key

from hausd.core.cid import CID
from hausd.core.live import ArchiveSegment
from hausd.core.manifest import ManifestError, SegmentRecord
from hausd.core.media import Kind, Rendition
from hausd.core.storage import MAX_SEGMENT_BYTES, SegmentKey
from hausd.rooms.fetching import Fetcher
from hausd.rooms.live import StoredPart
from hausd.rooms.recorder import Recorder
from hausd.rooms.taping import Tape

VIDEO = Rendition("source", Kind.VIDEO, "avc1.640028", 90_000)
LEAF = b"a leaf"
PART_BYTES = MAX_SEGMENT_BYTES // 4


def tape_parts(tape: Tape, number: int, count: int) -> None:
    for part in range(count):
        cut = ((CID.of(LEAF), memoryview(LEAF)),)
        tape.open(key(number), 0, 0, CID.of(b"init"), part)
        cid = tape.place(cut)
        stored = Mock(StoredPart, cid=cid, size=PART_BYTES)
        tape.append(cut, stored, 36_000)


def test_a_segment_that_never_ends_is_given_up() -> None:
    recorder = Mock(Recorder)
    tape = Tape(recorder, lambda _: True)
    tape_parts(tape, 0, 12)
    assert recorder.append.call_count == 4
    assert not tape.writes(0)
    tape.close(VIDEO)
    recorder.close.assert_not_called()
    # The next one, of an honest size, is recorded.
    tape_parts(tape, 1, 2)
    tape.close(VIDEO)
    assert recorder.append.call_count == 6
    assert recorder.close.call_args.args[1].key == key(1)


async def test_nor_is_one_fetched_that_is_larger_than_any_honest_one() -> None:
    fetcher = Fetcher(key().room, Mock(), Mock(), Mock(), Mock(Recorder), Mock(), lambda: 1.0)
    cid = CID.of(LEAF)
    segment = ArchiveSegment(0, key().session, 0, 0, 10_000, cid, MAX_SEGMENT_BYTES + 1, cid)
    with pytest.raises(ManifestError, match="larger"):
        await fetcher.segment(SegmentRecord(key().room, VIDEO, segment), None)
    fetcher.leaves.fetch.assert_not_called()  # type: ignore[attr-defined]  # a Mock


@given(st.lists(st.integers(0, 4), max_size=20))
async def test_a_segment_is_recorded_once_whatever_order_is_signed(numbers: list[int]) -> None:
    recorded: list[int] = []
    recorder = Recorder(
        ROOM,
        MemoryStore(),
        lambda record: recorded.append(record.segment.number),
        lambda why: None,
        lambda: None,
    )
    tape = Tape(recorder, lambda key: True)
    for at, number in enumerate(numbers):
        at_number = SegmentKey(ROOM, SESSION, AUDIO.name, number)
        if tape.holds_other(at_number):
            tape.close(AUDIO)
        data = b"part %d" % at
        cut = ((CID.of(data), data),)
        tape.open(at_number, 0, at * 400, CID.of(b"init"), 0)
        tape.place(cut)
        tape.append(cut, StoredPart(CID.of(data), len(data), data), 400)
        tape.end_gop()
    tape.close(AUDIO)
    while recorder._jobs:
        await recorder._write([recorder._jobs.popleft()])
    first = [number for at, number in enumerate(numbers) if number > max(numbers[:at], default=-1)]
    assert recorded == first


def played(tape: Tape, gops: int, number: int = 1) -> None:
    """GOPs of one part, of the segment of this number."""
    for at in range(gops):
        data = b"part %d" % at
        cut = ((CID.of(data), data),)
        tape.open(SegmentKey(ROOM, SESSION, AUDIO.name, number), 0, at, CID.of(b"init"), 0)
        tape.place(cut)
        tape.append(cut, StoredPart(CID.of(data), len(data), data), 400)
        assert tape.end_gop() is not None


def nodes_of(gops: int, *, recorded: bool) -> int:
    recorder = Recorder(ROOM, MemoryStore(), lambda _: None, lambda _: None, lambda: None)
    tape = Tape(recorder, lambda key: recorded)
    played(tape, gops)
    held = len(tape._packer._gops)
    tape.close(AUDIO)
    closed = sum(not hasattr(job, "part") for job in recorder._jobs)
    played(tape, 3, number=2)
    tape.close(AUDIO)
    assert sum(not hasattr(job, "part") for job in recorder._jobs) - closed == recorded
    assert closed == (recorded and gops <= 2000)
    return held


def test_of_a_segment_that_is_not_recorded_nothing_is_kept_in_mind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hausd.rooms.taping.MAX_SEGMENT_LEAVES", 2000)
    assert nodes_of(2000, recorded=True) == 2000
    assert nodes_of(2001, recorded=True) == 0, "nobody could fetch it"
    assert nodes_of(2000, recorded=False) == 0
