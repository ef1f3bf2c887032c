"""Events as the node runs them: the chain, and what of an event is made here.

Implements ``admin.chain_ports.ChainPort``: what is of the chain alone is ``ChainService``'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import trio
from solders.pubkey import Pubkey

from hausd.blocks.errors import explain
from hausd.blocks.store import Store
from hausd.chain.asking import address
from hausd.chain.known import KnownEvents
from hausd.chain.service import ChainService, ChainTerms, open_chain
from hausd.chain.ticketing import Tickets
from hausd.config import Config
from hausd.core.chain_shapes import (
    MetadataShape,
    NewEventShape,
    NewStreamShape,
    PlatformShape,
)
from hausd.core.cid import CID
from hausd.core.clock import Clock
from hausd.core.errors import Problem
from hausd.core.event_shapes import ChainStatusShape
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.programs.accounts import NOBODY
from hausd.core.storage import RecordingStopped
from hausd.onchain import OnChain
from hausd.ownchain import OwnChain
from hausd.rooms.manager import Rooms

_METADATA_VERSION = 1


class NodeChain(ChainService):
    """The chain of a node that has rooms. ``rooms`` and ``store`` are set once they are open."""

    rooms: Rooms | None = None
    store: Store | None = None
    told: OnChain | None = None

    def status(self) -> ChainStatusShape:
        found = super().status()
        return self.told.beside(found) if self.told is not None else found

    async def new_event(
        self, room: RoomId, title: str, description: str, starts: int, ends: int
    ) -> NewEventShape:
        """Makes the room of an event that is about to be created, with a key of its own, and
        stores the metadata, pinned with the room."""
        made = await self.new_stream(room, title)
        meta = await self.metadata(room, title, description, starts, ends, keep=True)
        return NewEventShape(
            room=made.room, stream_authority=made.stream_authority, metadata=meta.metadata
        )

    async def new_stream(self, room: RoomId, title: str) -> NewStreamShape:
        """Makes the room of an event, with a key of its own: for an event that is about to be
        created, or to be streamed from here."""
        if self.rooms is None:
            raise _starting()
        chain = await self.chain()
        try:
            made = await self.rooms.create(title, event=room, chain=bytes(address(chain.genesis)))
        except OSError as fault:
            why = fault.strerror or str(fault)
            raise Problem("disk", f"the room was not created: {why}", status=507) from fault
        authority = Pubkey(SigningKey(self.rooms.find(room).record.seed).public.raw)
        return NewStreamShape(room=made, stream_authority=str(authority))

    async def metadata(
        self, room: RoomId, title: str, description: str, starts: int, ends: int, *, keep: bool
    ) -> MetadataShape:
        """The metadata of an event; where it is to be kept, in the store and pinned."""
        if self.store is None:
            raise _starting()
        metadata = _metadata(room, title, description, starts, ends)
        cid = CID.of(metadata)
        if keep:
            try:
                await self.store.put([(cid, metadata)], room)
                await self.store.pins.add(str(cid), lambda what, done, total: None)
            except (OSError, RecordingStopped) as fault:
                why = explain(fault, "the store") if isinstance(fault, OSError) else str(fault)
                raise Problem("disk", f"the metadata was not stored: {why}", status=507) from fault
        return MetadataShape(metadata=str(cid), kept=keep)

    async def platform(self) -> PlatformShape:
        """The configuration of the programs, as it is now."""
        programs = (await self.client()).programs
        found = await self.platform_config()
        assert found is not None  # client() found it
        pending = found.pending_authority
        return PlatformShape(
            event_factory=str(programs.event_factory),
            authority=str(found.authority),
            pending_authority=None if pending == NOBODY else str(pending),
            treasury=str(found.treasury),
            fee_bps=found.fee_bps,
        )


def _starting() -> Problem:
    return Problem("not-yet", "the node is starting", "try again in a moment", 503)


def _metadata(room: RoomId, title: str, description: str, starts: int, ends: int) -> bytes:
    """What the RTA's URI leads to. Source: the fields that Metaplex's standard names for NFTs."""
    told = {
        "name": title,
        "symbol": "RTA",
        "description": description,
        "properties": {
            "version": _METADATA_VERSION,
            "event": room,
            "starts": _time(starts),
            "ends": _time(ends),
        },
    }
    return msgspec.json.encode(told, order="sorted")


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        raise Problem("bad-time", f"{seconds} is no time of this calendar", status=422) from None


@dataclass(frozen=True, slots=True)
class NodeEvents:
    """The configured chain, and what rooms know of it; None where there is none."""

    chain: NodeChain | None = None
    known: KnownEvents | None = None
    tickets: Tickets | None = None
    checkpoint_every: int = 1
    websockets: Sequence[str] = ()
    """Where the chain tells of changes."""

    @asynccontextmanager
    async def serving(self, rooms: Rooms, store: Store) -> AsyncIterator[None]:
        """Rooms are open: they are told of changes, the chain of what they make, and new events
        get theirs."""
        if self.chain is None or self.known is None:
            yield
            return
        self.chain.rooms, self.chain.store = rooms, store
        every, websockets = self.checkpoint_every, self.websockets
        async with OnChain(rooms, self.chain, self.known, every, websockets).open() as told:
            self.chain.told = told
            yield


@asynccontextmanager
async def open_events(
    config: Config, home: Path, own: OwnChain | None, clock: Clock
) -> AsyncIterator[NodeEvents]:
    """The chain of this configuration, or the node's ``own``, if it has one."""
    terms = chain_terms(config, own)
    if terms is None:
        yield NodeEvents()
        return
    async with open_chain(terms, clock, NodeChain) as chain, trio.open_nursery() as nursery:
        known = KnownEvents(chain)
        tickets = Tickets(chain, terms.websockets)
        nursery.start_soon(known.run)
        nursery.start_soon(tickets.run)
        nursery.start_soon(tickets.follow)
        nursery.start_soon(chain.keep_index, home / "chain" / "index.sqlite")
        try:
            yield NodeEvents(chain, known, tickets, config.chain.checkpoint_every, terms.websockets)
        finally:
            nursery.cancel_scope.cancel()


def chain_terms(config: Config, own: OwnChain | None) -> ChainTerms | None:
    """What the configuration says of the chain; None where it says there is none."""
    here = config.chain
    if not here.rpc_url and own is None:
        return None
    return ChainTerms(
        urls=(here.rpc_url, *here.more_rpc_urls) if own is None else (own.own_url,),
        embedded=own is not None,
        event_factory=Pubkey.from_string(here.event_factory),
        max_priority_fee=here.max_priority_fee,
        answer_s=here.answer_s,
        genesis=here.genesis if own is None else "",
    )
