"""Whole nodes without programs: rooms over a network in memory, and a worker that says a script."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal, TypeVar

import msgspec
import pytest
import trio
from support.eventchain import EventChain
from support.follower import comparable
from support.memorystore import MemoryStore
from support.store import LIMITS
from support.swarm import Node, Swarm

from hausd.blocks.store import Store, open_store
from hausd.core.cid import CID
from hausd.core.gating import Epoch, EpochKey, Withheld
from hausd.core.ids import RoomId
from hausd.core.live import FileRange, Flow, Media, Sealed
from hausd.core.manifest import Manifest, decode_record, verify
from hausd.core.media import LEAF_BYTES, Kind
from hausd.core.publishing import Publisher
from hausd.core.storage import SegmentKey
from hausd.rooms.followed_room import FollowedRoom
from hausd.rooms.keyring import MemoryKeyring
from hausd.rooms.manager import Rooms
from hausd.rooms.origin_room import OriginRoom
from hausd.rooms.records import RoomRecord, encode
from hausd.rooms.room import Room, RoomParts, RoomSettings
from hausd.wire.flv import Tag
from hausd.wire.fmp4 import Sample, fragment
from hausd.wire.hls_live import live_media_playlist
from hausd.wire.worker import (
    FromWorker,
    ImageMade,
    PartMade,
    RunEnded,
    RunStarted,
    TrackStarted,
    TrackStopped,
    WorkerConfig,
)

T = TypeVar("T")
TIMESCALES = {"source": 90_000, "720p": 90_000, "audio": 48_000}
GOP_S, PART_S, PARTS_A_GOP, GOPS_A_SEGMENT = 2.0, 0.4, 5, 5
SIZES = [99, 5_000, LEAF_BYTES, LEAF_BYTES * 2 + 1]


class Wall:
    """Wall time that goes as the virtual clock does."""

    def now_ms(self) -> int:
        return 1_800_000_000_000 + round(trio.current_time() * 1000) % 10**10


class MemoryRecords:
    """Room files that outlive a node's end, kept as the bytes that a disk would hold. The disk may
    be ``full``, or let go of nothing (``fails_to_delete``)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.full = self.fails_to_delete = False

    def load(self) -> tuple[list[RoomRecord], list[str]]:
        return [msgspec.json.decode(one, type=RoomRecord) for one in self.files.values()], []

    def save(self, record: RoomRecord) -> None:
        self.write(RoomId(record.id), encode(record))

    def write(self, room: RoomId, encoded: bytes) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.files[room] = encoded

    def delete(self, room: RoomId) -> None:
        if self.fails_to_delete:
            raise OSError(errno.EIO, "Input/output error")
        self.files.pop(room, None)


class Worker:
    """Says what it is told to say."""

    pid = 4711

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.say, self._said = trio.open_memory_channel[tuple[FromWorker, bytes]](10_000)

    async def send(self, tags: Sequence[Tag]) -> None:
        pass

    async def finish(self) -> None:
        self.say.close()

    async def messages(self) -> AsyncIterator[tuple[FromWorker, bytes]]:
        async for one in self._said:
            yield one


class ScriptedWorkers:
    def __init__(self) -> None:
        self.newest: Worker | None = None
        self._came = trio.Event()

    @asynccontextmanager
    async def start(self, config: WorkerConfig) -> AsyncIterator[Worker]:
        self.newest = Worker(config)
        self._came.set()
        yield self.newest

    async def worker(self) -> Worker:
        await self._came.wait()
        self._came = trio.Event()
        assert self.newest is not None
        return self.newest


class TicketKeyring(MemoryKeyring):
    """Has a key from ``holder``, where there is one: as who holds a ticket would."""

    def __init__(self) -> None:
        super().__init__()
        self.holder: MemoryKeyring | None = None
        self.asked = 0

    async def ask(self, room: RoomId, epoch: Epoch) -> EpochKey | Withheld:
        self.asked += 1
        if self.holder is None:
            return Withheld("no-ticket", "the wallet has no ticket for this event")
        found = self.holder.get(room, epoch.id)
        if found is not None:
            await self.keep(room, epoch, found)
        return await super().ask(room, epoch)


