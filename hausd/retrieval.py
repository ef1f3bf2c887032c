"""Where blocks come from that are not here: other nodes, IPFS peers and gateways, put together.

The live edge comes from nodes that have the room, and from nobody else. What lies behind it is
asked of all sources, as ``policy.sources`` decides: the soonest first, the next when that is
late, many blocks at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf

import structlog
import trio
from prometheus_client import Counter

from hausd.config import Config
from hausd.core.cid import CID, Codec
from hausd.core.clock import Clock
from hausd.core.following import (
    Ask,
    BlockSource,
    LeafMissing,
    Place,
    Priority,
    SourceFailed,
    SourceLied,
    Told,
)
from hausd.core.ids import RoomId
from hausd.core.live import FileRange
from hausd.core.peers import PeerId, Validator
from hausd.core.shapes import CheckShape
from hausd.core.unixfs import FileNode, UnixFsError, read_node
from hausd.http.ports import BlockReader
from hausd.ipfs.gateways import open_gateways
from hausd.policy.sources import MOST_AT_ONCE, Sources, Standing
from hausd.rooms.ports import Network, Topic

log = structlog.get_logger("hausd.retrieval")

EXCHANGE = "haus"
"""What the exchange among nodes that have a room is called beside the other sources."""
MAX_BLOCK_BYTES = 2 * 1024 * 1024
"""Largest block that is fetched for the local gateway, as IPFS implementations exchange them."""
_KEPT_BYTES = 64 * 1024 * 1024
"""Blocks that were fetched for the local gateway and are kept, in memory."""
_GATEWAY_AT_ONCE = 16
_AHEAD = 8
"""Blocks that are fetched ahead of a reader: 1 MiB of ours, 8 MiB of the largest."""
_MAX_PLACES = 8192
_GATEWAY_DEADLINE_S = 30.0
_TRY_AGAIN_S = 0.25

BLOCKS = Counter("hausd_sources_blocks", "Blocks fetched, by source", ["source"])
BLOCK_BYTES = Counter("hausd_sources_bytes", "Bytes of blocks fetched, by source", ["source"])
LIARS = Counter("hausd_sources_dropped", "Sources dropped for wrong bytes", ["source"])

_Fetch = Callable[[], Awaitable[bytes]]


@dataclass(slots=True, eq=False)
class _Race:
    """One block that several sources are asked for."""

    cid: CID
    max_bytes: int
    deadline_s: float
    under_way: int = 0
    block: bytes | None = None
    stirred: trio.Event = field(default_factory=trio.Event)

    def stir(self) -> None:
        stirred, self.stirred = self.stirred, trio.Event()
        stirred.set()


class Retrieval:
    """All sources, and what is known of them."""

    def __init__(self, sources: Sequence[BlockSource]) -> None:
        self._sources = {source.name: source for source in sources}
        self._policy = Sources([EXCHANGE, *self._sources])

    @property
    def names(self) -> Sequence[str]:
        """The sources beside the exchange."""
        return list(self._sources)

    def standings(self) -> list[Standing]:
        """What is known of every source."""
        return self._policy.standings(trio.current_time())

    def checks(self) -> list[CheckShape]:
        """How each source but the exchange did, in words."""
        return [_check(one) for one in self.standings() if one.name != EXCHANGE]

    async def fetch(
        self, cid: CID, max_bytes: int, *, deadline_s: float, exchange: _Fetch | None = None
    ) -> bytes:
        """A block from whoever gives it first. Raises LeafMissing."""
        asks: dict[str, _Fetch] = {
            name: partial(source.fetch, cid, max_bytes, deadline_s=deadline_s)
            for name, source in self._sources.items()
        }
        if exchange is not None:
            asks[EXCHANGE] = exchange
        race = _Race(cid, max_bytes, deadline_s)
        with trio.move_on_at(deadline_s):
            async with trio.open_nursery() as nursery:
                await self._run(race, asks, nursery)
                nursery.cancel_scope.cancel()
        if race.block is None:
            raise LeafMissing(cid)
        return race.block

    async def _run(self, race: _Race, asks: Mapping[str, _Fetch], nursery: trio.Nursery) -> None:
        """Until the block is here, or everybody was asked in vain."""
        left = set(asks)
        while race.block is None:
            now_s = trio.current_time()
            name = None
            if race.under_way < MOST_AT_ONCE:
                name = self._policy.pick(left, race.max_bytes, now_s)
            if name is not None:
                left.discard(name)
                race.under_way += 1
                self._policy.asked(name)
                nursery.start_soon(self._ask, race, name, asks[name])
                until_s = now_s + self._policy.patience_s(name, race.max_bytes)
            else:
                due_s = self._policy.due_s(left)
                if not race.under_way and (due_s is None or due_s >= race.deadline_s):
                    return
                # those left rest, or are asked for other blocks
                until_s = inf if due_s is None else max(due_s, now_s + _TRY_AGAIN_S)
            with trio.move_on_at(until_s):
                await race.stirred.wait()

    async def _ask(self, race: _Race, name: str, fetch: _Fetch) -> None:
        policy, begun_s = self._policy, trio.current_time()
        settled = False
        try:
            block = await fetch()
        except SourceLied:
            settled = True
            policy.lied(name, trio.current_time())
            LIARS.labels(name).inc()
            log.warning("source-dropped", source=name, block=str(race.cid), because="wrong bytes")
        except SourceFailed as fault:
            settled = True
            policy.failed(name, trio.current_time(), fault.rest_s)
        except LeafMissing:
            settled = True
            now_s = trio.current_time()
            policy.lacked(name, now_s - begun_s, now_s)
        else:
            settled = True
            now_s = trio.current_time()
            policy.came(name, len(block), now_s - begun_s, now_s)
            if race.block is None:
                race.block = block
                BLOCKS.labels(name).inc()
                BLOCK_BYTES.labels(name).inc(len(block))
        finally:
            if not settled:
                now_s = trio.current_time()
                policy.outrun(name, race.max_bytes, now_s - begun_s, now_s)
            race.under_way -= 1
            race.stir()


def _check(source: Standing) -> CheckShape:
    name = f"blocks from {source.name}"
    if source.lying:
        found = "dropped: it sent bytes that are not the block's"
        mend = "take it out of ipfs.gateways"
        return CheckShape(name=name, state="fail", found=found, mend=mend)
    if source.resting:
        found = "it failed, and is left alone for a while"
        mend = "hausctl logs --level debug tells why"
        return CheckShape(name=name, state="warn", found=found, mend=mend)
    if not source.blocks:
        return CheckShape(name=name, state="ok", found="it has given nothing yet")
    found = f"{source.blocks:,} blocks"
    if source.bytes_per_s:
        found += f", each at {source.bytes_per_s / 1e6:.1f} MB/s"
    return CheckShape(name=name, state="ok", found=found)


class RetrievingNetwork:
    """Implements ``rooms.ports.Network``: the exchange, and what lies behind the live edge from
    other sources as well."""

    def __init__(self, exchange: Network, retrieval: Retrieval) -> None:
        self._exchange = exchange
        self._retrieval = retrieval

    def join(self, room: RoomId, validator: Validator) -> AbstractAsyncContextManager[Topic]:
        return self._exchange.join(room, validator)

    async def ask(self, room: RoomId, ask: Ask) -> Told | None:
        return await self._exchange.ask(room, ask)

    def place(self, room: RoomId) -> Place:
        return self._exchange.place(room)

    async def fetch(
        self,
        room: RoomId,
        cid: CID,
        max_bytes: int,
        *,
        told_by: PeerId | None,
        deadline_s: float,
        priority: Priority,
    ) -> bytes:
        """See ``rooms.ports.Leaves``."""
        ask = partial(
            self._exchange.fetch,
            room,
            cid,
            max_bytes,
            told_by=told_by,
            deadline_s=deadline_s,
            priority=priority,
        )
        if priority is not Priority.ARCHIVE or not self._retrieval.names:
            return await ask()
        return await self._retrieval.fetch(cid, max_bytes, deadline_s=deadline_s, exchange=ask)


class FetchedBlocks:
    """The store, and what it lacks from the sources, for clients on this machine.

    Implements ``http.ports.BlockReader``. What was fetched is kept in memory only: the store is
    the rooms', and a page that somebody opens must not fill a disk. What follows a block in its
    file is fetched ahead, by tasks of the nursery given.
    """

    def __init__(self, store: BlockReader, retrieval: Retrieval, nursery: trio.Nursery) -> None:
        self._store = store
        self._retrieval = retrieval
        self._nursery = nursery
        self._kept: OrderedDict[CID, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._places: OrderedDict[CID, tuple[tuple[CID, ...], int]] = OrderedDict()
        """Where blocks stand in the files whose nodes were fetched last."""
        self._ahead: set[CID] = set()
        self._slots = trio.Semaphore(_GATEWAY_AT_ONCE)
        self._locks: dict[CID, trio.Lock] = {}

    def has(self, cid: CID) -> bool:
        return self._store.has(cid) or cid in self._kept

    def locate(self, cid: CID) -> FileRange | None:
        return self._store.locate(cid)

    async def block(self, cid: CID) -> bytes | None:
        """A verified block; None where nobody gave it."""
        held = await self._store.block(cid)
        if held is not None:
            return held
        self._read_ahead(cid)
        return await self._once(cid)

    async def _once(self, cid: CID) -> bytes | None:
        """Several who want one block fetch it once."""
        lock = self._locks.setdefault(cid, trio.Lock())
        try:
            async with lock:
                return await self._fetched(cid)
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(cid, None)

    async def _fetched(self, cid: CID) -> bytes | None:
        kept = self._kept.get(cid)
        if kept is not None:
            self._kept.move_to_end(cid)
            return kept
        async with self._slots:
            deadline_s = trio.current_time() + _GATEWAY_DEADLINE_S
            try:
                block = await self._retrieval.fetch(cid, MAX_BLOCK_BYTES, deadline_s=deadline_s)
            except LeafMissing:
                return None
        self._kept[cid] = block
        self._kept_bytes += len(block)
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        self._note_places(cid, block)
        return block

    def _note_places(self, cid: CID, block: bytes) -> None:
        if cid.codec is not Codec.DAG_PB:
            return
        try:
            node = read_node(cid, block)
        except UnixFsError:
            return  # whoever reads it says so
        if not isinstance(node, FileNode):
            return  # nobody reads all of a directory
        below = tuple(link.cid for link in node.links[:_MAX_PLACES])
        for index, child in enumerate(below):
            self._places[child] = (below, index)
            self._places.move_to_end(child)
        while len(self._places) > _MAX_PLACES:
            self._places.popitem(last=False)

    def _read_ahead(self, cid: CID) -> None:
        below, index = self._places.get(cid, ((), 0))
        for after in below[index + 1 : index + 1 + _AHEAD]:
            if len(self._ahead) >= _AHEAD:
                return
            if after not in self._ahead and not self.has(after):
                self._ahead.add(after)
                self._nursery.start_soon(self._fetch_ahead, after)

    async def _fetch_ahead(self, cid: CID) -> None:
        try:
            await self._once(cid)
        finally:
            self._ahead.discard(cid)


@asynccontextmanager
async def open_retrieval(
    config: Config, store: BlockReader, clock: Clock, peers: Sequence[BlockSource] = ()
) -> AsyncIterator[tuple[Retrieval, FetchedBlocks]]:
    """The configured gateways beside these sources, until the context is left; and the store's
    blocks with what they have."""
    async with (
        open_gateways(config.ipfs.gateways, clock) as gateways,
        trio.open_nursery() as nursery,
    ):
        retrieval = Retrieval([*peers, *gateways])
        yield retrieval, FetchedBlocks(store, retrieval, nursery)
        nursery.cancel_scope.cancel()
