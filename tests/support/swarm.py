"""A network in memory: gossip, blocks and questions between nodes, with delays, loss and lies.

It keeps the Protocols of ``rooms.ports`` and no policy: a leaf is asked of who told of it, then of
the other neighbours in turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import TypeVar

import trio

from hausd.core.cid import CID
from hausd.core.following import Ask, LeafMissing, Place, Priority, Told
from hausd.core.ids import RoomId
from hausd.core.peers import Heard, PeerId, Validator, Verdict
from hausd.rooms.manager import Rooms
from hausd.rooms.ports import Topic

T = TypeVar("T")
_HEDGE_S = 0.15
"""Who told of a block has so long before others are asked too."""
_TRY_S = 0.4
"""A neighbour that has not answered for so long is left for the next."""


@dataclass
class Link:
    """One direction between two nodes: ``jitter_s``, ``loss`` (a chance) and ``twice`` of gossip,
    ``delay_s`` of all; ``up``: the cable is plugged."""

    delay_s: float = 0.01
    jitter_s: float = 0.0
    loss: float = 0.0
    twice: float = 0.0
    up: bool = True


@dataclass
class Served:
    """What a node sent to others."""

    leaves: int = 0
    bytes: int = 0
    of: list[tuple[CID, Priority]] = field(default_factory=list)


class Swarm:
    """All nodes and the links between them. ``nursery`` owns what is under way."""

    def __init__(self, nursery: trio.Nursery, random: Random) -> None:
        self.nursery = nursery
        self.random = random
        self.nodes: dict[PeerId, Node] = {}
        self.links: dict[tuple[PeerId, PeerId], Link] = {}

    def node(self, name: str) -> Node:
        made = self.nodes[PeerId(name)] = Node(self, PeerId(name))
        return made

    def link(self, a: Node, b: Node, **how: float) -> None:
        self.links[a.id, b.id] = Link(**how)  # type: ignore[arg-type] # up is not said so
        self.links[b.id, a.id] = Link(**how)  # type: ignore[arg-type]

    @contextmanager
    def cut(self, a: Node, b: Node) -> Iterator[None]:
        """Nothing passes between two nodes for a while."""
        pair = self.links[a.id, b.id], self.links[b.id, a.id]
        for link in pair:
            link.up = False
        try:
            yield
        finally:
            for link in pair:
                link.up = True

    def neighbours(self, of: PeerId) -> list[PeerId]:
        return [b for (a, b), link in self.links.items() if a == of and link.up]

    async def pass_over(self, a: PeerId, b: PeerId, *, gossip: bool = False) -> bool:
        """The way of one message; False where it got lost."""
        link = self.links.get((a, b))
        if link is None:
            return False
        await trio.sleep(link.delay_s + self.random.random() * link.jitter_s * gossip)
        return link.up and not (gossip and self.random.random() < link.loss)


class _Topic:
    def __init__(self, node: Node, room: RoomId, validator: Validator) -> None:
        self.validator = validator
        self._node = node
        self._room = room
        self._seen: set[bytes] = set()
        self.send, self.receive = trio.open_memory_channel[Heard](256)

    def publish(self, message: bytes) -> None:
        self._node.published.append(message)
        self._seen.add(hashlib.sha256(message).digest())
        self._forward(message, None)

    async def heard(self) -> AsyncIterator[Heard]:
        async for one in self.receive:
            yield one

    def arrived(self, message: bytes, peer: PeerId) -> None:
        digest = hashlib.sha256(message).digest()
        if digest in self._seen and self._node.swarm.random.random() >= 0.05:
            return  # now and then the real thing forgets too
        self._seen.add(digest)
        verdict = self.validator(peer, message)
        self._node.verdicts[verdict] = self._node.verdicts.get(verdict, 0) + 1
        if verdict is Verdict.ACCEPT:
            self.send.send_nowait(Heard(peer, message))
            self._forward(message, peer)

    def _forward(self, message: bytes, but: PeerId | None) -> None:
        swarm = self._node.swarm
        for peer in swarm.neighbours(self._node.id):
            if peer != but:
                link = swarm.links[self._node.id, peer]
                for _ in range(1 + (swarm.random.random() < link.twice)):
                    swarm.nursery.start_soon(self._deliver, message, peer)

    async def _deliver(self, message: bytes, peer: PeerId) -> None:
        swarm = self._node.swarm
        if await swarm.pass_over(self._node.id, peer, gossip=True):
            there = swarm.nodes[peer].topics.get(self._room)
            if there is not None:
                there.arrived(message, self._node.id)


class Node:
    """One node's end of the network. Implements ``rooms.ports.Network``."""

    def __init__(self, swarm: Swarm, id_: PeerId) -> None:
        self.swarm = swarm
        self.id = id_
        self.rooms: Rooms | None = None
        self.topics: dict[RoomId, _Topic] = {}
        self.published: list[bytes] = []
        self.verdicts: dict[Verdict, int] = {}
        self.served = Served()
        self.asked: list[Ask] = []
        self.lie: Callable[[CID, bytes], bytes | None] = lambda cid, data: data
        """What it gives when it is asked for a block: None is to be silent."""
        self.lie_told: Callable[[Told], Told] = lambda told: told

    def place(self, room: RoomId) -> Place:
        return Place(hops=None, parent=None, copies=0, neighbours=len(self.topics))

    def join(self, room: RoomId, validator: Validator) -> AbstractAsyncContextManager[Topic]:
        @asynccontextmanager
        async def joined() -> AsyncIterator[Topic]:
            topic = self.topics[room] = _Topic(self, room, validator)
            try:
                yield topic
            finally:
                del self.topics[room]

        return joined()

    async def fetch(
        self,
        room: RoomId,
        cid: CID,
        max_bytes: int,
        *,
        told_by: PeerId | None,
        deadline_s: float,
        priority: Priority,
    ) -> bytes:
        answers: list[bytes] = []

        async def ask(peer: PeerId, *, may_wait: bool) -> None:
            with trio.move_on_after(2.0 if may_wait else _TRY_S):
                found = await self._ask_block(room, cid, peer, priority, may_wait=may_wait)
                if found is not None and cid.matches(found) and len(found) <= max_bytes:
                    answers.append(found)
                    nursery.cancel_scope.cancel()

        peers = self.swarm.neighbours(self.id)
        async with trio.open_nursery() as nursery:
            if told_by in peers:
                peers.remove(told_by)
                may_wait = priority is Priority.LIVE
                nursery.start_soon(partial(ask, told_by, may_wait=may_wait))
                await trio.sleep(_HEDGE_S)
            for peer in peers:
                await ask(peer, may_wait=False)
        if answers:
            return answers[0]
        raise LeafMissing(cid)

    async def _ask_block(
        self, room: RoomId, cid: CID, peer: PeerId, priority: Priority, *, may_wait: bool
    ) -> bytes | None:
        swarm = self.swarm
        there = swarm.nodes[peer]
        if not await swarm.pass_over(self.id, peer) or there.rooms is None:
            await trio.sleep_forever()
        assert there.rooms is not None
        asked = there.rooms.get(room)
        found = await asked.leaves.get(cid, may_wait=may_wait) if asked is not None else None
        if found is not None:
            given = there.lie(cid, bytes(found))
            if given is None:
                await trio.sleep_forever()
            assert given is not None
            there.served.leaves += 1
            there.served.bytes += len(given)
            there.served.of.append((cid, priority))
            found = given
        if not await swarm.pass_over(peer, self.id):
            await trio.sleep_forever()
        return bytes(found) if found is not None else None

    async def ask(self, room: RoomId, ask: Ask) -> Told | None:
        self.asked.append(ask)
        for peer in self.swarm.neighbours(self.id):
            with trio.move_on_after(_TRY_S):
                if not await self.swarm.pass_over(self.id, peer):
                    await trio.sleep_forever()
                there = self.swarm.nodes[peer]
                asked = there.rooms.get(room) if there.rooms is not None else None
                told = asked.tell(ask) if asked is not None else None
                if not await self.swarm.pass_over(peer, self.id):
                    await trio.sleep_forever()
                if told is not None:
                    told = there.lie_told(told)
                    return replace(told, by=peer)
        return None
