"""Fetches what ticks announce: leaves of many parts at once, each part whole or not at all."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import trio

from hausd.core.cid import CID
from hausd.core.following import LeafMissing, Priority
from hausd.core.ids import RoomId
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import PeerId
from hausd.rooms.leaftable import LeafTable
from hausd.rooms.packing import Leaf
from hausd.rooms.ports import BlockStore, Leaves

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Announced and not yet taken. What is announced beyond it is not fetched: no honest room has so
much in the air within a part's deadline."""
_AT_ONCE = 64
"""Leaves of one room that are asked for at a time."""
_AGAIN_S = 0.25
"""A leaf that nobody had may be there a little later."""

Key = tuple[CID, ...]


@dataclass(slots=True)
class Pull:
    """One part on its way. ``data`` is there once ``done`` is set, or never came."""

    leaves: tuple[CID, ...]
    size: int
    deadline_s: float
    done: trio.Event = field(default_factory=trio.Event)
    data: bytes | None = None
    _got: dict[int, bytes] = field(default_factory=dict)

    def cut(self) -> tuple[Leaf, ...]:
        """The part's leaves with their CIDs, once it is there."""
        view = memoryview(self.data or b"")
        return tuple(
            (cid, view[at * LEAF_BYTES : (at + 1) * LEAF_BYTES])
            for at, cid in enumerate(self.leaves)
        )

    async def wait(self) -> bytes | None:
        """The part's bytes; None where they did not come before the deadline."""
        await self.done.wait()
        return self.data

    def arrived(self, index: int, leaf: bytes) -> None:
        self._got[index] = leaf
        if len(self._got) == len(self.leaves) and not self.done.is_set():
            self.data = b"".join(self._got[at] for at in range(len(self.leaves)))
            self._got.clear()
            self.done.set()

    def failed(self) -> None:
        self._got.clear()
        self.done.set()


class Puller:
    """A followed room's live fetching. Its tasks live in the nursery it is given."""

    def __init__(self, room: RoomId, leaves: Leaves, table: LeafTable, store: BlockStore) -> None:
        self._room = room
        self._leaves = leaves
        self._table = table
        self._store = store
        self._pending: OrderedDict[Key, Pull] = OrderedDict()
        self._bytes = 0
        self._slots = trio.Semaphore(_AT_ONCE)
        self._nursery: trio.Nursery | None = None

    def begin(self, nursery: trio.Nursery) -> None:
        """From here on what is wanted is fetched, by tasks of this nursery."""
        self._nursery = nursery

    def want(
        self,
        leaves: tuple[CID, ...],
        size: int,
        told_by: PeerId | None,
        deadline_s: float,
        priority: Priority = Priority.LIVE,
    ) -> Pull:
        """Begins to fetch a part, unless that goes on already; at once failed past the bound."""
        known = self._pending.get(leaves)
        if known is not None:
            return known
        pull = Pull(leaves, size, deadline_s)
        if self._nursery is None or self._bytes + size > MAX_PENDING_BYTES:
            self._table.give_up(leaves)
            pull.failed()
            return pull
        self._pending[leaves] = pull
        self._bytes += size
        self._table.expect(leaves)
        for index, cid in enumerate(leaves):
            max_bytes = min(LEAF_BYTES, size - index * LEAF_BYTES)
            self._nursery.start_soon(self._fetch, pull, index, cid, max_bytes, told_by, priority)
        return pull

    def taken(self, pull: Pull) -> None:
        """The part's place in the playlist is settled; its memory is the playlist's now."""
        if self._pending.pop(pull.leaves, None) is not None:
            self._bytes -= pull.size

    def drop_all(self) -> None:
        """What is on its way is wanted no more."""
        for pull in list(self._pending.values()):
            self._table.give_up(pull.leaves)
            pull.failed()
            self.taken(pull)

    async def _fetch(
        self,
        pull: Pull,
        index: int,
        cid: CID,
        max_bytes: int,
        told_by: PeerId | None,
        priority: Priority,
    ) -> None:
        leaf: bytes | None = None
        with trio.move_on_at(pull.deadline_s):
            async with self._slots:
                if pull.done.is_set():
                    return
                leaf = await self._get(pull, cid, max_bytes, told_by, priority)
        if leaf is None or len(leaf) != max_bytes:
            self._table.give_up((cid,))
            pull.failed()
            return
        self._table.add(((cid, leaf),))
        pull.arrived(index, leaf)
        if pull.data is not None:
            self._table.add(pull.cut())  # one copy in memory, not two

    async def _get(
        self, pull: Pull, cid: CID, max_bytes: int, told_by: PeerId | None, priority: Priority
    ) -> bytes:
        """A leaf from wherever it is; tries again until it is cancelled."""
        held = self._table.peek(cid)
        if held is None and self._store.has(cid):  # after a restart
            held = await self._store.block(cid)
        if held is not None:
            return bytes(held)
        while True:
            try:
                return await self._leaves.fetch(
                    self._room,
                    cid,
                    max_bytes,
                    told_by=told_by,
                    deadline_s=pull.deadline_s,
                    priority=priority,
                )
            except LeafMissing:
                await trio.sleep(_AGAIN_S)
