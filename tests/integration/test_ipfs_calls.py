"""Answers of services that were configured: what they send is bounded before it is unpacked."""

from __future__ import annotations

import gzip

import pytest
import trio
from support.gateways import BadGateway, answer, gateway

from hausd.chain.calls import Endpoint, TryAnother
from hausd.chain.pool import open_pool
from hausd.core.cid import CID
from hausd.core.clock import SystemClock
from hausd.core.following import SourceFailed
from hausd.ipfs.calls import Caller, open_client
from hausd.ipfs.gateways import open_gateways
from hausd.ipfs.ports import TryFailed

BOMB = gzip.compress(gzip.compress(bytes(50_000_000)))
"""Some hundred bytes that httpx would unpack to 50 MB at once."""


async def bomb(to: BadGateway, path: str, stream: trio.SocketStream) -> None:
    await answer(stream, 200, BOMB, "content-encoding: gzip, gzip")


async def baking(to: BadGateway, path: str, stream: trio.SocketStream) -> None:
    count = len(to.heads)
    await answer(
        stream, 200, b"{}", f"set-cookie: c{count}=x; path=/", "content-encoding: identity"
    )


async def test_what_a_service_compressed_is_refused_unread() -> None:
    async with gateway(bomb, {}) as bad, open_client(5) as client:
        caller = Caller(client, bad.url, SystemClock(), lambda: "")
        with pytest.raises(TryFailed, match="compressed"):
            await caller.call("GET", "/pins")
        assert "accept-encoding: identity" in bad.heads[0].lower()


async def test_and_what_a_gateway_did() -> None:
    async with gateway(bomb, {}) as bad, open_gateways([bad.url], SystemClock()) as (made,):
        with pytest.raises(SourceFailed, match="compressed"):
            await made.fetch(CID.of(b""), 1000, deadline_s=trio.current_time() + 5)


async def test_and_what_an_endpoint_of_the_chain_did() -> None:
    async with gateway(bomb, {}) as bad, open_pool([bad.url], SystemClock(), 5) as pool:
        with pytest.raises(TryAnother, match="compressed"):
            await endpoint(pool).call("getSlot", [], int)
        assert "accept-encoding: identity" in bad.heads[0].lower()


async def test_nobodys_cookies_are_kept() -> None:
    async with (
        gateway(baking, {}) as bad,
        open_client(5) as client,
        open_gateways([bad.url], SystemClock()) as (made,),
        open_pool([bad.url], SystemClock(), 5) as pool,
    ):
        caller = Caller(client, bad.url, SystemClock(), lambda: "")
        for _ in range(3):
            await caller.call("GET", "/pins")
            await made.fetch(CID.of(b"{}"), 1000, deadline_s=trio.current_time() + 5)
        with pytest.raises(TryAnother):
            await endpoint(pool).call("getSlot", [], int)
        assert len(bad.heads) >= 7
        for http in (client, made._client, endpoint(pool)._http):
            assert len(http.cookies.jar) == 0
        assert not any("cookie:" in head.lower() for head in bad.heads)


def endpoint(pool: object) -> Endpoint:
    (found,) = pool._endpoints  # type: ignore[attr-defined]  # nobody else needs them one by one
    assert isinstance(found, Endpoint)
    return found
