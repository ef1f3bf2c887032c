"""Nodes pull a room's leaves from each other over real connections."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio
from prometheus_client import REGISTRY
from support.hosts import host
from support.sharing import LeafRoom, Peer, sharing

from hausd.core.cid import CID
from hausd.core.following import Ask, LeafMissing, Priority, Told
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import Copies, Verdict
from hausd.p2p import Host
from hausd.p2p.exchange import Exchange, UploadSettings, open_exchange

ROOM = RoomId(SigningKey(bytes(31) + b"\1").public.open_room)


def leaves(count: int, size: int = LEAF_BYTES) -> dict[CID, bytes]:
    made = [os.urandom(size) for _ in range(count)]
    return {CID.of(data): data for data in made}


async def meet(peer: Peer, other: Peer) -> None:
    await peer.host.connect(other.host.addresses[0])
    while other.host.peer_id not in peer.exchange.neighbours(ROOM):
        await trio.sleep(0.01)


async def test_leaves_come_from_who_announced_them_all_at_once() -> None:
    async with sharing("a", ROOM, origin=True) as a, sharing("b", ROOM) as b:
        with trio.fail_after(20):
            await meet(b, a)
            a.room.held.update(made := leaves(200))
            got: dict[CID, bytes] = {}

            async def fetch(cid: CID) -> None:
                got[cid] = await b.get(ROOM, cid, LEAF_BYTES, a.host.peer_id)

            async with trio.open_nursery() as nursery:
                for cid in made:
                    nursery.start_soon(fetch, cid)
        assert got == made
        place = b.exchange.place(ROOM)
        assert (place.parent, place.hops) == (a.host.peer_id, 1)


async def test_a_leaf_that_is_still_coming_is_waited_for_along_the_line() -> None:
    async with _line() as (a, b, c):
        with trio.fail_after(20):
            ((cid, data),) = leaves(1).items()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(b.get, ROOM, cid, LEAF_BYTES, a.host.peer_id)
                await trio.sleep(0.05)
                nursery.start_soon(c.get, ROOM, cid, LEAF_BYTES, b.host.peer_id)
                await trio.sleep(0.2)
                assert cid not in c.room.held
                a.room.add(cid, data)
        assert c.room.held[cid] == data
        assert c.exchange.place(ROOM).hops == 2


async def test_a_leaf_that_arrives_just_as_it_is_asked_for_is_never_said_to_be_missing() -> None:
    async with _line() as (a, b, c):
        with trio.fail_after(60):
            refused = _said_none()
            for number in range(400):
                ((cid, data),) = leaves(1, 1000).items()
                a.room.held[cid] = data
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(b.get, ROOM, cid, 1000, a.host.peer_id)
                    for _ in range(1 + number % 20):
                        await trio.lowlevel.checkpoint()
                    nursery.start_soon(c.get, ROOM, cid, 1000, b.host.peer_id)
            refused = _said_none() - refused
    assert refused == 0


async def test_who_hears_of_a_leaf_before_its_parent_does_waits_for_it_there() -> None:
    async with _line() as (a, b, c):
        with trio.fail_after(20):
            refused = _said_none()
            ((cid, data),) = leaves(1).items()
            a.room.held[cid] = data
            async with trio.open_nursery() as nursery:
                nursery.start_soon(c.get, ROOM, cid, LEAF_BYTES, a.host.peer_id)
                await trio.sleep(0.03)  # on its way to b, which has not heard of it
                nursery.start_soon(b.get, ROOM, cid, LEAF_BYTES, a.host.peer_id)
            refused = _said_none() - refused
            place = c.exchange.place(ROOM)
    assert (refused, place.parent, place.hops) == (0, b.host.peer_id, 2)


@asynccontextmanager
async def _line() -> AsyncIterator[tuple[Peer, Peer, Peer]]:
    """An origin and two more in a line; a leaf went down it, so each knows how far it is."""
    async with (
        sharing("a", ROOM, origin=True) as a,
        sharing("b", ROOM) as b,
        sharing("c", ROOM) as c,
    ):
        with trio.fail_after(20):
            await meet(b, a)
            await meet(c, b)
            ((cid, data),) = leaves(1).items()
            a.room.held[cid] = data
            await b.get(ROOM, cid, LEAF_BYTES, a.host.peer_id)
            await c.get(ROOM, cid, LEAF_BYTES, b.host.peer_id)
        yield a, b, c


def _said_none() -> float:
    found = REGISTRY.get_sample_value("hausd_leaves_refused_total", {"reason": "none"})
    return found or 0.0


async def test_an_origin_without_upload_to_spare_sends_followers_to_each_other() -> None:
    async with (
        sharing("a", ROOM, origin=True, copies=1) as a,
        sharing("b", ROOM) as b,
        sharing("c", ROOM) as c,
    ):
        with trio.fail_after(30):
            await meet(b, a)
            await meet(c, a)
            sent_at_first = 0
            for number in range(30):
                ((cid, data),) = leaves(1, 20_000).items()
                a.room.held[cid] = data
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(b.get, ROOM, cid, 20_000, a.host.peer_id)
                    nursery.start_soon(c.get, ROOM, cid, 20_000, a.host.peer_id)
                if number == 9:
                    sent_at_first = _sent(a)
                await trio.sleep(0.02)
            later = _sent(a) - sent_at_first
        assert len(b.room.held) == len(c.room.held) == 30, "nobody missed a leaf"
        assert a.exchange.place(ROOM).copies == 1
        assert later < 1.6 * 20 * 20_000, "the second copy comes from the other follower"


def _sent(peer: Peer) -> int:
    return sum(view.sent_bytes for view in peer.host.peers())


async def test_wrong_bytes_are_not_taken_and_their_sender_is_banned() -> None:
    async with (
        sharing("a", ROOM, origin=True) as a,
        sharing("liar", ROOM) as liar,
        sharing("b", ROOM) as b,
    ):
        with trio.fail_after(20):
            await meet(b, a)
            await meet(b, liar)
            ((cid, data),) = leaves(1).items()
            a.room.held[cid] = data
            liar.room.held[cid] = os.urandom(len(data))
            assert await b.get(ROOM, cid, LEAF_BYTES, liar.host.peer_id) == data
            while any(view.id == liar.host.peer_id for view in b.host.peers()):
                await trio.sleep(0.01)


async def test_a_leaf_that_nobody_has_is_given_up_at_its_deadline() -> None:
    async with sharing("a", ROOM, origin=True) as a, sharing("b", ROOM) as b:
        with trio.fail_after(20):
            await meet(b, a)
            (cid,) = leaves(1)
            with pytest.raises(LeafMissing):
                await b.get(ROOM, cid, LEAF_BYTES, a.host.peer_id, deadline_s=0.5)


async def test_who_joins_is_told_what_a_room_is_doing() -> None:
    async with sharing("a", ROOM, origin=True) as a, sharing("b", ROOM) as b:
        with trio.fail_after(20):
            await meet(b, a)
            assert await b.exchange.ask(ROOM, Ask(None)) == Told(by=a.host.peer_id)
            nowhere = RoomId(SigningKey(bytes(31) + b"\2").public.open_room)
            assert await b.exchange.ask(nowhere, Ask(None)) is None
            assert await b.exchange.card(a.host.peer_id, ROOM) is None
            a.room.card = b"a card"
            assert await b.exchange.card(a.host.peer_id, ROOM) == b"a card"
            assert await b.exchange.card(a.host.peer_id, nowhere) is None
            assert await b.exchange.ask(ROOM, Ask(None)) == Told(by=a.host.peer_id)


async def test_a_peer_that_hangs_up_while_it_is_served_is_nobodys_fault() -> None:
    def faults() -> float:
        metric = "hausd_swallowed_errors_total"
        samples = [each for each in REGISTRY.collect() if each.name == metric[:-6]]
        return sum(
            one.value
            for each in samples
            for one in each.samples
            if one.name == metric and one.labels["where"].startswith("p2p-")
        )

    before = faults()
    with trio.fail_after(20):
        async with sharing("a", ROOM, origin=True) as a:
            async with sharing("b", ROOM) as b:
                await meet(b, a)
                ((cid, data),) = leaves(1).items()
                a.room.held[cid] = data
                await b.get(ROOM, cid, LEAF_BYTES, a.host.peer_id)
            while a.host.peers():
                await trio.sleep(0.01)
    assert faults() == before


async def test_a_node_says_what_it_could_send_before_anybody_asks_and_within_its_share() -> None:
    async with sharing("a", ROOM, origin=True, copies=3.0) as a, sharing("b", ROOM) as b:
        assert a.exchange.place(ROOM).below == Copies(0, 3)
        assert a.exchange.place(ROOM).free == 3
        b.room.is_origin = False
        b.room.most_bytes_per_s = 2.5 * b.room.copy_bytes_per_s
        with trio.fail_after(20):
            await meet(b, a)
            ((cid, data),) = leaves(1).items()
            a.room.held[cid] = data
            await b.get(ROOM, cid, LEAF_BYTES, a.host.peer_id)
        assert b.exchange.place(ROOM).free == 2
        assert a.exchange.place(ROOM).below == Copies(taken=1, free=2 + 2)


async def test_a_premium_room_goes_first_over_the_wire_and_the_other_is_not_starved() -> None:
    first, other = ROOM, RoomId(SigningKey(bytes(31) + b"\2").public.open_room)
    budget = UploadSettings(bytes_per_s=1_000_000.0)
    made = {room: leaves(24) for room in (first, other)}
    giving = {
        room: LeafRoom(is_origin=False, premium=room == first, held=made[room]) for room in made
    }
    got = dict.fromkeys(made, 0)
    async with (
        rooms_of("a", giving, budget) as (a, _),
        rooms_of("b", {room: LeafRoom(is_origin=False) for room in made}, budget) as (b, pulling),
    ):
        with trio.fail_after(60):
            await b.connect(a.addresses[0])
            async with trio.open_nursery() as nursery:

                async def fetch(room: RoomId, cid: CID) -> None:
                    while True:
                        with suppress(LeafMissing):
                            await pulling.fetch(
                                room,
                                cid,
                                LEAF_BYTES,
                                told_by=a.peer_id,
                                deadline_s=trio.current_time() + 30,
                                priority=Priority.ARCHIVE,
                            )
                            got[room] += 1
                            break
                    if got[first] == len(made[first]):
                        nursery.cancel_scope.cancel()

                for room in (other, first):
                    for cid in made[room]:
                        nursery.start_soon(fetch, room, cid)
    assert 1 <= got[other] <= len(made[other]) * 0.6


@asynccontextmanager
async def rooms_of(
    name: str, rooms: dict[RoomId, LeafRoom], settings: UploadSettings
) -> AsyncIterator[tuple[Host, Exchange]]:
    """A node that takes part in several rooms."""

    class Rooms:
        def shared(self, room: RoomId) -> LeafRoom | None:
            return rooms.get(room)

    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(host(name))
        exchange = await stack.enter_async_context(open_exchange(own, Rooms(), settings))
        for room in rooms:
            await stack.enter_async_context(exchange.join(room, lambda peer, data: Verdict.ACCEPT))
        yield own, exchange
