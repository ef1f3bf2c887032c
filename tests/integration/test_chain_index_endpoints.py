"""One endpoint's word takes nothing from the index for good: it may lag, or lie."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest
from solders.signature import Signature
from trio.testing import MockClock

from hausd.chain.metrics import INDEX_MADE_UP
from hausd.chain.pool import Unavailable
from hausd.core.programs.addresses import EMBEDDED
from tests.support.indexed import setting
from tests.support.rpcproxy import Mangle, result

_HONEST = result(lambda told: told)
_NOTHING = result(lambda told: None, "getTransaction")
_NO_META = result(lambda told: told | {"meta": None}, "getTransaction")
_UNKNOWN = result(
    lambda told: told | {"value": [None] * len(told["value"])}, "getSignatureStatuses"
)
_FAILED = result(
    lambda told: told | {"value": [one | {"err": "AccountInUse"} for one in told["value"]]},
    "getSignatureStatuses",
)


@pytest.fixture
def fast(mock_clock: MockClock) -> MockClock:
    mock_clock.rate = 5
    return mock_clock


async def test_a_final_tip_that_one_endpoint_does_not_give_is_read_from_another_or_waited_for(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 2) as here:
        event = await here.event()
        for amount, lie in enumerate((_NOTHING, _NO_META), 2000):
            await here.tip(event, amount)
            here.proxy.mangle = lie
            await here.indexer.round()
            assert (await here.tips(event))[0] == amount
        await here.tip(event, 2002)
        here.chain.proxies[1].mangle = _NOTHING
        with pytest.raises(Unavailable, match="which is known"):
            await here.indexer.round()
        here.proxy.mangle = _HONEST
        await here.indexer.round()
        assert await here.tips(event) == [2002, 2001, 2000]


async def test_what_nobody_knows_and_what_is_of_another_version_hold_nothing_up(
    fast: MockClock, tmp_path: Path
) -> None:
    made_up = {"signature": str(Signature(b"\5" * 64)), "slot": 1, "err": None}
    made_up |= {"confirmationStatus": "finalized"}

    def lies(asked: dict[str, Any], told: dict[str, Any]) -> None:
        if asked["method"] == "getSignaturesForAddress":
            told["result"] = [made_up, *told["result"]]
        if asked["method"] == "getTransaction" and asked["params"][0] == odd:
            del told["result"]
            told["error"] = {"code": -32015, "message": "Transaction version (1) is not supported"}

    async with setting(tmp_path, 2) as here:
        event = await here.event()
        await here.tip(event, 2000)
        odd = await here.tip(event, 2001)
        await here.tip(event, 2002)
        here.proxy.mangle = lies
        await here.indexer.round()
        assert await here.tips(event) == [2002, 2000]
        await here.tip(event, 2003)
        await here.indexer.round()
        assert await here.tips(event) == [2003, 2002, 2000]
        assert "getTransaction" not in here.chain.proxies[1].asked


async def test_a_tip_that_one_endpoint_does_not_know_or_calls_failed_is_not_withdrawn(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 2) as here:
        event = await here.event()
        here.chain.finalized_behind = 32
        await here.tip(event, 2000)
        await here.indexer.round()
        here.chain.advance(200)
        for lie in (_UNKNOWN, _FAILED):
            here.proxy.mangle = lie
            await here.indexer.round()
            assert [entry.final for entry in await here.entries(event)] == [False]
        here.proxy.mangle = _HONEST
        await here.indexer.round()
        assert [entry.final for entry in await here.entries(event)] == [True]


def _knows_no_place(asked: dict[str, Any], told: dict[str, Any]) -> None:
    """As an endpoint that lags, or that is of another fork."""
    if asked["method"] == "getSignaturesForAddress":
        address, options = asked["params"]
        if address == str(EMBEDDED.live_tipping) and "before" in options:
            told["result"] = []


async def test_an_endpoint_that_does_not_know_where_a_walk_is_does_not_end_it(
    fast: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with setting(tmp_path, 2) as here:
        event = await here.event()
        for amount in range(2000, 2006):
            await here.tip(event, amount)
        monkeypatch.setattr("hausd.chain.indexer.MAX_SIGNATURES_AT_ONCE", 3)
        here.proxy.mangle = here.chain.proxies[1].mangle = _knows_no_place
        with pytest.raises(Unavailable, match="were listed"):
            await here.indexer.round()
        here.chain.proxies[1].mangle = _HONEST
        await here.tip(event, 2006)
        await here.indexer.round()
        assert await here.tips(event) == list(range(2006, 1999, -1))


async def test_what_was_not_final_yet_when_a_round_broke_off_is_listed_again(
    fast: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint that lags lists it, does not give it, and then another is asked."""
    async with setting(tmp_path) as here:
        event = await here.event()
        await here.indexer.round()
        lost = await here.tip(event, 2000)
        await here.tip(event, 2001)
        monkeypatch.setattr("hausd.chain.indexer._BATCH", 1)

        def lags(asked: dict[str, Any], told: dict[str, Any]) -> None:
            if asked["method"] == "getSignaturesForAddress":
                for one in told["result"]:
                    if one["signature"] == lost:
                        one["confirmationStatus"] = "confirmed"
            if asked["method"] == "getTransaction":
                told["result"] = None

        here.proxy.mangle = lags
        with pytest.raises(Unavailable):
            await here.indexer.round()
        here.proxy.mangle = _HONEST
        await here.indexer.round()
        assert await here.tips(event) == [2001, 2000]


