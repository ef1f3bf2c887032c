"""What a lane records of the archive segments that parts are said to be of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.content import AUDIO, ROOM, SESSION
from support.memorystore import MemoryStore

from hausd.core.cid import CID
from hausd.core.storage import SegmentKey
from hausd.rooms.live import StoredPart
from hausd.rooms.recorder import Recorder
from hausd.rooms.taping import Tape


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
        key = SegmentKey(ROOM, SESSION, AUDIO.name, number)
        if tape.holds_other(key):
            tape.close(AUDIO)
        data = b"part %d" % at
        cut = ((CID.of(data), data),)
        tape.open(key, 0, at * 400, CID.of(b"init"), 0)
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
