"""A room as one node runs it, whatever its role: recording, state, and what others may know of it.

``run`` is the task that owns a room; what it does depends on the role (``OriginRoom``,
``FollowedRoom``). HTTP and admin only read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.clock import Clock
from hausd.core.events import RoomEvent
from hausd.core.following import Ask, Place, Told
from hausd.core.freeing import Freed
from hausd.core.gating import EpochId, Withheld
from hausd.core.ids import RoomId
from hausd.core.live import ArchivePlaylist, Media, RoomState, Variant
from hausd.core.manifest import SegmentRecord
from hausd.core.media import Kind
from hausd.core.peers import PeerAddress
from hausd.core.shapes import NoticeShape
from hausd.core.storage import RoomRating, SegmentKey
from hausd.policy.roles import NO_RELAYING, RelayTerms
from hausd.rooms.archive import Archive
from hausd.rooms.audience import RoomAudience
from hausd.rooms.gops import Workload
from hausd.rooms.images import JPEG, Images
from hausd.rooms.keyring import MemoryKeyring
from hausd.rooms.leaftable import LeafTable
from hausd.rooms.live import LiveTrack
from hausd.rooms.metrics import CODES, NOTICES
from hausd.rooms.opened import Opened
from hausd.rooms.opening import Opener
from hausd.rooms.ports import BlockStore, Chain, Keyring, MediaWorkers, Network
from hausd.rooms.recorder import Recorder
from hausd.rooms.records import RoomRecord, RoomRecords, encode
from hausd.rooms.turns import Turns
from hausd.wire.leafseal import ObjectClass, rendition_use
from hausd.wire.worker import WorkerConfig

log = structlog.get_logger("hausd.rooms")

_NOTICES = 50
_SAVE_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """What of the configuration rooms need. Seconds are wall time."""

    worker: WorkerConfig
    reconnect_s: float
    live_target_s: int
    live_window_s: float
    archive_target_s: int
    epoch_s: float = 600.0
    relay: RelayTerms = NO_RELAYING
    """What is done for rooms of others unasked, and which go before others."""


@dataclass(slots=True)
class RoomParts:
    """What every room is given: the node's adapters, clock and source of randomness.

    ``settings`` may be replaced while rooms run; a room's next worker and session follow them.
    ``network`` is None where the node takes part in none, ``chain`` where it knows none.
    ``keyring`` has the keys of gated rooms; ``opened`` what of them was opened last.
    """

    settings: RoomSettings
    workers: MediaWorkers
    store: BlockStore
    records: RoomRecords
    clock: Clock
    random_bytes: Callable[[int], bytes]
    network: Network | None = None
    chain: Chain | None = None
    workload: Workload = field(default_factory=Workload)
    turns: Turns = field(default_factory=Turns)
    keyring: Keyring = field(default_factory=MemoryKeyring)
    opened: Opened = field(default_factory=Opened)
    key_holders: tuple[PeerAddress, ...] = ()
    """This node and others that give the keys of its gated rooms."""


class Room(ABC):
    """Implements ``http.ports.RoomView``. Only the room's own task changes it."""

    def __init__(self, record: RoomRecord, parts: RoomParts) -> None:
        self.record = record
        self.id = RoomId(record.id)
        self.archive_of = Archive(target_s=parts.settings.archive_target_s)
        self.audience = RoomAudience()
        self.images = Images()
        self.notices: deque[NoticeShape] = deque(maxlen=_NOTICES)
        self.leaves = LeafTable(parts.store)
        self.opener = Opener(self.id, parts.store, parts.keyring, parts.opened)
        self.free = self.opener.free
        self.recorder = Recorder(
            self.id,
            parts.store,
            on_recorded=self._recorded,
            on_stopped=self._recording_stopped,
            on_resumed=self._recording_resumed,
        )
        self._parts = parts
        self._changed = trio.Event()
        self._unsaved = trio.Event()
        self._saving = trio.Lock()
        self._save_failed = False
        self._stopping = False
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        if record.state in (RoomState.LIVE, RoomState.WAITING):
            record.state = RoomState.WAITING
        self._rate()
        self.archive_of.ended = record.state in (RoomState.ENDED, RoomState.CLOSED)

    # -- the owning task --

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns the room until cancelled; ``stop`` first, so that nothing is lost."""
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                nursery.start_soon(self.recorder.run)
                nursery.start_soon(self._keep_saving)
                self._begin(nursery)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._over.set()

    @abstractmethod
    def _begin(self, nursery: trio.Nursery) -> None:
        """Starts what the role needs, in the room's own nursery."""

    async def leave(self) -> None:
        """Ends ``run`` and waits for that; ``stop`` comes first."""
        self._scope.cancel()
        await self._over.wait()

    @abstractmethod
    async def stop(self) -> None:
        """Brings what was received to an end, for the node is stopping."""

    # -- for other nodes --

    @abstractmethod
    def tell(self, ask: Ask) -> Told:
        """What this node knows of the room that the asker does not."""

    # -- the recording --

    def restore(self, records: Sequence[SegmentRecord]) -> None:
        """Takes up the segments that the store holds from earlier on, by their numbers."""
        for record in records:
            self.archive_of.add(record.rendition, record.segment)

    @property
    def missing_segments(self) -> int:
        """Segments of the recording that are known of and not here yet."""
        return 0

    def evicted(self, key: SegmentKey) -> None:
        """The store holds a segment no more."""
        self.archive_of.drop(key)

    @abstractmethod
    def _recorded(self, record: SegmentRecord) -> None:
        """A segment is closed on disk."""

    def _recording_stopped(self, reason: str) -> None:
        self.notice("recording-stopped", f"The recording stopped: {reason}. The stream goes on.")

    def _recording_resumed(self) -> None:
        self.notice("recording-resumed", "The recording goes on.")

    def take_freed(self, root: CID, freed: Freed) -> None:
        """The list of free keys that a verified head links to, or that was made here."""
        if freed.room == self.id:
            self.free.list(freed)
            self._touch()

    def finished(self, directory: CID, manifest: str) -> None:
        """The room as of this manifest was made into a directory."""
        self.record.directory, self.record.directory_of = str(directory), manifest
        self._save()

    # -- state --

    def notice(self, code: str, text: str) -> None:
        """Tells artist and operator something, once where it repeats at once."""
        NOTICES.labels(CODES.label(code)).inc()
        time = datetime.fromtimestamp(self._parts.clock.now_ms() / 1000, UTC)
        self.notices.append(NoticeShape(time=time, code=code, text=text))
        log.warning("notice", room=self.id, code=code, text=text)

    def _set_state(self, state: RoomState) -> None:
        log.info("room-state", room=self.id, state=state.value, was=self.record.state.value)
        self.record.state = state
        self._rate()
        self._touch()

    def _rate(self) -> None:
        """Tells the store what the room is worth keeping."""
        self._parts.store.rate(self.id, RoomRating(state=self.record.state, own=True))

    def _save(self) -> None:
        """Has the room's file written soon."""
        self._unsaved.set()

    async def kept(self) -> None:
        """The room's file is as the room is when this returns. Raises OSError."""
        await self._save_now(strict=True)

    async def _keep_saving(self) -> None:
        while True:
            await self._unsaved.wait()
            self._unsaved = trio.Event()
            while await self._write_record() is not None:
                await trio.sleep(_SAVE_AGAIN_S)

    async def _save_now(self, *, strict: bool = False) -> None:
        """``strict``: raises OSError where it can't be saved."""
        self._save()
        failure = await self._write_record()
        if strict and failure is not None:
            raise failure

    async def _write_record(self) -> OSError | None:
        """A full disk is no reason to end a live stream: what can't be saved is tried again."""
        encoded = encode(self.record)
        async with self._saving:
            try:
                await trio.to_thread.run_sync(self._parts.records.write, self.id, encoded)
            except OSError as fault:
                if not self._save_failed:
                    log.error("room-not-saved", room=self.id, error=fault.strerror)
                self._save_failed = True
                return fault
            self._save_failed = False
            return None

    def _touch(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    @property
    def rate_bps(self) -> int:
        """All renditions together, measured; 0 while nothing is live."""
        return sum(track.average_bps() for track in self.tracks.values() if track.active)

    @property
    def most_bytes_per_s(self) -> float | None:
        """What may be sent of it to other nodes; None where only the node's budget bounds it."""
        return None

    @property
    def premium(self) -> bool:
        """Whether it goes before others here."""
        event = self.event
        if event is not None and event.premium:
            return True
        return self.id in self._parts.settings.relay.premium

    @property
    def event(self) -> RoomEvent | None:
        """Its event, as the chain had it lately; None for an open room, and where none was read."""
        chain = self._parts.chain
        return chain.known(self.id) if chain is not None else None

    @property
    def doubt(self) -> str:
        """Why ``event`` may be wrong by now, in words; empty where it is not."""
        chain = self._parts.chain
        return chain.doubt(self.id) if chain is not None else ""

    @property
    def sought(self) -> CID | None:
        """The manifest of a recording of which nothing could be read yet."""
        return None

    @property
    def gated(self) -> bool:
        """Whether watching takes a ticket: what is streamed is sealed, answers are for one.

        So it is as soon as anything of the room is sealed, whoever says otherwise.
        """
        event = self.event
        seen = self.record.sealed or self.archive_of.sealed or self.images.sealed
        return bool(self.record.gated) or seen or (event is not None and event.gated)

    def _seal_seen(self) -> None:
        if not self.record.sealed:
            self.record.sealed = True
            self._save()

    def withheld(self) -> Withheld | None:
        """Why what is live can't be watched here: its key is not; None where it can."""
        return None

    @property
    def epoch_in_force(self) -> EpochId | None:
        """What is live now is sealed in this; None where nothing is."""
        return None

    def free_now(self) -> frozenset[str]:
        """The renditions whose live edge is for everybody, in a gated room."""
        epoch = self.epoch_in_force
        if epoch is None:
            return frozenset()
        return frozenset(
            name for name in self.tracks if self.free.opens(epoch, rendition_use(name))
        )

    @property
    def place(self) -> Place | None:
        """Where this node stands among those that have the room; None without a network."""
        network = self._parts.network
        return network.place(self.id) if network is not None else None

    # -- http.ports.RoomView --

    @property
    def title(self) -> str:
        return self.record.title

    @property
    def state(self) -> RoomState:
        return self.record.state

    @property
    @abstractmethod
    def tracks(self) -> Mapping[str, LiveTrack]:
        """The live edge of each rendition."""

    @abstractmethod
    def variants(self) -> Sequence[Variant]:
        """The renditions that can be played now; videos from best to least, then audio."""

    def live(self, rendition: str) -> LiveTrack | None:
        return self.tracks.get(rendition)

    def archive_opened(self) -> bool:
        return False

    def archive_variants(self) -> Sequence[Variant]:
        return self.archive_of.variants()

    def archive(self, rendition: str) -> ArchivePlaylist | None:
        return self.archive_of.playlist(rendition)

    def archive_media(self, rendition: str, cid: CID) -> Media | None:
        found = self.archive_of.find(rendition, cid)
        playlist = self.archive_of.playlist(rendition)
        if found is None or playlist is None:
            return None
        place = self._parts.store.locate(cid)
        if place is None:
            return None
        kind = "video/mp4" if playlist.rendition.kind is Kind.VIDEO else "audio/mp4"
        if found.seal is None:
            return Media(cid, kind, place.length, place)
        if found.cid == cid:
            return self.opener.segment(kind, rendition, found, place)
        return self.opener.object(cid, kind, ObjectClass.INIT, found.seal.init, place)

    def poster(self) -> Media | None:
        poster, seal = self.images.poster, self.images.poster_seal
        if poster is None or seal is None or not isinstance(poster.body, tuple):
            return poster
        body = b"".join(poster.body)
        return self.opener.object(poster.cid, JPEG, ObjectClass.POSTER, seal, body)

    def storyboard(self) -> str | None:
        return self.images.storyboard()

    def sprite(self, name: str) -> Media | None:
        found = self.images.sprite(name)
        place = self._parts.store.locate(found.cid) if found is not None else None
        if found is None or place is None:
            return None
        if found.seal is not None:
            return self.opener.object(found.cid, JPEG, ObjectClass.STORYBOARD, found.seal, place)
        return Media(found.cid, JPEG, place.length, place)

    async def changed(self) -> None:
        await self._changed.wait()
