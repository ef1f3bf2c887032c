"""Keeps the index: reads what it lacks, follows what is new, takes back what a fork took back.

New transactions are found by asking for the signatures of each program up to the newest that is
indexed; a subscription only says that it is time to. So a gap is filled as it is read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
import trio
from solders.pubkey import Pubkey
from solders.signature import Signature

from hausd.chain.calls import RpcError
from hausd.chain.client import MAX_SIGNATURES_AT_ONCE, MAX_TRANSACTIONS_AT_ONCE, ChainClient
from hausd.chain.index import Entry, Index, Indexed, Listed, entries_of
from hausd.chain.metrics import INDEX_SLOT, INDEX_WITHDRAWN
from hausd.chain.pool import Unavailable
from hausd.chain.subscriptions import tell_of
from hausd.core.programs.logs import events_of

EVERY_S = 5.0
"""How often is looked for what is new, and whether what is there became final."""
_TOLD_S = 10.0
"""How often where a subscription tells of what is new, and all is final."""
_AT_ONCE = 4
"""Calls for transactions that are under way at once: endpoints limit how often they are asked."""
_BATCH = 512
_GONE_SLOTS = 64
"""Slots behind the finalized one at which what no endpoint knows was forked away: twice what it
takes to be finalized."""
T = TypeVar("T")
log = structlog.get_logger("hausd.chain")


@dataclass(frozen=True, slots=True)
class Indexing:
    """Where the index is, and where an endpoint's subscriptions are (empty: nowhere)."""

    path: Path
    chain: str
    websocket: str


