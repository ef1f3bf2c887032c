"""Peers that speak our protocols and lie: honest followers miss nothing, and nothing grows."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import psutil
import pytest
import trio
from support.liar import Lie, busy_with, liar, none_but_near, silence, truth, wrong_bytes
from support.sharing import sharing
from test_p2p_exchange import ROOM, leaves, meet

from hausd.core.following import Priority
from hausd.core.keys import SigningKey
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import PeerAddress, PeerStream, StreamBroken, peer_id_of
from hausd.p2p.exchange.lines import MAX_DIALLING
from hausd.rooms.follower import PART_DEADLINE_S
from hausd.wire.blocks_protocol import PROTOCOL as BLOCKS
from hausd.wire.room_protocol import PROTOCOL as ROOM_PROTOCOL


def memory() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("priority", list(Priority))
async def test_who_asks_and_never_reads_is_not_listened_to(priority: Priority) -> None:
    async with sharing("a", ROOM, origin=True) as a, liar("liar", ROOM, a.host) as one:
        a.room.held.update(leaves(4))
        wanted = [*leaves(60, 100), *a.room.held]
        before = tasks()
        async with trio.open_nursery() as nursery:
            flood = [await one.flood_wants(nursery, a.host, wanted, priority) for _ in range(4)]
            await trio.sleep(2)
            sent = [each.sent for each in flood]
            await trio.sleep(2)
            assert [each.sent for each in flood] == sent, "its answers would fill our memory"
            assert max(sent) < 2_000_000
            assert [each.over for each in flood] == [True, True, False, False], "two will do"
            assert tasks() - before < 1000
            nursery.cancel_scope.cancel()
        async with sharing("b", ROOM) as b:
            with trio.fail_after(15):
                await meet(b, a)
                ((cid, data),) = leaves(1).items()
                a.room.held[cid] = data
                assert await b.get(ROOM, cid, LEAF_BYTES, a.host.peer_id) == data


@asynccontextmanager
async def tarpit() -> AsyncIterator[int]:
    """A port of this machine that takes connections and never says a word."""

    async def taken(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, taken, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def invented(port: int) -> Callable[[], list[PeerAddress]]:
    """Each time four peers that nobody has heard of, all of them in a tarpit."""

    def four() -> list[PeerAddress]:
        ids = [peer_id_of(SigningKey(os.urandom(32)).public) for _ in range(4)]
        return [PeerAddress(each, (f"/ip4/127.0.0.1/tcp/{port}",) * 4) for each in ids]

    return four


LIES: dict[str, Callable[[int], Lie]] = {
    "silence": lambda port: silence,
    "wrong bytes": lambda port: wrong_bytes,
    "nothing, but near": lambda port: none_but_near,
    "false busy": lambda port: busy_with(invented(port)),
}


@pytest.mark.parametrize("good_at_first", [False, True])
@pytest.mark.parametrize("kind", list(LIES))
async def test_followers_that_a_liar_told_first_miss_nothing(
    kind: str, good_at_first: bool
) -> None:
    async with (
        tarpit() as port,
        sharing("a", ROOM, origin=True) as a,
        sharing("b", ROOM) as b,
        sharing("c", ROOM) as c,
        liar("liar", ROOM, b.host, c.host) as one,
    ):
        with trio.fail_after(90):
            await meet(b, a)
            await meet(c, a)
            before, most_tasks, lines = tasks(), 0, 0
            for number in range(50):
                if number == (20 if good_at_first else 0):
                    one.lie, one.asked = LIES[kind](port), []
                elif number == 0:
                    one.lie = truth(a.room.held)
                ((cid, data),) = leaves(1, 20_000).items()
                a.room.held[cid] = data
                async with trio.open_nursery() as nursery:
                    for honest in (b, c):
                        fetch = partial(honest.get, deadline_s=PART_DEADLINE_S)
                        nursery.start_soon(fetch, ROOM, cid, 20_000, one.host.peer_id)
                most_tasks = max(most_tasks, tasks() - before)
                lines = max(lines, *(len(each.exchange._asking._lines) for each in (b, c)))
                await trio.sleep(0.05)
        assert len(b.room.held) == len(c.room.held) == 50
        assert one.asked, "it was believed at first"
        assert len(one.asked) < 30, "and not for long"
        assert lines <= 2 + MAX_DIALLING
        assert most_tasks < 250


async def test_who_boasts_of_what_it_gives_takes_one_slot_and_no_follower() -> None:
    async with (
        sharing("a", ROOM, origin=True, copies=3) as a,
        sharing("b", ROOM) as b,
        sharing("c", ROOM) as c,
        sharing("d", ROOM) as d,
        liar("liar", ROOM, a.host) as one,
    ):
        with trio.fail_after(60):
            followers = (b, c, d)
            for each in followers:
                await meet(each, a)
            for _ in range(60):
                ((cid, data),) = leaves(1, 20_000).items()
                a.room.held[cid] = data
                await one.take_slot(a.host, cid)
                async with trio.open_nursery() as nursery:
                    for each in followers:
                        fetch = partial(each.get, deadline_s=PART_DEADLINE_S)
                        nursery.start_soon(fetch, ROOM, cid, 20_000, a.host.peer_id)
                await trio.sleep(0.05)
        assert [len(each.room.held) for each in followers] == [60] * 3
        assert a.exchange.place(ROOM).copies == 3


async def test_two_thousand_streams_of_one_peer_take_little() -> None:
    async with sharing("a", ROOM, origin=True) as a, liar("liar", ROOM, a.host) as one:
        before, memory_before = tasks(), memory()
        most = 0
        opened: list[PeerStream] = []
        with trio.fail_after(60):
            for number in range(2000):
                protocol = (BLOCKS, ROOM_PROTOCOL)[number % 2]
                with suppress(StreamBroken):
                    opened.append(await one.host.open_stream(a.host.peer_id, protocol))
                    with suppress(StreamBroken):
                        await opened[-1].send_all(b"\0")
                most = max(most, tasks() - before)
        assert most < 100
        assert memory() - memory_before < 40_000_000
        async with sharing("b", ROOM) as b:
            with trio.fail_after(15):
                await meet(b, a)
                ((cid, data),) = leaves(1).items()
                a.room.held[cid] = data
                assert await b.get(ROOM, cid, LEAF_BYTES, a.host.peer_id) == data
