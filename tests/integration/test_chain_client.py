"""The chain behind endpoints that are slow, behind, rate limiting, lying, and not there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from trio.testing import MockClock

from hausd.chain.answers import Slot
from hausd.chain.client import ChainClient
from hausd.chain.embedded.disk import Held
from hausd.chain.pool import LOOK_S, Pool, Unavailable, open_pool
from hausd.chain.sending import BadTransaction, Expired, Fails, Sender
from hausd.core.clock import SystemClock
from hausd.core.programs.accounts import AccountError, EventAccount
from hausd.core.programs.messages import Budget, message_of, transfer
from hausd.policy.endpoints import ALONE_REST_S
from tests.support.chain import held
from tests.support.chain_data import EVENT, PROGRAMS, raw_event
from tests.support.forkchain import ForkChain, fork_chain
from tests.support.jsonserver import Reply
from tests.support.rpcproxy import Mangle, Proxy, hangs, result, status

WALLET = Keypair.from_seed(b"\x07" * 32)
TO = Keypair.from_seed(b"\x08" * 32).pubkey()
SOL = 10**9
VALID_BLOCKS = 150


@dataclass
class Setting:
    chain: ForkChain
    proxies: list[Proxy]
    pool: Pool
    client: ChainClient
    sender: Sender

    async def signed(self, lamports: int = SOL) -> tuple[bytes, int]:
        instructions = [transfer(WALLET.pubkey(), TO, lamports)]
        payer = WALLET.pubkey()
        rehearsed = message_of(payer, instructions, Hash.default(), Budget(1_400_000, 0))
        plan = await self.sender.plan(rehearsed)
        message = message_of(payer, instructions, plan.blockhash, plan.budget)
        signed = VersionedTransaction(message, [WALLET])
        return bytes(signed), plan.last_valid_block_height

    async def given(self) -> int:
        return await self.client.balance(TO)


@asynccontextmanager
async def setting(folder: Path, endpoints: int = 1, *accounts: Held) -> AsyncIterator[Setting]:
    wallet = held(WALLET.pubkey(), lamports=10 * SOL)
    async with fork_chain(folder, [wallet, *accounts], endpoints) as chain:
        urls = [proxy.url for proxy in chain.proxies]
        async with open_pool(urls, SystemClock(), 60.0) as pool:
            client = ChainClient(pool, PROGRAMS)
            yield Setting(chain, chain.proxies, pool, client, Sender(client, 100_000))


@pytest.fixture
def fast(mock_clock: MockClock) -> MockClock:
    """Faster than the world, which has to do its input and output."""
    mock_clock.rate = 5
    return mock_clock


def bids(micro_lamports: int) -> Mangle:
    """Everybody bids so much; on the embedded chain nobody does."""
    recent = [{"slot": 1, "prioritizationFee": micro_lamports}] * 20
    return result(lambda told: recent, "getRecentPrioritizationFees")


async def test_a_payment_arrives_once_and_its_fee_is_told(fast: MockClock, tmp_path: Path) -> None:
    async with setting(tmp_path) as here:
        signed, last = await here.signed()
        landed = await here.sender.deliver(signed, last)
        assert (landed.finalized, landed.fee) == (True, 5000)
        wallet = await here.client.balance(WALLET.pubkey())
        assert wallet == 10 * SOL - SOL - 5000
        assert await here.given() == SOL


async def test_what_gets_lost_is_sent_again_under_the_same_signature(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path) as here:
        here.proxies[0].drops = 3
        signed, last = await here.signed()
        await here.sender.deliver(signed, last)
        assert here.proxies[0].asked.count("sendTransaction") >= 4
        assert await here.given() == SOL


async def test_a_payment_that_is_never_taken_expires_and_only_then(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path) as here:
        here.proxies[0].drops = 10**6
        here.chain.finalized_behind = 32
        signed, last = await here.signed()
        outcome: list[BaseException] = []

        async def deliver() -> None:
            try:
                await here.sender.deliver(signed, last)
            except Expired as expired:
                outcome.append(expired)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliver)
            await trio.sleep(10)
            here.chain.advance(VALID_BLOCKS + 10)  # over, but not finally so
            await trio.sleep(10)
            assert not outcome
            here.chain.advance(32)
        assert outcome
        assert await here.given() == 0


async def test_one_lying_endpoint_does_not_make_a_payment_look_expired(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 2) as here:
        liar = here.proxies[0]
        blind = result(lambda told: told | {"value": [None]}, "getSignatureStatuses")
        liar.mangle = blind
        signed, last = await here.signed()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.sender.deliver, signed, last)
            while await here.given() != SOL:
                await trio.sleep(1)
            nursery.cancel_scope.cancel()
        await undecided(here, signed, last, resumed=True, slots=2 * VALID_BLOCKS)
        liar.mangle = hangs
        assert (await here.sender.deliver(signed, last, resumed=True)).slot
        assert await here.given() == SOL


async def undecided(here: Setting, signed: bytes, last: int, *, resumed: bool, slots: int) -> None:
    """What becomes of it stays unknown, however often it is asked for, and after so many slots:
    better than to be paid twice."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(here.sender.deliver, signed, last, resumed=resumed))
        await sent(here, 2)
        here.chain.advance(slots)
        await sent(here, 2)
        nursery.cancel_scope.cancel()