@dataclass
class Home:
    """What of a node outlives its process. ``folder``: its store is a real one, there."""

    store: MemoryStore | Store = field(default_factory=MemoryStore)
    folder: Path | None = None
    records: MemoryRecords = field(default_factory=MemoryRecords)
    keyring: TicketKeyring = field(default_factory=TicketKeyring)


class Peer:
    """A running node."""

    def __init__(self, node: Node, rooms: Rooms, home: Home, workers: ScriptedWorkers) -> None:
        self.node = node
        self.rooms = rooms
        self.home = home
        self.workers = workers

    def room(self, id_: str) -> Room:
        return self.rooms.find(id_)

    def followed(self, id_: str) -> FollowedRoom:
        found = self.rooms.find(id_)
        assert isinstance(found, FollowedRoom)
        return found

    async def bytes_of(self, media: Media) -> bytes:
        if isinstance(media.body, FileRange):
            found = await self.home.store.read_range(media.body)
            assert found is not None
            return found
        clear = await media.body.open() if isinstance(media.body, Sealed) else media.body
        assert not isinstance(clear, Withheld), clear
        return b"".join(await clear.whole() if isinstance(clear, Flow) else clear)


async def _at_once(function: Callable[..., T], *args: object, **how: object) -> T:
    await trio.lowlevel.checkpoint()
    return function(*args)


SETTINGS = RoomSettings(
    worker=WorkerConfig(),
    reconnect_s=20.0,
    live_target_s=2,
    live_window_s=20.0,
    archive_target_s=10,
    epoch_s=60.0,
)


class Stage:
    """Nodes by name, under a virtual clock. ``kill`` leaves a node no time to end anything.

    A virtual clock does not wait for threads: what would be done in one is done at once.
    """

    def __init__(
        self, seed: int = 0, folder: Path | None = None, chain: EventChain | None = None
    ) -> None:
        self.random = Random(seed)
        self.chain = chain
        self._folder = folder
        self._homes: dict[str, Home] = {}
        self._stacks: dict[str, trio.CancelScope] = {}

    async def __aenter__(self) -> Stage:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(trio.to_thread, "run_sync", _at_once)
        self._patch.setattr(trio.from_thread, "run_sync", lambda function, *args: function(*args))
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self.swarm = Swarm(self._nursery, self.random)
        return self

    async def __aexit__(self, *fault: object) -> None:
        self._nursery.cancel_scope.cancel()
        try:
            await self._manager.__aexit__(*fault)  # type: ignore[arg-type] # as it came
        finally:
            self._patch.undo()

    async def node(self, name: str) -> Peer:
        """Starts a node, with what it kept if it ran before."""
        folder = self._folder / name if self._folder is not None else None
        home = self._homes.setdefault(name, Home(folder=folder))
        node = self.swarm.nodes.get(name) or self.swarm.node(name)  # type: ignore[call-overload]
        workers = ScriptedWorkers()
        rooms = await self._nursery.start(self._run, name, node, home, workers)
        return Peer(node, rooms, home, workers)

    def kill(self, name: str) -> None:
        """Ends a node at once: nothing is brought to an end."""
        self._stacks[name].cancel()

    async def _run(
        self,
        name: str,
        node: Node,
        home: Home,
        workers: ScriptedWorkers,
        *,
        task_status: trio.TaskStatus[Rooms],
    ) -> None:
        with trio.CancelScope() as scope:
            self._stacks[name] = scope
            async with AsyncExitStack() as stack:
                opened: list[Rooms] = []
                if home.folder is not None:
                    home.store = await stack.enter_async_context(
                        open_store(home.folder, LIMITS, clock=Wall(), evicted=_tell(opened))
                    )
                rooms = Rooms(
                    RoomParts(
                        settings=SETTINGS,
                        workers=workers,
                        store=home.store,
                        records=home.records,  # type: ignore[arg-type] # the same, in memory
                        clock=Wall(),
                        random_bytes=self.random.randbytes,
                        network=node,
                        chain=self.chain,
                        keyring=home.keyring,
                    )
                )
                opened.append(rooms)
                await stack.enter_async_context(killed_rooms(rooms))
                node.rooms = rooms
                task_status.started(rooms)
                try:
                    await trio.sleep_forever()
                finally:
                    node.rooms = None


