"""What this node can give of a room, block by block: from memory, from the store, or soon.

A relay is asked for a leaf while it is still on its way here. Who may wait for it (a request along
a first-receipt edge) gets it the moment it arrives; anyone else is told at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import trio

from hausd.core.cid import CID
from hausd.rooms.ports import BlockStore

MAX_BYTES = 8 * 1024 * 1024
"""Leaves kept in memory, the newest: some 10 s at 6 Mbit/s. Older ones come from disk."""
_MAX_EXPECTED = 8192
"""Announced leaves that are not here yet; beyond it the oldest is not waited for."""


class LeafTable:
    """The newest leaves of one room, and those that are on their way."""

    def __init__(self, store: BlockStore, max_bytes: int = MAX_BYTES) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._held: OrderedDict[CID, bytes | memoryview] = OrderedDict()
        self._bytes = 0
        self._expected: OrderedDict[CID, trio.Event] = OrderedDict()
        self._aside: dict[CID, bytes] = {}

    def expect(self, cids: Iterable[CID]) -> None:
        """These were announced and will be fetched; who asks may wait for them."""
        for cid in cids:
            if cid not in self._held and cid not in self._expected:
                self._expected[cid] = trio.Event()
        while len(self._expected) > _MAX_EXPECTED:
            self._expected.popitem(last=False)[1].set()

    def add(self, leaves: Iterable[tuple[CID, bytes | memoryview]]) -> None:
        """Leaves that are here now, each the block that its CID names."""
        for cid, leaf in leaves:
            before = self._held.pop(cid, None)
            self._bytes += len(leaf) - (len(before) if before is not None else 0)
            self._held[cid] = leaf
            self.give_up((cid,))
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._held.popitem(last=False)[1])

    def give_up(self, cids: Iterable[CID]) -> None:
        """These do not come any more; who waits for them is told."""
        for cid in cids:
            event = self._expected.pop(cid, None)
            if event is not None:
                event.set()

    def set_aside(self, blocks: dict[CID, bytes]) -> None:
        """A few blocks that are given to who asks, in place of those of before."""
        self._aside = blocks

    @property
    def aside(self) -> tuple[tuple[CID, bytes], ...]:
        """What was set aside."""
        return tuple(self._aside.items())

    def peek(self, cid: CID) -> bytes | memoryview | None:
        """A leaf that is in memory."""
        return self._held.get(cid) or self._aside.get(cid)

    async def get(self, cid: CID, *, may_wait: bool) -> bytes | memoryview | None:
        """A block's bytes; None where it is not here, and with ``may_wait``: nor on its way.

        The caller owns the deadline.
        """
        found = self.peek(cid)
        if found is not None:
            return found
        event = self._expected.get(cid)
        if event is not None and not self._store.has(cid):
            if not may_wait:
                return None
            await event.wait()
            found = self._held.get(cid)
            if found is not None:
                return found
        return await self._store.block(cid)