def _without_end() -> Mangle:
    """Lists made-up transactions, however often it is asked for more: forty times here."""
    numbers = count(1)

    def lies(asked: dict[str, Any], told: dict[str, Any]) -> None:
        if asked["method"] != "getSignaturesForAddress":
            return
        address, options = asked["params"]
        if address == str(EMBEDDED.live_tipping):
            names = [Signature(next(numbers).to_bytes(64, "big")) for _ in range(options["limit"])]
            made_up = {"slot": 1, "err": None, "confirmationStatus": "finalized"}
            told["result"] = [{"signature": str(name), **made_up} for name in names]
            if "before" in options:
                told["result"][0]["signature"] = last_of[options["before"]]
            last_of[told["result"][-2]["signature"]] = told["result"][-1]["signature"]
            if len(last_of) > 40:
                told["result"] = "enough"

    last_of: dict[str, str] = {}
    return lies


async def test_who_lists_made_up_transactions_without_end_is_asked_after_others(
    fast: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with setting(tmp_path, 2) as here:
        event = await here.event()
        for amount in range(2000, 2006):
            await here.tip(event, amount)
        monkeypatch.setattr("hausd.chain.indexer.MAX_SIGNATURES_AT_ONCE", 3)
        made_up = INDEX_MADE_UP._value.get()
        here.proxy.mangle = _without_end()
        await here.indexer.round()
        assert await here.tips(event) == list(range(2005, 1999, -1))
        assert INDEX_MADE_UP._value.get() == made_up + 3
        assert "no endpoint knows" in here.client.pool.standings[0][2]
        here.chain.proxies[1].mangle = _without_end()
        await here.tip(event, 2006)
        with pytest.raises(Unavailable, match="that none knows"):
            await here.indexer.round()
        assert here.index.waiting(str(EMBEDDED.live_tipping)) == []


async def test_who_makes_up_what_became_of_them_as_well_does_not_fill_the_disk(
    fast: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with setting(tmp_path) as here:
        endless = _without_end()
        good = {"slot": 1, "err": None, "confirmationStatus": "finalized"}

        def lies(asked: dict[str, Any], told: dict[str, Any]) -> None:
            endless(asked, told)
            if asked["method"] == "getSignatureStatuses":
                told["result"]["value"] = [good] * len(asked["params"][0])

        monkeypatch.setattr("hausd.chain.index.MAX_WAITING", 50)
        monkeypatch.setattr("hausd.chain.indexer.MAX_SIGNATURES_AT_ONCE", 20)
        here.proxy.mangle = lies
        with pytest.raises(Unavailable):
            await here.indexer.round()
        assert len(here.index.waiting(str(EMBEDDED.live_tipping))) == 50
