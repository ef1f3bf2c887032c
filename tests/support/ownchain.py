"""A node's own chain with the real programs, an artist's events on it, and who buys tickets."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.chain.service import ChainService, ChainTerms, open_chain
from hausd.chain.subscriptions import websocket_urls
from hausd.config import Config
from hausd.core.cid import CID
from hausd.core.clock import SystemClock
from hausd.core.ids import RoomId
from hausd.core.programs.accounts import TicketTier
from hausd.core.programs.addresses import EMBEDDED, event_place
from hausd.core.programs.instructions import Builder, NewEvent
from hausd.ownchain import open_own_chain

SOL = 10**9
PRICE = 10_000_000


@dataclass
class Box:
    """The box office: what people do on chain."""

    chain: ChainService
    artist: Keypair
    websockets: Sequence[str]

    @property
    def build(self) -> Builder:
        return Builder(EMBEDDED)

    async def wallet(self, seed: bytes | None = None) -> Keypair:
        made = Keypair.from_seed(seed) if seed is not None else Keypair()
        await self.chain.airdrop(str(made.pubkey()), 10 * SOL)
        return made

    async def do(self, by: Keypair, *instructions: Instruction) -> None:
        await self.chain.act(instructions, by)

    async def event(self) -> RoomId:
        """An event whose tickets are sold, and can be given back or away."""
        who, nonce = self.artist.pubkey(), os.urandom(16)
        at = event_place(EMBEDDED, who, nonce).address
        now = int(time.time())
        stream = Keypair().pubkey()
        new = NewEvent("A night", now + 60, now + 7200, 0, stream, CID.of(b"metadata"))
        tier = TicketTier("Standing", PRICE, 100_000, 0, 10, 0, 0, True, now + 3600)
        await self.do(self.artist, self.build.create_event(who, nonce, new))
        await self.do(self.artist, self.build.add_tier(who, at, tier))
        await self.do(self.artist, self.build.open_event(who, at))
        return RoomId(str(at))

    async def buy(self, event: RoomId, buyer: Keypair, count: int = 1) -> None:
        who = buyer.pubkey()
        at = Pubkey.from_string(event)
        await self.do(buyer, self.build.buy(who, at, who, tier=0, count=count, max_price=PRICE))

    async def refund(self, event: RoomId, holder: Keypair) -> None:
        who = holder.pubkey()
        at = Pubkey.from_string(event)
        await self.do(holder, self.build.refund_ticket(who, at, who, 0, 1))

    async def transfer(self, event: RoomId, holder: Keypair, to: Pubkey) -> None:
        at = Pubkey.from_string(event)
        await self.do(holder, self.build.transfer(holder.pubkey(), at, to, 0, 1))


@asynccontextmanager
async def box_office(home: Path) -> AsyncIterator[Box]:
    """The chain, running, with an artist who has SOL."""
    clock = SystemClock()
    config = Config.model_validate({"chain": {"listen": "127.0.0.1:0"}})
    async with open_own_chain(config, home, clock) as own:
        assert own is not None
        terms = ChainTerms((own.url,), EMBEDDED.event_factory, 0, 10.0, embedded=True)
        async with open_chain(terms, clock, ChainService) as chain:
            box = Box(chain, Keypair(), websocket_urls([own.url]))
            await chain.airdrop(str(box.artist.pubkey()), 100 * SOL)
            yield box
