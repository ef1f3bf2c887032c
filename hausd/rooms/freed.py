"""A follower's list of free keys: what the newest head or manifest links to, fetched and kept."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.dagcbor import MAX_BLOCK_BYTES
from hausd.core.following import LeafMissing
from hausd.core.freeing import Freed, FreeingError, decode_freed
from hausd.core.peers import PeerId
from hausd.rooms.fetching import Fetcher
from hausd.wire.statements import Head

log = structlog.get_logger("hausd.rooms")

_AGAIN_S, _AGAIN_MAX_S = 5.0, 160.0


class FreedKeys:
    """``run`` owns the fetching. ``take`` gets what a head links to, once it is in the store."""

    def __init__(self, fetcher: Fetcher, take: Callable[[CID, Freed], None]) -> None:
        self._fetcher = fetcher
        self._take = take
        self._has: CID | None = None
        self._wanted: tuple[CID, PeerId | None] | None = None
        self._came = trio.Event()

    def head(self, head: Head, told_by: PeerId | None) -> None:
        """A newer verified head."""
        if head.free is not None:
            self.link(head.free, told_by)

    def link(self, root: CID, told_by: PeerId | None) -> None:
        """What a verified head links to; or a manifest that the chain alone names."""
        if root != self._has:
            self._wanted = root, told_by
            self._came.set()

    async def run(self) -> None:
        """Fetches what heads link to, until cancelled. What nobody has is tried again: without it
        nobody opens what is free of a recording that is over."""
        wait_s = _AGAIN_S
        while True:
            wanted = self._wanted
            if wanted is None:
                await self._came.wait()
            else:
                try:
                    await self._fetch(*wanted)
                except (LeafMissing, FreeingError) as fault:
                    room = self._fetcher.room
                    log.info("free-keys-not-fetched", room=room, because=str(fault))
                    with trio.move_on_after(wait_s):
                        await self._came.wait()
                    wait_s = min(_AGAIN_MAX_S, 2 * wait_s)
                else:
                    wait_s = _AGAIN_S
                    self._wanted = None if self._wanted == wanted else self._wanted
            if self._came.is_set():
                self._came, wait_s = trio.Event(), _AGAIN_S

    async def _fetch(self, root: CID, told_by: PeerId | None) -> None:
        freed = decode_freed(await self._fetcher.node(root, told_by, MAX_BLOCK_BYTES))
        if freed.room != self._fetcher.room:
            raise FreeingError("they are another room's")
        self._has = root
        self._take(root, freed)
