"""The public API under ``/api/v1``, health and metrics, as a FastAPI app.

Read-only but for signing in: what changes anything else goes by the admin socket. Host and Origin
were checked before.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

import trio
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.websockets import WebSocketDisconnect

from hausd.core.errors import Problem
from hausd.core.ids import parse_room_id
from hausd.core.live import RoomState
from hausd.core.shapes import ErrorBody, ErrorShape, RoomShape, Shape, StatusShape
from hausd.http.ports import Catalog, Playback, RoomView
from hausd.http.signing import sign_in_routes
from hausd.policy.origin import BY_PROXIES
from hausd.serving.connections import plain_address

_PUSH_PAUSE_S = 0.25  # changes that come faster are told at once, the newest only
_NO_SUCH_ROOM = "no such room on this node"
_NORMAL_CLOSE, _GOING_AWAY = 1000, 1001


class PublicStatusShape(Shape):
    """What anyone may know of a node."""

    version: str
    uptime_s: float
    rooms: int
    rooms_live: int
    viewers: int
    bitrate_in: int
    bitrate_out: int


@dataclass(frozen=True, slots=True)
class ApiPorts:
    """What the API needs of the node.

    ``ready`` is empty when the node is ready, else says what it waits for. ``metrics_from`` are
    networks beside loopback that may read ``/metrics``. ``playback``: None where nobody signs in.
    """

    catalog: Catalog
    status: Callable[[], StatusShape]
    ready: Callable[[], str]
    metrics_from: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = field(default=())
    playback: Playback | None = None


def create_api(ports: ApiPorts, version: str) -> FastAPI:
    """The app; ``version`` is the node's, for OpenAPI."""
    app = FastAPI(
        title="hausd",
        summary="Rooms of this node and how it is.",
        version=version,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(StarletteHTTPException, _http_fault)
    app.add_exception_handler(RequestValidationError, _validation_fault)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(Exception, _own_fault)
    app.include_router(_rooms(ports), prefix="/api/v1")
    if ports.playback is not None:
        app.include_router(sign_in_routes(ports.playback), prefix="/api/v1")
    app.include_router(_health(ports))
    return app


def _rooms(ports: ApiPorts) -> APIRouter:
    router = APIRouter(tags=["rooms"], responses={"4XX": {"model": ErrorShape}})

    @router.get("/rooms", response_model_exclude_none=True)
    async def list_rooms(
        request: Request,
        response: Response,
        q: Annotated[str, Query(max_length=200, description="Words of the title, or an id")] = "",
        state: Annotated[
            tuple[RoomState, ...], Query(max_length=len(RoomState), description="Any of these")
        ] = (),
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str, Query(max_length=100, description="From a Link header")] = "",
    ) -> list[RoomShape]:
        """Rooms of this node, the newest first. More, if any, are at the ``next`` Link."""
        found = sorted(
            (
                room.shape()
                for room in ports.catalog.rooms()
                if (not state or room.state in state) and _matches(room, q)
            ),
            key=_order,
        )
        if cursor:
            found = [shape for shape in found if _order(shape) > _place(cursor)]
        response.headers["cache-control"] = "no-cache"
        if len(found) > limit:
            found = found[:limit]
            created, last = _order(found[-1])
            asked = [*([("q", q)] if q else []), *(("state", each.value) for each in state)]
            place = [("limit", limit), ("cursor", f"{created}~{last}")]
            following = urlencode([*asked, *place])
            response.headers["link"] = f'<{request.url.path}?{following}>; rel="next"'
        return found

    @router.get("/rooms/{room}", response_model_exclude_none=True)
    async def show_room(room: str, response: Response) -> RoomShape:
        """One room."""
        response.headers["cache-control"] = "no-cache"
        return _find(ports.catalog, room).shape()

    @router.get("/status", tags=["node"])
    async def status(response: Response) -> PublicStatusShape:
        """How this node is."""
        response.headers["cache-control"] = "no-cache"
        all_of_it = ports.status()
        return PublicStatusShape(
            **{name: getattr(all_of_it, name) for name in PublicStatusShape.model_fields}
        )

    @router.websocket("/rooms/{room}/ws")
    async def watch_room(websocket: WebSocket, room: str) -> None:
        """Sends the room, and sends it again whenever it changes."""
        view = _find(ports.catalog, room)
        await websocket.accept()
        await _push_changes(websocket, view)

    return router


