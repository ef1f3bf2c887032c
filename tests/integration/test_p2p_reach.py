"""What strangers say does not lead a node to its own machine."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from support.hosts import host
from support.peers import address
from support.sharing import sharing
from test_p2p_exchange import ROOM, leaves, meet

from hausd.core.cid import CID
from hausd.core.peers import Endpoint, PeerAddress, PeerUnreachable, parse_endpoint
from hausd.p2p import lookups, network
from hausd.p2p.exchange.giving import Giving
from hausd.policy.reach import Reach

FAR = parse_endpoint("/ip4/9.9.9.9/tcp/4001")


@asynccontextmanager
async def door() -> AsyncIterator[tuple[int, list[trio.SocketStream]]]:
    """A service of this machine: its port, and who knocked."""
    knocks: list[trio.SocketStream] = []

    async def knocked(stream: trio.SocketStream) -> None:
        knocks.append(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, knocked, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1], knocks
        nursery.cancel_scope.cancel()


def all_here(host: str, port: int) -> list[tuple[object, ...]]:
    """A name server that a stranger keeps: all of its names lead to this machine."""
    return [("127.0.0.1", port)]


class Resolver(trio.abc.HostnameResolver):
    """The same for names that are believed, which go the usual way."""

    async def getaddrinfo(
        self,
        host: object,
        port: object,
        family: int = 0,
        type: int = 0,
        *more: int,
    ) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        return [(socket.AF_INET, type, 6, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise OSError("not asked for")


@pytest.mark.parametrize("where", ["/ip4/127.0.0.1", "/dns4/localhost", "/dns4/far.example.org"])
async def test_an_address_of_this_machine_is_not_dialled_for_a_stranger(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "_ask", all_here)
    trio.socket.set_custom_hostname_resolver(Resolver())
    async with door() as (port, knocks), host("a") as a:
        told = PeerAddress(address(1).peer, (f"{where}/tcp/{port}",))
        for told_at in (Reach.WORLD, Reach.NETWORK):
            with pytest.raises(PeerUnreachable), trio.fail_after(5):
                await a.connect_told(told, told_at)
            assert not knocks
        with pytest.raises(PeerUnreachable), trio.fail_after(5):
            await a.connect_told(told, Reach.MACHINE)
        assert knocks, "who is on this machine may tell of it"


async def test_who_is_busy_can_not_send_us_to_a_door_of_our_own_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def far(name: tuple[object, ...]) -> Endpoint:
        return FAR  # on loopback everyone is near: whoever comes here stands for a far one

    async with (
        door() as (port, knocks),
        sharing("a", ROOM, origin=True) as a,
        sharing("b", ROOM) as b,
        sharing("liar", ROOM) as liar,
    ):
        lure = PeerAddress(address(1).peer, (f"/ip4/127.0.0.1/tcp/{port}",))

        def busy(self: Giving, guest: object, wanted: object, index: int) -> None:
            guest.outbox.write(guest.answerer.busy(wanted.id, [index], [lure]))  # type: ignore[attr-defined]

        with trio.fail_after(30):
            await meet(b, a)
            monkeypatch.setattr(network, "endpoint_of", far)
            await meet(liar, b)
            monkeypatch.setattr(Giving, "_busy", busy)
            monkeypatch.setattr("hausd.policy.uploads.Uploads.ask", lambda *_, **__: False)
            ((cid, data),) = leaves(1).items()
            liar.room.held[cid] = data
            with pytest.raises(Exception, match=str(cid)):
                await b.get(ROOM, cid, len(data), liar.host.peer_id, deadline_s=2)
        assert not knocks
        assert isinstance(cid, CID)
