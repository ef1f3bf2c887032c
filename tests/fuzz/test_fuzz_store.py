"""A store with damaged files never fails but in its own words, and never gives wrong bytes."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import trio
from hypothesis import example, given
from hypothesis import strategies as st
from support.store import LIMITS, leaf, room, segment

from hausd.blocks import journal, packs, trailer
from hausd.blocks.errors import Damaged, StoreError
from hausd.blocks.store import Store, no_progress, open_store
from hausd.core.cid import CID
from hausd.core.storage import RecordingStopped

CLOSED = [segment(number, gops=2, leaves=3, size=300) for number in range(3)]
OPEN = segment(9, gops=2, leaves=3, size=300)
SMALL = [leaf(("small", number), 100) for number in range(4)]
BIG = leaf("big", packs.PACK_BYTES // 3)
KNOWN = {
    **{CID.of(data): data for one in (*CLOSED, OPEN) for data in one.leaves},
    **{CID.of(data): data for data in (*SMALL, BIG)},
    **{cid: node for one in CLOSED for cid, node in one.nodes()},
}


@cache
def base() -> Path:
    """Two stores with everything in them: one stopped in order, one as a kill leaves it."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-store-"))

    async def fill() -> None:
        async with open_store(folder / "clean", LIMITS) as store:
            for one in CLOSED[:2]:
                await store.write(one.changes())
            await store.put([(CID.of(SMALL[0]), SMALL[0])], room())
            await store.put([(CID.of(BIG), BIG)], room(2))
            await store.pins.add(room(), no_progress)
            await store.pins.add(str(CLOSED[0].cid), no_progress)
            await store.sync()
            await store.write(CLOSED[2].changes())
            await store.write([OPEN.append(0)])
            await store.put([(CID.of(data), data) for data in SMALL[1:]], room())
            await store.discard([CLOSED[1].key])
            shutil.copytree(folder / "clean", folder / "killed")

    trio.run(fill)
    return folder


damages = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from(["flip", "zero", "cut", "grow", "delete", "swap"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 7),
    ),
    min_size=1,
    max_size=4,
)


def damage(folder: Path, number: int, how: str, where: float, bit: int) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    if not files:
        return
    path = files[number % len(files)]
    data = bytearray(path.read_bytes())
    at = int(where * len(data))
    match how:
        case "flip" if data:
            data[at] ^= 1 << bit
        case "zero":
            data[at : at + 64] = bytes(len(data[at : at + 64]))
        case "cut":
            del data[at:]
        case "grow":
            data += data[at:] + b"\0more"
        case "delete":
            path.unlink()
            return
        case "swap":
            other = files[(number + 1 + bit) % len(files)]
            data = bytearray(other.read_bytes())
    path.write_bytes(data)


async def check(store: Store, *, verified: bool) -> None:
    for cid, data in KNOWN.items():
        assert await store.block(cid) in (data, None)
        store.has(cid)
    for one in CLOSED:
        for cid, data in (
            (one.cid, one.content),
            *((one.gop_cid(gop), b"".join(one.gops[gop])) for gop in range(2)),
        ):
            place = store.locate(cid)
            if place is not None:
                assert place.length == len(data)
                if verified:
                    assert await store.read_range(place) == data


async def run(folder: Path) -> None:
    for start in range(2):
        try:
            opened = open_store(folder, LIMITS)
            store = await opened.__aenter__()
        except StoreError:
            return
        try:
            await check(store, verified=False)
            for of in (1, 2):
                await store.segments(room(of))
                store.unclosed(room(of))
            await store.verify()
            await check(store, verified=True)
            store.usage()
            store.pins.shapes()
            fresh = segment(100 + start, of=room(3))
            try:
                await store.write(fresh.changes())
                await store.put([(CID.of(b"new"), b"new")], room(3))
            except RecordingStopped:
                continue
            assert store.locate(fresh.cid) is not None
            await store.gc()
        finally:
            await opened.__aexit__(None, None, None)


@given(st.sampled_from(["clean", "killed"]), damages)
@example("clean", [(0, "flip", 0.0, 0)])
@example("clean", [(1, "cut", 0.5, 0), (0, "delete", 0, 0)])
@example("killed", [(1, "swap", 0.0, 1)])
@example("killed", [(2, "zero", 0.1, 0), (3, "grow", 0.5, 0)])
@example("killed", [(0, "swap", 0.0, 3), (5, "swap", 0.0, 0)])
def test_a_damaged_store(which: str, damaged: list[tuple[int, str, float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        shutil.copytree(base() / which, path)
        for one in damaged:
            damage(path, *one)
        trio.run(run, path)


@given(st.binary(max_size=300))
@example(b"")
@example(b"\xa0" + bytes(8))
def test_any_bytes_as_trailer_journal_or_pack(untrusted: bytes) -> None:
    with suppress(Damaged):
        trailer.decode(untrusted)
    head, _ = journal.begin(bytes(8))
    journal.replay(untrusted)
    journal.replay(head + untrusted)
    packs.scan(untrusted, check=True)
    packs.scan(packs.head(CID.of(untrusted), len(untrusted)) + untrusted, check=True)
