"""Signing in, renewing and signing out, through the whole server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from support.eventchain import EVENT
from support.http import Answered, Running, running

from hausd.core.release import SignedIn
from hausd.http.api import ApiPorts, create_api
from hausd.http.playback import cookie_of
from hausd.http.ports import Playback

TOKEN = "tok-en_1"


class Desk:
    """The part of ``http.ports.Playback`` that is asked here."""

    node = "0a1b2c3d"

    def __init__(self) -> None:
        self.left: list[tuple[str, str]] = []

    async def renew(self, room: Any, untrusted_token: str, address: str, agent: str) -> SignedIn:
        assert (untrusted_token, agent) == (TOKEN, "a page")
        return SignedIn(room, "wallet", TOKEN, 1_800_000_000)

    async def leave(self, room: str, untrusted_token: str, address: str) -> None:
        self.left.append((room, untrusted_token))


@asynccontextmanager
async def signing(desk: Desk) -> AsyncIterator[Running]:
    ports = ApiPorts(cast(Any, None), cast(Any, None), str, playback=cast(Playback, desk))
    async with running({}, app=create_api(ports, "1")) as node:
        yield node


async def post(node: Running, path: str, body: object, *fields: str) -> Answered:
    client = await node.connect()
    async with client.stream:
        raw = json.dumps(body)
        head = ("Content-Type: application/json", f"Content-Length: {len(raw)}", *fields)
        await client.send_request(f"/api/v1/sign-in/{path}", *head, method="POST")
        await client.send(raw.encode())
        return await client.read()


async def test_a_cookie_ends_with_what_the_wallet_signed() -> None:
    others = 'a={"x": 1}; b=c d; '
    async with signing(Desk()) as node:
        cookie = f"Cookie: {others}{cookie_of(EVENT, Desk.node)}={TOKEN}"
        answer = await post(node, "renew", {"room": EVENT}, cookie, "User-Agent: a page")
        assert answer.status == 200
        assert "Max-Age=86400" in answer.fields["set-cookie"]


@pytest.mark.parametrize("room", ["", "x y", "x\r\nset-cookie: a=b", "\u00e9", "a;b"])
async def test_what_is_no_room_is_refused_and_is_no_fault_of_ours(room: str) -> None:
    desk = Desk()
    async with signing(desk) as node:
        for path in ("out", "renew"):
            answer = await post(node, path, {"room": room, "token": TOKEN})
            assert answer.status == 422
            assert json.loads(answer.body)["error"]["code"] == "invalid"
            assert "set-cookie" not in answer.fields
        assert not node.server.tally.failed
        assert (await post(node, "out", {"room": EVENT, "token": TOKEN})).status == 204
    assert desk.left == [(EVENT, TOKEN)]