def _tell(opened: list[Rooms]) -> Callable[[Sequence[SegmentKey]], None]:
    def evicted(keys: Sequence[SegmentKey]) -> None:
        for rooms in opened:
            rooms.evicted(keys)

    return evicted


@asynccontextmanager
async def killed_rooms(rooms: Rooms) -> AsyncIterator[None]:
    """Rooms that are not stopped when the scope around them is cancelled: as ``kill -9`` does."""
    async with rooms.open():
        try:
            yield
        finally:
            rooms._rooms.clear()


class Show:
    """A publisher's stay in an origin's room, by script."""

    def __init__(self, stage: Stage, peer: Peer, room: str, names: Sequence[str]) -> None:
        self._stage = stage
        self._peer = peer
        self._room = peer.room(room)
        self._names = list(names)
        self._gop = self._at = 0
        self._run = 0
        self._shed: set[str] = set()
        self._late: dict[str, list[tuple[PartMade, bytes]]] = {}
        self.said: list[tuple[str, bytes]] = []
        """Every part that the worker made, by rendition."""
        self.made: dict[tuple[str, int, int, int], bytes] = {}
        """The same by rendition, run, GOP and place in that."""
        self.fragments = False
        """Whether parts are fragments of MP4, as a real worker's, or just bytes."""

    @asynccontextmanager
    async def on(self) -> AsyncIterator[Show]:
        assert isinstance(self._room, OriginRoom)
        async with self._room.publish(Publisher("192.0.2.1", "rtmp", "script")):
            worker = await self._peer.workers.worker()
            self._say = worker.say
            self._run = worker.config.first_run - 1
            self.begin_run()
            yield self
            with suppress(trio.ClosedResourceError):  # the room let the encoder go
                self._say.send_nowait((RunEnded(self._run), b""))

    def begin_run(self, late: Sequence[str] = ()) -> None:
        """A new run: what follows begins with a discontinuity.

        Nothing is heard of the encoders of ``late`` before they ``catch_up``."""
        self._run += 1
        self._gop = self._at = 0
        self._late = {name: [] for name in late}
        self._tell(RunStarted(self._run, "start", 434))
        for name in self._names:
            if name not in late:
                self._start(name)

    def catch_up(self, name: str) -> None:
        """An encoder that was late begins, and tells at once all that it has made."""
        self._start(name)
        for made, data in self._late.pop(name):
            self._tell(made, data)

    def shed(self, name: str) -> None:
        self._shed.add(name)
        self._tell(TrackStopped(name, self._run, "too slow"))

    def bring_back(self, name: str) -> None:
        self._shed.discard(name)
        self._start(name)

    def depict(self, use: Literal["poster", "storyboard"], at_s: int, jpeg: bytes) -> None:
        """The worker made an image of the run's second ``at_s``."""
        made = ImageMade(use, self._run, at_s * 1000, 5000, 5, 5, 25, 160, 90)
        self._tell(made, jpeg)

    async def play(self, gops: int) -> None:
        """So many GOPs, in the time that they last."""
        await self.parts(gops * PARTS_A_GOP)

    async def parts(self, count: int) -> None:
        """So many parts of every rendition."""
        for _ in range(count):
            await trio.sleep(PART_S)
            ends = self._at == PARTS_A_GOP - 1
            for name in reversed(self._names):  # the first closes the tick
                if name not in self._shed:
                    self._part(name, self._at, ends)
            self._at = (self._at + 1) % PARTS_A_GOP
            self._gop += ends

    def _part(self, name: str, part: int, ends: bool) -> None:
        scale = TIMESCALES[name]
        start = round((self._gop * GOP_S + part * PART_S) * scale)
        made = PartMade(
            name,
            self._run,
            self._gop,
            self._gop // GOPS_A_SEGMENT,
            start,
            round(PART_S * scale),
            part == 0,
            ends,
        )
        data = self._stage.random.randbytes(self._stage.random.choice(SIZES))
        if self.fragments:
            data = fragment(1, [Sample(start, start, made.duration, part == 0, data)])
        self.said.append((name, data))
        self.made[name, self._run, self._gop, part] = data
        if name in self._late:
            self._late[name].append((made, data))
        else:
            self._tell(made, data)

    def _start(self, name: str) -> None:
        kind = Kind.AUDIO if name == "audio" else Kind.VIDEO
        started = TrackStarted(name, self._run, kind, "avc1.64001f", TIMESCALES[name], 1_000_000)
        self._tell(started, f"init of {name} in run {self._run}".encode())

    def _tell(self, message: FromWorker, body: bytes = b"") -> None:
        self._say.send_nowait((message, body))