_FAILED = result(
    lambda told: told | {"value": [{"slot": 1, "confirmationStatus": "finalized", "err": "no"}]},
    "getSignatureStatuses",
)
_NO_KEY = Reply(b'{"jsonrpc":"2.0","id":1,"error":{"code":-32052,"message":"no such key"}}', 401)


@pytest.mark.parametrize("endpoints", [2, 3])
async def test_what_only_one_endpoint_calls_failed_is_not_paid_again(
    endpoints: int, fast: MockClock, tmp_path: Path
) -> None:
    """With two it stays open who of them lies; with three the others say that it landed."""
    async with setting(tmp_path, endpoints) as here:
        signed, last = await here.signed()
        here.proxies[0].mangle = _FAILED
        if endpoints == 2:
            await undecided(here, signed, last, resumed=False, slots=2)
            here.proxies[0].mangle = hangs
        with trio.fail_after(600):
            await here.sender.deliver(signed, last, resumed=True)
        assert await here.given() == SOL


@pytest.mark.parametrize("other", ["says so too", "is down", "refuses", "is not there"])
async def test_a_payment_that_failed_is_told_as_failed_where_the_other_endpoint(
    other: str, fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 1 if other == "is not there" else 2) as here:
        first, _ = await here.signed(9 * SOL)
        signed, last = await here.signed(8 * SOL)
        await here.sender.deliver(first, last)
        await here.pool.everyone("getSlot", [], int, lambda slot: slot, 0)
        if other == "is down":
            here.proxies[1].mangle = status(500)
        elif other == "refuses":
            here.proxies[1].mangle = lambda asked, told: _NO_KEY
        with trio.fail_after(600), pytest.raises(Fails, match="too little SOL") as caught:
            await here.sender.deliver(signed, last, rehearsed=True)
        assert caught.value.sent


async def sent(here: Setting, times: int) -> None:
    """Waits until it is sent so often again; before each time but the first is asked whether it
    is over."""
    before = sum(proxy.asked.count("sendTransaction") for proxy in here.proxies)
    with trio.fail_after(200):
        while sum(proxy.asked.count("sendTransaction") for proxy in here.proxies) < before + times:
            await trio.sleep(0.1)


def _later(asked: dict[str, Any], told: dict[str, Any]) -> None:
    if asked["method"] == "getBlockHeight" and {"commitment": "finalized"} in asked["params"]:
        told["result"] += 10_000


