"""Blocks from HTTP gateways on real sockets: what they may do wrong harms nobody."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme
from support.gateways import (
    BadGateway,
    Behave,
    answer,
    broken_off,
    endless,
    gateway,
    honest,
    lying,
    no_http,
    refusing,
    slow,
)
from support.hls_room import MemoryBlocks, Rooms
from support.http import running

from hausd.core.cid import CID
from hausd.core.clock import SystemClock
from hausd.core.following import LeafMissing, SourceFailed, SourceLied
from hausd.core.media import LEAF_BYTES
from hausd.http.responder import RoomResponder
from hausd.ipfs.gateways import HttpGateway, open_gateways
from hausd.retrieval import Retrieval

LEAVES = {CID.of(leaf): leaf for leaf in (os.urandom(LEAF_BYTES) for _ in range(40))}
CID_0, LEAF_0 = next(iter(LEAVES.items()))


@asynccontextmanager
async def one(behave: Behave) -> AsyncIterator[tuple[HttpGateway, BadGateway]]:
    async with gateway(behave, LEAVES) as bad, open_gateways([bad.url], SystemClock()) as (made,):
        yield made, bad


async def fetch(source: HttpGateway, within_s: float = 5.0) -> bytes:
    with trio.fail_after(10):
        return await source.fetch(CID_0, LEAF_BYTES, deadline_s=trio.current_time() + within_s)


async def test_a_block_is_asked_for_raw_and_verified() -> None:
    async with one(honest) as (source, bad):
        assert await fetch(source) == LEAF_0
        assert f"GET /ipfs/{CID_0}?format=raw " in bad.heads[0]
        assert "accept: application/vnd.ipld.raw" in bad.heads[0].lower()
        assert source.name == f"127.0.0.1:{bad.port}"


async def test_wrong_bytes_are_a_lie() -> None:
    async with one(lying) as (source, _):
        with pytest.raises(SourceLied):
            await fetch(source)


@pytest.mark.parametrize("status", [404, 410, 504])
async def test_who_has_it_not_says_so(status: int) -> None:
    async with one(refusing(status)) as (source, _):
        with pytest.raises(LeafMissing) as fault:
            await fetch(source)
        assert type(fault.value) is LeafMissing


@pytest.mark.parametrize(
    ("behave", "because"),
    [
        (slow, "did not answer in time"),
        (endless, "sends more than the 131,072 bytes"),
        (broken_off, "broken off"),
        (no_http, "no HTTP"),
        (refusing(500), "refuses (HTTP 500)"),
        (refusing(403), "refuses (HTTP 403)"),
        (refusing(302, "location: /ipfs/again"), "again and again"),
        (refusing(302, "location: http://169.254.169.254/latest"), "another place"),
        (refusing(301, "location: https://127.0.0.1:1/x"), "another place"),
        (refusing(301), "again and again"),
    ],
)
async def test_every_failure_has_its_words(behave: Behave, because: str) -> None:
    async with one(behave) as (source, _):
        with pytest.raises(SourceFailed) as fault:
            await fetch(source, 0.5)
        assert because in fault.value.because


async def test_who_is_busy_is_left_alone_as_long_as_it_wishes() -> None:
    async with one(refusing(429, "retry-after: 77")) as (source, _):
        with pytest.raises(SourceFailed) as fault:
            await fetch(source)
        assert fault.value.rest_s == 77


async def test_nobody_there_is_said_so() -> None:
    async with open_gateways(["http://127.0.0.1:9"], SystemClock()) as (source,):
        with pytest.raises(SourceFailed, match="can't be reached"):
            await fetch(source)


async def test_a_redirect_within_the_gateway_is_followed() -> None:
    async def behave(bad: BadGateway, path: str, stream: trio.SocketStream) -> None:
        if path.startswith("/ipfs/"):
            await answer(stream, 301, b"", f"location: /moved{path}")
        else:
            await honest(bad, path, stream)

    async with one(behave) as (source, _):
        assert await fetch(source) == LEAF_0


class Names(trio.abc.HostnameResolver):
    """The name service of a world in which a gateway's names lead to chosen addresses."""

    def __init__(self, table: dict[str, str]) -> None:
        self.table = table

    async def getaddrinfo(self, host: Any, port: Any, family: int = 0, *_: Any, **__: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.table[name], port or 0))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("leads_to", "because"),
    [
        ("127.0.0.1", "redirects to a private address"),
        ("10.0.0.1", "redirects to a private address"),
        ("169.254.169.254", "redirects to a private address"),
        (None, "a name without an address"),
    ],
)
async def test_a_gateway_of_the_world_sends_nobody_into_a_private_network(
    leads_to: str | None, because: str
) -> None:
    """It has a certificate for its names, and sends to one of them; who is there is its choice."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("gw.example", "*.gw.example").configure_cert(server)
    authority.configure_trust(client)
    names = {"gw.example": "127.0.0.1"} | ({"in.gw.example": leads_to} if leads_to else {})
    trio.socket.set_custom_hostname_resolver(Names(names))

    async def behave(bad: BadGateway, path: str, stream: trio.SocketStream) -> None:
        await answer(stream, 302, b"", f"location: https://in.gw.example:{bad.port}/admin")

    async with (
        gateway(behave, LEAVES, server) as bad,
        open_gateways([f"https://gw.example:{bad.port}"], SystemClock(), client) as (source,),
    ):
        with pytest.raises(SourceFailed) as fault:
            await fetch(source)
        assert because in fault.value.because
        assert len(bad.heads) == 1


async def test_many_at_once_from_bad_and_good_gateways() -> None:
    """The liar is asked once and dropped; the slow one is outrun; all blocks come."""
    async with (
        gateway(lying, LEAVES) as liar,
        gateway(slow, LEAVES) as sluggish,
        gateway(refusing(429, "retry-after: 60"), LEAVES) as busy,
        gateway(honest, LEAVES) as good,
        gateway(honest, dict(list(LEAVES.items())[:5])) as poor,
        open_gateways(
            [each.url for each in (liar, sluggish, busy, poor, good)], SystemClock()
        ) as sources,
    ):
        retrieval = Retrieval(sources)
        found: dict[CID, bytes] = {}

        async def get(cid: CID) -> None:
            deadline_s = trio.current_time() + 15
            found[cid] = await retrieval.fetch(cid, LEAF_BYTES, deadline_s=deadline_s)

        with trio.fail_after(20):
            for at in range(0, len(LEAVES), 8):
                async with trio.open_nursery() as nursery:
                    for cid in list(LEAVES)[at : at + 8]:
                        nursery.start_soon(get, cid)
        assert found == LEAVES
        assert len(liar.heads) <= 8, "not after the first blocks, which went out together"
        assert len(busy.heads) <= 8
        assert len(sluggish.heads) < 10
        standing = {one.name: one for one in retrieval.standings()}
        assert standing[f"127.0.0.1:{liar.port}"].lying
        assert standing[f"127.0.0.1:{good.port}"].blocks >= 30


async def test_a_block_that_nobody_has_is_missing_at_once() -> None:
    async with gateway(honest, {}) as empty, open_gateways([empty.url], SystemClock()) as sources:
        with trio.fail_after(5), pytest.raises(LeafMissing):
            await Retrieval(sources).fetch(CID_0, LEAF_BYTES, deadline_s=trio.current_time() + 60)


async def test_our_own_gateway_is_one_and_asks_nobody_in_its_turn() -> None:
    class Asked(MemoryBlocks):
        async def block(self, cid: CID) -> bytes | None:
            raise AssertionError("a gateway asked for a gateway's sake")

    store = MemoryBlocks()
    store.blocks.update(LEAVES)
    responder = RoomResponder(Rooms(), store, fetched=Asked())
    async with (
        running(responder=responder) as server,
        open_gateways([f"http://{server.host}"], SystemClock()) as (source,),
    ):
        assert await fetch(source) == LEAF_0
        absent = CID.of(b"nobody has this")
        with pytest.raises(LeafMissing):
            await source.fetch(absent, 100, deadline_s=trio.current_time() + 5)
