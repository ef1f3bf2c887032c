"""The index says of tips and tickets what the chain says, also after a fork and from nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from trio.testing import MockClock

from hausd.chain.client import ChainClient
from hausd.chain.index import Entry, Index
from hausd.chain.indexer import Indexer
from hausd.chain.pool import Unavailable, open_pool
from hausd.chain.sending import Sender
from hausd.core.clock import SystemClock
from hausd.core.programs.accounts import TicketTier
from hausd.core.programs.addresses import EMBEDDED, EventPlaces, event_place
from hausd.core.programs.instructions import Builder, NewEvent
from hausd.core.programs.messages import Budget, message_of
from tests.support.chain import SOL, held
from tests.support.chain_data import MANIFEST
from tests.support.forkchain import ForkChain, fork_chain
from tests.support.rpcproxy import Proxy, status

ARTIST = Keypair.from_seed(b"\x11" * 32)
FAN = Keypair.from_seed(b"\x12" * 32)
NONCE = b"\1" * 16
TIER = TicketTier("Standing", SOL // 10, 100, 0, 10, 0, 0, True, 0)


@dataclass
class Setting:
    chain: ForkChain
    proxy: Proxy
    client: ChainClient
    index: Index
    indexer: Indexer
    sent: dict[str, bytes] = field(default_factory=dict)
    """Transactions by their signatures."""

    async def do(self, signer: Keypair, *instructions: Instruction) -> str:
        draft = message_of(signer.pubkey(), instructions, Hash.default(), Budget(1_400_000, 0))
        sender = Sender(self.client, 0)
        plan = await sender.plan(draft)
        message = message_of(signer.pubkey(), instructions, plan.blockhash, plan.budget)
        signed = bytes(VersionedTransaction(message, [signer]))
        landed = await sender.deliver(signed, plan.last_valid_block_height)
        self.sent[landed.signature] = signed
        return landed.signature

    async def again(self, signature: str) -> int:
        """Sends the same transaction to a fork that has it not; gives its slot there."""
        name = Signature.from_string(signature)
        await self.client.submit(self.sent[signature], name)
        (status,) = await self.client.statuses([name])
        assert status is not None
        return status.slot

    async def event(self) -> Pubkey:
        """An open event in which FAN tipped nothing yet."""
        builder = Builder(EMBEDDED)
        at = event_place(EMBEDDED, ARTIST.pubkey(), NONCE).address
        now_s = self.chain.clock.ms // 1000
        new = NewEvent("Sundown", now_s + 60, now_s + 7200, 0, ARTIST.pubkey(), MANIFEST)
        await self.do(ARTIST, builder.create_event(ARTIST.pubkey(), NONCE, new))
        await self.do(ARTIST, builder.add_tier(ARTIST.pubkey(), at, TIER))
        await self.do(ARTIST, builder.open_event(ARTIST.pubkey(), at))
        await self.do(FAN, builder.open_record(FAN.pubkey(), at, FAN.pubkey()))
        return at

    async def tip(self, event: Pubkey, amount: int) -> str:
        self.chain.advance()
        return await self.do(FAN, Builder(EMBEDDED).tip(FAN.pubkey(), event, amount, "hey"))

    async def tips(self, event: Pubkey) -> list[int]:
        """Amounts, the newest first."""
        return [int(str(entry.fields["amount"])) for entry in await self.entries(event)]

    async def entries(self, event: Pubkey) -> list[Entry]:
        vault = EventPlaces.of(EMBEDDED, event).vault.address
        return await self.indexer.entries(account=str(vault), kind="Tipped")


@asynccontextmanager
async def setting(folder: Path) -> AsyncIterator[Setting]:
    people = [held(key.pubkey(), lamports=10 * SOL) for key in (ARTIST, FAN)]
    async with (
        fork_chain(folder, people) as chain,
        open_pool([chain.proxies[0].url], SystemClock(), 60.0) as pool,
    ):
        client = ChainClient(pool, EMBEDDED)
        index = Index(folder / "index", chain.genesis)
        yield Setting(chain, chain.proxies[0], client, index, Indexer(client, index))
        index.close()


@pytest.fixture
def fast(mock_clock: MockClock) -> MockClock:
    mock_clock.rate = 20
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

        def sometimes(request: dict[str, object], told: dict[str, object]) -> object:
            nonlocal asked
            if request["method"] == "getTransaction":
                asked += 1
                if asked > 3:
                    return broken(request, told)
            return None

        here.proxy.mangle = sometimes  # type: ignore[assignment]
        with pytest.raises(Unavailable):
            await here.indexer.round()
        here.proxy.mangle = lambda request, told: None
        await trio.sleep(90)
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
        ask = here.client.signatures_for
        monkeypatch.setattr(here.client, "signatures_for", partial(ask, limit=3))
        await here.indexer.round()
        assert await here.tips(event) == list(range(2006, 1999, -1))
