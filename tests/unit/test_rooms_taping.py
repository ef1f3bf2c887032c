"""What a lane records of the archive segments that parts are said to be of."""

from __future__ import annotations

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
