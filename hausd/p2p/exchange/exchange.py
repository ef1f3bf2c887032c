"""The exchange as a whole: what ``rooms`` knows of the network of nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

from hausd.core.cid import CID
from hausd.core.following import Ask, Place, Priority, Told
from hausd.core.ids import RoomId
from hausd.core.peers import MAX_HOPS, Heard, PeerId, Validator
from hausd.p2p.exchange.asking import Asking
from hausd.p2p.exchange.giving import Giving
from hausd.p2p.exchange.ports import Shared, UploadSettings
from hausd.p2p.exchange.syncing import Syncing
from hausd.p2p.host import Host
from hausd.p2p.pubsub import Topic
from hausd.wire.blocks_protocol import PROTOCOL as BLOCKS
from hausd.wire.cards import TOPIC as EVENTS
from hausd.wire.room_protocol import PROTOCOL as ROOM


def segments_topic(room: RoomId) -> str:
    """Where a room's announcements are heard."""
    return f"/haus/1/room/{room}/segments"


class Exchange:
    """Implements ``rooms.ports.Network`` and ``Events``."""

    def __init__(self, host: Host, asking: Asking, giving: Giving, syncing: Syncing) -> None:
        self._host = host
        self._asking = asking
        self._giving = giving
        self._syncing = syncing
        self._topics: dict[RoomId, Topic] = {}

    @property
    def uploads(self) -> Giving:
        """Which other protocols ask when they may upload."""
        return self._giving

    # -- rooms.ports.Network --

    @asynccontextmanager
    async def join(self, room: RoomId, validator: Validator) -> AsyncIterator[RoomTopic]:
        """See ``rooms.ports.Announcements``."""
        async with self._host.topic(segments_topic(room), validator) as topic:
            self._topics[room] = topic
            try:
                async with self._asking.follow(room, topic.peers):
                    yield RoomTopic(topic)
            finally:
                del self._topics[room]
                self._giving.close(room)

    @asynccontextmanager
    async def join_events(self, validator: Validator) -> AsyncIterator[RoomTopic]:
        """See ``rooms.ports.Events``."""
        async with self._host.topic(EVENTS, validator, retains=True) as topic:
            yield RoomTopic(topic)

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
        """See ``rooms.ports.Leaves``."""
        return await self._asking.fetch(
            room, cid, max_bytes, told_by=told_by, deadline_s=deadline_s, priority=priority
        )

    async def ask(self, room: RoomId, ask: Ask) -> Told | None:
        """See ``rooms.ports.RoomSync``."""
        return await self._syncing.ask(room, ask)

    async def card(self, peer: PeerId, room: RoomId) -> bytes | None:
        """A room's card as a connected peer gives it, unverified."""
        return await self._syncing.card(peer, room)

    def place(self, room: RoomId) -> Place:
        """See ``rooms.ports.Network``."""
        hops = self._asking.hops(room)
        return Place(
            hops=hops if hops != MAX_HOPS else None,
            parent=self._asking.parent(room),
            copies=self._giving.copies(room),
            neighbours=len(self.neighbours(room)),
            below=self._giving.below(room),
            free=self._giving.free(room),
        )

    def neighbours(self, room: RoomId) -> list[PeerId]:
        """Connected peers that take part in the room."""
        topic = self._topics.get(room)
        return topic.peers() if topic is not None else []


class RoomTopic:
    """Implements ``rooms.ports.Topic``."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic

    def publish(self, message: bytes) -> None:
        """Hands a message of our own to the neighbours; never waits."""
        self._topic.publish(message)

    def heard(self) -> AsyncIterator[Heard]:
        """Messages that the validator accepted."""
        return self._topic


@asynccontextmanager
async def open_exchange(
    host: Host, shared: Shared, settings: UploadSettings
) -> AsyncIterator[Exchange]:
    """Asks and gives until the context is left."""
    giving = Giving(host, shared, settings)
    async with Asking(host, giving.gives).open() as asking, trio.open_nursery() as nursery:
        giving.asking = asking
        exchange: Exchange

        def neighbours(room: RoomId) -> Iterable[PeerId]:
            return exchange.neighbours(room)

        syncing = Syncing(host, shared, asking.hops, asking.neighbour, neighbours)
        exchange = Exchange(host, asking, giving, syncing)
        host.handle(BLOCKS, giving.serve)
        host.handle(ROOM, syncing.serve)
        nursery.start_soon(giving.line.run)
        yield exchange
        nursery.cancel_scope.cancel()
