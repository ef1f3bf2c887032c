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

from hausd.chain.answers import SignatureInfo
from hausd.chain.calls import RpcError
from hausd.chain.client import MAX_SIGNATURES_AT_ONCE, ChainClient
from hausd.chain.index import Entry, Index, Indexed, entries_of
from hausd.chain.metrics import INDEX_SLOT, INDEX_WITHDRAWN
from hausd.chain.pool import Unavailable
from hausd.chain.subscriptions import tell_of
from hausd.core.programs.logs import events_of

EVERY_S = 5.0
"""How often is looked for what is new, and whether what is there became final."""
_TOLD_S = 60.0
"""How often where a subscription tells of what is new, and all is final."""
_AT_ONCE = 8
"""Transactions that are read at once: endpoints limit how often they are asked."""
_BATCH = 200
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
        """The mark is the newest signature up to which all is indexed and final; it is set last,
        so that a round that was broken off is done again."""
        name = f"until {program}"
        until = await self._do(partial(self._index.fact, name))
        found = await self._new_signatures(program, until)
        found.reverse()
        for begin in range(0, len(found), _BATCH):
            await self._read(found[begin : begin + _BATCH])
        newest = ""
        for info in found:
            if info.confirmation_status != "finalized":
                break
            newest = info.signature
        if newest:
            await self._do(partial(self._index.take, [], {name: newest}))

    async def _new_signatures(self, program: Pubkey, until: str) -> list[SignatureInfo]:
        """Newest first, page by page."""
        found: list[SignatureInfo] = []
        before = ""
        while True:
            page = await self._client.signatures_for(program, before=before, until=until)
            found += page
            if len(page) < MAX_SIGNATURES_AT_ONCE or page[-1].signature == before:
                return found
            before = page[-1].signature

    async def _read(self, infos: Sequence[SignatureInfo]) -> None:
        names = [info.signature for info in infos if info.err is None]
        known = await self._do(partial(self._index.known, names))
        wanted = [info for info in infos if info.err is None and info.signature not in known]
        read: dict[str, Indexed] = {}
        limit = trio.CapacityLimiter(_AT_ONCE)

        faults: list[Unavailable | RpcError] = []

        async def one(info: SignatureInfo) -> None:
            async with limit:
                try:
                    found = await read_transaction(self._client, info)
                except (Unavailable, RpcError) as fault:
                    faults.append(fault)
                    nursery.cancel_scope.cancel()
                    return
            if found is not None:
                read[info.signature] = found

        async with trio.open_nursery() as nursery:
            for info in wanted:
                nursery.start_soon(one, info)
        if faults:
            raise faults[0]
        ordered = [read[info.signature] for info in wanted if info.signature in read]
        if ordered:
            await self._do(partial(self._index.take, ordered))

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
            if status is not None and status.confirmation_status == "finalized":
                (gone if status.err is not None else final).append(name)
            elif status is None and slot + _GONE_SLOTS < finalized_slot:
                gone.append(name)
        if final or gone:
            INDEX_WITHDRAWN.inc(len(gone))
            await self._do(partial(self._index.settle, final, gone))
        return len(final) + len(gone) == len(waiting)

    async def _do(self, work: Callable[[], T]) -> T:
        async with self._turn:
            return await trio.to_thread.run_sync(work)


async def read_transaction(client: ChainClient, info: SignatureInfo) -> Indexed | None:
    """A transaction with its events; None where it failed, or a fork took it back meanwhile.

    Raises Unavailable, RpcError.
    """
    record = await client.transaction(info.signature)
    if record is None or record.meta is None or record.meta.err is not None:
        return None
    events = tuple(events_of(client.programs, record.meta.log_messages or ()))
    final = info.confirmation_status == "finalized"
    return Indexed(info.signature, record.slot, record.block_time or 0, final, events)


async def read_entries(client: ChainClient, account: Pubkey, limit: int) -> list[Entry]:
    """The newest entries of transactions that name an account, without an index.

    Raises Unavailable, RpcError.
    """
    found: list[Entry] = []
    for info in await client.signatures_for(account, limit=limit):
        if info.err is not None or (read := await read_transaction(client, info)) is None:
            continue
        entries = [entry for entry in entries_of(read) if entry.account == str(account)]
        found += reversed(entries)
    return found[:limit]
