"""What the chain says of events, kept at hand: who signs for a room must be known at once.

Events are read at ``confirmed``, many in one call: those that this node takes part in every few
seconds, others when somebody asks for them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
import trio
from solders.hash import Hash
from solders.pubkey import Pubkey

from hausd.chain.calls import RpcError
from hausd.chain.client import Account, ChainClient
from hausd.chain.metrics import BOOK_READS
from hausd.core.cid import CID
from hausd.core.errors import Problem
from hausd.core.events import EventState, RoomCheckpoint, RoomEvent
from hausd.core.ids import RoomId, SessionId
from hausd.core.keys import PublicKey
from hausd.core.programs.accounts import (
    AccountError,
    CheckpointAccount,
    EventAccount,
    EventStatus,
    SaleAccount,
)
from hausd.core.programs.addresses import EventPlaces

log = structlog.get_logger("hausd.chain")

MAX_KNOWN = 1024
MAX_WANTED = 256
READ_EVERY_S = 5.0
"""How often the events of this node's rooms are read."""
_WANTED_EVERY_S = 0.5
_AT_ONCE = 30
"""Events in one call: three accounts each, of the hundred that an RPC allows."""
_FRESH_S = 600.0
_ABSENT_S = 60.0
"""What is not on chain is not asked for again so soon."""
_STATES = {
    EventStatus.DRAFT: EventState.DRAFT,
    EventStatus.OPEN: EventState.OPEN,
    EventStatus.LIVE: EventState.LIVE,
    EventStatus.ENDED: EventState.ENDED,
    EventStatus.FINALIZED: EventState.FINALIZED,
    EventStatus.CANCELLED: EventState.CANCELLED,
}


@dataclass(slots=True)
class _Known:
    """``event`` None: the chain has no such event."""

    event: RoomEvent | None
    at_s: float


class EventBook:
    """Implements ``rooms.ports.Chain``. ``run`` owns the reading."""

    def __init__(
        self,
        chain: ChainClient,
        kept: Callable[[], Sequence[RoomId]],
        on_read: Callable[[RoomEvent], Awaitable[None]],
    ) -> None:
        """``kept``: the events' rooms that this node takes part in; ``on_read`` gets each of them
        whenever it is read."""
        self._chain = chain
        self._kept = kept
        self._on_read = on_read
        self._known: OrderedDict[RoomId, _Known] = OrderedDict()
        self._wanted: dict[RoomId, None] = {}
        self._wake = trio.Event()

    # -- rooms.ports.Chain --

    def known(self, room: RoomId) -> RoomEvent | None:
        found = self._known.get(room)
        if found is None or found.event is None:
            return None
        if trio.current_time() - found.at_s > _FRESH_S:
            self.want(room)
        return found.event

    def want(self, room: RoomId) -> None:
        found = self._known.get(room)
        if found is not None and trio.current_time() - found.at_s < _ABSENT_S:
            return
        if len(self._wanted) < MAX_WANTED:
            self._wanted.setdefault(room)
            self._wake.set()

    async def look_up(self, room: RoomId) -> RoomEvent:
        address = _address(room)
        if address is None:
            raise Problem("no-such-event", f"{room} is no address of an event", status=422)
        await self._read([room])
        found = self._known.get(room)
        if found is None or found.event is None:
            raise Problem(
                "no-such-event",
                f"this node's chain has no event {room}",
                "check the id; an event on another chain needs that chain's RPC in chain.rpc_url",
                404,
            )
        return found.event

    # -- the task --

    async def run(self) -> None:
        """Reads what is kept and what is wanted, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_wanted)
            while True:
                kept = list(self._kept())
                for first in range(0, len(kept), _AT_ONCE):
                    await self._read_quietly(kept[first : first + _AT_ONCE])
                for room in kept:
                    found = self._known.get(room)
                    if found is not None and found.event is not None:
                        await self._on_read(found.event)
                await trio.sleep(READ_EVERY_S)

    async def _read_wanted(self) -> None:
        while True:
            await self._wake.wait()
            await trio.sleep(_WANTED_EVERY_S)
            batch = list(self._wanted)[:_AT_ONCE]
            for room in batch:
                del self._wanted[room]
            if not self._wanted:
                self._wake = trio.Event()
            await self._read_quietly(batch)

    async def _read_quietly(self, rooms: Sequence[RoomId]) -> None:
        try:
            await self._read(rooms)
        except Problem as fault:
            BOOK_READS.labels("failed").inc()
            log.info("events-unread", because=fault.message)

    async def _read(self, rooms: Sequence[RoomId]) -> None:
        places = [
            (room, EventPlaces.of(self._chain.programs, address))
            for room in rooms
            if (address := _address(room)) is not None
        ]
        asked = [
            address
            for _, one in places
            for address in (one.event, one.sale.address, one.checkpoint.address)
        ]
        if not asked:
            return
        try:
            genesis = bytes(Hash.from_string(await self._chain.genesis()))
            seen = await self._chain.accounts(asked)
        except RpcError as fault:
            raise Problem(
                "chain-refuses", f"the chain refuses to tell: {fault}", status=502
            ) from None
        slot, found = seen.slot, seen.accounts
        for place, (room, _) in enumerate(places):
            event, sale, checkpoint = found[3 * place : 3 * place + 3]
            try:
                read = self._event(room, genesis, slot, event, sale, checkpoint)
            except AccountError as fault:
                BOOK_READS.labels("refused").inc()
                log.warning("event-refused", room=room, because=str(fault))
                read = None
            else:
                BOOK_READS.labels("read" if read is not None else "absent").inc()
            self._keep(room, read)

    def _event(
        self,
        room: RoomId,
        genesis: bytes,
        slot: int,
        event: Account | None,
        sale: Account | None,
        checkpoint: Account | None,
    ) -> RoomEvent | None:
        if event is None:
            return None
        account = self._chain.checked(EventAccount, event)
        tickets = self._chain.checked(SaleAccount, sale) if sale is not None else None
        written = (
            self._chain.checked(CheckpointAccount, checkpoint) if checkpoint is not None else None
        )
        return RoomEvent(
            room=room,
            chain=genesis,
            slot=slot,
            state=_STATES[account.status],
            title=" ".join("".join(c if c.isprintable() else " " for c in account.title).split()),
            artist=str(account.artist),
            authority=_public_key(account.stream_authority),
            authority_slot=account.authority_since,
            starts_ms=max(0, account.starts_at) * 1000,
            ends_ms=max(0, account.scheduled_end) * 1000,
            gated=tickets is not None and bool(tickets.tiers),
            premium=account.premium,
            recording=account.recording,
            checkpoint=_checkpoint(written),
        )

    def _keep(self, room: RoomId, event: RoomEvent | None) -> None:
        old = self._known.pop(room, None)
        if old is not None and old.event is not None and event is not None:
            # endpoints differ in how far they are: nothing goes back
            event = event if event.slot >= old.event.slot else old.event
        self._known[room] = _Known(event, trio.current_time())
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)


def _public_key(address: Pubkey) -> PublicKey:
    try:
        return PublicKey(bytes(address))
    except ValueError as fault:
        raise AccountError(f"{address} can't sign a stream: {fault}") from None


def _checkpoint(account: CheckpointAccount | None) -> RoomCheckpoint | None:
    if account is None or account.manifest is None:
        return None
    manifest: CID = account.manifest
    session = SessionId(account.session_counter, account.session_random)
    return RoomCheckpoint(manifest, session, account.sequence, account.slot)


def _address(room: RoomId) -> Pubkey | None:
    try:
        return Pubkey.from_string(room)
    except ValueError:
        return None
