"""An index of a chain whose past and endpoints a test can change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from hausd.chain.client import ChainClient
from hausd.chain.index import Entry, Index
from hausd.chain.indexer import Indexer
from hausd.chain.pool import open_pool
from hausd.chain.sending import Sender
from hausd.core.clock import SystemClock
from hausd.core.programs.accounts import TicketTier
from hausd.core.programs.addresses import EMBEDDED, EventPlaces, event_place
from hausd.core.programs.instructions import Builder, NewEvent
from hausd.core.programs.messages import Budget, message_of
from tests.support.chain import SOL, held
from tests.support.chain_data import MANIFEST
from tests.support.forkchain import ForkChain, fork_chain
from tests.support.rpcproxy import Proxy

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
async def setting(folder: Path, endpoints: int = 1) -> AsyncIterator[Setting]:
    people = [held(key.pubkey(), lamports=10 * SOL) for key in (ARTIST, FAN)]
    async with (
        fork_chain(folder, people, endpoints) as chain,
        open_pool([each.url for each in chain.proxies], SystemClock(), 60.0) as pool,
    ):
        client = ChainClient(pool, EMBEDDED)
        index = Index(folder / "index", chain.genesis)
        yield Setting(chain, chain.proxies[0], client, index, Indexer(client, index))
        index.close()
