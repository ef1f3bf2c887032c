"""What is pinned stays pinned, whatever happens to the rest."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from support.store import LIMITS, flip, key, room, segment

from hausd.blocks.errors import StoreError
from hausd.blocks.pins import BadTarget, Pins
from hausd.blocks.remover import StillPinned
from hausd.blocks.store import Store, no_progress, open_store
from hausd.core import dagcbor, unixfs
from hausd.core.cid import CID, Codec
from hausd.core.storage import RecordingStopped, SegmentKey
from hausd.policy import evict

FULL = replace(LIMITS, quota_bytes=300_000)
SIZE = 4000


async def fill(store: Store, count: int) -> None:
    for number in range(count):
        await store.write(segment(number, of=room(3), size=SIZE).changes())


async def test_pins_survive_a_restart_and_the_loss_of_the_index(tmp_path: Path) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(segment(size=SIZE).changes())
        made = await store.pins.add(room(), no_progress)
        assert (made.target, made.kind, made.complete) == (room(), "room", True)
        assert made.bytes > 48_000
        cid = segment(size=SIZE).gop_cid(0)
        assert (await store.pins.add(str(cid), no_progress)).kind == "cid"
        assert store.usage().pinned_bytes == made.bytes
    (tmp_path / "index.sqlite").unlink()
    async with open_store(tmp_path, LIMITS) as store:
        assert [pin.target for pin in store.pins.shapes()] == [room(), str(cid)]
        assert store.usage().pinned_bytes == made.bytes
        assert await store.pins.remove(room())
        assert not await store.pins.remove(room())
        assert await store.pins.remove(str(cid))
        assert store.usage().pinned_bytes == 0


async def test_what_a_pinned_cid_needs_is_never_evicted(tmp_path: Path) -> None:
    """Through a manifest to segments, and with a segment its other renditions."""
    kept = [segment(number, size=SIZE) for number in (0, 2)]
    manifest = dagcbor.encode({"segments": [one.cid for one in kept]})
    cid = CID.of(manifest, Codec.DAG_CBOR)
    async with open_store(tmp_path, LIMITS) as store:
        for number in range(3):
            await store.write(segment(number, size=SIZE).changes())
        await store.write(segment(0, rendition="audio", size=1000).changes())
        await store.put([(cid, manifest)], room())
        assert (await store.pins.add(str(cid), no_progress)).complete
    async with open_store(tmp_path, FULL) as store:
        for number in range(10):
            await store.write(segment(number, of=room(2), size=SIZE).changes())
        for one in (*kept, segment(0, rendition="audio", size=1000)):
            place = store.locate(one.cid)
            assert place is not None
            assert await store.read_range(place) == one.content
        assert store.locate(segment(1, size=SIZE).cid) is None
        assert store.pins.shapes()[0].complete
        assert await store.drop_room(room()) == StillPinned((str(cid),))
        assert await store.block(cid) == manifest


async def test_a_pin_says_whether_all_of_it_is_here(tmp_path: Path) -> None:
    one, two = segment(0), segment(1)
    top = unixfs.directory(
        {
            "0": unixfs.Child(one.cid, len(one.content), 0),
            "1": unixfs.Child(two.cid, len(two.content), 0),
        }
    )
    assert top.block is not None
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(one.changes())
        assert not (await store.pins.add(str(top.cid), no_progress)).complete
        await store.put([(top.cid, top.block)], room())
        assert not (await store.pins.add(str(top.cid), no_progress)).complete
        await store.write(two.changes())
        found, pins = await store.pins.verify(no_progress)
        assert pins[0].complete
        assert (found.corrupt, found.missing) == (0, 0)
        await store.discard([key(1)])
        assert not store.pins.shapes()[0].complete


@pytest.mark.parametrize("target", ["", "room", "bafy", "../../etc", "k51" + "A" * 59])
async def test_what_cannot_be_pinned_is_told(tmp_path: Path, target: str) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        with pytest.raises(BadTarget, match=r"give a CID \(b…\), or a room"):
            await store.pins.add(target, no_progress)
        assert store.pins.shapes() == []


async def test_a_damaged_list_of_pins_is_replaced_by_the_one_before(tmp_path: Path) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        for number in (1, 2):
            await store.write(segment(of=room(number)).changes())
            await store.pins.add(room(number), no_progress)
    flip(tmp_path / "pins.json", 8)
    async with open_store(tmp_path, LIMITS) as store:
        assert "list of pins was damaged" in store.repaired[0]
        assert [pin.target for pin in store.pins.shapes()] == [room(1)]


async def test_a_newer_hausds_list_is_neither_read_nor_written_over(tmp_path: Path) -> None:
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(segment().changes())
        await store.pins.add(room(), no_progress)
    newer = json.dumps({"version": 99, "groups": {}})
    (tmp_path / "pins.json").write_text(newer)
    with pytest.raises(StoreError, match="newer hausd"):
        async with open_store(tmp_path, LIMITS):
            pass
    assert (tmp_path / "pins.json").read_text() == newer


async def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    with pytest.raises(StoreError, match=f"{tmp_path}/journal"):
        async with open_store(tmp_path, LIMITS):
            pass


async def test_with_both_lists_lost_nothing_is_evicted(tmp_path: Path) -> None:
    async with open_store(tmp_path, FULL) as store:
        await store.write(segment(size=SIZE).changes())
        await store.pins.add(room(), no_progress)
        await store.pins.add(room(2), no_progress)
    (tmp_path / "pins.json").write_text("{")
    (tmp_path / "pins.json.old").write_text(json.dumps({"version": 1, "pins": 5}))
    async with open_store(tmp_path, FULL) as store:
        assert "nothing is evicted" in store.repaired[0]
        with pytest.raises(RecordingStopped, match="quota"):
            await fill(store, 10)
        assert isinstance(await store.drop_room(room(3)), StillPinned)
        await store.pins.add(room(), no_progress)
        for number in range(20, 30):
            await store.write(segment(number, of=room(3), size=SIZE).changes())
        assert store.locate(segment(size=SIZE).cid) is not None


async def test_nothing_of_a_room_is_removed_once_it_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was chosen just before."""
    choosing, go_on = trio.Event(), threading.Event()
    choose = evict.choose

    def slowly(*args: object) -> object:
        trio.from_thread.run_sync(choosing.set)
        go_on.wait(10)
        return choose(*args)  # type: ignore[arg-type]  # passed on as they came

    pinned_then: list[list[str]] = []

    def evicted(keys: Sequence[SegmentKey]) -> None:
        pinned_then.append([pin.target for pin in store.pins.shapes()])

    async with open_store(tmp_path, FULL, evicted=evicted) as store:
        await store.write(segment(0, size=SIZE).changes())
        await fill(store, 4)
        monkeypatch.setattr(evict, "choose", slowly)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, segment(9, of=room(2), size=SIZE).changes())
            await choosing.wait()
            nursery.start_soon(store.pins.add, room(), no_progress)
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
    assert pinned_then
    assert not any(pinned_then)


