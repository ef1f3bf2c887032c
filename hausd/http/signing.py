"""``/api/v1/sign-in``: a wallet signs a delegation to this node and gets to watch a gated room.

The node's door has checked Host and Origin, so no other site's page gets here with a POST.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, Field

from hausd.core.ids import RoomId, parse_room_id
from hausd.core.release import SignedIn
from hausd.core.shapes import ErrorShape, Shape
from hausd.http.playback import cookie_of, token_of
from hausd.http.ports import Playback

_NEVER = "private, no-store"
_COOKIE_S = 24 * 3600
"""What is signed here is good for a day: no browser has to send a room's cookie for longer."""


class ChallengeShape(Shape):
    """What the wallet is to sign, to the letter."""

    text: str


class SignInShape(Shape):
    """A challenge, and the wallet's signature over it in base58."""

    text: Annotated[str, Field(max_length=4096)]
    signature: Annotated[str, Field(max_length=128)]


class RenewShape(Shape):
    """``token``: empty where the cookie has it."""

    room: Annotated[str, Field(max_length=128), AfterValidator(parse_room_id)]
    token: Annotated[str, Field(max_length=256)] = ""


class SignedInShape(Shape):
    """Who signed in, and where they watch. The URLs hold the token: they are the wallet's alone."""

    room: str
    wallet: str
    token: str
    expires: datetime
    live_url: str
    archive_url: str


def sign_in_routes(playback: Playback) -> APIRouter:
    """The routes, without their prefix."""
    router = APIRouter(tags=["sign-in"], responses={"4XX": {"model": ErrorShape}})

    @router.get("/sign-in")
    async def challenge(
        request: Request,
        response: Response,
        room: Annotated[str, Query(max_length=128)],
        wallet: Annotated[str, Query(max_length=64)],
    ) -> ChallengeShape:
        """A text to sign within five minutes: a delegation to this node."""
        response.headers["cache-control"] = _NEVER
        return ChallengeShape(
            text=await playback.challenge(room, wallet, _peer(request), _host(request))
        )

    @router.post("/sign-in")
    async def sign_in(request: Request, response: Response, body: SignInShape) -> SignedInShape:
        """A token, and the same as a cookie, for a signed challenge of a wallet with a ticket."""
        signed = await playback.sign_in(body.text, body.signature, _peer(request), _host(request))
        return _given(request, response, signed, playback.node)

    @router.post("/sign-in/renew")
    async def renew(request: Request, response: Response, body: RenewShape) -> SignedInShape:
        """A newer token in the place of one that is still good."""
        room, token = _told(request, body, playback.node)
        agent = request.headers.get("user-agent", "")
        renewed = await playback.renew(room, token, _peer(request), agent)
        return _given(request, response, renewed, playback.node)

    @router.post("/sign-in/out", status_code=204)
    async def sign_out(request: Request, response: Response, body: RenewShape) -> None:
        """The token opens nothing any more, and the cookie is gone."""
        room, token = _told(request, body, playback.node)
        await playback.leave(room, token, _peer(request))
        response.headers["cache-control"] = _NEVER
        secure = request.scope["scheme"] == "https"
        response.delete_cookie(
            cookie_of(room, playback.node), secure=secure, httponly=True, samesite="strict"
        )

    return router


def _given(request: Request, response: Response, signed: SignedIn, node: str) -> SignedInShape:
    secure = request.scope["scheme"] == "https"
    response.headers["cache-control"] = _NEVER
    response.set_cookie(
        cookie_of(signed.room, node),
        signed.token,
        max_age=_COOKIE_S,
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    base = f"http{'s' if secure else ''}://{_host(request)}"
    below = f"{quote(signed.room)}/t/{signed.token}/index.m3u8"
    return SignedInShape(
        room=signed.room,
        wallet=signed.wallet,
        token=signed.token,
        expires=datetime.fromtimestamp(signed.ends_s, UTC),
        live_url=f"{base}/live/{below}",
        archive_url=f"{base}/archive/{below}",
    )


def _told(request: Request, body: RenewShape, node: str) -> tuple[RoomId, str]:
    room = RoomId(body.room)
    return room, body.token or token_of("; ".join(request.headers.getlist("cookie")), room, node)


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _host(request: Request) -> str:
    return request.headers.get("host", "")
