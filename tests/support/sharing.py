"""Nodes that share a room's leaves, as far as the network between them sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from support.hosts import host

from hausd.core.cid import CID
from hausd.core.following import Ask, Priority, Told
from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.core.peers import PeerId, Verdict
from hausd.p2p import Host
from hausd.p2p.exchange import Exchange, UploadSettings, open_exchange


@dataclass
class LeafRoom:
    """A room that is nothing but leaves. ``lies``: leaves of other bytes than their CIDs say."""

    is_origin: bool = True
    premium: bool = False
    most_bytes_per_s: float | None = None
    copy_bytes_per_s: float = 100_000.0
    state: RoomState = RoomState.LIVE
    told: Told = field(default_factory=Told)
    card: bytes | None = None
    held: dict[CID, bytes] = field(default_factory=dict)
    coming: dict[CID, trio.Event] = field(default_factory=dict)
    asked: list[Ask] = field(default_factory=list)

    def tell(self, ask: Ask) -> Told:
        self.asked.append(ask)
        return self.told

    def add(self, cid: CID, data: bytes) -> None:
        self.held[cid] = data
        event = self.coming.pop(cid, None)
        if event is not None:
            event.set()

    async def leaf(self, cid: CID, *, may_wait: bool) -> bytes | memoryview | None:
        await trio.lowlevel.checkpoint()
        if cid not in self.held and may_wait:
            await self.coming.setdefault(cid, trio.Event()).wait()
        return self.held.get(cid)


@dataclass
class Peer:
    """A node with one room."""

    host: Host
    exchange: Exchange
    room: LeafRoom
    heard: list[tuple[PeerId, bytes]] = field(default_factory=list)

    async def get(
        self, room: RoomId, cid: CID, size: int, told_by: PeerId | None, deadline_s: float = 10
    ) -> bytes:
        """Fetches a leaf and keeps it, as a follower does."""
        data = await self.exchange.fetch(
            room,
            cid,
            size,
            told_by=told_by,
            deadline_s=trio.current_time() + deadline_s,
            priority=Priority.LIVE,
        )
        self.room.add(cid, data)
        return data


class _Shared:
    def __init__(self, room: RoomId, leaves: LeafRoom) -> None:
        self._rooms = {room: leaves}

    def shared(self, room: RoomId) -> LeafRoom | None:
        return self._rooms.get(room)


@asynccontextmanager
async def sharing(
    name: str, room: RoomId, *, origin: bool = False, copies: float = 3.0
) -> AsyncIterator[Peer]:
    """A node that takes part in a room, on loopback."""
    leaves = LeafRoom(is_origin=origin)
    async with (
        host(name) as own,
        open_exchange(own, _Shared(room, leaves), UploadSettings(copies=copies)) as exchange,
        exchange.join(room, lambda peer, data: Verdict.ACCEPT) as topic,
        trio.open_nursery() as nursery,
    ):
        peer = Peer(own, exchange, leaves)

        async def listen() -> None:
            async for heard in topic.heard():
                peer.heard.append((heard.peer, heard.data))

        nursery.start_soon(listen)
        yield peer
        nursery.cancel_scope.cancel()