async def test_no_thread_reads_pins_while_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end the node: a set changed its size while it was gone through."""
    asked: set[threading.Thread] = set()
    for name in ("held", "depths"):
        read = getattr(Pins, name)

        def noted(pins: Pins, read: Callable[[Pins], object] = read) -> object:
            asked.add(threading.current_thread())
            return read(pins)

        monkeypatch.setattr(Pins, name, noted)
    async with open_store(tmp_path, FULL) as store:
        await store.pins.add(room(), no_progress)
        await fill(store, 10)
        await store.shrink(room(3), 50_000)
        await store.gc()
    assert asked == {threading.current_thread()}


async def test_where_a_pinned_block_can_not_be_read_just_now_nothing_is_evicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what the pin holds until it can be: then all else may go again."""
    kept = segment(0, size=SIZE)
    manifest = dagcbor.encode({"segments": [kept.cid]})
    cid = CID.of(manifest, Codec.DAG_CBOR)
    async with open_store(tmp_path, LIMITS) as store:
        await store.write(kept.changes())
        await store.put([(cid, manifest)], room())
        await store.pins.add(str(cid), no_progress)

    def refused(*args: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr("hausd.blocks.reader.read_block", refused)
        async with open_store(tmp_path, FULL) as store:
            assert not store.pins.shapes()[0].complete
            with pytest.raises(RecordingStopped):
                await fill(store, 10)
            assert store.locate(kept.cid) is not None
            patch.undo()
            await store.pins.resolve_all(no_progress)
            for number in range(10):
                await store.write(segment(number, of=room(4), size=SIZE).changes())
            assert store.locate(kept.cid) is not None
            assert store.pins.shapes()[0].complete