async def _push_changes(websocket: WebSocket, view: RoomView) -> None:
    closing = getattr(websocket.state, "closing", None)

    async def until_they_leave(scope: trio.CancelScope) -> None:
        try:
            while True:
                await websocket.receive_text()
        except (WebSocketDisconnect, KeyError):  # KeyError: bytes, which say nothing here either
            scope.cancel()

    async def until_we_leave(scope: trio.CancelScope) -> None:
        if closing is not None:
            await closing.wait()
            await websocket.close(_GOING_AWAY, "the node stops")
            scope.cancel()

    changed = trio.Event()

    async def watch() -> None:
        # In a task of its own, so that no change is missed while one is sent.
        while True:
            await view.changed()
            changed.set()

    async def push() -> None:
        nonlocal changed
        last = ""
        while True:
            changed = trio.Event()
            now = view.shape().model_dump_json(exclude_none=True)
            if now != last:
                await websocket.send_text(now)
                last = now
            await trio.sleep(_PUSH_PAUSE_S)
            await changed.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_they_leave, nursery.cancel_scope)
        nursery.start_soon(until_we_leave, nursery.cancel_scope)
        nursery.start_soon(watch)
        nursery.start_soon(push)


def _health(ports: ApiPorts) -> APIRouter:
    router = APIRouter(tags=["health"], responses={"4XX": {"model": ErrorShape}})

    @router.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> PlainTextResponse:
        """The process answers."""
        return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})

    @router.get("/readyz", response_class=PlainTextResponse, responses={503: {"model": ErrorShape}})
    async def readyz() -> Response:
        """The node takes streams and viewers; 503 until then."""
        waiting_for = ports.ready()
        if waiting_for:
            return _error(503, "not-ready", f"This node is not ready: {waiting_for}.")
        return PlainTextResponse("ready\n", headers={"cache-control": "no-store"})

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Prometheus metrics."""
        proxied = not BY_PROXIES.isdisjoint(request.headers.keys())
        if not _may_read_metrics(request.client.host if request.client else "", ports, proxied):
            return _error(
                403,
                "metrics-forbidden",
                "Metrics are for loopback only.",
                "Add your network to http.metrics_from in the node's configuration.",
            )
        headers = {"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"}
        return Response(generate_latest(), headers=headers)

    return router


def _may_read_metrics(peer: str, ports: ApiPorts, proxied: bool) -> bool:
    """``proxied``: a proxy on this machine is not who asks."""
    try:
        address = ipaddress.ip_address(plain_address(peer))
    except ValueError:
        return False
    return (address.is_loopback and not proxied) or any(
        address in network for network in ports.metrics_from
    )


def _matches(room: RoomView, query: str) -> bool:
    """Whether every word of the query is in the title, or the query begins the id."""
    title = room.title.casefold()
    return all(word in title for word in query.casefold().split()) or room.id.startswith(query)


def _order(shape: RoomShape) -> tuple[int, str]:
    return -round(shape.created.timestamp() * 1000), shape.id


def _place(untrusted_cursor: str) -> tuple[int, str]:
    created, _, room = untrusted_cursor.partition("~")
    try:
        return int(created), room
    except ValueError:
        raise HTTPException(400, "the cursor is not from a Link header of this list") from None


def _find(catalog: Catalog, untrusted_id: str) -> RoomView:
    try:
        room = catalog.room(parse_room_id(untrusted_id))
    except ValueError as fault:
        raise HTTPException(404, f"{_NO_SUCH_ROOM}; {fault}") from None
    if room is None:
        raise HTTPException(404, _NO_SUCH_ROOM)
    return room


def _error(
    status: int, code: str, message: str, hint: str = "", headers: dict[str, str] | None = None
) -> Response:
    shape = ErrorShape(error=ErrorBody(code=code, message=message, hint=hint))
    return JSONResponse(
        shape.model_dump(), status, headers={"cache-control": "no-store", **(headers or {})}
    )


async def _http_fault(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, StarletteHTTPException)
    phrase = HTTPStatus(fault.status_code).phrase
    if fault.status_code == 404 and fault.detail == phrase:
        return _error(
            404, "not-found", "There is nothing here.", "The API is at /api/v1/openapi.json."
        )
    if fault.detail.startswith(_NO_SUCH_ROOM):
        code, text = "no-such-room", fault.detail
    else:
        code, text = phrase.lower().replace(" ", "-"), fault.detail
    return _error(
        fault.status_code, code, f"{text[0].upper()}{text[1:]}.", "", dict(fault.headers or {})
    )


async def _validation_fault(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    said = "; ".join(
        f"{'.'.join(str(place) for place in error['loc'][1:])}: {error['msg']}"
        for error in fault.errors()
    )
    return _error(422, "invalid", f"The request is not valid: {said}.")


async def _problem(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, Problem)
    return _error(fault.status, fault.code, f"{fault.message}.", fault.hint)


async def _own_fault(request: Request, fault: Exception) -> Response:
    return _error(500, "internal", "The node failed at this; its log says why.")
