"""Blocks from several sources at once: each from who gives it first, the live edge from nodes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import trio
from support.content import content
from support.hls_room import MemoryBlocks

from hausd import retrieval as retrieval_module
from hausd.core import unixfs
from hausd.core.cid import CID
from hausd.core.following import LeafMissing, Priority, SourceFailed, SourceLied
from hausd.core.ids import RoomId
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import PeerId
from hausd.retrieval import EXCHANGE, FetchedBlocks, Retrieval, RetrievingNetwork
from hausd.rooms.ports import Network

LEAVES = [content(number, LEAF_BYTES) for number in range(64)]
ROOM = RoomId("k51" + "a" * 59)


@dataclass
class Source:
    """Gives blocks after a while, or does as it is told. ``beside``: so many at a time."""

    name: str
    takes_s: float
    blocks: dict[CID, bytes] = field(default_factory=lambda: {CID.of(one): one for one in LEAVES})
    fault: type[LeafMissing] | None = None
    asked: int = 0
    cancelled: int = 0

    async def fetch(self, cid: CID, max_bytes: int, *, deadline_s: float) -> bytes:
        self.asked += 1
        try:
            await trio.sleep(self.takes_s)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        if self.fault is SourceFailed:
            raise SourceFailed(cid, "it is broken")
        if self.fault is not None or cid not in self.blocks:
            raise (self.fault or LeafMissing)(cid)
        return self.blocks[cid]


async def all_of(retrieval: Retrieval, at_once: int = 16) -> float:
    """Fetches all leaves; gives how long that took."""
    begun_s = trio.current_time()
    slots = trio.Semaphore(at_once)

    async def one(leaf: bytes) -> None:
        async with slots:
            deadline_s = trio.current_time() + 15
            found = await retrieval.fetch(CID.of(leaf), LEAF_BYTES, deadline_s=deadline_s)
            assert found == leaf

    async with trio.open_nursery() as nursery:
        for leaf in LEAVES:
            nursery.start_soon(one, leaf)
    return trio.current_time() - begun_s


async def test_the_fastest_carries_most(autojump_clock: trio.testing.MockClock) -> None:
    slow, fast = Source("slow", 1.0), Source("fast", 0.1)
    await all_of(Retrieval([slow, fast]))
    assert fast.asked > 3 * slow.asked


async def test_who_turns_silent_is_outrun_and_let_go(
    autojump_clock: trio.testing.MockClock,
) -> None:
    first, second = Source("first", 0.1), Source("second", 0.3)
    retrieval = Retrieval([first, second])
    await all_of(retrieval)
    first.takes_s = float("inf")
    took_s = await all_of(retrieval)
    assert took_s < 10
    assert first.cancelled > 0
    before = first.asked
    await all_of(retrieval)
    assert first.asked - before <= 2, "it is known by now"


@pytest.mark.parametrize("fault", [SourceLied, SourceFailed])
async def test_bad_sources_cost_little(
    autojump_clock: trio.testing.MockClock, fault: type[LeafMissing]
) -> None:
    bad, good = Source("bad", 0.01, fault=fault), Source("good", 0.1)
    took_s = await all_of(Retrieval([bad, good]))
    assert took_s < 5
    assert bad.asked <= 16


async def test_a_deadline_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    retrieval = Retrieval([Source("silent", float("inf")), Source("silent too", float("inf"))])
    with pytest.raises(LeafMissing):
        await retrieval.fetch(CID.of(b"x"), 10, deadline_s=trio.current_time() + 7)
    assert trio.current_time() >= 7


async def test_nobody_waits_for_a_liar(autojump_clock: trio.testing.MockClock) -> None:
    liar, honest = Source("liar", 0.1, fault=SourceLied), Source("honest", 0.1, blocks={})
    retrieval = Retrieval([liar, honest])
    for _ in range(2):
        with pytest.raises(LeafMissing):
            await retrieval.fetch(CID.of(b"x"), 10, deadline_s=trio.current_time() + 60)
    assert trio.current_time() < 1


async def test_who_rests_is_waited_for_within_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    only = Source("only", 0.1, fault=SourceFailed)
    retrieval = Retrieval([only])

    async def mend() -> None:
        await trio.sleep(0.5)
        only.fault = None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mend)
        with pytest.raises(LeafMissing):  # it was asked and failed; nobody else is there
            await retrieval.fetch(CID.of(LEAVES[0]), LEAF_BYTES, deadline_s=20.0)
        found = await retrieval.fetch(CID.of(LEAVES[0]), LEAF_BYTES, deadline_s=20.0)
    assert found == LEAVES[0], "its rest was over soon enough"


@dataclass
class Exchange:
    """The exchange's ``fetch`` alone."""

    source: Source
    priorities: list[Priority] = field(default_factory=list)

    async def fetch(
        self,
        room: RoomId,
        cid: CID,
        max_bytes: int,
        *,
        told_by: PeerId | None,
        deadline_s: float,
        priority: Priority,
    ) -> bytes:
        self.priorities.append(priority)
        return await self.source.fetch(cid, max_bytes, deadline_s=deadline_s)