_LIES_ABOUT_TIME: dict[str, Mangle] = {
    "getBlockHeight": _later,
    "getLatestBlockhash": result(
        lambda told: told | {"value": told["value"] | {"lastValidBlockHeight": 1}},
        "getLatestBlockhash",
    ),
}


@pytest.mark.parametrize("lies", _LIES_ABOUT_TIME)
async def test_what_may_still_be_taken_is_not_over_by_the_word_of_one_endpoint(
    lies: str, fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 2) as here:
        for proxy in here.proxies:
            proxy.drops = 10**6
        here.proxies[0].mangle = _LIES_ABOUT_TIME[lies]
        signed, last = await here.signed()
        await undecided(here, signed, last, resumed=False, slots=2)
        here.proxies[1].drops = 0
        here.proxies[0].mangle = hangs
        await here.sender.deliver(signed, last, resumed=True)
        assert await here.given() == SOL


async def test_a_payment_can_be_cancelled_and_taken_up_again(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path) as here:
        here.proxies[0].drops = 2
        signed, last = await here.signed()
        with trio.move_on_after(0.5):
            await here.sender.deliver(signed, last)
        await here.sender.deliver(signed, last, resumed=True)
        await here.sender.deliver(signed, last, resumed=True)
        assert await here.given() == SOL


async def test_what_would_fail_is_refused_before_it_is_paid_for(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path) as here:
        with pytest.raises(Fails, match="too little SOL") as caught:
            await here.signed(100 * SOL)
        assert not caught.value.sent
        assert "sendTransaction" not in here.proxies[0].asked


async def test_a_wrong_signature_is_not_sent(fast: MockClock, tmp_path: Path) -> None:
    async with setting(tmp_path) as here:
        signed, last = await here.signed()
        broken = signed[:5] + bytes((signed[5] ^ 1,)) + signed[6:]
        for bad in (broken, b"", b"\0" * 2000, signed[:-1]):
            with pytest.raises(BadTransaction):
                await here.sender.deliver(bad, last)
        assert "sendTransaction" not in here.proxies[0].asked


async def test_the_priority_fee_never_exceeds_its_limit(fast: MockClock, tmp_path: Path) -> None:
    async with setting(tmp_path) as here:
        here.proxies[0].mangle = bids(10**15)
        message = message_of(
            WALLET.pubkey(), [transfer(WALLET.pubkey(), TO, 1)], Hash.default(), Budget(1000, 0)
        )
        plan = await here.sender.plan(message)
        assert 0 < plan.budget.priority_fee <= 100_000
        assert plan.fee == 5000 + plan.budget.priority_fee


def _other_error(asked: dict[str, Any], told: dict[str, Any]) -> Reply:
    return Reply(
        b'{"jsonrpc":"2.0","id":%d,"error":{"code":-32005,"message":"behind"}}' % asked["id"]
    )


def _wrong_id(asked: dict[str, Any], told: dict[str, Any]) -> None:
    told["id"] = 10**6


_FAULTS: dict[str, Mangle] = {
    "limits": status(429, retry_after="30"),
    "fails": status(500),
    "breaks off": hangs,
    "no JSON": lambda asked, told: Reply(b"<html>"),
    "is unhealthy": _other_error,
    "answers another question": _wrong_id,
    "refuses": lambda asked, told: _NO_KEY,
    "wrong shape": result(lambda told: {"context": {"slot": -1}, "value": None}),
    "too few": result(lambda told: told | {"value": []}, "getMultipleAccounts"),
    "no base64": result(
        lambda told: told | {"value": [told["value"][0] | {"data": ["!!", "base64"]}]},
        "getMultipleAccounts",
    ),
    "a slot that can't be": result(
        lambda told: told | {"context": {"slot": 2**50}}, "getMultipleAccounts"
    ),
    "nested without end": lambda asked, told: Reply(b'{"result":' + b"[" * 10**5),
    "nested in an error": lambda asked, told: Reply(b'{"error":{"data":' + b"[" * 10**5),
    "more than can be": result(
        lambda told: told | {"value": [told["value"][0] | {"lamports": 10**400}]},
        "getMultipleAccounts",
    ),
    "another chain": result(lambda told: str(Hash(b"\5" * 32)), "getGenesisHash"),
}


