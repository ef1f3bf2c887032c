"""Keeps the index: reads what it lacks, follows what is new, takes back what a fork took back.

New transactions are found by asking for the signatures of each program up to the newest that is
indexed; a subscription only says that it is time to. So a gap is filled as it is read.
"""

from __future__ import annotations

import random
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

from hausd.chain.answers import OtherVersion, SignatureInfo, TransactionRecord
from hausd.chain.calls import RpcError
from hausd.chain.client import MAX_SIGNATURES_AT_ONCE, MAX_TRANSACTIONS_AT_ONCE, ChainClient
from hausd.chain.index import Entry, Index, Indexed, Listed, entries_of
from hausd.chain.metrics import INDEX_MADE_UP, INDEX_SLOT, INDEX_WITHDRAWN
from hausd.chain.pool import Unavailable
from hausd.chain.subscriptions import tell_of
from hausd.core.programs.logs import events_of

EVERY_S = 5.0
"""How often is looked for what is new, and whether what is there became final."""
_TOLD_S = 30.0
"""How often where a subscription tells of what is new, and all is final."""
_AT_ONCE = 4
"""Calls for transactions that are under way at once: endpoints limit how often they are asked."""
_BATCH = 512
_DRAWN = 8
"""Of a full page so many are asked for before it is kept."""
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
    websockets: Sequence[str]


