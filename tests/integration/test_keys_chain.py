"""Two nodes, one chain, the real programs: who has a ticket gets the key, and nobody else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from support.delegations import DELEGATION, EVENT, WALLET, signed
from support.keyholding import KeyNode, epoch, gated, key_node
from support.ownchain import Box, box_office

from hausd.chain import ticketing
from hausd.chain.client import MAX_ACCOUNTS_AT_ONCE
from hausd.chain.service import ChainService, ChainTerms, open_chain
from hausd.chain.ticketing import Tickets
from hausd.core.clock import SystemClock
from hausd.core.delegation import verify
from hausd.core.gating import EpochKey, Withheld
from hausd.core.ids import RoomId
from hausd.core.programs.addresses import EMBEDDED
from hausd.core.release import Held, Missing, Ticket, Unknown
from hausd.core.sealing import SealingKey

_ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
pytestmark = pytest.mark.skipif(not _ARTIFACTS.is_dir(), reason="the programs are not built")


@dataclass
class Show:
    """An origin that holds an event's keys, and a viewer's node."""

    box: Box
    tickets: Tickets
    event: RoomId
    chain: bytes
    origin: KeyNode
    viewer: KeyNode

    async def asked(self, wallet: Keypair, number: int = 1, **changed: Any) -> EpochKey | str:
        """What the viewer's node gets for a wallet's delegation."""
        now_s = int(time.time())
        delegation = replace(
            DELEGATION,
            chain=self.chain,
            room=self.event,
            wallet=str(wallet.pubkey()),
            node=self.viewer.host.peer_id,
            sealing_key=SealingKey.of_node(self.viewer.seed).public,
            not_before_s=now_s,
            not_after_s=now_s + 3600,
        )
        delegation = replace(delegation, **changed)
        seed = bytes(wallet)[:32]
        await self.viewer.ring.add_delegation(verify(*signed(delegation, seed)))
        answer = await self.viewer.ring.ask(self.event, epoch(number, self.event)[0])
        return answer.code if isinstance(answer, Withheld) else answer

    async def told(self, wallet: Keypair, ticket: Ticket) -> None:
        """Waits until the chain has told of a change."""
        with trio.fail_after(30):
            while await self.tickets.ticket(self.event, str(wallet.pubkey())) != ticket:
                await trio.sleep(0.02)

    def key(self, number: int = 1) -> EpochKey:
        return epoch(number, self.event)[1]


@pytest.fixture(autouse=True)
def _only_the_chain_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is good for an hour here, unless the subscription drops it."""
    monkeypatch.setattr(ticketing, "FRESH_S", 3600.0)


@asynccontextmanager
async def show(tmp_path: Path) -> AsyncIterator[Show]:
    clock = SystemClock()
    async with box_office(tmp_path) as box, trio.open_nursery() as nursery:
        tickets = Tickets(box.chain, box.websockets)
        nursery.start_soon(tickets.run)
        nursery.start_soon(tickets.follow)
        await tickets.ticket(EVENT, WALLET)
        await tickets.changed()  # the subscription stands
        event = await box.event()
        chain = bytes(Pubkey.from_string((await box.chain.chain()).genesis))
        async with (
            key_node("origin", tmp_path, clock=clock, chain=tickets) as origin,
            key_node("viewer", tmp_path, clock=clock) as viewer,
        ):
            known = gated(origin.address, artist=str(box.artist.pubkey()), chain=chain)
            for each in (origin, viewer):
                each.events.events[event] = known
            for number in (1, 2, 3):
                await origin.ring.keep(event, *epoch(number, event))
            yield Show(box, tickets, event, chain, origin, viewer)
        nursery.cancel_scope.cancel()


