"""What this node says of its rooms in the DHT, and how it finds those of others there.

A room is provided once, under ``room_cid``, by every node that has something of it; a finished one
also under the root of its directory. The name of an open room is published by its origin.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
import trio

from hausd.blocks.store import Store
from hausd.core.beat import beat
from hausd.core.cid import CID
from hausd.core.clock import Clock
from hausd.core.errors import Problem
from hausd.core.ids import RoomId, room_cid
from hausd.core.keys import open_room_authority
from hausd.core.live import RoomState
from hausd.core.peers import PeerAddress, PeerId, PeerUnreachable, peer_id_of
from hausd.core.shapes import PublishedShape
from hausd.exporting import finished_directory
from hausd.p2p import Host
from hausd.p2p.exchange import Exchange
from hausd.p2p.kad import Dht
from hausd.policy.reach import Reach
from hausd.rooms import names
from hausd.rooms.directory import Directory
from hausd.rooms.followed_room import FollowedRoom
from hausd.rooms.manager import Rooms
from hausd.rooms.origin_room import OriginRoom
from hausd.rooms.room import Room
from hausd.telemetry import count_swallowed

log = structlog.get_logger("hausd.network")

SEEK_S = 10.0
"""A lookup among many nodes takes some seconds; a user waits for it."""
_LOOK_S = 2.0
_FIND = 20
_CONNECT = 4
"""So many of those that have a room are connected with: gossip needs a few."""
_CONNECT_S = 8.0
_SEEKS_AT_ONCE = 4
_FIRST_S, _LONGEST_S = 5.0, 300.0
_FAILED_S = 600.0
_MAX_TRIED = 1024


@dataclass(slots=True)
class _Seek:
    """When a room without neighbours is looked for again."""

    due_s: float = 0.0
    wait_s: float = _FIRST_S
    busy: bool = False


@dataclass(slots=True)
class _Again:
    """When what could not be published is tried again."""

    due_s: float = 0.0
    wait_s: float = _FIRST_S

    def failed(self, now_s: float) -> None:
        self.due_s = now_s + self.wait_s
        self.wait_s = min(_FAILED_S, 2 * self.wait_s)


class Presence:
    """``open`` owns the tasks."""

    def __init__(
        self,
        host: Host,
        exchange: Exchange,
        dht: Dht,
        rooms: Rooms,
        directory: Directory,
        store: Store,
        clock: Clock,
    ) -> None:
        self._host = host
        self._exchange = exchange
        self._dht = dht
        self._rooms = rooms
        self._directory = directory
        self._store = store
        self._clock = clock
        self._said: set[CID] = set()
        self._named: set[RoomId] = set()
        self._seeks: dict[RoomId, _Seek] = {}
        self._seeking = trio.CapacityLimiter(_SEEKS_AT_ONCE)
        self._tried: OrderedDict[tuple[RoomId, PeerId], float] = OrderedDict()
        self._again: dict[RoomId, _Again] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Presence]:
        """Tells and looks until the context is left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_telling)
            nursery.start_soon(self._keep_naming)
            nursery.start_soon(self._keep_seeking, nursery)
            yield self
            nursery.cancel_scope.cancel()

    @property
    def off(self) -> bool:
        """Whether this node takes no part in the DHT."""
        return self._dht.off

    @property
    def peers(self) -> int:
        """Peers in the routing tables."""
        return self._dht.peers

    # -- telling --

    def shape(self, room: Room) -> PublishedShape:
        """What the DHT was told of a room, and how many peers took it."""
        provided = self._dht.held(room_cid(room.id))
        signed = names.newest(room.record) if isinstance(room, OriginRoom) else None
        name = _name(room.id)
        held = self._dht.held(name) if name is not None else None
        return PublishedShape(
            peers=provided.peers if provided is not None else 0,
            told=_time(provided.told_ms) if provided is not None else None,
            directory=room.record.directory or None,
            name_path=signed.path if signed is not None else "",
            name_sequence=signed.sequence if signed is not None else 0,
            name_until=_time(signed.valid_until_ns // 10**6) if signed is not None else None,
            name_peers=held.peers if held is not None else 0,
        )

    async def _keep_telling(self) -> None:
        while True:
            wanted = set(self._provided())
            for cid in wanted - self._said:
                self._dht.provide(cid)
            for cid in self._said - wanted:
                self._dht.withdraw(cid)
            self._said = wanted
            await beat(_LOOK_S)

    def _provided(self) -> list[CID]:
        cids = [room_cid(room.id) for room in self._rooms.origins()]
        cids += [room_cid(room.id) for room in self._rooms.followed() if _has_some(room)]
        rooms = (*self._rooms.origins(), *self._rooms.followed())
        cids += [CID.parse(room.record.directory) for room in rooms if _is_finished(room)]
        return cids

    async def _keep_naming(self) -> None:
        """Finished rooms become directories, and their names point there."""
        while True:
            rooms = (*self._rooms.origins(), *filter(_is_kept, self._rooms.followed()))
            for gone in self._again.keys() - {room.id for room in rooms}:
                del self._again[gone]
            for room in rooms:
                again = self._again.setdefault(room.id, _Again())
                if trio.current_time() < again.due_s:
                    continue
                try:
                    await self._finish(room)
                    if isinstance(room, OriginRoom):
                        await self._point(room)
                except (Problem, OSError) as fault:
                    # a follower's recording may be on its way still
                    ours = isinstance(room, OriginRoom)
                    tell = log.warning if ours and again.wait_s == _FIRST_S else log.debug
                    tell("room-not-published", room=room.id, because=str(fault))
                    again.failed(trio.current_time())
                except Exception as fault:  # the door of a room's turn: others made what is in it
                    count_swallowed("room-publishing", fault)
                    log.exception("room-not-published", room=room.id)
                    again.failed(trio.current_time())
                else:
                    del self._again[room.id]
            await beat(_LOOK_S)

    async def _finish(self, room: Room) -> None:
        record = room.record
        finished = room.state in (RoomState.ENDED, RoomState.CLOSED)
        if not finished or not record.manifest or record.directory_of == record.manifest:
            return
        manifest = record.manifest
        made = await finished_directory(room, self._store)
        if isinstance(room, FollowedRoom) and not made.whole:
            raise Problem("incomplete", "something of the recording is not here yet")
        room.finished(made.exported.root, manifest)
        log.info("room-finished", room=room.id, directory=str(made.exported.root))

    async def _point(self, room: OriginRoom) -> None:
        name = _name(room.id)
        if name is None or not self._dht.peers or not room.record.manifest:
            return
        if room.id not in self._named:
            # a room that was put back from a backup goes on counting where the world is
            known = await self._dht.resolve(name, deadline_s=trio.current_time() + SEEK_S)
            if known is not None:
                room.name_known(known)
            self._named.add(room.id)
        signed = await room.name()
        if signed is not None:
            self._dht.publish(name, signed)

    # -- finding --

    async def seek(self, room: RoomId) -> list[PeerId]:
        """Looks for nodes that have a room, and connects with some of them: these."""
        deadline_s = trio.current_time() + SEEK_S
        found = await self._dht.find(room_cid(room), _FIND, deadline_s=deadline_s)
        found.sort(key=lambda one: self._tried.get((room, one.peer), 0.0))
        reached: list[PeerId] = []

        async def reach(one: PeerAddress) -> None:
            self._tried[room, one.peer] = trio.current_time()
            self._tried.move_to_end((room, one.peer))
            while len(self._tried) > _MAX_TRIED:
                self._tried.popitem(last=False)
            with trio.move_on_after(_CONNECT_S):
                try:
                    # the DHT has sorted out what strangers must not send us to
                    await self._host.connect_told(one, Reach.MACHINE)
                except PeerUnreachable as fault:
                    log.debug("provider-unreachable", peer=one.peer, because=str(fault))
                else:
                    reached.append(one.peer)

        async with trio.open_nursery() as nursery:
            for one in found[:_CONNECT]:
                nursery.start_soon(reach, one)
        log.info("room-sought", room=room, found=len(found), connected=len(reached))
        return reached

    async def find_card(self, room: RoomId) -> bool:
        """Has the directory know a room that some node in the DHT has; gives whether it does."""
        for peer in await self.seek(room):
            untrusted = await self._exchange.card(peer, room)
            if untrusted is not None:
                self._directory.judge(peer, untrusted)
                if self._directory.title(room) is not None:
                    return True
        return False

    async def _keep_seeking(self, nursery: trio.Nursery) -> None:
        """Followed rooms that no neighbour has are looked for, again and again."""
        while True:
            alone = {
                room.id
                for room in self._rooms.followed()
                if (room.state is not RoomState.CLOSED or room.sought or room.missing_segments)
                and not self._exchange.neighbours(room.id)
            }
            for gone in self._seeks.keys() - alone:
                del self._seeks[gone]
            for id_ in alone:
                seek = self._seeks.setdefault(id_, _Seek())
                if not seek.busy and seek.due_s <= trio.current_time() and self._dht.peers:
                    seek.busy = True
                    nursery.start_soon(self._seek, id_, seek)
            await beat(_LOOK_S)

    async def _seek(self, room: RoomId, seek: _Seek) -> None:
        try:
            async with self._seeking:
                await self.seek(room)
        finally:
            seek.busy = False
            seek.due_s = trio.current_time() + seek.wait_s
            seek.wait_s = min(_LONGEST_S, 2 * seek.wait_s)


def _has_some(room: FollowedRoom) -> bool:
    return bool(room.tracks or room.archive_of.segments)


def _is_kept(room: FollowedRoom) -> bool:
    """Whether all of a recording is here to stay, and what its origin signed: the directory that
    its origin made is made here too, for when its origin is gone."""
    record = room.record
    newest = room.newest
    return (
        record.followed
        and not record.last_ms
        and newest is not None
        and record.manifest == str(newest.manifest)
    )


def _is_finished(room: Room) -> bool:
    record = room.record
    origin = isinstance(room, OriginRoom)
    return bool(record.directory) and (origin or record.directory_of == record.manifest)


def _name(room: RoomId) -> PeerId | None:
    """The name of an open room's key."""
    key = open_room_authority(room)
    return peer_id_of(key) if key is not None else None


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