async def keep_index(
    terms: Indexing, client: ChainClient, opened: Callable[[Indexer], None]
) -> None:
    """Keeps an index until cancelled; ``opened`` is given it. Raises sqlite3.Error, OSError."""
    terms.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    index = await trio.to_thread.run_sync(Index, terms.path, terms.chain)
    try:
        indexer = Indexer(client, index, told=bool(terms.websocket))
        opened(indexer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(indexer.run)
            if terms.websocket:
                for program in client.programs:
                    nursery.start_soon(tell_of, terms.websocket, program, indexer.wake)
    finally:
        index.close()


class Indexer:
    """``run`` owns the index; reading it is for everybody. ``told``: a subscription wakes it."""

    def __init__(self, client: ChainClient, index: Index, *, told: bool = False) -> None:
        self._client = client
        self._index = index
        self._told = told
        self._turn = trio.Lock()
        self._wake = trio.Event()
        self.slot = -1
        """Everything up to this slot was read; -1 before the first round ended."""

    def wake(self) -> None:
        """Something happened on chain: the next round need not be waited for."""
        self._wake.set()

    async def entries(
        self, *, account: str = "", kind: str = "", who: str = "", limit: int = 100
    ) -> list[Entry]:
        """What matches all that is named, the newest first."""
        asked = partial(self._index.entries, account=account, kind=kind, who=who, limit=limit)
        return await self._do(asked)

    async def run(self) -> None:
        """Rounds until cancelled; a chain that does not answer is asked again."""
        while True:
            calm = False
            try:
                calm = await self.round() and self._told
            except (Unavailable, RpcError, sqlite3.Error) as fault:
                log.warning("index-behind", because=str(fault))
            with trio.move_on_after(_TOLD_S if calm else EVERY_S):
                await self._wake.wait()
            self._wake = trio.Event()

    async def round(self) -> bool:
        """Reads everything that is new, then looks after what is not final yet: whether all is.

        Raises Unavailable, RpcError, sqlite3.Error; what was read until then is kept.
        """
        begun, final = await self._client.slot(), await self._client.slot("finalized")
        for program in self._client.programs:
            await self._catch_up(program)
        settled = await self._settle(final)
        self.slot = begun
        INDEX_SLOT.set(begun)
        return settled

    async def _catch_up(self, program: Pubkey) -> None:
        """First what a round that was broken off has left, then what is new."""
        if await self._do(partial(self._index.fact, _walk(program))):
            await self._list(program)
        await self._read_waiting(program)
        await self._list(program)
        await self._read_waiting(program)

    async def _list(self, program: Pubkey) -> None:
        """Puts everything down to the mark among what waits: page by page, the newest first.

        The mark is the newest signature up to which all is indexed and final. Where the walk is,
        is kept with each page.
        """
        until = await self._do(partial(self._index.fact, _mark(program)))
        before = await self._do(partial(self._index.fact, _walk(program)))
        while True:
            page = await self._client.signatures_for(program, before=before, until=until)
            ended = len(page) < MAX_SIGNATURES_AT_ONCE or page[-1].signature == before
            before = "" if ended else page[-1].signature
            facts = {_walk(program): before}
            await self._do(partial(self._index.enlist, str(program), page, facts))
            if ended:
                return

    async def _read_waiting(self, program: Pubkey) -> None:
        all_final = True
        while listed := await self._do(partial(self._index.waiting, str(program), _BATCH)):
            read = await self._read(listed)
            facts = {}
            for one in listed:
                all_final = all_final and one.final
                if all_final:
                    facts[_mark(program)] = one.signature
            await self._do(partial(self._index.take, read, str(program), listed, facts))

    async def _read(self, listed: Sequence[Listed]) -> list[Indexed]:
        """Those that are not indexed, or were at another slot before a fork."""
        good = [one for one in listed if not one.failed]
        known = partial(self._index.slots, [one.signature for one in good])
        slots = await self._do(known)
        wanted = [one for one in good if slots.get(one.signature) != one.slot]
        read: dict[str, Indexed] = {}
        limit = trio.CapacityLimiter(_AT_ONCE)
        faults: list[Unavailable | RpcError] = []

        async def some(portion: Sequence[Listed]) -> None:
            async with limit:
                try:
                    found = await read_transactions(self._client, portion)
                except (Unavailable, RpcError) as fault:
                    faults.append(fault)
                    nursery.cancel_scope.cancel()
                    return
            read.update((one.signature, one) for one in found)

        async with trio.open_nursery() as nursery:
            for begin in range(0, len(wanted), MAX_TRANSACTIONS_AT_ONCE):
                nursery.start_soon(some, wanted[begin : begin + MAX_TRANSACTIONS_AT_ONCE])
        if faults:
            raise faults[0]
        return [read[one.signature] for one in wanted if one.signature in read]

    async def _settle(self, finalized_slot: int) -> bool:
        """Whether nothing waits any more."""
        waiting = await self._do(self._index.open)
        if not waiting:
            return True
        signatures = [Signature.from_string(name) for name, _ in waiting]
        statuses = await self._client.statuses(signatures, search=True)
        final: list[str] = []
        gone: list[str] = []
        for (name, slot), status in zip(waiting, statuses, strict=True):
            if status is None:
                if slot + _GONE_SLOTS < finalized_slot:
                    gone.append(name)
            elif status.confirmation_status != "finalized":
                continue
            elif status.err is not None:
                gone.append(name)
            elif status.slot == slot:
                final.append(name)
            # else it is in another slot now, and the next round reads it again
        if final or gone:
            INDEX_WITHDRAWN.inc(len(gone))
            await self._do(partial(self._index.settle, final, gone))
        return len(final) + len(gone) == len(waiting)

    async def _do(self, work: Callable[[], T]) -> T:
        async with self._turn:
            return await trio.to_thread.run_sync(work)


async def read_transactions(client: ChainClient, listed: Sequence[Listed]) -> list[Indexed]:
    """Transactions with their events; those that failed, or that a fork took back meanwhile, are
    left out.

    Raises Unavailable, RpcError.
    """
    records = await client.transactions([one.signature for one in listed])
    found = []
    for one, record in zip(listed, records, strict=True):
        if record is None or record.meta is None or record.meta.err is not None:
            continue
        events = tuple(events_of(client.programs, record.meta.log_messages or ()))
        found.append(Indexed(one.signature, record.slot, record.block_time or 0, one.final, events))
    return found


async def read_entries(client: ChainClient, account: Pubkey, limit: int) -> list[Entry]:
    """The newest entries of transactions that name an account, without an index.

    Raises Unavailable, RpcError.
    """
    listed = [
        Listed(n, one.signature, one.slot, one.confirmation_status == "finalized", False)
        for n, one in enumerate(await client.signatures_for(account, limit=limit))
        if one.err is None
    ]
    found: list[Entry] = []
    for read in await read_transactions(client, listed):
        entries = [entry for entry in entries_of(read) if entry.account == str(account)]
        found += reversed(entries)
    return found[:limit]


def _mark(program: Pubkey) -> str:
    return f"until {program}"


def _walk(program: Pubkey) -> str:
    return f"walk {program}"
