"""The node as its operator sees and steers it: what the admin socket asks for.

Implements ``admin.ports.NodeControl`` over rooms, store, workers and configuration.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog
import trio

from hausd import __version__
from hausd.admin.ports import ExportFormat
from hausd.blocks.errors import explain
from hausd.blocks.pinning import TooManyPins
from hausd.blocks.pins import BadTarget
from hausd.blocks.store import Store
from hausd.config import Changes, ConfigError, Loaded, compare
from hausd.config.home import Home
from hausd.config.show import shown_config
from hausd.core.cid import CID, CIDError
from hausd.core.errors import Problem
from hausd.core.ids import RoomId, is_room_id, parse_room_id
from hausd.core.live import RoomState
from hausd.core.shapes import (
    CardShape,
    CheckShape,
    DiskShape,
    ExportShape,
    GcShape,
    OptionShape,
    PeerShape,
    PinShape,
    ReloadShape,
    RemotePinShape,
    RoomShape,
    StatusShape,
    VerifyShape,
    WatchShape,
)
from hausd.events import NodeChain
from hausd.exporting import export_room
from hausd.keys.operating import KeysOperator
from hausd.network import NodeNetwork
from hausd.policy.depth import Depth
from hausd.presence import Presence
from hausd.remote import RemotePins
from hausd.retrieval import Retrieval
from hausd.rooms.directory import Directory
from hausd.rooms.manager import Rooms
from hausd.telemetry.process import ProcessProbe
from hausd.telemetry.progress import Progress

log = structlog.get_logger("hausd.node")


@dataclass(slots=True)
class Control:
    """What the node is made of, for its operator. ``apply`` takes over reloadable options."""

    home: Home
    loaded: Loaded
    rooms_of: Rooms
    store: Store
    read_config: Callable[[], Loaded]
    apply: Callable[[Changes], None] = lambda changes: None
    rtmp: str | None = None
    http: str | None = None
    network: NodeNetwork | None = None
    directory: Directory | None = None
    retrieval: Retrieval | None = None
    remote: RemotePins | None = None
    presence: Presence | None = None
    chain: NodeChain | None = None
    keys: KeysOperator | None = None
    repaired: list[str] = field(default_factory=list)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _started_at_s: float = field(default_factory=trio.current_time)
    """Beside ``started``, since clocks are set."""
    _probe: ProcessProbe = field(default_factory=ProcessProbe)

    async def status(self) -> StatusShape:
        return self.snapshot()

    def snapshot(self) -> StatusShape:
        """The node at this moment."""
        facts = self._probe.look()
        rooms = self.rooms_of.list()
        live = [room for room in rooms if room.state is RoomState.LIVE]
        workers = [room.worker for room in rooms if room.worker is not None]
        return StatusShape(
            version=__version__,
            home=str(self.home.path),
            pid=os.getpid(),
            started=self.started,
            uptime_s=trio.current_time() - self._started_at_s,
            rtmp=self.rtmp,
            http=self.http,
            peer=self.network.address if self.network is not None else None,
            peers=len(self.network.host.peers()) if self.network is not None else 0,
            dht_peers=self.presence.peers if self.presence is not None else 0,
            chain=self.chain.status() if self.chain is not None else None,
            cpu_percent=facts.cpu_percent,
            memory_bytes=facts.memory_bytes,
            open_files=facts.open_files,
            tasks=facts.tasks,
            rooms=len(rooms),
            rooms_live=len(live),
            viewers=sum(room.viewers for room in rooms),
            bitrate_in=sum(room.publisher.bitrate_in for room in rooms if room.publisher),
            bitrate_out=sum(room.bitrate_out for room in rooms),
            store=self.store.usage(),
            sandbox=sorted({hold for worker in workers for hold in worker.sandbox}),
            sandbox_missing=sorted({miss for worker in workers for miss in worker.sandbox_missing}),
            repaired=self.repaired,
            keys_given_unchecked=self.keys.given_unchecked if self.keys is not None else 0,
        )

    # -- rooms --

    async def rooms(self) -> Sequence[RoomShape]:
        return [room.model_copy(update={"stream_key": None}) for room in self.rooms_of.list()]

    async def room(self, room: RoomId) -> RoomShape:
        shape = self.rooms_of.shape(room)
        if self.presence is None:
            return shape
        published = self.presence.shape(self.rooms_of.find(room))
        return shape.model_copy(update={"published": published})

    async def create_room(self, title: str, *, gated: bool = False) -> RoomShape:
        with self._on_disk("the room was not created"):
            made = await self.rooms_of.create(title, gated=gated)
        if self.loaded.config.store.pin_own:
            with self._on_disk(f"the room {made.id} was created, but could not be pinned"):
                await self.store.pins.add(made.id, _quiet)
        return made

    async def free_room(
        self, room: RoomId, first_s: int | None, rendition: str | None, finalized: bool | None
    ) -> RoomShape:
        with self._on_disk("it holds till the node stops, for it could not be written down"):
            await self.rooms_of.origin(room).choose_free(first_s, rendition, finalized)
        return await self.room(room)

    async def close_room(self, room: RoomId) -> RoomShape:
        with self._on_disk("the room is closed, but that could not be written down yet"):
            return await self.rooms_of.close(room)

    @contextmanager
    def _on_disk(self, outcome: str) -> Iterator[None]:
        """What the disk refuses is told to who asked for it; ``outcome`` says what that means."""
        try:
            yield
        except OSError as fault:
            why = explain(fault, str(self.home.path))
            log.error("not-kept", outcome=outcome, because=why)
            raise Problem("disk", f"{outcome}: {why}", "mend the disk, try again", 507) from fault

    async def follow_room(self, room: RoomId, peer: str, last_s: float | None) -> RoomShape:
        if peer:
            await self._network().connect(peer)
        with self._on_disk("the room is not followed"):
            shape = await self.rooms_of.follow(room, last_ms=round((last_s or 0) * 1000))
        if peer or self.presence is None or self.presence.off or await self.presence.seek(room):
            return shape
        self.rooms_of.find(room).notice(
            "nobody-found", "No node that has this room is found yet. Looking goes on."
        )
        return self.rooms_of.shape(room)

    async def watch_room(self, room: RoomId) -> WatchShape:
        urls = self.rooms_of.urls
        if urls.key is None:
            self.rooms_of.find(room)  # nothing else can be watched without a network
        return urls.watch(room)

    async def unfollow_room(self, room: RoomId) -> RoomShape:
        with self._on_disk("the room is followed still"):
            return await self.rooms_of.unfollow(room)

    # -- other nodes --

    async def peers(self) -> Sequence[PeerShape]:
        return self.network.peers() if self.network is not None else []

    async def cards(self, search: str) -> Sequence[CardShape]:
        if self.directory is None:
            return []
        found = self.directory.cards(search)
        if not found and self.presence is not None and is_room_id(search):
            await self.presence.find_card(RoomId(search))
            found = self.directory.cards(search)
        return found

    async def connect_peer(self, address: str) -> PeerShape:
        return await self._network().connect(address)

    async def ban_peer(self, peer: str, for_s: float) -> None:
        self._network().ban(peer, for_s)

    def _network(self) -> NodeNetwork:
        if self.network is None:
            raise Problem(
                "no-network",
                "this node takes part in no network",
                hint="set p2p.listen, and start it again",
                status=409,
            )
        return self.network

    async def export_room(
        self, room: RoomId, form: ExportFormat, path: Path | None, progress: Progress
    ) -> ExportShape:
        found = self.rooms_of.find(room)
        return await export_room(found, self.store, form, path, progress)

    # -- pins and store --

    async def pins(self) -> Sequence[PinShape]:
        here = self.store.pins.shapes()
        return self.remote.beside(here) if self.remote is not None else here

    async def push_pin(self, room: RoomId, to: str) -> Sequence[RemotePinShape]:
        return await self._remote().push(room, to)

    async def remove_remote_pin(self, target: str, from_: str) -> None:
        self._remote().remove(target, from_)

    def _remote(self) -> RemotePins:
        if self.remote is None:
            raise Problem("not-yet", "the node is starting", "try again in a moment", 503)
        return self.remote

    async def add_pin(self, target: str, last_s: float | None, until: datetime | None) -> PinShape:
        until_ms = round(until.timestamp() * 1000) if until is not None else None
        if until is not None and until <= datetime.now(UTC):
            raise Problem("bad-depth", "the pin would end at once", "name a later date", 422)
        depth = Depth(round(last_s * 1000) if last_s is not None else None, until_ms)
        try:
            with self._on_disk("nothing was pinned"):
                return await self.store.pins.add(self._target(target), _quiet, depth)
        except BadTarget as fault:
            raise Problem("bad-target", str(fault), status=422) from fault
        except TooManyPins as fault:
            raise Problem("too-many-pins", str(fault), status=409) from fault

    async def remove_pin(self, target: str) -> None:
        with self._on_disk("nothing was unpinned"):
            removed = await self.store.pins.remove(self._target(target))
        if not removed:
            raise Problem(
                "not-found",
                f"{target[:80]!r} is not pinned",
                hint="`hausctl pins list` shows what is",
                status=404,
            )

    def _target(self, untrusted: str) -> str:
        """A CID or a whole room id as it is, a room here also by the beginning of its id."""
        try:
            return str(CID.parse(untrusted))
        except CIDError:
            with suppress(ValueError):  # pinned before it is followed, say
                return parse_room_id(untrusted)
            return self.rooms_of.find(untrusted).id

    async def verify_pins(self, progress: Progress) -> VerifyShape:
        found, _ = await self.store.pins.verify(_reversed(progress))
        return found

    async def store_usage(self) -> DiskShape:
        return self.store.usage()

    async def store_verify(self, progress: Progress) -> VerifyShape:
        return await self.store.verify(_reversed(progress))

    async def store_gc(self, progress: Progress) -> GcShape:
        return await self.store.gc(_reversed(progress))

    # -- configuration --

    async def config(self) -> Sequence[OptionShape]:
        return shown_config(self.loaded.config, self.loaded.set_by)

    async def reload_config(self) -> ReloadShape:
        try:
            fresh = await trio.to_thread.run_sync(self.read_config)
        except ConfigError as error:
            faults = "; ".join(str(fault) for fault in error.faults)
            raise Problem("bad-config", f"nothing was changed: {faults}", status=422) from error
        changes = compare(self.loaded.config, fresh.config)
        self.apply(changes)
        self.loaded = Loaded(changes.effective, fresh.file, fresh.set_by)
        return ReloadShape(applied=list(changes.applied), needs_restart=list(changes.needs_restart))

    # -- doctor --

    async def doctor(self) -> Sequence[CheckShape]:
        found = [self._check_sandbox(self.snapshot()), self._check_rooms()]
        if self.retrieval is not None:
            found += self.retrieval.checks()
        if self.remote is not None:
            found += await self.remote.checks()
        if self.keys is not None:
            found.append(self.keys.check())
        if self.chain is not None:
            found += await self.chain.checks()
        return found

    def _check_sandbox(self, status: StatusShape) -> CheckShape:
        if status.sandbox_missing:
            return CheckShape(
                name="sandbox",
                state="warn",
                found="not in force: " + ", ".join(status.sandbox_missing),
                mend="a newer kernel with Landlock and seccomp, and libseccomp installed",
            )
        held = ", ".join(status.sandbox) or "no stream runs, so nothing to look at"
        return CheckShape(name="sandbox", state="ok", found=held)

    def _check_rooms(self) -> CheckShape:
        stopped = [
            room
            for room in self.rooms_of.list()
            if room.recording is not None and room.recording.stopped_because
        ]
        if not stopped:
            return CheckShape(name="recordings", state="ok", found="none had to stop")
        first = stopped[0].recording
        assert first is not None  # filtered above
        return CheckShape(
            name="recordings",
            state="fail",
            found=f"{len(stopped)} stopped: {first.stopped_because}",
            mend="free some space or raise store.quota; recording goes on by itself",
        )


def _quiet(what: str, done: int, total: int) -> None:
    """Pinning a room is done at once."""


def _reversed(progress: Progress) -> Callable[[str, int, int], None]:
    """The store names its work first, the operator's bar last."""

    def tell(what: str, done: int, total: int) -> None:
        progress(done, total, what)

    return tell
