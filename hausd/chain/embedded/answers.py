"""Answers of JSON-RPC as bytes, and how many bytes of them may be held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hausd.chain.embedded import questions as ask
from hausd.chain.embedded.questions import MAX_ANSWER_BYTES, RpcFault

MAX_HELD_BYTES = 8 * MAX_ANSWER_BYTES
"""Of all answers that are made or on their way, for everybody."""
_SMALL_BYTES = 4_096
"""So much is told even where nothing more may be: that something was sent, a fault."""
CORS = {
    # a cluster's RPC may be asked by any page, and so may this: it tells nothing that is secret
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET, OPTIONS",
    "access-control-allow-headers": "content-type, solana-client",
    "access-control-max-age": "86400",
}


@dataclass(slots=True)
class Held:
    """Bytes of everybody's answers."""

    count: int = 0


class Share:
    """The part of one request, with one answer or a list of them."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._bytes = 0
        self.full = held.count >= MAX_HELD_BYTES

    def answer(self, number: object, result: object) -> bytes:
        """A result, or that it is too large to be told."""
        made = msgspec.json.encode({"jsonrpc": "2.0", "result": result, "id": number})
        if len(made) > _SMALL_BYTES and self._bytes + len(made) > MAX_ANSWER_BYTES:
            return self.fault(number, ask.too_large())
        self._add(made)
        return made

    def fault(self, number: object, fault: RpcFault) -> bytes:
        """An error; where an answer was too large, no further one is made."""
        self.full = self.full or fault.too_large
        made = error(number, fault)
        self._add(made)
        return made

    def _add(self, made: bytes) -> None:
        self._bytes += len(made)
        self._held.count += len(made)

    def let_go(self) -> None:
        """They are sent, or never will be."""
        self._held.count -= self._bytes
        self._bytes = 0


class Sent(Response):
    """An answer whose bytes are held until it is sent."""

    def __init__(self, body: bytes, share: Share) -> None:
        super().__init__(body, 200, _headers({}))
        self._share = share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._share.let_go()


def error(number: object, fault: RpcFault) -> bytes:
    """An error, for the call of that number."""
    told: dict[str, Any] = {"code": fault.code, "message": fault.message}
    if fault.data is not None:
        told["data"] = fault.data
    return msgspec.json.encode({"jsonrpc": "2.0", "error": told, "id": number})


def refused(
    fault: RpcFault, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A whole request that gets no other answer."""
    return Response(error(None, fault), status, _headers(headers or {}))


def _headers(more: Mapping[str, str]) -> dict[str, str]:
    return {**CORS, "content-type": "application/json", **more}
