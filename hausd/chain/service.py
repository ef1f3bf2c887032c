"""The configured chain as a whole: its programs found, events read, transactions sent.

Implements ``admin.chain_ports.ChainPort`` but for what needs rooms.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import structlog
import trio
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from hausd.chain.asking import address, asked, decoded, told
from hausd.chain.client import ChainClient
from hausd.chain.indexer import Indexer, Indexing, keep_index, read_entries
from hausd.chain.pool import Pool, open_pool
from hausd.chain.sending import BadTransaction, Landed, Sender
from hausd.chain.shapes import (
    event_shape,
    room_event,
    ticket_shape,
    tip_shape,
    tipper_shape,
    tokens_shape,
)
from hausd.chain.subscriptions import websocket_urls
from hausd.chain.tokens import Coins, tokens_of
from hausd.chain.whole import WholeEvent, read_whole
from hausd.core.chain_shapes import (
    AirdropShape,
    ChainShape,
    EndpointShape,
    EventShape,
    MintShape,
    PlanShape,
    SentShape,
    TicketShape,
    TipperShape,
    TipShape,
    WalletShape,
)
from hausd.core.clock import Clock
from hausd.core.errors import Problem
from hausd.core.event_shapes import ChainStatusShape
from hausd.core.events import RoomEvent
from hausd.core.ids import RoomId
from hausd.core.programs.accounts import (
    NOBODY,
    EventAccount,
    PlatformConfig,
    Programs,
    TicketAccount,
    TipRecordAccount,
)
from hausd.core.programs.addresses import EventPlaces, ticket_place, tip_place
from hausd.core.programs.messages import (
    MAX_COMPUTE_UNITS,
    Budget,
    message_of,
)
from hausd.core.shapes import CheckShape

MAX_SIZES = 16
MAX_TIPS = 100
CHECK_S = 5.0
_AGAIN_S = 5.0
_DELIVER_S = 180.0
"""Longer than a blockhash is good (150 blocks of 0.4 s)."""
_ARTIST_AT = 8 + 1 + 1 + 1 + 1
"""Where an event's account has its artist: behind discriminator, version, bump, status, premium."""
_TICKET_EVENT_AT, _TICKET_HOLDER_AT = 10, 42
log = structlog.get_logger("hausd.chain")
S = TypeVar("S", bound="ChainService")


@dataclass(frozen=True, slots=True)
class ChainTerms:
    """``event_factory``: the program; ``max_priority_fee`` lamports of one transaction."""

    urls: tuple[str, ...]
    event_factory: Pubkey
    max_priority_fee: int
    answer_s: float
    genesis: str = ""
    embedded: bool = False

    @property
    def websockets(self) -> tuple[str, ...]:
        """Where the endpoints' subscriptions may be, the likeliest first."""
        return websocket_urls(self.urls, same_port=self.embedded)


