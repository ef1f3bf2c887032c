"""The admin API: what an operator may see and do, as a FastAPI app.

A list is a bare array, an error is ErrorShape. Work that may take long answers with JSON lines:
any number of ``{"progress": …}``, then one ``{"result": …}`` or ``{"error": …}``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hausd.admin.chain import chain_routes
from hausd.admin.keys import key_routes
from hausd.admin.ports import ExportFormat, NodeControl
from hausd.admin.streams import LogLines, Work, error_shape, failed
from hausd.core.errors import Problem
from hausd.core.ids import RoomId, parse_room_id
from hausd.core.shapes import (
    CardShape,
    CheckShape,
    DiskShape,
    ErrorBody,
    ErrorShape,
    OptionShape,
    PeerShape,
    PinShape,
    ReloadShape,
    RemotePinShape,
    RoomShape,
    Shape,
    StatusShape,
    WatchShape,
)
from hausd.telemetry import Level, LogRing, Progress, count_swallowed

_MAX_TITLE_CHARACTERS = 200
_MAX_LOG_ENTRIES = 100_000
_MOST_FAULTS = 8
_MOST_DEPTH_S = 100 * 365 * 24 * 3600
_MOST_BAN_S = 30 * 24 * 3600
_log = structlog.get_logger("hausd.admin")
_routes = APIRouter(prefix="/v1")


def admin_app(node: NodeControl, ring: LogRing) -> ASGIApp:
    """The app over this node and the ring of its log."""
    app = FastAPI(
        title="hausd admin",
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.node = node
    app.state.ring = ring
    app.include_router(_routes)
    app.include_router(chain_routes)
    app.include_router(key_routes)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_failure)
    return _Door(app)


def _node(request: Request) -> NodeControl:
    node: NodeControl = request.app.state.node
    return node


def _room_id(room: str) -> RoomId:
    try:
        return parse_room_id(room)
    except ValueError as error:
        raise Problem("bad-room-id", f"{room[:80]!r} is not a room id", str(error)) from None


Node = Annotated[NodeControl, Depends(_node)]
Room = Annotated[RoomId, Depends(_room_id)]


class NewRoom(Shape):
    """What a room is created from. ``gated``: what is streamed into it is encrypted."""

    title: str
    gated: bool = False


class Free(Shape):
    """What of a gated room is to take no ticket: the first so many seconds, or a rendition; and the
    recording once the event is finalized. What is left out stays as it is; 0 and "" end it."""

    first_s: int | None = None
    rendition: str | None = None
    finalized: bool | None = None


class Follow(Shape):
    """With whom to connect before a room is followed: a multiaddr with ``/p2p/ID``; and how many
    seconds of its recording are wanted."""

    peer: str = ""
    last_s: Annotated[float, Field(ge=1, le=_MOST_DEPTH_S)] | None = None


class NewPeer(Shape):
    """With whom to connect: a multiaddr with ``/p2p/ID``."""

    address: str


class Ban(Shape):
    """For how long a peer is refused, in seconds."""

    for_s: Annotated[float, Field(gt=0, le=_MOST_BAN_S)] = 3600.0


class NewPin(Shape):
    """What to pin: a room id or a CID; of a room the newest so many seconds; until when."""

    target: str
    last_s: Annotated[float, Field(ge=1, le=_MOST_DEPTH_S)] | None = None
    until: AwareDatetime | None = None


class Push(Shape):
    """What is to be pinned elsewhere, and where; empty: everywhere."""

    room: str
    to: str = ""


class Export(Shape):
    """How a room is exported, and where a file goes."""

    format: ExportFormat = "unixfs"
    path: str = ""


@_routes.get("/status")
async def _status(node: Node) -> StatusShape:
    return await node.status()


@_routes.get("/rooms")
async def _rooms(node: Node) -> Sequence[RoomShape]:
    return await node.rooms()


@_routes.post("/rooms", status_code=HTTPStatus.CREATED)
async def _create_room(node: Node, new: NewRoom) -> RoomShape:
    return await node.create_room(_checked_title(new.title), gated=new.gated)


@_routes.get("/rooms/{room}")
async def _room(node: Node, room: Room) -> RoomShape:
    return await node.room(room)


@_routes.post("/rooms/{room}/free")
async def _free_room(node: Node, room: Room, free: Free) -> RoomShape:
    return await node.free_room(room, free.first_s, free.rendition, free.finalized)


@_routes.post("/rooms/{room}/close")
async def _close_room(node: Node, room: Room) -> RoomShape:
    return await node.close_room(room)


@_routes.post("/rooms/{room}/follow")
async def _follow_room(node: Node, room: Room, follow: Follow | None = None) -> RoomShape:
    wish = follow or Follow()
    return await node.follow_room(room, wish.peer, wish.last_s)


@_routes.get("/rooms/{room}/watch")
async def _watch_room(node: Node, room: Room) -> WatchShape:
    return await node.watch_room(room)


@_routes.post("/rooms/{room}/unfollow")
async def _unfollow_room(node: Node, room: Room) -> RoomShape:
    return await node.unfollow_room(room)


@_routes.get("/peers")
async def _peers(node: Node) -> Sequence[PeerShape]:
    return await node.peers()


@_routes.get("/cards")
async def _cards(
    node: Node, q: Annotated[str, Query(max_length=_MAX_TITLE_CHARACTERS)] = ""
) -> Sequence[CardShape]:
    return await node.cards(q)


@_routes.post("/peers", status_code=HTTPStatus.CREATED)
async def _connect_peer(node: Node, new: NewPeer) -> PeerShape:
    return await node.connect_peer(new.address)


@_routes.post("/peers/{peer}/ban", status_code=HTTPStatus.NO_CONTENT)
async def _ban_peer(node: Node, peer: str, ban: Ban) -> None:
    await node.ban_peer(peer, ban.for_s)


@_routes.post("/rooms/{room}/export")
async def _export_room(node: Node, room: Room, export: Export) -> Response:
    path = Path(export.path) if export.path else None
    if export.format != "unixfs" and path is None:
        hint = "say where it goes, as in --output room.car"
        raise Problem("no-path", f"a {export.format.upper()} needs a file to go to", hint)
    if path is not None and not path.is_absolute():
        raise Problem("bad-path", "the path has to be absolute", "begin it with /")

    async def work(progress: Progress) -> Shape:
        return await node.export_room(room, export.format, path, progress)

    return Work("export", work)


@_routes.get("/pins")
async def _pins(node: Node) -> Sequence[PinShape]:
    return await node.pins()


@_routes.post("/pins", status_code=HTTPStatus.CREATED)
async def _add_pin(node: Node, new: NewPin) -> PinShape:
    return await node.add_pin(new.target, new.last_s, new.until)


@_routes.post("/pins/verify")
async def _verify_pins(node: Node) -> Response:
    return Work("pins-verify", node.verify_pins)


@_routes.post("/pins/push", status_code=HTTPStatus.ACCEPTED)
async def _push_pin(node: Node, push: Push) -> Sequence[RemotePinShape]:
    return await node.push_pin(_room_id(push.room), push.to)


@_routes.delete("/pins/{target}/at/{name}", status_code=HTTPStatus.ACCEPTED)
async def _remove_remote_pin(node: Node, target: str, name: str) -> None:
    await node.remove_remote_pin(target, name)


@_routes.delete("/pins/{target}", status_code=HTTPStatus.NO_CONTENT)
async def _remove_pin(node: Node, target: str) -> None:
    await node.remove_pin(target)


@_routes.get("/store")
async def _store_usage(node: Node) -> DiskShape:
    return await node.store_usage()


@_routes.post("/store/verify")
async def _store_verify(node: Node) -> Response:
    return Work("store-verify", node.store_verify)


@_routes.post("/store/gc")
async def _store_gc(node: Node) -> Response:
    return Work("store-gc", node.store_gc)


@_routes.get("/config")
async def _config(node: Node) -> Sequence[OptionShape]:
    return await node.config()


@_routes.post("/config/reload")
async def _reload_config(node: Node) -> ReloadShape:
    return await node.reload_config()


@_routes.get("/logs")
async def _logs(
    request: Request,
    count: Annotated[int, Query(ge=0, le=_MAX_LOG_ENTRIES)] = 100,
    level: Level = "debug",
    *,
    follow: bool = False,
) -> Response:
    return LogLines(request.app.state.ring, count, level, follow=follow)


@_routes.get("/doctor")
async def _doctor(node: Node) -> Sequence[CheckShape]:
    return await node.doctor()


def _checked_title(untrusted: str) -> str:
    title = untrusted.strip()
    hint = f"1 to {_MAX_TITLE_CHARACTERS} characters on one line"
    if not title:
        raise Problem("bad-title", "the title is empty", hint)
    if len(title) > _MAX_TITLE_CHARACTERS:
        raise Problem("bad-title", f"the title has {len(title)} characters", hint)
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in title):
        raise Problem("bad-title", "the title holds control characters", hint)
    return title


def _answer(status: int, error: ErrorShape) -> JSONResponse:
    return JSONResponse(error.model_dump(mode="json"), status)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(error.status, error_shape(error))


async def _on_bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = "; ".join(_where(each) for each in error.errors()[:_MOST_FAULTS])
    message, hint = said or "the request can't be read", "nothing was done; give another value"
    body = ErrorBody(code="bad-request", message=message, hint=hint)
    return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, ErrorShape(error=body))


def _where(error: Any) -> str:
    """As in "last_s: should be greater than or equal to 1"."""
    place = ".".join(map(str, error["loc"][1:] or error["loc"]))
    return f"{place}: {str(error['msg']).removeprefix('Value error, ').removeprefix('Input ')}"


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    body = ErrorBody(code=code, message=f"{request.method} {request.url.path}: {error.detail}")
    return _answer(error.status_code, ErrorShape(error=body))


class _Door:
    """The door of every request: a fault of the node is counted, logged, and told in brief."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, answered
            count_swallowed("admin.request", error)
            _log.error("request-failed", path=scope.get("path"), exc_info=error)
            if not begun:
                await _answer(HTTPStatus.INTERNAL_SERVER_ERROR, error_shape(failed()))(
                    scope, receive, send
                )


async def _on_failure(request: Request, error: Exception) -> Response:
    """Starlette raises the error again after this answer: the door counts and logs it."""
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, error_shape(failed()))
