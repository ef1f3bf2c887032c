"""A remote pinning service as its OpenAPI specification has it, on a real socket, in memory.

Source: https://github.com/ipfs/pinning-services-api-spec (ipfs-pinning-service.yaml, 1.0.0). Kubo's
own client and an implementation from npm are held against it and ours in tests/interop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import trio
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from hypercorn.config import Config
from hypercorn.trio import serve

from hausd.core.cid import CID, CIDError
from hausd.http.server import listen

TOKEN = "s3cr3t-t0ken"
STATES = ("queued", "pinning", "pinned", "failed")


@dataclass
class Service:
    """What it holds, and how it behaves. ``after``: states a new pin goes through, one a look."""

    port: int = 0
    pins: dict[str, dict[str, Any]] = field(default_factory=dict)
    after: list[str] = field(default_factory=lambda: ["queued", "pinning", "pinned"])
    delegates: list[str] = field(default_factory=list)
    info: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    instead: Callable[[Request], Response | None] = lambda request: None
    """An answer that takes the place of the right one."""
    _steps: dict[str, list[str]] = field(default_factory=dict)
    _count: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/psa"

    def held(self) -> set[str]:
        """CIDs that are pinned."""
        return {one["pin"]["cid"] for one in self.pins.values() if one["status"] == "pinned"}

    def add(self, wish: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        id_ = f"req/{self._count}"
        self._steps[id_] = list(self.after)
        self.pins[id_] = {
            "requestid": id_,
            "status": self._steps[id_].pop(0),
            "created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "pin": wish,
            "delegates": self.delegates or ["/ip4/203.0.113.1/tcp/4001/p2p/12D3KooW" + "x" * 44],
            "info": self.info,
        }
        return self.pins[id_]

    def look(self, id_: str) -> dict[str, Any] | None:
        found = self.pins.get(id_)
        if found is not None and self._steps[id_]:
            found["status"] = self._steps[id_].pop(0)
        return found


def fault(status: int, reason: str, details: str = "") -> JSONResponse:
    return JSONResponse({"error": {"reason": reason, "details": details}}, status)


def _wish_fault(wish: Any) -> str:
    """What of a Pin is not as its schema says."""
    if not isinstance(wish, dict) or set(wish) - {"cid", "name", "origins", "meta"}:
        return "not a Pin"
    try:
        CID.parse(str(wish.get("cid")))
    except CIDError as error:
        return str(error)
    name, origins, meta = wish.get("name", ""), wish.get("origins", []), wish.get("meta", {})
    if not isinstance(name, str) or len(name) > 255:
        return "name has more than 255 characters"
    if not isinstance(origins, list) or len(set(origins)) != len(origins) or len(origins) > 20:
        return "origins are up to 20 unique multiaddrs"
    if not isinstance(meta, dict) or len(meta) > 1000:
        return "meta has at most 1000 properties"
    if not all(isinstance(value, str) for value in meta.values()):
        return "meta's values are text"
    return ""


def app_of(service: Service) -> FastAPI:
    app = FastAPI()

    async def door(request: Request, id_: str | None) -> Response:
        service.requests.append((request.method, request.url.path.removeprefix("/psa")))
        instead = service.instead(request)
        if instead is not None:
            return instead
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return fault(401, "UNAUTHORIZED", "Access token is missing or invalid")
        if id_ is None and request.method == "GET":
            return _list(service, request)
        if request.method == "POST":
            wish = await request.json()
            if wrong := _wish_fault(wish):
                return fault(400, "BAD_REQUEST", wrong)
            if id_ is not None and service.pins.pop(id_, None) is None:
                return fault(404, "NOT_FOUND")
            return JSONResponse(service.add(wish), 202)
        assert id_ is not None
        found = service.look(id_)
        if found is None:
            return fault(404, "NOT_FOUND", "The specified resource was not found")
        if request.method == "DELETE":
            del service.pins[id_]
            return Response(status_code=202)
        return JSONResponse(found)

    @app.api_route("/psa/pins", methods=["GET", "POST"])
    async def pins(request: Request) -> Response:
        return await door(request, None)

    @app.api_route("/psa/pins/{id_:path}", methods=["GET", "POST", "DELETE"])
    async def one(request: Request, id_: str) -> Response:
        return await door(request, id_)

    return app


def _list(service: Service, request: Request) -> Response:
    query = request.query_params
    cids = query.get("cid", "").split(",") if "cid" in query else None
    states = query.get("status", "pinned").split(",")  # the specification's default
    if set(states) - set(STATES) or not 1 <= int(query.get("limit", "10")) <= 1000:
        return fault(400, "BAD_REQUEST")
    found = [
        one
        for one in service.pins.values()
        if (cids is None or one["pin"]["cid"] in cids)
        and one["status"] in states
        and ("name" not in query or one["pin"].get("name") == query["name"])
    ]
    limit = int(query.get("limit", "10"))
    return JSONResponse({"count": len(found), "results": found[:limit]})


@asynccontextmanager
async def pinning_service(port: int = 0) -> AsyncIterator[Service]:
    """A running service; it stops when the context is left."""
    made = Service()
    socket = listen("127.0.0.1", port)
    made.port = socket.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{socket.detach()}"]
    config.graceful_timeout = 0.1
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        nursery.start_soon(_serve, app_of(made), config, stop)
        yield made
        stop.set()


async def _serve(app: FastAPI, config: Config, stop: trio.Event) -> None:
    await serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type] # an ASGI app
