"""Answers about rooms that this node is not in: whoever may, has it join by asking for a playlist.

A daemon on loopback is within reach of every page its user opens, so joining takes a request of
the node's own page on this machine (which browsers vouch for), or the token in the room's watch
URL, from wherever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, quote

import trio

from hausd.core.ids import RoomId, parse_room_id
from hausd.http.messages import Answer, Request, Response, Wait, refusal
from hausd.http.ports import Catalog, OnDemand
from hausd.http.sharing import OURS_ONLY, may_fetch, own_page, sharing_of

JOIN_WAIT_S = 8.0
"""hls.js (1.7) gives up a playlist that is not there after 10 s."""
LOOK_AGAIN_S = 0.25
_RETRY = (b"retry-after", b"2")
_STRANGERS = ("cross-site", "same-site")


class Elsewhere:
    """``on_demand`` is None where no room can be joined so."""

    def __init__(self, catalog: Catalog, on_demand: OnDemand | None) -> None:
        self._catalog = catalog
        self._on_demand = on_demand

    def respond(self, request: Request, names: list[str]) -> Answer:
        """A GET below ``/live/<room>/`` or ``/archive/<room>/``, by the words of its path."""
        on_demand = self._on_demand
        try:
            room = parse_room_id(names[2] if len(names) > 2 else "")
        except ValueError:
            return _unknown()
        if on_demand is None or not _is_playlist(names[3:]) or not self._may(request, room):
            # Said to everyone alike: that a room is not here is no secret, and nothing begins.
            return _unknown()
        headers = sharing_of(room).errors()
        if on_demand.missed(room):
            return refusal(
                404,
                "nobody-has-it",
                "No node that this one is connected with has this room.",
                "Is its address right, and is a node connected that has it? "
                "hausctl peers list shows who is, hausctl peers connect ADDRESS adds one.",
                headers,
            )
        if on_demand.full(room):
            return refusal(
                503,
                "too-many-rooms",
                "This node watches as many rooms of other nodes as it can.",
                "Close some, and try again in two minutes; hausctl rooms list shows them.",
                (*headers, _RETRY),
            )
        later = refusal(
            503,
            "still-looking",
            "The room is being looked for.",
            "Try again in a moment.",
            (*headers, _RETRY),
        )
        return Wait(self._joined(on_demand, room, names[1]), JOIN_WAIT_S, later)

    def asks_first(self, request: Request) -> Response | None:
        """The page of a room, opened by another site: it must not begin to join by itself."""
        told = _told(request)
        room = told.get("room", "")
        if (
            self._on_demand is None
            or not room
            or request.headers.get("sec-fetch-site") not in _STRANGERS
            or "ask" in told
            or self._catalog.room(RoomId(room)) is not None
            or self._on_demand.admits(RoomId(room), told.get("token", ""))
        ):
            return None
        place = f"/?room={quote(room, safe='')}&ask=1".encode()
        return Response(303, ((b"location", place), (b"cache-control", b"no-store")))

    def _may(self, request: Request, room: RoomId) -> bool:
        assert self._on_demand is not None
        # strangers who look at a public node's page are not its people
        ours = own_page(request) and may_fetch(request)
        return ours or self._on_demand.admits(room, _told(request).get("token", ""))

    def _joined(
        self, on_demand: OnDemand, room: RoomId, view: str
    ) -> Callable[[], Awaitable[None]]:
        async def joined() -> None:
            await on_demand.join(room)
            found = self._catalog.room(room)
            while view == "archive" and found is not None and not found.archive_variants():
                found.archive_opened()
                await trio.sleep(LOOK_AGAIN_S)  # its first segment is on its way
                found = self._catalog.room(room)

        return joined


def _is_playlist(names: list[str]) -> bool:
    return 1 <= len(names) <= 2 and names[-1] == "index.m3u8"


def _told(request: Request) -> dict[str, str]:
    """What a query says; the first of what is said twice."""
    found = parse_qs(request.query, keep_blank_values=True)  # a head is bounded, and so is this
    return {name: values[0] for name, values in found.items()}


def _unknown() -> Response:
    return refusal(
        404,
        "unknown-room",
        "This node has no such room.",
        "hausctl rooms list, or the page at /, shows those it has; hausctl rooms watch ROOM gives "
        "the URL at which it joins another node's.",
        OURS_ONLY.errors(),
    )