async def test_who_has_a_ticket_gets_the_key_until_it_is_refunded(tmp_path: Path) -> None:
    async with show(tmp_path) as it:
        viewer = await it.box.wallet()
        assert await it.asked(viewer) == "no-ticket"
        await it.box.buy(it.event, viewer)
        await it.told(viewer, Held(1))
        assert await it.asked(viewer, nonce=bytes(16)) == it.key()
        await it.box.refund(it.event, viewer)
        await it.told(viewer, Missing(had=True))
        assert await it.asked(viewer, 2, nonce=bytes([1]) * 16) == "refunded"


async def test_a_ticket_that_is_passed_on_is_the_next_holders(tmp_path: Path) -> None:
    async with show(tmp_path) as it:
        seller, buyer = await it.box.wallet(), await it.box.wallet()
        await it.box.buy(it.event, seller)
        assert await it.asked(seller) == it.key()
        passed: list[tuple[str, str, str, int]] = []
        it.tickets.passed_on = lambda *told: passed.append(told)
        await it.box.transfer(it.event, seller, buyer.pubkey())
        await it.told(seller, Missing(had=True))
        await it.told(buyer, Held(1))
        assert passed == [(it.event, str(seller.pubkey()), str(buyer.pubkey()), 1)]


async def test_a_ticket_of_another_event_opens_nothing_here(tmp_path: Path) -> None:
    async with show(tmp_path) as it:
        other = await it.box.event()
        viewer = await it.box.wallet()
        await it.box.buy(other, viewer)
        assert await it.asked(viewer) == "no-ticket"
        assert await it.asked(viewer, 2, room=None, nonce=bytes(16)) == "no-ticket"


async def test_a_delegation_for_another_chain_is_none_here(tmp_path: Path) -> None:
    async with show(tmp_path) as it:
        viewer = await it.box.wallet()
        await it.box.buy(it.event, viewer)
        assert await it.asked(viewer, chain=bytes(32)) == "no-delegation"
        assert await it.asked(viewer, 2) == it.key(2)


async def test_the_artist_watches_without_a_ticket(tmp_path: Path) -> None:
    async with show(tmp_path) as it:
        assert await it.asked(it.box.artist) == it.key()


async def test_many_wallets_are_looked_up_in_few_calls(tmp_path: Path) -> None:
    async with show(tmp_path) as it:
        holder = await it.box.wallet()
        await it.box.buy(it.event, holder, count=2)
        found: dict[str, object] = {}
        wallets = [str(holder.pubkey()), *(str(Keypair().pubkey()) for _ in range(250))]

        async def look(wallet: str) -> None:
            found[wallet] = await it.tickets.ticket(it.event, wallet)

        async with trio.open_nursery() as nursery:
            for wallet in wallets * 2:
                nursery.start_soon(look, wallet)
        assert found.pop(wallets[0]) == Held(2)
        assert set(found.values()) == {Missing()}
        # those inside are looked at again, and nobody at the door waits for that
        it.tickets.forget()
        found.clear()

        async def look_again(wallet: str) -> None:
            found[wallet] = await it.tickets.ticket(it.event, wallet, later=True)

        async with trio.open_nursery() as nursery:
            for wallet in (str(Keypair().pubkey()) for _ in range(1000)):
                nursery.start_soon(look_again, wallet)
            while not found:
                await trio.sleep(0)
            await look(wallets[0])
            before = len(found)
        assert found[wallets[0]] == Held(2)
        assert before <= 1 + 3 * MAX_ACCOUNTS_AT_ONCE  # what was answered and what was under way
        assert len(found) == 1001


async def test_a_chain_that_does_not_answer_knows_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticketing, "ANSWER_S", 0.5)
    terms = ChainTerms(("http://127.0.0.1:1",), EMBEDDED.event_factory, 0, 10.0)
    async with (
        open_chain(terms, SystemClock(), ChainService) as chain,
        trio.open_nursery() as nursery,
    ):
        tickets = Tickets(chain, "")
        nursery.start_soon(tickets.run)
        assert await tickets.ticket(EVENT, WALLET) == Unknown()
        nursery.cancel_scope.cancel()
