"""A DHT of our own hosts on real sockets: what one tells, others find, also when many have died."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from support.hosts import host, seed_of

from hausd.core.cid import CID
from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, peer_id_of
from hausd.p2p import Host
from hausd.p2p.kad import Dht, DhtMode, open_dht
from hausd.wire import ipns

BLOCK = CID.of(b"a block")
NAME = SigningKey(seed_of("name"))
YEAR_3000_NS = 32_503_680_000 * 10**9


@dataclass
class Node:
    """A host and its DHT, in a task of their own until ``die``."""

    host: Host
    dht: Dht
    scope: trio.CancelScope
    over: trio.Event

    async def die(self) -> None:
        self.scope.cancel()
        await self.over.wait()


async def until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    with trio.fail_after(seconds):
        while not holds():
            await trio.sleep(0.02)


async def run(name: str, mode: DhtMode, task_status: trio.TaskStatus[Node]) -> None:
    over = trio.Event()
    try:
        with trio.CancelScope() as scope:
            async with (
                host(name, keep_peers=0) as one,
                open_dht(one, mode, rng=random.Random(name)) as dht,
            ):
                task_status.started(Node(one, dht, scope, over))
                await trio.sleep_forever()
    finally:
        over.set()


@asynccontextmanager
async def nodes(count: int, mode: DhtMode = DhtMode.AUTO) -> AsyncIterator[list[Node]]:
    async with trio.open_nursery() as nursery:
        yield [await nursery.start(run, f"node-{number}", mode) for number in range(count)]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def ring(count: int) -> AsyncIterator[list[Node]]:
    """Each knows the next alone; the rest they learn by lookups."""
    async with nodes(count) as made:
        for one, after in zip(made, [*made[1:], made[0]], strict=True):
            await one.host.connect(after.host.addresses[0])
        await until(lambda: all(one.dht.peers >= min(8, count - 1) for one in made))
        yield made


async def found(one: Node, cid: CID, seconds: float = 10.0) -> set[PeerId]:
    there = await one.dht.find(cid, 20, deadline_s=trio.current_time() + seconds)
    return {each.peer for each in there}


async def test_providers_and_names_are_found_after_some_died() -> None:
    async with ring(24) as made:
        made[3].dht.provide(BLOCK)
        made[11].dht.provide(BLOCK)
        record = ipns.sign(NAME, "/ipfs/" + str(BLOCK), 7, YEAR_3000_NS)
        name = peer_id_of(NAME.public)
        made[3].dht.publish(name, record)
        await until(lambda: made[3].dht.held(BLOCK) and made[11].dht.held(BLOCK))
        await until(lambda: made[3].dht.held(name))
        held = made[3].dht.held(BLOCK)
        assert held is not None
        assert held.peers >= 15
        both = {made[3].host.peer_id, made[11].host.peer_id}
        assert await found(made[20], BLOCK) == both
        for dying in (0, 1, 2, 5, 6, 7, 8, 13):
            await made[dying].die()
        for one in (made[4], made[20]):
            assert await found(one, BLOCK) == both
            told = await one.dht.resolve(name, deadline_s=trio.current_time() + 10)
            assert told is not None
            assert (told.path, told.sequence) == (record.path, 7)
        assert await found(made[4], CID.of(b"nobody has this")) == set()
