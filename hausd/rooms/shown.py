"""A room as HTTP sees it: with the addresses of the node."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from hausd.core.cid import CID
from hausd.core.gating import SegmentSeal, Withheld
from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.core.shapes import RoomShape
from hausd.rooms.room import Room
from hausd.rooms.shape import Urls, room_shape
from hausd.wire.leafseal import rendition_use


class ShownRoom:
    """A room with the node's addresses. Implements ``http.ports.RoomView``."""

    def __init__(self, room: Room, urls: Urls) -> None:
        self._room = room
        self._urls = urls
        # HTTP asks these on every request: bound once, no wrapping
        self.variants = room.variants
        self.live = room.live
        self.archive_opened = room.archive_opened
        self.archive_variants = room.archive_variants
        self.archive = room.archive
        self.archive_media = room.archive_media
        self.poster = room.poster
        self.storyboard = room.storyboard
        self.sprite = room.sprite
        self.changed = room.changed
        self.withheld = room.withheld
        self.free = room.free
        self.free_now = room.free_now

    @property
    def id(self) -> RoomId:
        return self._room.id

    @property
    def title(self) -> str:
        return self._room.title

    @property
    def state(self) -> RoomState:
        return self._room.state

    @property
    def recording(self) -> CID | None:
        event = self._room.event
        # what lies in a gated room's directory is no media to who has no ticket
        return event.recording if event is not None and not event.gated else None

    @property
    def gated(self) -> bool:
        return self._room.gated

    def free_recorded(self) -> frozenset[str]:
        return frozenset(
            name
            for name, seal in self._recorded_ends()
            if self.free.opens(seal.epoch.id, rendition_use(name))
        )

    async def archive_withheld(self) -> Withheld | None:
        for name, ends in groupby(self._recorded_ends(), itemgetter(0)):
            said = [await self._room.opener.withheld(name, seal.epoch) for _, seal in ends]
            if None not in said:
                return said[0]
        return None

    def _recorded_ends(self) -> Iterator[tuple[str, SegmentSeal]]:
        """How the first and the last of each rendition's recording are sealed."""
        for variant in self.archive_variants():
            playlist = self.archive(variant.rendition.name)
            segments = playlist.segments if playlist is not None else ()
            for one in (*segments[:1], *segments[-1:]):
                if one.seal is not None:
                    yield variant.rendition.name, one.seal

    def shape(self) -> RoomShape:
        return room_shape(self._room, self._urls, private=False)