@pytest.mark.parametrize("fault", _FAULTS)
async def test_another_endpoint_answers_where_one(
    fault: str, fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 2, held(EVENT, PROGRAMS.event_factory, raw_event())) as here:
        good = here.proxies[1]
        here.pool.genesis = here.chain.genesis
        if fault != "another chain":  # which an endpoint is asked for at its first use
            await here.pool.everyone("getSlot", [], int, lambda slot: slot, 0)
        here.proxies[0].mangle = _FAULTS[fault]
        event = await here.client.read(EventAccount, EVENT)
        assert event is not None
        assert event.title == "Grüße"
        assert "getMultipleAccounts" in good.asked


async def test_an_endpoint_that_limits_is_left_alone_as_long_as_it_asks(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 2) as here:
        here.pool.genesis = here.chain.genesis
        here.proxies[0].mangle = status(429, retry_after="30")
        for _ in range(5):
            await here.given()
        assert len(here.proxies[0].asked) == 1
        await trio.sleep(31)
        here.proxies[0].mangle = lambda asked, told: None
        with trio.fail_after(60):
            while len(here.proxies[0].asked) == 1:
                await trio.sleep(1)


async def test_where_nobody_answers_each_endpoint_is_named_with_its_trouble(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 2) as here:
        here.proxies[0].mangle, here.proxies[1].mangle = status(500), hangs
        with pytest.raises(Unavailable) as caught:
            await here.given()
        assert "HTTP 500" in caught.value.message
        assert "127.0.0.1" in caught.value.message


@pytest.mark.parametrize("others", ["no", "a dead", "a good"])
async def test_an_endpoint_that_is_back_after_long_is_soon_asked_where_there_is_no_good_other(
    others: str, fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 1 if others == "no" else 2) as here:
        down = here.proxies[: 2 if others == "a dead" else 1]
        for proxy in down:
            proxy.mangle = status(500)
        for _ in range(10):
            with suppress(Unavailable):
                await here.pool.everyone("getSlot", [], int, lambda slot: slot, 0)
        rests_s = here.pool.standings[0][1].rests_until_s - trio.current_time()
        assert (rests_s > ALONE_REST_S) == (others == "a good")


async def test_nothing_older_than_the_own_payment_is_taken_for_an_answer(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 2) as here:
        signed, last = await here.signed()
        here.chain.advance(10)
        await here.sender.deliver(signed, last)
        stale = result(
            lambda told: {"context": {"slot": 1}, "value": 0}, "getBalance"
        )  # as a node that fell back, and does not look at minContextSlot
        here.proxies[0].mangle = stale
        assert await here.given() == SOL
        here.proxies[0].mangle = lambda asked, told: None
        here.proxies[1].mangle = result(
            lambda told: told | {"context": {"slot": 1}}, "getLatestBlockhash"
        )
        here.proxies[0].asked.clear()
        await here.signed()
        assert "getLatestBlockhash" in here.proxies[0].asked


def _far_ahead(asked: dict[str, Any], told: dict[str, Any]) -> None:
    if isinstance(result := told.get("result"), dict) and "context" in result:
        result["context"]["slot"] = 2**45
        if asked["method"] == "getSignatureStatuses" and result["value"][0]:
            result["value"][0]["slot"] = 2**45


