"""A follower's poster and storyboard: what the newest head links to, fetched and shown.

They are worth little: fetched behind everything else, and what nobody has is tried again with
the next head.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.following import LeafMissing
from hausd.core.live import RoomState
from hausd.core.peers import PeerId
from hausd.core.pictures import (
    MAX_NODE_BYTES,
    Picture,
    Pictures,
    PicturesError,
    Sheet,
    decode_pictures,
    decode_sheets,
)
from hausd.rooms.fetching import Fetcher
from hausd.rooms.images import Images
from hausd.wire.statements import Head

log = structlog.get_logger("hausd.rooms")


class Picturing:
    """``run`` owns the fetching. ``hold`` gets the blocks that others may ask this node for."""

    def __init__(
        self, fetcher: Fetcher, images: Images, hold: Callable[[dict[CID, bytes]], None]
    ) -> None:
        self._fetcher = fetcher
        self._images = images
        self._hold = hold
        self._wanted: tuple[CID, PeerId | None, bool] | None = None
        self._shown: CID | None = None
        self._kept: CID | None = None
        self._came = trio.Event()

    def head(self, head: Head, told_by: PeerId | None) -> None:
        """A newer verified head."""
        over = head.state in (RoomState.ENDED, RoomState.CLOSED)
        known = self._kept if over else self._shown
        if head.pictures is not None and head.pictures != known:
            self._wanted = head.pictures, told_by, over
            self._came.set()

    def over(self) -> None:
        """The room is over, though its origin did not say so: what is shown is kept."""
        if self._wanted is not None and self._kept != self._wanted[0]:
            root, told_by, _ = self._wanted
            self._wanted = root, told_by, True
            self._came.set()

    async def run(self) -> None:
        """Fetches what heads link to, until cancelled."""
        while True:
            await self._came.wait()
            self._came = trio.Event()
            if self._wanted is None:
                continue
            root, told_by, over = self._wanted
            try:
                blocks = await self._show(root, told_by)
                if over:  # there will be no other ones soon
                    self._fetcher.recorder.put(tuple(blocks.items()))
                    self._kept = root
            except (LeafMissing, PicturesError) as fault:
                log.info("pictures-not-fetched", room=self._fetcher.room, because=str(fault))

    async def _show(self, root: CID, told_by: PeerId | None) -> dict[CID, bytes]:
        """Gives the blocks that are in no other place."""
        block = await self._fetcher.passing(root, told_by)
        found = decode_pictures(block)
        if found.room != self._fetcher.room:
            raise PicturesError("they are another room's")
        blocks = {root: block}
        if found.poster is not None:
            jpeg = await self._picture(found.poster, told_by)
            blocks[found.poster.cid] = jpeg
            self._images.show(jpeg, found.poster.seal)
        self._hold(blocks)
        sheets = await self._sheets(found, told_by)
        # the newest first: they are what is looked at
        for sheet in reversed(sheets):
            await self._fetcher.sprite(sheet.picture.cid, sheet.picture.size, told_by)
        self._images.take(sheets)
        self._shown = root
        return blocks

    async def _picture(self, picture: Picture, told_by: PeerId | None) -> bytes:
        poster = self._images.poster
        if poster is not None and poster.cid == picture.cid and isinstance(poster.body, tuple):
            return b"".join(poster.body)
        return await self._fetcher.passing(picture.cid, told_by)

    async def _sheets(self, found: Pictures, told_by: PeerId | None) -> list[Sheet]:
        sheets: list[Sheet] = []
        for older in found.older:
            sheets += decode_sheets(await self._fetcher.node(older, told_by, MAX_NODE_BYTES))
        return [*sheets, *found.sheets]