class ChainService:
    """Every method may raise Problem."""

    def __init__(self, terms: ChainTerms, pool: Pool) -> None:
        self._terms = terms
        self._pool = pool
        self._client: ChainClient | None = None
        self._platform: PlatformConfig | None = None
        self._indexer: Indexer | None = None
        self._opening = trio.Lock()
        self._coins = Coins()

    # -- the chain --

    async def client(self) -> ChainClient:
        """The client, once the programs are found: EventFactory's configuration names the others.

        Problem ``no-programs`` where they are not on this chain.
        """
        async with self._opening:
            if self._client is None:
                here = self._terms.event_factory
                found = await told(
                    ChainClient(self._pool, Programs(here, NOBODY, NOBODY)).platform()
                )
                if found is None:
                    hint = "set chain.event_factory to the program's address there"
                    message = f"this chain has no EventFactory set up at {here}"
                    raise Problem("no-programs", message, hint, 409)
                programs = Programs(here, found.ticket_program, found.tipping_program)
                self._platform = found
                self._client = ChainClient(self._pool, programs)
            return self._client

    async def chain(self) -> ChainShape:
        """The chain with its endpoints."""
        client = await self.client()
        slot = await asked(client.slot())
        assert self._platform is not None  # client() read it
        return ChainShape(
            genesis=self._pool.genesis,
            slot=slot,
            embedded=self._terms.embedded,
            event_factory=str(client.programs.event_factory),
            ticket_factory=str(client.programs.ticket_factory),
            live_tipping=str(client.programs.live_tipping),
            fee_bps=self._platform.fee_bps,
            endpoints=self.endpoints(),
        )

    def status(self) -> ChainStatusShape:
        """The chain as it is known by now: nobody is asked."""
        endpoints = self.endpoints()
        best = min(endpoints, key=lambda each: (bool(each.trouble), each.behind))
        return ChainStatusShape(
            url=self._terms.urls[0] if self._terms.embedded else best.name,
            embedded=self._terms.embedded,
            genesis=self._pool.genesis,
            slot=self._pool.slot,
            lag=best.behind,
            doubt=self.doubt(),
            endpoints=endpoints,
        )

    def doubt(self) -> str:
        """Why the chain can't be gone by now, in words; empty where it can."""
        return self._pool.doubt()

    async def balance(self, at: Pubkey) -> int:
        """Lamports of an account."""
        return await asked((await self.client()).balance(at))

    def endpoints(self) -> list[EndpointShape]:
        """How each RPC endpoint does."""
        foremost = self._pool.slot
        return [
            EndpointShape(
                name=name,
                slot=standing.slot,
                behind=max(0, foremost - standing.slot),
                latency_ms=round(standing.latency_s * 1000, 1),
                trouble=trouble,
            )
            for name, standing, trouble in self._pool.standings
        ]

    async def checks(self) -> list[CheckShape]:
        """Whether the chain answers within CHECK_S, and each endpoint's trouble."""
        state: Literal["ok", "warn", "fail"] = "fail"
        found, mend = ["it does not answer"], "look at chain.rpc_url and chain.more_rpc_urls"
        with trio.move_on_after(CHECK_S):
            try:
                shape = await self.chain()
                state, found = "ok", [f"slot {shape.slot:,} by {len(shape.endpoints)} endpoints"]
            except Problem as problem:
                found, mend = [problem.message], problem.hint
        troubles = [f"{each.name}: {each.trouble}" for each in self.endpoints() if each.trouble]
        found += [each for each in troubles if each not in found[0]]
        state = "warn" if state == "ok" and troubles else state
        mend = "" if state == "ok" else mend
        return [CheckShape(name="chain", state=state, found="; ".join(found), mend=mend)]

    # -- transactions --

    async def plan(self, untrusted_message: str, sizes: Sequence[int]) -> PlanShape:
        """Rehearses an unsigned message (base64), and says what to sign it with."""
        if len(sizes) > MAX_SIZES:
            raise Problem("bad-request", f"{len(sizes)} sizes are too many", f"at most {MAX_SIZES}")
        try:
            message = Message.from_bytes(decoded(untrusted_message))
        except ValueError as fault:
            raise BadTransaction(str(fault)) from None
        client = await self.client()
        plan = await asked(self._sender(client).plan(message))
        rents = {size: await asked(client.rent(size)) for size in set(sizes)}
        return PlanShape(
            blockhash=str(plan.blockhash),
            last_valid_block_height=plan.last_valid_block_height,
            units=plan.budget.units,
            unit_price=plan.budget.price,
            fee=str(plan.fee),
            rents=[str(rents[size]) for size in sizes],
        )

    async def send(
        self, untrusted_transaction: str, last_valid_block_height: int, *, resumed: bool
    ) -> SentShape:
        """Sends a signed transaction (base64) until its fate is known."""
        raw = decoded(untrusted_transaction)
        client = await self.client()
        landed: Landed | None = None
        with trio.move_on_after(_DELIVER_S):
            sender = self._sender(client)
            landed = await asked(sender.deliver(raw, last_valid_block_height, resumed=resumed))
        if landed is None:
            hint = "ask for the same transaction again: it is never paid twice"
            message = "the chain does not say yet what became of the transaction"
            raise Problem("not-yet", message, hint, 504)
        if self._indexer is not None:
            self._indexer.wake()
        return SentShape(
            signature=landed.signature,
            slot=landed.slot,
            finalized=landed.finalized,
            fee=None if landed.fee is None else str(landed.fee),
            units=landed.units,
        )

    async def act(self, instructions: Sequence[Instruction], payer: Keypair) -> Landed:
        """Signs and sends what the node has to say itself; ends with its fate known. The fee is
        what was bid.

        Problem ``not-yet`` where that stays unknown. What is signed anew after it costs another fee
        and no more: going live, a checkpoint and a recording are taken but once by the program, and
        move no money. So nothing else may be sent by this.
        """
        client = await self.client()
        sender = self._sender(client)
        widest = Budget(MAX_COMPUTE_UNITS, 0)
        plan = await asked(
            sender.plan(message_of(payer.pubkey(), instructions, Hash.default(), widest))
        )
        message = message_of(payer.pubkey(), instructions, plan.blockhash, plan.budget)
        signed = bytes(VersionedTransaction(message, [payer]))
        with trio.move_on_after(_DELIVER_S):
            sending = sender.deliver(signed, plan.last_valid_block_height, rehearsed=True)
            # what it cost follows from what was signed; what an endpoint says of it may be a lie
            return replace(await asked(sending), fee=plan.fee)
        message_ = "the chain does not say yet what became of the transaction"
        raise Problem("not-yet", message_, status=504)

    async def airdrop(self, to: str, lamports: int) -> AirdropShape:
        """Gives from the faucet, which only the embedded chain has. Problem ``no-faucet``."""
        if not self._terms.embedded:
            hint = "on devnet and testnet, https://faucet.solana.com gives"
            raise Problem("no-faucet", "this chain is not the node's own: it gives nothing", hint)
        at = address(to)
        client = ChainClient(self._pool, Programs(self._terms.event_factory, NOBODY, NOBODY))
        signature = await asked(self._pool.call("requestAirdrop", [str(at), lamports], str))
        balance = await asked(client.balance(at))
        return AirdropShape(
            address=str(at), lamports=str(lamports), balance=str(balance), signature=signature
        )

    def _sender(self, client: ChainClient) -> Sender:
        return Sender(client, self._terms.max_priority_fee)

    # -- events --

    async def events(self, artist: str) -> list[EventShape]:
        """Events, the newest first; of one artist, or (empty) of all."""
        client = await self.client()
        filters = [(_ARTIST_AT, address(artist))] if artist else []
        slot, found = await asked(client.all(EventAccount, filters))
        found.sort(key=lambda event: event.created_at, reverse=True)
        coins = await self._coins.of(client, found)
        return [event_shape(each, None, None, None, slot, coins[each.address]) for each in found]

    async def event(self, room: RoomId) -> EventShape:
        """An event with its sale, vault and checkpoint. Problem ``no-such-event``."""
        found = await self._whole(room)
        event, slot = found.event, found.slot
        coins = await self._coins.of(await self.client(), [event])
        coin = coins[event.address]
        return event_shape(event, found.sale, found.vault, found.checkpoint, slot, coin)

    async def room_event(self, room: RoomId) -> RoomEvent:
        """An event as its room knows it. Problem ``no-such-event``."""
        found = await self._whole(room)
        genesis, event = bytes(address(self._pool.genesis)), found.event
        coin = (await self._coins.of(await self.client(), [event]))[event.address]
        return room_event(event, found.sale, found.checkpoint, genesis, found.slot, coin)

    async def _whole(self, room: RoomId) -> WholeEvent:
        found = await told(read_whole(await self.client(), address(room)))
        if found is None:
            raise Problem("no-such-event", f"the chain has no event {room}", status=404)
        return found

    async def platform_config(self) -> PlatformConfig | None:
        """EventFactory's configuration, as it is now."""
        return await told((await self.client()).platform())

    # -- tickets and tips --

    async def tickets(self, room: str, holder: str) -> list[TicketShape]:
        """Tickets of an event, of a holder, or of both; one of them has to be named."""
        client = await self.client()
        if room and holder:
            place = ticket_place(client.programs, address(room), address(holder)).address
            one = await told(client.read(TicketAccount, place))
            found = [one] if one else []
        elif room or holder:
            at, who = (_TICKET_EVENT_AT, room) if room else (_TICKET_HOLDER_AT, holder)
            _, found = await asked(client.all(TicketAccount, [(at, address(who))]))
        else:
            raise Problem("bad-request", "neither event nor holder is named", "name one of them")
        coins = await self._coins.of_places(client, [each.event for each in found])
        return [ticket_shape(each, coins[each.event]) for each in found]

    async def tipper(self, room: RoomId, tipper: str) -> TipperShape | None:
        """What somebody tipped; None before the first time."""
        client = await self.client()
        event = address(room)
        vault = EventPlaces.of(client.programs, event).vault.address
        place = tip_place(client.programs, vault, address(tipper)).address
        found = await told(client.read(TipRecordAccount, place))
        coins = await self._coins.of_places(client, [event])
        return tipper_shape(found, event, coins[event]) if found else None

    async def tips(self, room: RoomId, limit: int) -> list[TipShape]:
        """The newest tips: by the index, or from the chain itself while that is behind what was
        sent from here."""
        client = await self.client()
        event = address(room)
        vault = EventPlaces.of(client.programs, event).vault.address
        limit = min(limit, MAX_TIPS)
        if self._indexer is not None and self._indexer.slot >= client.least_slot:
            entries = await self._indexer.entries(account=str(vault), kind="Tipped", limit=limit)
        else:
            entries = await asked(read_entries(client, vault, limit))
        coin = (await self._coins.of_places(client, [event]))[event]
        return [tip_shape(entry, room, coin) for entry in entries if entry.kind == "Tipped"]

    async def mint(self, untrusted: str) -> MintShape:
        """A token that events can be paid in. Problem ``no-such-mint``."""
        found = await self._coins.mint(await self.client(), address(untrusted))
        return MintShape(
            mint=str(found.address), token_program=str(found.token_program), decimals=found.decimals
        )

    async def wallet(self, untrusted: str) -> WalletShape:
        """What an address has: SOL, and tokens whose mint there is: anyone gives it others."""
        client, owner = await self.client(), address(untrusted)
        held = await tokens_of(client, owner)
        mints = await self._coins.known(client, [each.mint for each in held])
        tokens = [tokens_shape(one, mints[one.mint].decimals) for one in held if one.mint in mints]
        lamports = await asked(client.balance(owner))
        return WalletShape(address=str(owner), lamports=str(lamports), tokens=tokens)

    async def keep_index(self, path: Path) -> None:
        """Keeps the index in this file, from when the chain answers until cancelled. Where it
        can't be kept, that is logged, and the chain is asked instead."""
        while True:
            try:
                client = await self.client()
                break
            except Problem:
                await trio.sleep(_AGAIN_S)
        chain = f"{self._pool.genesis} {client.programs.event_factory}"
        terms = Indexing(path, chain, self._terms.websockets)
        try:
            await keep_index(terms, client, self._indexed)
        except* (sqlite3.Error, OSError) as faults:
            self._indexer = None
            log.error("index-not-kept", because=str(faults.exceptions[0]))

    def _indexed(self, indexer: Indexer) -> None:
        self._indexer = indexer


@asynccontextmanager
async def open_chain(
    terms: ChainTerms, clock: Clock, kind: Callable[[ChainTerms, Pool], S]
) -> AsyncIterator[S]:
    """The chain at these terms, as a ``kind`` of ChainService. Nothing is asked before it is
    wanted."""
    async with open_pool(terms.urls, clock, terms.answer_s, terms.genesis) as pool:
        yield kind(terms, pool)