def network(exchange: Exchange, retrieval: Retrieval) -> Network:
    return RetrievingNetwork(exchange, retrieval)  # type: ignore[arg-type] # only fetch is used


async def test_only_the_archive_is_asked_of_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    gateway = Source("gateway", 0.05)
    nobody = Exchange(Source(EXCHANGE, 0.1, blocks={}))
    there = network(nobody, Retrieval([gateway]))
    cid = CID.of(LEAVES[0])

    async def get(priority: Priority) -> bytes:
        return await there.fetch(
            ROOM, cid, LEAF_BYTES, told_by=None, deadline_s=5.0, priority=priority
        )

    for priority in (Priority.LIVE, Priority.CATCH_UP):
        with pytest.raises(LeafMissing):
            await get(priority)
    assert gateway.asked == 0
    assert await get(Priority.ARCHIVE) == LEAVES[0]
    assert gateway.asked == 1


async def test_the_exchange_is_asked_first_and_alone_while_it_is_good(
    autojump_clock: trio.testing.MockClock,
) -> None:
    gateway, exchange = Source("gateway", 0.2), Exchange(Source(EXCHANGE, 0.05))
    there = network(exchange, Retrieval([gateway]))
    for leaf in LEAVES:
        await there.fetch(
            ROOM,
            CID.of(leaf),
            LEAF_BYTES,
            told_by=None,
            deadline_s=trio.current_time() + 5,
            priority=Priority.ARCHIVE,
        )
    assert gateway.asked <= 2, "no more than finding out takes"


async def test_a_reader_finds_what_follows_fetched_ahead(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A file that comes block after block takes a fraction of as many round trips."""
    child, blocks = unixfs.file_of(b"".join(LEAVES))
    source = Source("gateway", 0.1, blocks=dict(blocks))
    async with trio.open_nursery() as nursery:
        reader = FetchedBlocks(MemoryBlocks(), Retrieval([source]), nursery)
        pieces = [piece async for piece in unixfs.read(child.cid, reader.block)]
    assert b"".join(pieces) == b"".join(LEAVES)
    assert trio.current_time() < len(LEAVES) * 0.1 / 4
    assert source.asked == len(blocks), "each is fetched once"


async def test_who_reads_the_beginning_costs_little(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child, blocks = unixfs.file_of(b"".join(LEAVES))
    source = Source("gateway", 0.1, blocks=dict(blocks))
    async with trio.open_nursery() as nursery:
        reader = FetchedBlocks(MemoryBlocks(), Retrieval([source]), nursery)
        _ = [piece async for piece in unixfs.read(child.cid, reader.block, 0, 100)]
    assert source.asked <= 12


async def test_what_many_want_is_fetched_once_and_kept_within_bounds(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval_module, "_KEPT_BYTES", 10 * LEAF_BYTES)
    source = Source("gateway", 0.1)
    async with trio.open_nursery() as nursery:
        reader = FetchedBlocks(MemoryBlocks(), Retrieval([source]), nursery)
        async with trio.open_nursery() as readers:
            for _ in range(20):
                readers.start_soon(reader.block, CID.of(LEAVES[0]))
        assert source.asked == 1
        for leaf in LEAVES:
            assert await reader.block(CID.of(leaf)) == leaf
        assert sum(reader.has(CID.of(leaf)) for leaf in LEAVES) == 10
        assert await reader.block(CID.of(b"nobody has it")) is None
        assert not reader._locks
