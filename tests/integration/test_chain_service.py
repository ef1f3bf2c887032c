"""The operator is told how the chain and each of its endpoints does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from solders.pubkey import Pubkey
from trio.testing import MockClock

from hausd.chain.embedded.disk import Held
from hausd.chain.pool import STALE_S
from hausd.chain.service import ChainService, ChainTerms, open_chain
from hausd.core.clock import SystemClock
from hausd.core.errors import Problem
from hausd.core.ids import RoomId
from hausd.core.programs.addresses import EMBEDDED, TOKEN
from tests.support.chain import held
from tests.support.chain_data import ARTIST, EVENT, raw_event
from tests.support.forkchain import fork_chain
from tests.support.rpcproxy import Proxy, hangs, status


@asynccontextmanager
async def service(
    folder: Path, event_factory: Pubkey = EMBEDDED.event_factory, *accounts: Held
) -> AsyncIterator[tuple[ChainService, Proxy]]:
    """A chain behind two endpoints, of which the first can be made faulty."""
    async with fork_chain(folder, accounts, endpoints=2) as chain:
        urls = tuple(proxy.url for proxy in chain.proxies)
        terms = ChainTerms(urls, event_factory, 0, 60.0)
        async with open_chain(terms, SystemClock(), ChainService) as service:
            yield service, chain.proxies[0]


@pytest.fixture
def fast(mock_clock: MockClock) -> MockClock:
    mock_clock.rate = 5
    return mock_clock


async def test_a_chain_that_answers_is_well(fast: MockClock, tmp_path: Path) -> None:
    async with service(tmp_path) as (chain, _):
        (check,) = await chain.checks()
        assert (check.state, check.mend) == ("ok", "")
        shape = await chain.chain()
        assert shape.live_tipping == str(EMBEDDED.live_tipping)


async def test_an_endpoint_in_trouble_is_named_with_it(fast: MockClock, tmp_path: Path) -> None:
    async with service(tmp_path) as (chain, proxy):
        proxy.mangle = status(500)
        (check,) = await chain.checks()
        assert check.state == "warn"
        assert "HTTP 500" in check.found
        assert proxy.url.removeprefix("http://") in check.found


async def test_a_chain_without_the_programs_says_which_option_names_them(
    fast: MockClock, tmp_path: Path
) -> None:
    async with service(tmp_path, EVENT) as (chain, proxy):
        proxy.mangle = hangs
        (check,) = await chain.checks()
        assert check.state == "fail"
        assert "chain.event_factory" in check.mend


async def test_what_is_no_event_is_said_to_be_none(fast: MockClock, tmp_path: Path) -> None:
    async with service(tmp_path) as (chain, _):
        with pytest.raises(Problem, match="no event") as caught:
            await chain.event(RoomId(str(EVENT)))
        assert caught.value.status == 404
        with pytest.raises(Problem, match="no address"):
            await chain.tickets("0OIl", "")
        with pytest.raises(Problem, match="no transaction"):
            await chain.send("!!", 0, resumed=False)
        with pytest.raises(Problem, match="no transaction"):
            await chain.plan("AAAA", [])


async def test_an_event_whose_token_is_not_told_has_no_amounts(
    fast: MockClock, tmp_path: Path
) -> None:
    event = raw_event(mint=ARTIST, token_program=TOKEN)
    paid = held(EVENT, EMBEDDED.event_factory, event)
    async with service(tmp_path, EMBEDDED.event_factory, paid) as (chain, _):
        with pytest.raises(Problem, match="does not tell of the token") as caught:
            await chain.events("")
        assert caught.value.code == "no-such-mint"


async def test_tokens_whose_mint_was_closed_take_no_other_away(
    fast: MockClock, tmp_path: Path
) -> None:
    good, closed = Pubkey(b"\x21" * 32), Pubkey(b"\x22" * 32)
    mint = bytes(36) + (500).to_bytes(8, "little") + bytes([6, 1]) + bytes(36)

    def tokens(place: int, of: Pubkey) -> Held:
        raw = bytes(of) + bytes(ARTIST) + (77).to_bytes(8, "little") + bytes(36) + bytes([1])
        account = held(Pubkey(bytes([place]) * 32), TOKEN, raw + bytes(56))
        return replace(account, token_owner=bytes(ARTIST))

    accounts = (held(good, TOKEN, mint), tokens(0x23, good), tokens(0x24, closed))
    async with service(tmp_path, EMBEDDED.event_factory, *accounts) as (chain, proxy):
        wallet = await chain.wallet(str(ARTIST))
        assert [(each.mint, each.decimals) for each in wallet.tokens] == [(str(good), 6)]
        assert proxy.asked.count("getMultipleAccounts") <= 2  # the platform's, and all mints


async def test_a_chain_that_stands_still_or_is_away_can_not_be_gone_by(
    fast: MockClock, tmp_path: Path
) -> None:
    async with service(tmp_path) as (chain, _):
        await chain.chain()
        assert not chain.doubt()
        await trio.sleep(STALE_S + 5)
        assert "nothing newer than slot" in chain.doubt()
        assert "nothing newer than slot" in chain.status().doubt


async def test_where_nobody_answers_the_status_says_why(fast: MockClock, tmp_path: Path) -> None:
    async with fork_chain(tmp_path) as chain:
        (proxy,) = chain.proxies
        terms = ChainTerms((proxy.url,), EMBEDDED.event_factory, 0, 60.0)
        async with open_chain(terms, SystemClock(), ChainService) as service:
            slot = (await service.chain()).slot
            proxy.mangle = status(429)
            with pytest.raises(Problem, match="limits how often"):
                await service.chain()
            shown = service.status()
            assert "limits how often" in shown.doubt
            assert (shown.slot, shown.url) == (slot, proxy.url.removeprefix("http://"))