async def keep_index(
    terms: Indexing, client: ChainClient, opened: Callable[[Indexer], None]
) -> None:
    """Keeps an index until cancelled; ``opened`` is given it. Raises sqlite3.Error, OSError."""
    terms.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    index = await trio.to_thread.run_sync(Index, terms.path, terms.chain)
    try:
        indexer = Indexer(client, index, told=bool(terms.websockets))
        opened(indexer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(indexer.run)
            if terms.websockets:
                for program in client.programs:
                    nursery.start_soon(tell_of, terms.websockets, program, indexer.wake)
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
            await self._catch_up(program, final)
        settled = await self._settle(final)
        self.slot = begun
        INDEX_SLOT.set(begun)
        return settled

    async def _catch_up(self, program: Pubkey, finalized_slot: int) -> None:
        """First what a round that was broken off has left, then what is new."""
        if await self._fact(_walk(program)):
            await self._list(program)
        await self._read_waiting(program, finalized_slot)
        more = True
        while more:
            mark = await self._fact(_mark(program))
            more = await self._list(program)
            await self._read_waiting(program, finalized_slot)
            if more and mark == await self._fact(_mark(program)):
                raise Unavailable("more transactions than may wait are listed, and none is final")

    async def _list(self, program: Pubkey) -> bool:
        """Puts everything down to the mark among what waits: page by page, the newest first.

        The mark is the newest signature up to which all is indexed and final. Where the walk is,
        is kept with each page. Whether there was more than may wait: that is listed again.
        """
        more = False
        until = await self._fact(_mark(program))
        walk = await self._fact(_walk(program))
        while True:
            page = await self._page(program, walk, until)
            new, facts = (page[1:], {}) if walk else (page, {_held(program): ""})
            ended = len(page) < MAX_SIGNATURES_AT_ONCE
            walk = "" if ended else f"{page[-2].signature} {page[-1].signature}"
            facts[_walk(program)] = walk
            more |= await self._do(partial(self._index.enlist, str(program), new, facts))
            if ended:
                return more

    async def _page(self, program: Pubkey, walk: str, until: str) -> list[SignatureInfo]:
        """The next page, which begins with the last signature of the one before: an endpoint that
        does not know where the walk is answers as if it had ended.

        Where none knows, a fork took the place back, and the walk begins anew in the next round.
        """
        before, _, last = walk.partition(" ")
        limit = MAX_SIGNATURES_AT_ONCE
        for _ in self._client.pool.standings:
            by, page = await self._client.signatures_by(
                program, before=before, until=until, limit=limit
            )
            if len(page) < limit or await self._is_known(page):
                break
            INDEX_MADE_UP.inc(len(page))
            self._client.pool.distrust(by, "it lists transactions that no endpoint knows")
        else:
            raise Unavailable("every endpoint lists transactions that none knows")
        if not walk or _begins(page, last):
            return page
        every = self._client.signatures_everywhere
        for page in await every(program, before=before, until=until, limit=limit):
            if _begins(page, last):
                return page
        await self._do(partial(self._index.unlist, str(program), {_walk(program): ""}))
        raise Unavailable("no endpoint knows up to where its transactions were listed")

    async def _is_known(self, page: Sequence[SignatureInfo]) -> bool:
        """Whether a full page, behind which there may be more without end, is of the chain: as far
        as anybody knows one of some that are drawn."""
        drawn = [one.signature for one in random.sample(page, min(_DRAWN, len(page)))]
        names = [Signature.from_string(name) for name in drawn]
        if any(await self._client.statuses(names, search=True)):
            return True
        return any(await self._client.statuses_anywhere(drawn, 0))

    async def _read_waiting(self, program: Pubkey, finalized_slot: int) -> None:
        """Where something was not final, the mark stays before it until all is listed anew."""
        while listed := await self._do(partial(self._index.waiting, str(program), _BATCH)):
            read = await self._read(listed, finalized_slot)
            facts = {}
            held = await self._fact(_held(program))
            for one in listed:
                held = held or ("" if one.final else one.signature)
                if not held:
                    facts[_mark(program)] = one.signature
            facts[_held(program)] = held
            await self._do(partial(self._index.take, read, str(program), listed, facts))

    async def _read(self, listed: Sequence[Listed], finalized_slot: int) -> list[Indexed]:
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
                    found = await read_transactions(self._client, portion, finalized_slot)
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
        doubtful: list[str] = []
        for (name, slot), status in zip(waiting, statuses, strict=True):
            if status is None:
                if slot + _GONE_SLOTS < finalized_slot:
                    doubtful.append(name)
            elif status.confirmation_status != "finalized":
                continue
            elif status.err is not None:
                doubtful.append(name)
            elif status.slot == slot:
                final.append(name)
            # else it is in another slot now, and the next round reads it again
        if final:
            await self._do(partial(self._index.settle, final, ()))
        gone = await self._gone(doubtful, finalized_slot) if doubtful else []
        return len(final) + len(gone) == len(waiting)

    async def _gone(self, doubtful: Sequence[str], finalized_slot: int) -> list[str]:
        """Takes back those of which no endpoint says that they succeeded: one that lags or lies
        decides nothing."""
        told = await self._client.statuses_anywhere(doubtful, finalized_slot)
        gone = [
            name
            for name, statuses in zip(doubtful, told, strict=True)
            if all(status.err is not None for status in statuses)
        ]
        INDEX_WITHDRAWN.inc(len(gone))
        await self._do(partial(self._index.settle, (), gone))
        return gone

    async def _fact(self, name: str) -> str:
        return await self._do(partial(self._index.fact, name))

    async def _do(self, work: Callable[[], T]) -> T:
        async with self._turn:
            return await trio.to_thread.run_sync(work)


async def read_transactions(
    client: ChainClient, listed: Sequence[Listed], finalized_slot: int
) -> list[Indexed]:
    """Transactions with their events; those that failed, or that a fork took back meanwhile, are
    left out. What is final is looked for at every endpoint before.

    Raises Unavailable, RpcError.
    """
    records = await client.transactions([one.signature for one in listed])
    missing = [
        one.signature
        for one, record in zip(listed, records, strict=True)
        if one.final and not _has_log(record)
    ]
    found = await _found_anywhere(client, missing, finalized_slot) if missing else {}
    read = []
    for one, told in zip(listed, records, strict=True):
        record = found.get(one.signature, told)
        if isinstance(record, TransactionRecord) and record.meta and record.meta.err is None:
            events = tuple(events_of(client.programs, record.meta.log_messages or ()))
            time_s = record.block_time or 0
            read.append(Indexed(one.signature, record.slot, time_s, one.final, events))
    return read


def _has_log(record: TransactionRecord | OtherVersion | None) -> bool:
    """Whether there is nothing more to be had: of another version, nothing is read anyway."""
    return isinstance(record, OtherVersion) or (record is not None and record.meta is not None)


async def _found_anywhere(
    client: ChainClient, missing: Sequence[str], finalized_slot: int
) -> dict[str, TransactionRecord]:
    """Final transactions that the endpoint that was asked does not give. Those that no endpoint
    knows are left out. Raises Unavailable where one is known, and not to be had."""
    told = await client.statuses_anywhere(missing, finalized_slot)
    known = [name for name, statuses in zip(missing, told, strict=True) if statuses]
    if nowhere := len(missing) - len(known):
        INDEX_MADE_UP.inc(nowhere)
        log.warning("transactions-nowhere", count=nowhere)
    found = {}
    for name in known:
        record = await client.transaction_anywhere(name)
        if record is None:
            raise Unavailable(f"no endpoint gives the transaction {name}, which is known")
        found[name] = record
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
    for read in await read_transactions(client, listed, 0):
        entries = [entry for entry in entries_of(read) if entry.account == str(account)]
        found += reversed(entries)
    return found[:limit]


def _mark(program: Pubkey) -> str:
    return f"until {program}"


def _held(program: Pubkey) -> str:
    return f"held {program}"


def _begins(page: Sequence[SignatureInfo], signature: str) -> bool:
    return bool(page) and page[0].signature == signature


def _walk(program: Pubkey) -> str:
    return f"walk {program}"
