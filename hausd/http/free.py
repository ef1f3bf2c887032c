"""A gated room as everybody gets it: its playlists, which are in clear, and the media that is free.

Nothing else of it leaves the node without a ticket, whatever keys the node itself has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from hausd.core.cid import CID
from hausd.core.gating import Withheld
from hausd.core.ids import RoomId
from hausd.core.live import LivePlaylist, Media, RoomState, Sealed, Variant
from hausd.core.shapes import RoomShape
from hausd.http.ports import Freedom, LiveView, RoomView

_MAX_ROOMS = 256


def over(view: RoomView) -> Withheld:
    """What somebody hears who asks for more than is free."""
    names = view.free_now()
    if names:
        said = f"Only the preview ({', '.join(sorted(names))}) is free."
    else:
        said = "The free preview is over."
    return Withheld("no-ticket", said, "The rest is for who has a ticket: buy one, and sign in.")


class FreeLive:
    """Implements ``ports.LiveView``."""

    def __init__(self, room: RoomView, view: LiveView) -> None:
        self._room = room
        self.view = view
        self.changed = view.changed

    def playlist(self) -> LivePlaylist:
        return self.view.playlist()

    def part(self, session: int, msn: int, part: int) -> Media | None:
        return only_free(self._room, self.view.part(session, msn, part))

    def segment(self, session: int, msn: int) -> Media | None:
        return only_free(self._room, self.view.segment(session, msn))

    def init(self, session: int, run: int) -> Media | None:
        return only_free(self._room, self.view.init(session, run))


class FreeRoom:
    """Implements ``ports.RoomView``: it lists the renditions of which something is free."""

    def __init__(self, room: RoomView) -> None:
        self.room = room
        self._lives: dict[str, FreeLive] = {}
        self.archive_opened = room.archive_opened
        self.archive = room.archive
        self.storyboard = room.storyboard
        self.changed = room.changed
        self.free_now = room.free_now
        self.free_recorded = room.free_recorded
        self.archive_withheld = room.archive_withheld

    @property
    def id(self) -> RoomId:
        return self.room.id

    @property
    def title(self) -> str:
        return self.room.title

    @property
    def state(self) -> RoomState:
        return self.room.state

    @property
    def recording(self) -> CID | None:
        return None

    @property
    def gated(self) -> bool:
        return True

    @property
    def free(self) -> Freedom:
        return self.room.free

    def withheld(self) -> Withheld | None:
        """Why nothing live is to be had; None where something is."""
        return over(self.room) if self.room.variants() and not self.free_now() else None

    def shape(self) -> RoomShape:
        found, names = self.room.shape(), self.free_now()
        shown = [one for one in found.renditions if one.name in names]
        return found.model_copy(update={"renditions": shown})

    def variants(self) -> Sequence[Variant]:
        names = self.free_now()
        return [one for one in self.room.variants() if one.rendition.name in names]

    def live(self, rendition: str) -> LiveView | None:
        view = self.room.live(rendition)
        if view is None or rendition not in self.free_now():
            return None
        kept = self._lives.get(rendition)
        if kept is None or kept.view is not view:
            kept = self._lives[rendition] = FreeLive(self.room, view)
        return kept

    def archive_variants(self) -> Sequence[Variant]:
        found, names = self.room.archive_variants(), self.free_recorded()
        return [one for one in found if one.rendition.name in names] or found

    def archive_media(self, rendition: str, cid: CID) -> Media | None:
        return only_free(self.room, self.room.archive_media(rendition, cid))

    def poster(self) -> Media | None:
        return only_free(self.room, self.room.poster())

    def sprite(self, name: str) -> Media | None:
        return only_free(self.room, self.room.sprite(name))


class FreeRooms:
    """The same object for a room as long as it is the same, for at most _MAX_ROOMS of them."""

    def __init__(self) -> None:
        self._rooms: OrderedDict[RoomId, FreeRoom] = OrderedDict()

    def of(self, room: RoomView) -> FreeRoom:
        """A room as everybody gets it."""
        found = self._rooms.get(room.id)
        if found is None or found.room is not room:
            found = self._rooms[room.id] = FreeRoom(room)
        self._rooms.move_to_end(room.id)
        if len(self._rooms) > _MAX_ROOMS:
            self._rooms.popitem(last=False)
        return found


def only_free(room: RoomView, media: Media | None) -> Media | None:
    """What is free as it is; of all else only that it takes a ticket."""
    if media is None or media.free():
        return media
    why = over(room)

    async def refused() -> Withheld:
        return why

    return replace(media, body=Sealed(refused))
