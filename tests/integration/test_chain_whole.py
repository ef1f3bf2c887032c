"""An endpoint that answers with another event's accounts is not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from trio.testing import MockClock

from hausd.chain.known import KnownEvents
from hausd.chain.pool import LOOK_S
from hausd.chain.service import ChainService, ChainTerms, open_chain
from hausd.core.clock import SystemClock
from hausd.core.errors import Problem
from hausd.core.ids import RoomId
from hausd.core.programs.addresses import EMBEDDED, EventPlaces, event_place
from hausd.core.programs.instructions import Builder, NewEvent
from hausd.core.programs.messages import LAMPORTS_PER_SIGNATURE, transfer
from tests.support.chain import SOL, held
from tests.support.chain_data import MANIFEST
from tests.support.forkchain import ForkChain, fork_chain
from tests.support.rpcproxy import hangs, status

ARTIST = Keypair.from_seed(b"\x11" * 32)
ACCOUNTS = ("event", "sale", "vault", "checkpoint")


async def created(chain: ForkChain, service: ChainService, nonce: bytes) -> Pubkey:
    at = event_place(EMBEDDED, ARTIST.pubkey(), nonce).address
    now_s = chain.clock.ms // 1000
    new = NewEvent("Sundown", now_s + 60, now_s + 7200, 0, ARTIST.pubkey(), MANIFEST)
    await service.act([Builder(EMBEDDED).create_event(ARTIST.pubkey(), nonce, new)], ARTIST)
    return at


@pytest.mark.parametrize("which", range(len(ACCOUNTS)), ids=ACCOUNTS)
async def test_another_events_account_is_noticed(
    which: int, mock_clock: MockClock, tmp_path: Path
) -> None:
    mock_clock.rate = 20
    async with fork_chain(tmp_path, [held(ARTIST.pubkey(), lamports=10 * SOL)]) as chain:
        (proxy,) = chain.proxies
        terms = ChainTerms((proxy.url,), EMBEDDED.event_factory, 0, 60.0)
        async with open_chain(terms, SystemClock(), ChainService) as service:
            mine, other = [await created(chain, service, bytes([n]) * 16) for n in (1, 2)]
            room, known = RoomId(str(mine)), KnownEvents(service)
            genuine = await known.look_up(room)
            assert genuine.room == room
            raw: dict[str, Any] = {}

            def keep(asked: dict[str, Any], told: dict[str, Any]) -> None:
                if asked["method"] == "getMultipleAccounts":
                    raw.update(zip(asked["params"][0], told["result"]["value"], strict=True))

            proxy.mangle = keep
            await known.look_up(RoomId(str(other)))
            at, instead = places(mine)[which], raw[str(places(other)[which])]

            def mangle(asked: dict[str, Any], told: dict[str, Any]) -> None:
                if asked["method"] == "getMultipleAccounts" and str(at) in asked["params"][0]:
                    told["result"]["value"][asked["params"][0].index(str(at))] = instead

            proxy.mangle = mangle
            with pytest.raises(Problem, match="another event"):
                await known.look_up(room)
            assert "another event" in known.doubt(room)
            assert known.known(room) == genuine
            proxy.mangle = lambda asked, told: None
            await known.look_up(room)
            assert "another event" not in known.doubt(room)


async def test_what_was_told_of_a_slot_that_can_not_be_is_read_anew(
    mock_clock: MockClock, tmp_path: Path
) -> None:
    """It would be newer than all that is true."""
    mock_clock.rate = 20
    async with fork_chain(tmp_path, [held(ARTIST.pubkey(), lamports=10 * SOL)], 2) as chain:
        terms = ChainTerms(
            tuple(each.url for each in chain.proxies), EMBEDDED.event_factory, 0, 60.0
        )
        async with open_chain(terms, SystemClock(), ChainService) as service:
            room = RoomId(str(await created(chain, service, bytes(16))))
            liar, known = chain.proxies[0], KnownEvents(service)
            chain.proxies[1].mangle = status(500)

            def mangle(asked: dict[str, Any], told: dict[str, Any]) -> None:
                if asked["method"] == "getMultipleAccounts":
                    told["result"]["context"]["slot"] = 2**45

            liar.mangle = mangle
            told = await known.look_up(room)
            chain.proxies[1].mangle = lambda asked, told: None
            with trio.fail_after(400):
                while service.status().slot >= told.slot:
                    await trio.sleep(LOOK_S)
                    await service.room_event(room)
            liar.mangle = hangs
            await known.look_up(room)
            read = known.known(room)
            assert read is not None
            assert read.slot < told.slot == 2**45


async def test_what_a_transaction_cost_is_what_was_bid_whatever_an_endpoint_says(
    mock_clock: MockClock, tmp_path: Path
) -> None:
    """What is left for checkpoints is reckoned with it."""
    mock_clock.rate = 20
    async with fork_chain(tmp_path, [held(ARTIST.pubkey(), lamports=10 * SOL)]) as chain:
        (proxy,) = chain.proxies
        terms = ChainTerms((proxy.url,), EMBEDDED.event_factory, 0, 60.0)
        async with open_chain(terms, SystemClock(), ChainService) as service:

            def mangle(asked: dict[str, Any], told: dict[str, Any]) -> None:
                if asked["method"] == "getTransaction":
                    told["result"]["meta"]["fee"] = 2**60

            proxy.mangle = mangle
            transfer_ = transfer(ARTIST.pubkey(), Keypair().pubkey(), SOL)
            landed = await service.act([transfer_], ARTIST)
            assert landed.fee == LAMPORTS_PER_SIGNATURE
            assert "getTransaction" in proxy.asked
            assert await service.balance(ARTIST.pubkey()) == 9 * SOL - LAMPORTS_PER_SIGNATURE


def places(event: Pubkey) -> tuple[Pubkey, ...]:
    found = EventPlaces.of(EMBEDDED, event)
    return event, found.sale.address, found.vault.address, found.checkpoint.address