async def same_live(origin: Peer, follower: Peer, room: str, *, late: bool = False) -> None:
    """Playlists and media of the live edge are the same here and there.

    ``late``: the follower joined in the middle, so that bit rates are those it was told last.
    """
    ours, theirs = origin.room(room), follower.room(room)
    assert set(theirs.tracks) == set(ours.tracks)
    assert theirs.state is ours.state
    if late:
        here, there = [{one.rendition for one in room.variants()} for room in (theirs, ours)]
        assert here == there
    else:
        assert theirs.variants() == ours.variants()
    for name, track in ours.tracks.items():
        other = theirs.tracks[name]
        assert comparable(other.playlist()) == comparable(track.playlist())
        assert live_media_playlist(other.playlist()) == live_media_playlist(track.playlist())
    await same_media(origin, follower, room)


async def same_media(origin: Peer, follower: Peer, room: str) -> int:
    """What the follower lists is byte for byte the origin's; how many pieces were compared."""
    compared = 0
    for name, track in follower.room(room).tracks.items():
        reference = origin.room(room).tracks[name]
        for segment in track.playlist().segments:
            counter = segment.session.counter
            pairs = [
                (track.part(counter, segment.msn, at), reference.part(counter, segment.msn, at))
                for at in range(len(segment.parts))
                if not segment.parts[at].gap
            ]
            pairs.append(
                (track.segment(counter, segment.msn), reference.segment(counter, segment.msn))
            )
            pairs.append((track.init(counter, segment.run), reference.init(counter, segment.run)))
            for theirs, ours in pairs:
                if theirs is None or ours is None:
                    continue
                assert theirs.cid == ours.cid
                assert await follower.bytes_of(theirs) == await origin.bytes_of(ours)
                compared += 1
    return compared


async def same_archive(origin: Peer, follower: Peer, room: str) -> None:
    """The same segments, under the same CIDs, in the same playlists, byte for byte."""
    ours, theirs = origin.room(room), follower.room(room)
    assert theirs.archive_variants() == ours.archive_variants()
    assert theirs.record.manifest == ours.record.manifest
    for variant in ours.archive_variants():
        name = variant.rendition.name
        reference, playlist = ours.archive(name), theirs.archive(name)
        assert reference is not None
        assert playlist is not None
        assert playlist.segments == reference.segments
        assert playlist.ended == reference.ended
        for segment in playlist.segments:
            for cid in (segment.cid, segment.init):
                here, there = theirs.archive_media(name, cid), ours.archive_media(name, cid)
                assert here is not None
                assert there is not None
                assert await follower.bytes_of(here) == await origin.bytes_of(there)
    if ours.record.manifest:
        counts = await verify(CID.parse(theirs.record.manifest), follower.home.store.block)
        assert sum(counts.values()) > 0
    here, there = [await peer.home.store.segments(ours.id) for peer in (follower, origin)]
    assert [(one.key, one.size, one.record) for one in here] == [
        (one.key, one.size, one.record) for one in there
    ]
    assert await rebuilt(follower, room) == await rebuilt(origin, room)


async def rebuilt(peer: Peer, room: str) -> str:
    """The manifest's CID, made anew of what the store holds."""
    tree = Manifest(RoomId(room), peer.room(room).state)
    stored = await peer.home.store.segments(RoomId(room))
    records = [decode_record(one.record) for one in stored]
    records.sort(key=lambda record: (record.segment.number, record.rendition.name))
    tree.append(*records)
    return str(tree.cid)
