"""Peers that speak our protocols and do not keep to them: a host of our own stack, without manners.

``liar`` is connected to whom it lies to; what it says on each protocol is for the test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from support.hosts import host

from hausd.core.cid import CID
from hausd.core.ids import RoomId
from hausd.core.peers import (
    MAX_HOPS,
    Gives,
    Multiaddr,
    PeerAddress,
    PeerStream,
    StreamBroken,
    Verdict,
)
from hausd.p2p import Host
from hausd.p2p.exchange.exchange import segments_topic
from hausd.p2p.pubsub import Topic
from hausd.wire.blocks_protocol import PROTOCOL as BLOCKS
from hausd.wire.blocks_protocol import BlocksAnswerer, Priority, Want, Wanted
from hausd.wire.frames import frame

BOASTS = Gives(60_000, 60_000, 60_000)
Lie = Callable[[BlocksAnswerer, Wanted, int], Iterable[bytes | memoryview]]
"""What is written for one block that was asked for; nothing is to be silent."""


def silence(answerer: BlocksAnswerer, wanted: Wanted, index: int) -> list[bytes]:
    """Never answers."""
    return []


def truth(held: dict[CID, bytes]) -> Lie:
    """What an honest relay answers that has all of this."""

    def told(answerer: BlocksAnswerer, wanted: Wanted, index: int) -> list[bytes | memoryview]:
        return list(answerer.block(wanted.id, index, held[wanted.want.cids[index]], 0))

    return told


def wrong_bytes(answerer: BlocksAnswerer, wanted: Wanted, index: int) -> list[bytes | memoryview]:
    """Bytes that are not the block's."""
    return list(answerer.block(wanted.id, index, b"\0" * 1000, 0))


def none_but_near(answerer: BlocksAnswerer, wanted: Wanted, index: int) -> list[bytes]:
    """Says that it has nothing, and that it is next to the origin."""
    return [answerer.none(wanted.id, index, 0)]


def busy_with(peers: Callable[[], list[PeerAddress]]) -> Lie:
    """Always busy, and sends others to these."""

    def lie(answerer: BlocksAnswerer, wanted: Wanted, index: int) -> list[bytes]:
        return [answerer.busy(wanted.id, [index], peers())]

    return lie


@dataclass
class Liar:
    host: Host
    room: RoomId
    topic: Topic
    lie: Lie = silence
    asked: list[CID] = field(default_factory=list)
    _line: PeerStream | None = None
    _number: int = 0

    async def serve(self, stream: PeerStream) -> None:
        answerer = BlocksAnswerer()
        while data := await stream.receive_some():
            for request in answerer.feed(data):
                if isinstance(request, Wanted):
                    for index, cid in enumerate(request.want.cids):
                        self.asked.append(cid)
                        for piece in self.lie(answerer, request, index):
                            await stream.send_all(piece)

    async def take_slot(self, of: Host, cid: CID) -> None:
        """Asks for a block as a follower does that could serve thousands; passes nothing on."""
        if self._line is None:
            self._line = await self.host.open_stream(of.peer_id, BLOCKS)
        want = Want(self.room, (cid,), 1000, MAX_HOPS, Priority.LIVE, BOASTS)
        await self._line.send_all(want_bytes(self._number, want))
        self._number += 1
        await self._line.receive_some()

    async def flood_wants(
        self, nursery: trio.Nursery, of: Host, cids: list[CID], priority: Priority
    ) -> Flood:
        """Asks for blocks on a new stream, over and over, and never reads an answer."""
        flood = Flood(await self.host.open_stream(of.peer_id, BLOCKS))
        want = Want(self.room, tuple(cids), 0, MAX_HOPS, priority)
        nursery.start_soon(flood.run, want)
        return flood


@dataclass
class Flood:
    """``sent``: bytes that it got rid of; ``over``: it was let go."""

    stream: PeerStream
    sent: int = 0
    over: bool = False

    async def run(self, want: Want) -> None:
        number = 0
        try:
            while True:
                data = want_bytes(number, want)
                await self.stream.send_all(data)
                self.sent += len(data)
                number += 1
                if number % 3 == 0:
                    await trio.sleep(0.02)  # so that never too much is open
        except StreamBroken:
            self.over = True


def want_bytes(number: int, want: Want) -> bytes:
    """A want, whatever is open already."""
    gives = [want.gives.slots, want.gives.free, want.gives.taken]
    cids = b"".join(map(bytes, want.cids))
    head: list[object] = ["want", number, want.room, int(want.priority), want.wait_ms]
    return frame([*head, want.hops, gives, cids])


@asynccontextmanager
async def liar(
    name: str, room: RoomId, *victims: Host | Multiaddr, lie: Lie = silence
) -> AsyncIterator[Liar]:
    """Takes part in the room's topic, connected to its victims."""

    def judge(peer: object, data: bytes) -> Verdict:
        return Verdict.ACCEPT

    async with host(name) as own, own.topic(segments_topic(room), judge) as topic:
        one = Liar(own, room, topic, lie)
        own.handle(BLOCKS, one.serve)
        for victim in victims:
            address = victim.addresses[0] if isinstance(victim, Host) else victim
            peer = await own.connect(address)
            while peer not in topic.peers():
                await trio.sleep(0.01)
        yield one
