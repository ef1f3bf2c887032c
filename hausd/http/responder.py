"""What a request gets: the one answer behind both lanes. No socket, no clock.

Answers rooms (live and recorded), the IPFS gateway and the pages; everything else is the ASGI
app's.
"""

from __future__ import annotations

import trio

from hausd.core.ids import RoomId
from hausd.http.elsewhere import JOIN_WAIT_S, LOOK_AGAIN_S, Elsewhere
from hausd.http.free import FreeRoom, FreeRooms, over
from hausd.http.gateway import Gateway
from hausd.http.live import LiveAnswers, locked
from hausd.http.messages import NOT_MINE, Answer, Fetch, Request, Response, Wait, refusal
from hausd.http.pages import Pages
from hausd.http.playback import Doorkeeper, foreign, token_in
from hausd.http.ports import BlockReader, Catalog, OnDemand, Playback, RoomView
from hausd.http.recorded import ArchiveAnswers
from hausd.http.sharing import OPEN, OURS_ONLY, Sharing, keeps_out, may_fetch, sharing_of

_READING = ("GET", "HEAD")


class RoomResponder:
    """Implements ``messages.Responder``.

    ``public_gateway``: any web page may read ``/ipfs`` (CORS ``*``), as on a public gateway;
    otherwise only this node's own pages, and whoever is no web page. ``fetched``: the same blocks,
    and from elsewhere those that are not here, for clients on this machine. ``on_demand`` joins
    rooms that are not here, ``playback`` says who may watch gated ones from elsewhere; each None
    where that can't be.
    """

    def __init__(
        self,
        catalog: Catalog,
        blocks: BlockReader,
        *,
        public_gateway: bool = False,
        fetched: BlockReader | None = None,
        on_demand: OnDemand | None = None,
        playback: Playback | None = None,
    ) -> None:
        self._catalog = catalog
        self._live = LiveAnswers()
        self._free_live = LiveAnswers()
        self._free = FreeRooms()
        self._archive = ArchiveAnswers()
        self._gateway = Gateway(blocks, public=public_gateway)
        self._near_gateway = Gateway(fetched or blocks, public=public_gateway)
        self._pages = Pages()
        self._elsewhere = Elsewhere(catalog, on_demand)
        self._doorkeeper = Doorkeeper(playback)

    def respond(self, request: Request) -> Answer:
        """Raises nothing that a request can bring about."""
        names = request.path.split("/")
        match names[1]:
            case "live" | "archive":
                return self._room(request, names)
            case "ipfs":
                gateway = self._near_gateway if may_fetch(request) else self._gateway
                return self._method(request, gateway.sharing) or gateway.respond(request)
            case "" | "static" if len(names) <= 3:
                page = self._pages.find(request)
                if page is None:
                    return NOT_MINE
                return (
                    self._method(request, OURS_ONLY)
                    or (self._elsewhere.asks_first(request) if request.path == "/" else None)
                    or page
                )
        return NOT_MINE

    def _room(self, request: Request, names: list[str]) -> Answer:
        room_id = RoomId(names[2]) if len(names) > 2 else RoomId("")
        room = self._catalog.room(room_id)
        if room is None:
            return self._method(request, OURS_ONLY) or self._elsewhere.respond(request, names)
        sharing = sharing_of(room_id, gated=room.gated)
        if room.gated:
            token, names = token_in(names)
            if room.free.all and names[1] == "archive":
                sharing, room = OPEN, self._free.of(room)
        refused: Answer | None = self._method(request, sharing)
        if refused is None:
            if not isinstance(room, FreeRoom) and room.gated:
                view = self._gated(request, room, token, names[1])
                room, refused = (view, None) if not isinstance(view, Answer) else (room, view)
            else:
                refused = keeps_out(sharing, request)
        if refused is not None:
            return refused
        if names[1] == "live":
            withheld = room.withheld()
            if withheld is not None:
                return locked(withheld, sharing)
            return self._live_answer(request, room, names[3:], sharing)
        return self._archive_answer(request, room, names[3:], sharing)

    def _gated(self, request: Request, room: RoomView, token: str, view: str) -> RoomView | Answer:
        """A gated room as far as who asks may have it, or why nothing of it."""
        preview = over(room).message if room.free else ""
        refused = self._doorkeeper.keeps_out(request, room.id, token, view, preview)
        if refused is None:
            lacks_key = view == "live" and room.withheld() is not None
            return self._free.of(room) if lacks_key and room.free_now() else room
        if foreign(request) or isinstance(refused, Wait) or not room.free:
            return refused
        free = self._free.of(room)
        return refused if view == "live" and free.withheld() is not None else free

    def _live_answer(
        self, request: Request, room: RoomView, names: list[str], sharing: Sharing
    ) -> Answer:
        live = self._free_live if isinstance(room, FreeRoom) else self._live
        match names:
            case ["index.m3u8"]:
                return live.multivariant(room, sharing)
            case [rendition, name]:
                view = room.live(rendition)
                if view is None:
                    if isinstance(room, FreeRoom) and room.room.live(rendition) is not None:
                        return locked(over(room), sharing)
                    return _no_rendition(room, sharing)
                if name == "index.m3u8":
                    return live.playlist(room, view, request, sharing)
                return live.media(room, view, name, sharing)
        return _no_path(room, "live", sharing)

    def _archive_answer(
        self, request: Request, room: RoomView, names: list[str], sharing: Sharing
    ) -> Answer:
        match names:
            case ["index.m3u8"]:
                if room.free and not isinstance(room, FreeRoom) and room.archive_variants():
                    return Fetch(lambda: self._openable(room, sharing))
                answer = self._archive.multivariant(room, sharing)
                return self._when_begun(request, room, answer, sharing)
            case ["poster.jpg"]:
                return self._archive.poster(room, sharing)
            case ["storyboard.vtt"]:
                return self._archive.storyboard(room, sharing)
            case [name] if name.endswith(".jpg"):
                return self._archive.sprite(room, name, sharing)
            case [rendition, "index.m3u8"]:
                playlist = room.archive(rendition)
                if playlist is None:
                    answer = _no_rendition(room, sharing)
                    return self._when_begun(request, room, answer, sharing)
                room.archive_opened()
                return self._archive.playlist(room, playlist, request.query, sharing)
            case [rendition, name]:
                return self._archive.media(room, rendition, name, sharing)
        return _no_path(room, "archive", sharing)

    async def _openable(self, room: RoomView, sharing: Sharing) -> Response:
        """A recording of which some is free, listed as far as this node can open it."""
        withheld = await room.archive_withheld()
        shown = room if withheld is None else self._free.of(room)
        return self._archive.multivariant(shown, sharing)

    @staticmethod
    def _when_begun(request: Request, room: RoomView, answer: Response, sharing: Sharing) -> Answer:
        """The first who asks for a recording that is elsewhere waits for its beginning."""
        if not room.archive_opened() or answer.status == 200:
            return answer

        async def begun() -> None:
            while room.archive_opened():
                await trio.sleep(LOOK_AGAIN_S)

        return Wait(begun, JOIN_WAIT_S, _sought(request, room, sharing))

    @staticmethod
    def _method(request: Request, sharing: Sharing) -> Response | None:
        """The answer to anything but GET and HEAD; None for these."""
        if request.method in _READING:
            return None
        if request.method == "OPTIONS":
            return sharing.preflight()
        return refusal(
            405,
            "method-not-allowed",
            "This can only be read.",
            "Use GET or HEAD.",
            (*sharing.errors(), (b"allow", b"GET, HEAD, OPTIONS")),
        )


def _sought(request: Request, room: RoomView, sharing: Sharing) -> Response:
    """The recording is known of and can't be read. Its directory may be had where it can't."""
    directory = room.recording
    if directory is not None and may_fetch(request):
        place = f"/ipfs/{directory}/index.m3u8".encode()
        return Response(307, ((b"location", place), (b"cache-control", b"no-store")))
    return refusal(
        503,
        "recording-sought",
        "The recording is looked for: nobody was found yet who has its beginning.",
        f"Looking goes on; hausctl rooms show {room.id} says how far it is.",
        (*sharing.errors(), (b"retry-after", b"5")),
    )


def _no_rendition(room: RoomView, sharing: Sharing) -> Response:
    return refusal(
        404,
        "unknown-rendition",
        "The room has no such rendition now.",
        f"/live/{room.id}/index.m3u8 lists those it has.",
        sharing.errors(),
    )


def _no_path(room: RoomView, view: str, sharing: Sharing) -> Response:
    return refusal(
        404,
        "not-found",
        "There is nothing under this path.",
        f"A room's playlist is /{view}/{room.id}/index.m3u8.",
        sharing.errors(),
    )
