"""What rooms need of the adapters, as Protocols. Only ``node`` knows who keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from hausd.core.cid import CID
from hausd.core.errors import WorkerCrashed as WorkerCrashed
from hausd.core.events import RoomEvent
from hausd.core.following import Ask, Place, Priority, Told
from hausd.core.gating import Epoch, EpochId, EpochKey, Withheld
from hausd.core.ids import RoomId
from hausd.core.live import FileRange
from hausd.core.peers import Heard, PeerId, Validator
from hausd.core.storage import Append as Append
from hausd.core.storage import Close as Close
from hausd.core.storage import RecordingStopped as RecordingStopped
from hausd.core.storage import RoomRating as RoomRating
from hausd.core.storage import SegmentKey as SegmentKey
from hausd.core.storage import StoredSegment, UnclosedSegment
from hausd.policy.depth import Depth
from hausd.wire.flv import Tag
from hausd.wire.worker import FromWorker, WorkerConfig


class MediaWorker(Protocol):
    """One stream's media worker."""

    @property
    def pid(self) -> int: ...

    def offer(self, tags: Sequence[Tag]) -> bool:
        """Hands tags to the worker without waiting, from any thread; False: none was taken."""

    async def send(self, tags: Sequence[Tag]) -> None:
        """Hands tags to the worker; waits while it is busy. Raises WorkerCrashed."""

    async def finish(self) -> None:
        """No more tags will come: the worker sends what it has left, and ends."""

    def messages(self) -> AsyncIterator[tuple[FromWorker, bytes]]:
        """What the worker says, until it ends. Raises WorkerCrashed."""


class MediaWorkers(Protocol):
    """Starts media workers; keeps a warm one."""

    def start(self, config: WorkerConfig) -> AbstractAsyncContextManager[MediaWorker]: ...


class RangeReader(Protocol):
    """Reads a range that was located."""

    async def fill(self, at: int, into: memoryview) -> bool:
        """Reads what begins ``at`` in the range; False where it has not so much any more.

        What is in memory is read at once, without a checkpoint. Raises OSError.
        """


class BlockStore(Protocol):
    """Where blocks lie on disk."""

    async def write(self, changes: Sequence[Append | Close]) -> list[FileRange]:
        """Writes a batch, durable against the death of the process when it returns.

        Gives for each Append where it lies, and for each Close the whole file's leaves. Raises
        RecordingStopped; then none of the batch counts as written.
        """

    async def put(self, blocks: Sequence[tuple[CID, bytes]], room: RoomId) -> None:
        """Stores small blocks (inits, manifest nodes, images) on a room's account."""

    def has(self, cid: CID) -> bool: ...

    def rooms(self) -> Sequence[RoomId]:
        """The rooms that something is stored of."""

    def locate(self, cid: CID) -> FileRange | None:
        """Where a leaf, or the contiguous leaves of a UnixFS file, lie."""

    async def block(self, cid: CID) -> bytes | None:
        """A block's verified bytes; None where it is missing or corrupt (which is counted)."""

    async def segments(self, room: RoomId) -> Sequence[StoredSegment]:
        """The closed segments of a room."""

    async def read_range(self, place: FileRange) -> bytes | None:
        """The bytes of a range that was located; None where they are gone. Raises OSError."""

    def reading(self, place: FileRange) -> AbstractContextManager[RangeReader]:
        """The same, to be read piece by piece. Raises OSError."""

    def unclosed(self, room: RoomId) -> Sequence[UnclosedSegment]:
        """Segments that were begun and never closed, by a run that crashed."""

    async def discard(self, keys: Sequence[SegmentKey]) -> None:
        """Removes segments, closed or not."""

    def pinned(self, room: RoomId) -> Depth | None:
        """How much of a room is pinned; None where nothing is."""

    async def shrink(self, room: RoomId, most_bytes: int) -> None:
        """Removes the oldest of a room, until it takes at most so much; never what is pinned, or
        in use while it runs. Raises OSError."""

    def rate(self, room: RoomId, rating: RoomRating | None) -> None:
        """Says what a room is worth and whether it runs."""


class Topic(Protocol):
    """A room's announcements."""

    def publish(self, message: bytes) -> None:
        """Hands a message of our own to the neighbours; never waits."""

    def heard(self) -> AsyncIterator[Heard]:
        """Messages that the validator accepted, until the topic is left.

        They wait in a bounded queue; where that is full the oldest is lost.
        """


class Announcements(Protocol):
    """Gossip about rooms."""

    def join(self, room: RoomId, validator: Validator) -> AbstractAsyncContextManager[Topic]:
        """Takes part in a room's topic; the validator is asked before anything is passed on."""


class Leaves(Protocol):
    """Blocks of other nodes."""

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
        """A block of at most so many bytes, verified against its CID. Raises LeafMissing.

        ``told_by`` first told of it, and may be asked to wait until it has it. ``deadline_s`` is
        a time of ``trio.current_time``.
        """


class RoomSync(Protocol):
    """Asks other nodes what a room is doing."""

    async def ask(self, room: RoomId, ask: Ask) -> Told | None:
        """What the first neighbour that knows the room tells; None where nobody answers."""


class Events(Protocol):
    """Gossip about which rooms there are."""

    def join_events(self, validator: Validator) -> AbstractAsyncContextManager[Topic]:
        """Takes part in the topic of room cards."""


class Chain(Protocol):
    """Who signs for events' rooms, and what else the chain says of them."""

    def known(self, room: RoomId) -> RoomEvent | None:
        """What was read of an event lately; never waits."""

    def want(self, room: RoomId) -> None:
        """Has an event read soon, if there is time; never waits."""

    def doubt(self, room: RoomId) -> str:
        """Why what is known of an event may be wrong by now, in words; empty where it is not."""

    async def look_up(self, room: RoomId) -> RoomEvent:
        """An event as it is now. Raises Problem: there is none, or the chain does not answer."""


class Network(Announcements, Leaves, RoomSync, Protocol):
    """What rooms need of other nodes."""

    def place(self, room: RoomId) -> Place:
        """Where this node stands in a room."""


class Keyring(Protocol):
    """The keys of gated rooms' epochs that this node has, and how others are come by."""

    def get(self, room: RoomId, epoch: EpochId) -> EpochKey | None:
        """A key that is here, whether it was checked or not; never waits."""

    def held(self, room: RoomId, epoch: Epoch) -> EpochKey | None:
        """A key that is here, checked against the epoch's commitment; never waits."""

    async def all_of(self, room: RoomId) -> Mapping[EpochId, EpochKey]:
        """Every key of a room that is here."""

    async def ask(self, room: RoomId, epoch: Epoch) -> EpochKey | Withheld:
        """A key from here or from who holds it, checked, or why it is not to be had. The caller
        owns the deadline; an answer is kept, so asking often is cheap."""

    async def keep(self, room: RoomId, epoch: Epoch, key: EpochKey) -> None:
        """Takes a key that was made here; it is on disk when this returns. Raises OSError."""