async def test_a_slot_that_can_not_be_is_forgotten_once_another_endpoint_told_one(
    fast: MockClock, tmp_path: Path
) -> None:
    """Also what was told before any other endpoint was asked."""
    async with setting(tmp_path, 2) as here:
        here.proxies[1].mangle = status(500)
        signed, last = await here.signed()
        here.proxies[0].mangle = _far_ahead
        with trio.fail_after(600):
            landed = await here.sender.deliver(signed, last, rehearsed=True)
            assert landed.slot == 2**45
            here.proxies[1].mangle = lambda asked, told: None
            await trio.sleep(2 * LOOK_S)
            assert here.client.least_slot <= here.chain.slot
            assert await here.given() == SOL


async def test_a_slot_that_no_computer_counts_ends_no_watching(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 2) as here:
        here.pool.genesis = here.chain.genesis
        here.proxies[0].mangle = result(lambda told: 10**400, "getSlot")
        asked = here.proxies[1].asked
        while asked.count("getSlot") < 3:
            await trio.sleep(LOOK_S / 4)
        (_, _, trouble), (_, _, none) = here.pool.standings
        assert "not the right shape" in trouble
        assert not none
        assert here.pool.slot == here.chain.slot


async def test_an_endpoint_that_stood_still_and_catches_up_makes_no_liar_of_the_others(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 2) as here:
        here.pool.genesis = here.chain.genesis
        await here.pool.everyone("getSlot", [], int, lambda slot: slot, 0)
        told_slot = here.chain.slot

        def behind(asked: dict[str, Any], told: dict[str, Any]) -> None:
            if asked["method"] == "getSlot":
                told["result"] = told_slot

        here.proxies[1].mangle = behind
        for more in (0, 10, 20, 30):
            told_slot += more
            fast.jump(500)
            here.chain.advance(1000)
            await here.client.slot()
            await here.pool.everyone("getSlot", [], int, lambda slot: slot, 0)
        assert await here.client.slot() == here.chain.slot
        assert [why for _, _, why in here.pool.standings] == ["", ""]


async def test_a_slow_endpoint_is_passed_by(fast: MockClock, tmp_path: Path) -> None:
    async with setting(tmp_path, 2) as here:
        here.proxies[0].delay_s = 200
        here.pool.genesis = here.chain.genesis
        assert await here.given() == 0
        assert here.proxies[1].asked


def drips(takes_s: float) -> Mangle:
    """Answers byte by byte."""
    return lambda asked, told: Reply(json.dumps(told).encode(), takes_s=takes_s)


async def test_an_endpoint_that_answers_in_drips_is_passed_by(
    fast: MockClock, tmp_path: Path
) -> None:
    async with fork_chain(tmp_path, [], 2) as chain:
        urls = [proxy.url for proxy in chain.proxies]
        async with open_pool(urls, SystemClock(), 2.0) as pool:
            chain.proxies[0].mangle = drips(5.0)
            assert await pool.call("getSlot", [], Slot) == chain.slot
            assert not pool.standings[0][2], "a whole answer may take longer than its first byte"
            chain.proxies[0].mangle = drips(60.0)
            with trio.fail_after(40):
                assert await pool.call("getSlot", [], Slot) == chain.slot
            assert pool.standings[0][2] == "it did not answer in time"


async def test_an_account_of_somebody_elses_program_is_not_an_event(
    fast: MockClock, tmp_path: Path
) -> None:
    async with setting(tmp_path, 1, held(EVENT, Pubkey.default(), raw_event())) as here:
        with pytest.raises(AccountError, match="another program"):
            await here.client.read(EventAccount, EVENT)


async def test_all_events_are_found_and_what_is_none_is_left_out(
    fast: MockClock, tmp_path: Path
) -> None:
    good = [Keypair().pubkey() for _ in range(3)]
    events = [held(address, PROGRAMS.event_factory, raw_event()) for address in good]
    bad = held(Keypair().pubkey(), PROGRAMS.event_factory, raw_event(version=9))
    async with setting(tmp_path, 1, *events, bad) as here:
        _, found = await here.client.all(EventAccount)
        assert {event.address for event in found} == set(good)
