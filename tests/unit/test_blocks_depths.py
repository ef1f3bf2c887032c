"""Of a room that is pinned in part the newest stays, the rest may go; a pin ends by its date."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from support.store import LIMITS, ManualClock, Segment, room, segment

from hausd.blocks.pins import BadTarget
from hausd.blocks.store import Store, no_progress, open_store
from hausd.core.cid import CID
from hausd.core.live import ArchiveSegment
from hausd.core.manifest import SegmentRecord, encode_record
from hausd.core.media import Kind, Rendition
from hausd.core.storage import Close, SegmentKey
from hausd.policy.depth import HOUR_MS, LAST_HOUR, WHOLE, Depth

START_MS = 1_700_000_000_000
SEGMENT_MS = HOUR_MS // 6
SIZE = 4000
"""A segment of 12 leaves of it takes some 52 KB."""
FULL = replace(LIMITS, quota_bytes=900_000)


def record(one: Segment) -> bytes:
    """Ten minutes each, one after the other."""
    key = one.key
    made = ArchiveSegment(
        number=key.number,
        session=key.session,
        run=0,
        program_time_ms=START_MS + key.number * SEGMENT_MS,
        duration_ms=SEGMENT_MS,
        cid=one.cid,
        size=len(one.content),
        init=CID.of(b"init"),
    )
    return encode_record(
        SegmentRecord.of(key, made, Rendition(key.rendition, Kind.VIDEO, "avc1.64001f", 90_000))
    )


async def write(store: Store, numbers: range, rendition: str = "source") -> None:
    for number in numbers:
        one = segment(number, rendition=rendition, size=SIZE)
        await store.write([*one.changes()[:-1], Close(one.key, one.nodes(), record(one))])


async def fill(store: Store, count: int) -> None:
    for number in range(count):
        await store.write(segment(number, of=room(3), size=SIZE).changes())


def here(store: Store, count: int = 12) -> list[int]:
    return [n for n in range(count) if store.locate(segment(n, size=SIZE).cid) is not None]


async def test_the_last_hour_stays_and_what_is_before_makes_room(tmp_path: Path) -> None:
    async with open_store(tmp_path, FULL) as store:
        await write(store, range(12))
        made = await store.pins.add(room(), no_progress, LAST_HOUR)
        assert (made.last_s, made.until, made.complete) == (3600, None, True)
        assert 0 < made.bytes < store.room_bytes(room())
        assert store.usage().pinned_bytes == made.bytes
        await fill(store, 20)
        assert here(store) == [6, 7, 8, 9, 10, 11]


async def test_it_moves_on_with_the_room_also_after_a_restart_without_an_index(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path, FULL) as store:
        await store.pins.add(room(), no_progress, LAST_HOUR)
        await write(store, range(6))
    (tmp_path / "index.sqlite").unlink()
    async with open_store(tmp_path, FULL) as store:
        assert store.pinned(room()) == LAST_HOUR
        await write(store, range(6, 9))
        await fill(store, 20)
        assert here(store) == [3, 4, 5, 6, 7, 8]
        await store.pins.add(room(), no_progress)
        assert store.pinned(room()) == WHOLE
        assert store.pins.shapes()[0].bytes == store.room_bytes(room())


async def test_a_cid_that_is_pinned_too_holds_its_segment(tmp_path: Path) -> None:
    async with open_store(tmp_path, FULL) as store:
        await write(store, range(12))
        await store.pins.add(room(), no_progress, LAST_HOUR)
        cid = str(segment(0, size=SIZE).cid)
        await store.pins.add(cid, no_progress)
        with pytest.raises(BadTarget, match="newest hour"):
            await store.pins.add(cid, no_progress, LAST_HOUR)
        await fill(store, 20)
        assert here(store) == [0, 6, 7, 8, 9, 10, 11]


async def test_from_its_date_on_a_pin_holds_nothing(tmp_path: Path) -> None:
    clock = ManualClock(START_MS)
    async with open_store(tmp_path, FULL, clock=clock) as store:
        await write(store, range(12))
        made = await store.pins.add(room(), no_progress, Depth(None, START_MS + 1000))
        assert made.until is not None
        assert made.until.timestamp() * 1000 == START_MS + 1000
        await fill(store, 20)
        assert len(here(store)) == 12
        kept = (tmp_path / "pins.json").read_bytes()
        clock.ms += 1000
        assert store.pinned(room()) is None
        assert store.usage().pinned_bytes == 0
        await fill(store, 25)
        assert len(here(store)) < 12
    assert [pin["target"] for pin in json.loads(kept)["pins"]] == [room()]
    (tmp_path / "pins.json").write_bytes(kept)  # as of a node that was stopped at its date
    async with open_store(tmp_path, FULL, clock=clock) as store:
        with trio.fail_after(5):
            while store.pins.shapes():
                await trio.sleep(0.01)
    assert json.loads((tmp_path / "pins.json").read_text())["pins"] == []


async def test_a_list_of_the_first_version_pins_all(tmp_path: Path) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        await store.pins.add(room(), no_progress)
    path = tmp_path / "pins.json"
    path.write_text(json.dumps({"version": 1, "pins": [{"target": room(), "created_ms": 7}]}))
    async with open_store(tmp_path, LIMITS) as store:
        assert store.pinned(room()) == WHOLE


async def test_a_room_is_shrunk_from_its_oldest_on_in_all_renditions_but_for_pins(
    tmp_path: Path,
) -> None:
    gone: list[SegmentKey] = []
    async with open_store(tmp_path, LIMITS, evicted=gone.extend) as store:
        await write(store, range(6, 12))  # what is older may be fetched later
        await write(store, range(6))
        await write(store, range(12), "audio")
        await fill(store, 3)
        cid = CID.of(b"init")
        await store.put([(cid, b"init")], room())
        before = store.room_bytes(room())
        await store.shrink(room(), before)
        assert not gone
        await store.shrink(room(), before // 2)
        assert before * 0.4 < store.room_bytes(room()) <= before // 2
        left = here(store)
        assert left == list(range(left[0], 12))
        assert {key.number for key in gone} == set(range(left[0]))
        assert {key.rendition for key in gone} == {"source", "audio"}
        kept = segment(11, size=SIZE)
        await store.pins.add(str(kept.cid), no_progress)
        await store.shrink(room(), 0)
        assert here(store) == [11]
        await store.pins.remove(str(kept.cid))
        await store.shrink(room(), 0)
        assert store.room_bytes(room()) == 0
        assert not store.has(cid)
        assert len({key.number for key in gone if key.room == room(3)}) == 0
        assert store.rooms() == [room(3)]
