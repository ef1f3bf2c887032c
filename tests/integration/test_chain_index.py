"""The index says of tips and tickets what the chain says, also after a fork and from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey
from trio.testing import MockClock

from hausd.chain.answers import SignatureInfo
from hausd.chain.calls import RpcError
from hausd.chain.index import Index
from hausd.chain.indexer import Indexer
from hausd.chain.pool import Unavailable
from hausd.core.programs.addresses import EMBEDDED, EventPlaces
from tests.support.forkchain import ForkChain
from tests.support.indexed import setting
from tests.support.jsonserver import Reply
from tests.support.rpcproxy import status


@pytest.fixture
def fast(mock_clock: MockClock) -> MockClock:
    mock_clock.rate = 5
    return mock_clock


async def test_tips_are_indexed_in_their_order_and_each_once(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        await here.tip(event, 2000)
        await here.indexer.round()
        await here.tip(event, 3000)
        await here.indexer.round()
        await here.indexer.round()
        assert await here.tips(event) == [3000, 2000]
        assert [entry.fields["message"] for entry in await here.entries(event)] == ["hey", "hey"]


async def test_a_tip_that_a_fork_took_back_is_withdrawn(fast: MockClock, tmp_path: Path) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        here.chain.finalized_behind = 32
        await here.tip(event, 2000)
        here.chain.keep()
        await here.tip(event, 3000)
        await here.indexer.round()
        assert [entry.final for entry in await here.entries(event)] == [False, False]
        await here.chain.fork()
        await here.indexer.round()
        assert await here.tips(event) == [3000, 2000]  # it may be in a block that is still to come
        here.chain.advance(200)
        await here.indexer.round()
        assert await here.tips(event) == [2000]
        assert [entry.final for entry in await here.entries(event)] == [True]


async def test_a_tip_that_lands_again_after_a_fork_is_there_again(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        here.chain.finalized_behind = 32
        here.chain.keep()
        lost = await here.tip(event, 3000)
        await here.indexer.round()
        await here.chain.fork()
        here.chain.advance(100)
        await here.indexer.round()
        assert await here.tips(event) == []
        await here.again(lost)
        await here.indexer.round()
        assert await here.tips(event) == [3000]


async def test_a_tip_that_lands_in_another_slot_after_a_fork_is_there_once_and_of_that_slot(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        here.chain.finalized_behind = 32
        here.chain.keep()
        moved = await here.tip(event, 3000)
        await here.indexer.round()
        (before,) = await here.entries(event)
        await here.chain.fork()
        here.chain.advance(10)
        slot = await here.again(moved)
        assert slot > before.slot
        await here.indexer.round()
        (entry,) = await here.entries(event)
        assert (entry.slot, entry.final) == (slot, False)
        here.chain.advance(100)
        await here.indexer.round()
        (entry,) = await here.entries(event)
        assert (entry.slot, entry.final) == (slot, True)


async def test_tips_of_one_slot_keep_their_order_over_rounds(
    fast: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        monkeypatch.setattr("hausd.chain.indexer._BATCH", 2)
        monkeypatch.setattr(ForkChain, "advance", lambda *_: None)
        for amount in (2000, 2001, 2002):
            await here.tip(event, amount)
        await here.indexer.round()
        for amount in (2003, 2004):
            await here.tip(event, amount)
        await here.indexer.round()
        assert len({entry.slot for entry in await here.entries(event)}) == 1
        assert await here.tips(event) == [2004, 2003, 2002, 2001, 2000]


async def test_an_endpoint_that_takes_one_call_at_a_time_is_asked_so(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        await here.tip(event, 2000)
        here.proxy.batches = False
        await here.indexer.round()
        assert await here.tips(event) == [2000]


async def test_an_index_that_is_lost_or_of_another_chain_is_made_anew(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        await here.tip(event, 2000)
        await here.indexer.round()
        whole = here.index.entries()
        fresh = Index(tmp_path / "fresh", here.chain.genesis)
        await Indexer(here.client, fresh).round()
        assert fresh.entries() == whole
        fresh.close()
        other = Index(tmp_path / "fresh", "another chain")
        assert other.entries() == []
        other.close()


async def test_a_round_that_breaks_off_is_taken_up_and_nothing_is_missing(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        for amount in range(2000, 2010):
            await here.tip(event, amount)
        asked = 0
        broken = status(500)

        def sometimes(request: dict[str, Any], told: dict[str, Any]) -> Reply | None:
            nonlocal asked
            if request["method"] == "getTransaction":
                asked += 1
                if asked > 3:
                    return broken(request, told)
            return None

        here.proxy.mangle = sometimes
        with pytest.raises(Unavailable):
            await here.indexer.round()
        here.proxy.mangle = lambda request, told: None
        fast.jump(90)
        await here.indexer.round()
        assert await here.tips(event) == list(range(2009, 1999, -1))


async def test_many_pages_of_signatures_are_read_to_their_end(
    fast: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        for amount in range(2000, 2007):
            await here.tip(event, amount)
        monkeypatch.setattr("hausd.chain.indexer.MAX_SIGNATURES_AT_ONCE", 3)
        await here.indexer.round()
        assert await here.tips(event) == list(range(2006, 1999, -1))


async def test_a_history_of_more_than_may_wait_is_read_part_by_part(
    fast: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        for amount in range(2000, 2012):
            await here.tip(event, amount)
        monkeypatch.setattr("hausd.chain.indexer.MAX_SIGNATURES_AT_ONCE", 3)
        monkeypatch.setattr("hausd.chain.index.MAX_WAITING", 5)
        await here.indexer.round()
        assert await here.tips(event) == list(range(2011, 1999, -1))


async def test_a_walk_that_breaks_off_goes_on_where_it_was_and_what_came_since_is_there_too(
    fast: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with setting(tmp_path) as here:
        event = await here.event()
        for amount in range(2000, 2006):
            await here.tip(event, amount)
        monkeypatch.setattr("hausd.chain.indexer.MAX_SIGNATURES_AT_ONCE", 3)
        ask, pages = here.client.signatures_by, 0

        async def some_pages(address: Pubkey, **more: Any) -> tuple[int, list[SignatureInfo]]:
            nonlocal pages
            pages += 1
            if address == EMBEDDED.live_tipping and more["before"] != "" and pages < 100:
                pages = 100
                raise RpcError(-1, "no more")
            return await ask(address, **more)

        monkeypatch.setattr(here.client, "signatures_by", some_pages)
        with pytest.raises(RpcError):
            await here.indexer.round()
        await here.tip(event, 2006)
        again = Index(tmp_path / "index", here.chain.genesis)
        indexer = Indexer(here.client, again)
        await indexer.round()
        vault = EventPlaces.of(EMBEDDED, event).vault.address
        found = await indexer.entries(account=str(vault), kind="Tipped")
        assert [entry.fields["amount"] for entry in found] == list(range(2006, 1999, -1))
        again.close()
