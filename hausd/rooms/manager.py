"""All rooms of a node: who may publish where, and what is there to be watched."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import msgspec
import structlog
import trio

from hausd.core.beat import beat
from hausd.core.errors import Problem
from hausd.core.events import RoomEvent
from hausd.core.ids import RoomId, parse_room_id
from hausd.core.keys import SigningKey, open_room_authority
from hausd.core.live import RoomState
from hausd.core.publishing import FeedOver, Publisher, Refused
from hausd.core.shapes import RoomShape
from hausd.core.storage import LEFT, SegmentKey
from hausd.rooms.followed_room import FollowedRoom
from hausd.rooms.metrics import ROOMS, VIEWERS
from hausd.rooms.origin_room import OriginRoom
from hausd.rooms.records import Role, RoomRecord, authority_of, names_other, take_authority
from hausd.rooms.reload import reload_archive, reload_freed, reload_pictures
from hausd.rooms.room import Room, RoomParts
from hausd.rooms.shape import Urls, room_shape
from hausd.rooms.shown import ShownRoom
from hausd.rooms.stint import Stint

log = structlog.get_logger("hausd.rooms")

MAX_ROOMS = 1_000
_MAX_TITLE = 200
_KEY_BYTES = 18
_LOOK_S = 5.0
"""How often it is seen to that rooms are left which nobody wants any more."""


class Rooms:
    """Implements ``ingest.ports.Publishing``, ``http.ports.Catalog`` and ``Audience``."""

    def __init__(self, parts: RoomParts) -> None:
        self._parts = parts
        self._rooms: dict[RoomId, Room] = {}
        self._shown: dict[RoomId, ShownRoom] = {}
        self._urls = Urls("", "")
        self._nursery: trio.Nursery | None = None
        self._following = trio.Lock()
        self._left: dict[RoomId, RoomRecord] = {}
        """Rooms that are not taken part in, and of which something is in the store."""
        self._untidy = False
        """Whether the disk refused to let go of something of them."""
        self.repaired: list[str] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Rooms]:
        """Loads the rooms and runs them. On leaving, each is brought to an end, then stopped.

        Raises RecordIsNewer.
        """
        records, faults = self._parts.records.load()
        known = {record.id for record in records}
        faults += [
            f"recordings of room {room} are in the store, but no file of that room in rooms/: "
            "put it back from a backup, or let them go with hausctl pins remove"
            for room in self._parts.store.rooms()
            if room not in known
        ]
        for fault in faults:
            log.error("room-not-loaded", fault=fault)
        self.repaired.extend(faults)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for record in records:
                if record.role is Role.FOLLOWER and not record.followed:
                    self._put_away(record)
                else:
                    await self._add(record)
            await self._tidy()
            nursery.start_soon(self._leave_unwanted)
            try:
                yield self
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(15):
                    async with trio.open_nursery() as stopping:
                        for room in self._rooms.values():
                            stopping.start_soon(room.stop)
                nursery.cancel_scope.cancel()

    @property
    def urls(self) -> Urls:
        """Where the node is reached."""
        return self._urls

    def reached_at(self, urls: Urls) -> None:
        """Where the node is reached, known once its ports are bound."""
        self._urls = urls
        self._shown = {room.id: ShownRoom(room, urls) for room in self._rooms.values()}

    # -- the operator --

    async def create(
        self,
        untrusted_title: str,
        *,
        event: RoomId | None = None,
        chain: bytes = b"",
        gated: bool = False,
    ) -> RoomShape:
        """A new room with a key of its own: an open one, or that of an event which names the key.

        ``chain`` is the genesis hash of the event's chain, on which it need not be yet; whether
        it is gated, the chain says. ``gated``: a room without an event is. Raises Problem.
        """
        title = " ".join(untrusted_title.split())
        if not title or len(title) > _MAX_TITLE or not title.isprintable():
            raise Problem(
                "bad-title", f"a title has 1 to {_MAX_TITLE} printable characters", status=422
            )
        if len(self._rooms) >= MAX_ROOMS:
            raise Problem("too-many-rooms", f"a node has at most {MAX_ROOMS} rooms", status=409)
        if event in self._rooms:
            raise Problem("room-exists", f"this node has room {event} already", status=409)
        seed = self._parts.random_bytes(32)
        public = SigningKey(seed).public
        record = RoomRecord(
            role=Role.ORIGIN,
            id=event or public.open_room,
            authority=public.raw if event is not None else b"",
            chain=chain,
            gated=gated if event is None else None,
            title=title,
            created_ms=self._parts.clock.now_ms(),
            seed=seed,
            stream_key="sk_" + self._parts.random_bytes(_KEY_BYTES).hex(),
        )
        self._parts.records.save(record)
        await self._add(record)
        log.info("room-created", room=record.id, title=title)
        return self.shape(record.id)

    def list(self) -> list[RoomShape]:
        """Every room with what only the operator sees, newest first."""
        newest = sorted(self._rooms.values(), key=lambda room: -room.record.created_ms)
        return [room_shape(room, self._urls, private=True) for room in newest]

    def shape(self, untrusted_room: str) -> RoomShape:
        """One room with what only the operator sees. Raises Problem."""
        return room_shape(self.find(untrusted_room), self._urls, private=True)

    async def close(self, untrusted_room: str) -> RoomShape:
        """Ends a room for good. Raises Problem."""
        room = self.origin(untrusted_room)
        await room.close()
        return self.shape(room.id)

    def origin(self, untrusted_room: str) -> OriginRoom:
        """A room that is made here. Raises Problem."""
        room = self.find(untrusted_room)
        if not isinstance(room, OriginRoom):
            raise Problem(
                "not-yours",
                "this room is followed, and only its origin can close or change it",
                hint=f"`hausctl rooms unfollow {room.id}` leaves it",
                status=409,
            )
        return room

    async def follow(self, untrusted_room: str, title: str = "", last_ms: int = 0) -> RoomShape:
        """Begins to follow another node's room, and goes on after restarts. Raises Problem.

        ``last_ms``: of its recording, only the newest so much is fetched; 0 for all.
        """
        room = await self.join(untrusted_room, title, followed=True, last_ms=last_ms)
        if isinstance(room, FollowedRoom):
            room.keep(followed=True, last_ms=last_ms)
        return self.shape(room.id)

    async def join(
        self, untrusted_room: str, title: str = "", *, followed: bool = False, last_ms: int = 0
    ) -> Room:
        """Takes part in another node's room, while somebody watches or until it is unfollowed.

        Gives the room that is there where there is one. Raises Problem.
        """
        try:
            id_ = parse_room_id(untrusted_room)
        except ValueError as fault:
            raise Problem("bad-room", str(fault), status=422) from None
        if self._parts.network is None:
            raise Problem(
                "no-network", "this node takes part in no network", "set p2p.listen", status=409
            )
        async with self._following:
            known = self._rooms.get(id_)
            if known is not None:
                return known
            if len(self._rooms) >= MAX_ROOMS:
                raise Problem("too-many-rooms", f"a node has at most {MAX_ROOMS} rooms", status=409)
            left = self._left.get(id_)
            record = RoomRecord(
                role=Role.FOLLOWER, id=id_, title=title, created_ms=self._parts.clock.now_ms()
            )
            if left is not None:  # a copy: it stays as it is on disk where that takes nothing
                record = msgspec.structs.replace(left)
            record.followed, record.last_ms, record.auto = followed, last_ms, False
            await self._look_up_authority(record)
            authority_of(record)
            await trio.to_thread.run_sync(self._parts.records.save, record)
            room = await self._add(record)
            assert room is not None  # its authority is known, and so is the network
            self._left.pop(id_, None)
            log.info("room-joined", room=id_, followed=followed)
            return room

    async def event_changed(self, event: RoomEvent) -> None:
        """An event was read anew: its room follows whom it names now as its stream's signer.
        Raises OSError where that can't be written down; then it follows whom it did."""
        if not isinstance(self._rooms.get(event.room), FollowedRoom):
            return  # or it is being joined just now, by whoever has it read
        async with self._following:
            room = self._rooms.get(event.room)
            if not isinstance(room, FollowedRoom) or not names_other(room.record, event):
                return
            await room.take_authority(event)
            await room.stop()
            await room.leave()
            await self._add(room.record)
            log.info("authority-changed", room=room.id, slot=event.authority_slot)

    async def _look_up_authority(self, record: RoomRecord) -> None:
        """Asks an event's chain who signs for it; where it does not answer, what is known holds."""
        if open_room_authority(RoomId(record.id)) is not None:
            return
        chain = self._parts.chain
        if chain is None:
            if record.authority:
                return
            raise Problem(
                "no-chain",
                "this is an event's room, and this node knows no chain to look it up on",
                "set chain.listen, or chain.rpc_url to the RPC of the event's chain",
                409,
            )
        try:
            event = await chain.look_up(RoomId(record.id))
        except Problem:
            if not record.authority:
                raise
            return
        take_authority(record, event)
        record.title = record.title or event.title

    async def unfollow(self, untrusted_room: str) -> RoomShape:
        """Follows a room no more. It is left, unless somebody watches it just now; what is
        recorded of it is the first to be evicted. Raises Problem, and OSError where that can't be
        written down; then it is followed still."""
        room = self.find(untrusted_room)
        if not isinstance(room, FollowedRoom):
            raise Problem("not-followed", "this room's origin is this node", status=409)
        if room.share is not None:
            raise Problem(
                "relayed",
                "nobody follows this room: the node relays it unasked",
                "take it out of relay.allow and relay.premium, or set relay.auto=false",
                409,
            )
        last_ms = room.record.last_ms
        room.keep(followed=False)
        try:
            await room.kept()
        except OSError:
            room.keep(followed=True, last_ms=last_ms)
            raise
        if not room.audience.viewers():
            await self._leave(room)
        log.info("room-unfollowed", room=room.id)
        return room_shape(room, self._urls, private=True)

    async def _leave_unwanted(self) -> None:
        while True:
            await beat(_LOOK_S)
            for room in self.followed():
                if room.why is None:
                    await self._leave(room)
            if self._untidy:
                async with self._following:
                    await self._tidy()

    async def _leave(self, room: FollowedRoom) -> None:
        async with self._following:
            if self._rooms.get(room.id) is not room or room.record.followed:
                return  # somebody else was quicker
            await room.stop()
            del self._rooms[room.id], self._shown[room.id]
            await room.leave()
            self._put_away(room.record)
            await self._tidy()
            log.info("room-left", room=room.id)

    def _put_away(self, record: RoomRecord) -> None:
        """Keeps in mind whose the recordings are that are left of a room, as long as some are."""
        self._left[RoomId(record.id)] = record
        self._parts.store.rate(RoomId(record.id), LEFT)

    async def _tidy(self) -> None:
        """Lets go of what nobody here wanted, but for what is pinned, and of the files of rooms of
        which nothing is left. What the disk refuses is tried again."""
        store, refused = self._parts.store, False
        for id_ in [id_ for id_, record in self._left.items() if record.auto]:
            refused |= not await self._let_go(id_, partial(store.shrink, id_, 0))
        held = set(store.rooms())
        for id_ in [id_ for id_ in self._left if id_ not in held]:
            delete = partial(trio.to_thread.run_sync, self._parts.records.delete, id_)
            if not await self._let_go(id_, delete):
                refused = True
                continue
            del self._left[id_]
            store.rate(id_, None)
        self._untidy = refused

    async def _let_go(self, room: RoomId, work: Callable[[], Awaitable[None]]) -> bool:
        """Whether the disk did it; told where it is the first that it does not."""
        try:
            await work()
        except OSError as fault:
            if not self._untidy:
                log.error("room-not-put-away", room=room, error=fault.strerror)
            self._untidy = True
            return False
        return True

    def followed(self) -> Sequence[FollowedRoom]:
        """The rooms that begin elsewhere."""
        return [room for room in self._rooms.values() if isinstance(room, FollowedRoom)]

    def origins(self) -> Sequence[OriginRoom]:
        """The rooms that begin here."""
        return [room for room in self._rooms.values() if isinstance(room, OriginRoom)]

    def get(self, room: RoomId) -> Room | None:
        """A room by its id."""
        return self._rooms.get(room)

    def find(self, untrusted_room: str) -> Room:
        """A room by its id, the beginning of one, or its title, where unique. Raises Problem."""
        exact = self._rooms.get(RoomId(untrusted_room))
        if exact is not None:
            return exact
        begun = [room for room in self._rooms.values() if room.id.startswith(untrusted_room)]
        if len(untrusted_room) >= 6 and len(begun) == 1:
            return begun[0]
        titled = [room for room in self._rooms.values() if room.title == untrusted_room]
        if len(titled) == 1:
            return titled[0]
        raise Problem(
            "no-such-room",
            f"there is no room {untrusted_room[:64]!r} on this node",
            hint="`hausctl rooms list` shows the rooms",
            status=404,
        )

    # -- ingest.ports.Publishing --

    def admit(self, untrusted_key: str) -> RoomId | Refused:
        # compared as digests, so that neither the key's length nor its first letters show in time
        digest = hashlib.sha256(untrusted_key.encode("utf-8", "surrogatepass")).digest()
        found: Room | None = None
        for room in self._rooms.values():
            if not isinstance(room, OriginRoom):
                continue
            own = hashlib.sha256(room.record.stream_key.encode()).digest()
            if hmac.compare_digest(own, digest):
                found = room
        if found is None:
            return Refused(
                "bad-key", "no room has this stream key; `hausctl rooms list` shows them"
            )
        if found.event is not None and found.event.over:
            return Refused("event-over", "this room's event is over; create another one")
        if found.state is RoomState.CLOSED:
            return Refused("closed", "this room was closed; create another one")
        return found.id

    def publish(self, room: RoomId, publisher: Publisher) -> AbstractAsyncContextManager[Stint]:
        found = self._rooms[room]
        if not isinstance(found, OriginRoom):
            raise FeedOver("this room is followed, not made here")
        return found.publish(publisher)

    # -- http.ports.Catalog, Audience --

    def room(self, room: RoomId) -> ShownRoom | None:
        return self._shown.get(room)

    def rooms(self) -> Sequence[ShownRoom]:
        return list(self._shown.values())

    def served(self, room: RoomId, viewer: str, size: int) -> None:
        found = self._rooms.get(room)
        if found is not None:
            found.audience.served(viewer, size)

    def evicted(self, keys: Sequence[SegmentKey]) -> None:
        """The store holds these segments no more."""
        for key in keys:
            room = self._rooms.get(key.room)
            if room is not None:
                room.evicted(key)

    def count(self) -> None:
        """Brings the gauges up to date."""
        for state in RoomState:
            ROOMS.labels(state.value).set(sum(room.state is state for room in self._rooms.values()))
        VIEWERS.set(sum(room.audience.viewers() for room in self._rooms.values()))

    async def _add(self, record: RoomRecord) -> Room | None:
        room = self._made(record)
        if room is None:
            return None
        faults = await reload_archive(room, self._parts.store)
        self.repaired.extend(faults)
        await reload_pictures(room, self._parts.store)
        await reload_freed(room, self._parts.store)
        self._rooms[room.id] = room
        self._shown[room.id] = ShownRoom(room, self._urls)
        assert self._nursery is not None  # open() made it
        await self._nursery.start(room.run)
        return room

    def _made(self, record: RoomRecord) -> Room | None:
        """The room in its role; None where it is followed and there is no network."""
        if record.role is Role.ORIGIN:
            return OriginRoom(record, self._parts)
        network = self._parts.network
        if network is None:
            self.repaired.append(f"room {record.id} is followed, but the network is off")
            return None
        try:
            return FollowedRoom(record, self._parts, network)
        except Problem as fault:
            self.repaired.append(f"room {record.id} can't be followed: {fault.message}")
            return None
