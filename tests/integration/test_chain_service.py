"""The operator is told how the chain and each of its endpoints does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from solders.pubkey import Pubkey
from trio.testing import MockClock

from hausd.chain.service import ChainService, ChainTerms, open_chain
from hausd.core.clock import SystemClock
from hausd.core.errors import Problem
from hausd.core.ids import RoomId
from tests.support.chain_data import EVENT, PROGRAMS
from tests.support.litechain import serve_chain, with_programs
from tests.support.rpcproxy import Proxy, hangs, proxied, status


@asynccontextmanager
async def service(
    event_factory: Pubkey = PROGRAMS.event_factory,
) -> AsyncIterator[tuple[ChainService, Proxy]]:
    """A chain behind two endpoints, of which the first can be made faulty."""
    async with serve_chain(with_programs()) as url, proxied(url) as proxy:
        terms = ChainTerms((proxy.url, url), event_factory, 0, 20.0)
        async with open_chain(terms, SystemClock(), ChainService) as chain:
            yield chain, proxy


@pytest.fixture
def fast(mock_clock: MockClock) -> MockClock:
    mock_clock.rate = 20
    return mock_clock


async def test_a_chain_that_answers_is_well(fast: MockClock) -> None:
    async with service() as (chain, _):
        (check,) = await chain.checks()
        assert (check.state, check.mend) == ("ok", "")
        shape = await chain.chain()
        assert shape.live_tipping == str(PROGRAMS.live_tipping)


async def test_an_endpoint_in_trouble_is_named_with_it(fast: MockClock) -> None:
    async with service() as (chain, proxy):
        proxy.mangle = status(500)
        (check,) = await chain.checks()
        assert check.state == "warn"
        assert "HTTP 500" in check.found
        assert proxy.url.removeprefix("http://") in check.found


async def test_a_chain_without_the_programs_says_which_option_names_them(fast: MockClock) -> None:
    async with service(EVENT) as (chain, proxy):
        proxy.mangle = hangs
        (check,) = await chain.checks()
        assert check.state == "fail"
        assert "chain.event_factory" in check.mend


async def test_what_is_no_event_is_said_to_be_none(fast: MockClock) -> None:
    async with service() as (chain, _):
        with pytest.raises(Problem, match="no event") as caught:
            await chain.event(RoomId(str(EVENT)))
        assert caught.value.status == 404
        with pytest.raises(Problem, match="no address"):
            await chain.tickets("0OIl", "")
        with pytest.raises(Problem, match="no transaction"):
            await chain.send("!!", 0, resumed=False)
        with pytest.raises(Problem, match="no transaction"):
            await chain.plan("AAAA", [])
