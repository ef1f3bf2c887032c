"""A relay gives what it has at once, and what is on its way to who may wait for it."""

from __future__ import annotations

import trio
from support.content import ROOM
from support.memorystore import MemoryStore

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.storage import Append, SegmentKey
from hausd.rooms.leaftable import LeafTable

LEAVES = [bytes([n]) * 1000 for n in range(20)]
CIDS = [CID.of(leaf) for leaf in LEAVES]


async def test_who_may_wait_gets_a_leaf_the_moment_it_arrives_and_nobody_else_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    table = LeafTable(MemoryStore())
    table.expect(CIDS[:2])
    assert await table.get(CIDS[0], may_wait=False) is None
    got: dict[int, object] = {}

    async def wait(at: int) -> None:
        got[at] = (await table.get(CIDS[at], may_wait=True), trio.current_time())

    async with trio.open_nursery() as nursery:
        for at in range(3):
            nursery.start_soon(wait, at)
        await trio.sleep(1)
        assert set(got) == {2}, "what nobody announced is not waited for"
        table.add([(CIDS[0], LEAVES[0])])
        await trio.sleep(1)
        table.give_up(CIDS[:2])
    assert got == {0: (LEAVES[0], 1.0), 1: (None, 2.0), 2: (None, 0.0)}


async def test_memory_is_bounded_and_older_leaves_come_from_the_store() -> None:
    store = MemoryStore()
    table = LeafTable(store, max_bytes=5_000)
    key = SegmentKey(ROOM, SessionId(1, 1), "source", 0)
    for cid, leaf in zip(CIDS, LEAVES, strict=True):
        table.add([(cid, leaf)])
        table.add([(cid, leaf)])  # twice counts once
        await store.write([Append(key, ((cid, leaf),))])
    assert sum(table.peek(cid) is not None for cid in CIDS) == 5
    for cid, leaf in zip(CIDS, LEAVES, strict=True):
        assert await table.get(cid, may_wait=False) == leaf


async def test_waiting_is_bounded_by_forgetting_what_was_announced_first() -> None:
    table = LeafTable(MemoryStore())
    first = CID.of(b"first")
    table.expect([first])
    table.expect(CID.of(b"%d" % n) for n in range(10_000))
    assert await table.get(first, may_wait=True) is None
