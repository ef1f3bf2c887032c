"""The block store: recordings and small blocks on disk, by CID, inside a hard budget."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import structlog
import trio

from hausd.blocks import recover
from hausd.blocks.errors import StoreError, StoreInUse, explain
from hausd.blocks.files import Files
from hausd.blocks.keeper import Keeper
from hausd.blocks.layout import Layout
from hausd.blocks.pinning import Pinning
from hausd.blocks.pins import Pins
from hausd.blocks.quota import StoreLimits
from hausd.blocks.reader import RangeReader, Reader
from hausd.blocks.remover import Remover, StillPinned
from hausd.blocks.state import EvictedHook, Progress, State
from hausd.blocks.verify import Mender, Verifier
from hausd.blocks.writer import Writer
from hausd.core.cid import CID
from hausd.core.clock import Clock, SystemClock
from hausd.core.ids import RoomId
from hausd.core.live import FileRange
from hausd.core.shapes import DiskShape, GcShape, VerifyShape
from hausd.core.storage import (
    Append,
    Close,
    RoomRating,
    SegmentKey,
    StoredSegment,
    UnclosedSegment,
)
from hausd.policy.depth import Depth

log = structlog.get_logger("hausd.blocks")


def no_progress(what: str, done: int, total: int) -> None:
    """For who doesn't want to know."""


def nobody(keys: Sequence[SegmentKey]) -> None:
    """For who doesn't mind evictions."""


@asynccontextmanager
async def open_store(
    path: Path | str,
    limits: StoreLimits,
    *,
    clock: Clock | None = None,
    progress: Progress = no_progress,
    evicted: EvictedHook = nobody,
) -> AsyncIterator[Store]:
    """Opens a store, mending what a crash or power cut left; makes it where it isn't there.

    ``progress`` is called while that goes on, ``evicted`` with each batch of segments that are
    not there any more, whatever the reason; both in the task's own thread. Raises StoreInUse
    where another process has it open, StoreError where it can't be opened.
    """
    layout = Layout(os.path.abspath(path))
    with _locked(layout):
        state, pins = await _recovered(layout, limits, clock or SystemClock(), progress, evicted)
        files = Files()
        try:
            reader = Reader(state)
            remover = Remover(state, pins, files)
            mender = Mender(state)
            verifier = Verifier(state, mender)
            keeper = Keeper(state, mender, verifier)
            pinning = Pinning(state, pins, reader, verifier)
            await pinning.resolve_all(progress)
            await keeper.flush(index=True)
            keeper.gauge()
            store = Store(
                state=state,
                reader=reader,
                writer=Writer(state, remover, files),
                remover=remover,
                mender=mender,
                verifier=verifier,
                keeper=keeper,
                pinning=pinning,
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keeper.run)
                nursery.start_soon(pinning.run)
                yield store
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await keeper.finish()
            files.close()
            state.journal.close()
            state.index.close()


class Store:
    """What ``open_store`` gives. Keeps ``rooms.ports.BlockStore`` and more for the operator."""

    def __init__(
        self,
        *,
        state: State,
        reader: Reader,
        writer: Writer,
        remover: Remover,
        mender: Mender,
        verifier: Verifier,
        keeper: Keeper,
        pinning: Pinning,
    ) -> None:
        self._state = state
        self._reader = reader
        self._writer = writer
        self._remover = remover
        self._mender = mender
        self._verifier = verifier
        self._keeper = keeper
        self.pins = pinning

    @property
    def repaired(self) -> list[str]:
        """What opening found broken and mended, in plain words."""
        return list(self._state.repaired)

    async def write(self, changes: Sequence[Append | Close]) -> list[FileRange]:
        """Writes a batch, durable against the death of the process when it returns.

        Gives for each Append where it lies, and for each Close the whole file's leaves. Raises
        RecordingStopped; then none of the batch counts as written, and it may be tried again at
        any time. Raises ValueError for an Append or Close behind a Close, for an empty leaf and
        for a key that can't name a file. The leaves are not compared with their CIDs.
        """
        if not changes:
            return []
        ranges = await self._writer.write(changes)
        await self._sync_at_once()
        return ranges

    async def put(self, blocks: Sequence[tuple[CID, bytes]], room: RoomId) -> None:
        """Stores small blocks (inits, manifest nodes, images) on a room's account.

        Raises RecordingStopped, and ValueError where bytes are not their CID's or more than
        ``packs.MAX_BLOCK_BYTES``.
        """
        await self._writer.put(blocks, room)
        await self._sync_at_once()

    def has(self, cid: CID) -> bool:
        """Whether a block is here and not known to be corrupt."""
        return self._reader.has(cid)

    def locate(self, cid: CID) -> FileRange | None:
        """Where a block, or the contiguous leaves of a UnixFS file, lie.

        The bytes were not compared with the CID just now; ``block`` does. The file may be evicted
        any time after: who opened it can read on, who comes later finds none.
        """
        return self._reader.locate(cid)

    async def block(self, cid: CID) -> bytes | None:
        """A block's verified bytes; None where it is missing or corrupt (which is counted)."""
        return await self._reader.block(cid)

    async def read_range(self, place: FileRange) -> bytes | None:
        """The bytes of a range that was located; None where they are gone. Raises OSError."""
        return await self._reader.read(place)

    def reading(self, place: FileRange) -> AbstractContextManager[RangeReader]:
        """The same, to be read piece by piece. Raises OSError."""
        return self._reader.reading(place)

    async def mend(self, cid: CID, block: bytes) -> bool:
        """Writes a good copy, fetched elsewhere, over the bad ones; True where one was mended."""
        mended = False
        for volume in self._state.catalog.candidates(cid.digest) if cid.matches(block) else ():
            table = self._state.table(volume)
            for index in table.find(cid.digest) if table is not None else ():
                if index in volume.corrupt:
                    mended |= await self._mender.write_again(volume, index, block)
        return mended

    async def segments(self, room: RoomId) -> list[StoredSegment]:
        """The closed segments of a room with their records, by session, number and rendition."""
        state = self._state
        account = state.catalog.rooms.get(room)
        if account is None:
            return []
        closed = [(key, one) for key, one in account.segments.items() if one.closed]
        closed.sort(key=lambda pair: (pair[0].session, pair[0].number, pair[0].rendition))
        records = await self._reader.records([volume for _, volume in closed])
        return [
            StoredSegment(key, volume.content, volume.closed_ms, records[volume])
            for key, volume in closed
            if volume in records
        ]

    def unclosed(self, room: RoomId) -> list[UnclosedSegment]:
        """Segments of a room that were begun and not closed, perhaps by a run that crashed."""
        account = self._state.catalog.rooms.get(room)
        found = []
        for key, volume in account.segments.items() if account is not None else ():
            if volume.table is not None:
                found.append(UnclosedSegment(key, volume.table.leaves()))
        return sorted(found, key=lambda one: (one.key.session, one.key.number, one.key.rendition))

    def rooms(self) -> list[RoomId]:
        """Rooms that have anything in the store."""
        return sorted(self._state.catalog.rooms)

    def room_bytes(self, room: RoomId) -> int:
        """What a room takes on disk."""
        account = self._state.catalog.rooms.get(room)
        return account.size if account is not None else 0

    def pinned(self, room: RoomId) -> Depth | None:
        """How much of a room is pinned; None where nothing is."""
        return self.pins.depth(room)

    def rate(self, room: RoomId, rating: RoomRating | None) -> None:
        """Says what a room is worth and whether it runs; None: it is not known any more.

        Rooms that were never rated are worth 0 and over. Not kept across restarts.
        """
        if rating is None:
            self._state.ratings.pop(room, None)
        else:
            self._state.ratings[room] = rating

    async def discard(self, keys: Sequence[SegmentKey]) -> None:
        """Removes segments, closed or not, pinned or not. Raises OSError."""
        found = (self._state.catalog.segment(key) for key in keys)
        async with self._state.lock:
            await self._remover.remove([volume for volume in found if volume is not None])

    async def shrink(self, room: RoomId, most_bytes: int) -> None:
        """Removes the oldest of a room until it takes at most so much on disk, or until what is
        left is pinned or in use. Raises OSError."""
        if self.room_bytes(room) > most_bytes:
            async with self._state.lock:
                await self._remover.shrink(room, most_bytes)

    async def drop_room(self, room: RoomId) -> StillPinned | None:
        """Removes all of a room, or says which pins hold it. Raises OSError."""
        async with self._state.lock:
            refused = await self._remover.drop(room)
        if refused is None:
            await self._keeper.flush(index=True)
        return refused

    def usage(self) -> DiskShape:
        """The budget and what is used of it."""
        state = self._state
        return DiskShape(
            path=state.layout.root,
            quota_bytes=state.limits.quota_bytes,
            used_bytes=state.used_bytes(),
            quota_files=state.limits.quota_files,
            used_files=state.used_files(),
            pinned_bytes=self.pins.size(),
            free_bytes=state.free_bytes(),
            blocks=state.catalog.blocks,
        )

    def set_limits(self, limits: StoreLimits) -> None:
        """Changes the budget; what is over it goes when the next batch needs room."""
        self._state.limits = limits

    async def verify(self, progress: Progress = no_progress) -> VerifyShape:
        """Reads every block again, mends what can be, and serves no more what can't."""
        found = await self._verifier.verify(self._state.catalog.volumes(), progress)
        await self._keeper.flush(index=True)
        return found

    async def gc(
        self, progress: Progress = no_progress, *, keep_value: int | None = None
    ) -> GcShape:
        """Removes what is neither pinned nor in use nor of a running room; where ``keep_value``
        is given, only of rooms rated below it. Raises OSError where the disk refuses."""
        files, size = await self._remover.collect(keep_value, progress)
        await self._keeper.flush(index=True)
        kept = self._state.used_bytes()
        return GcShape(removed_files=files, removed_bytes=size, kept_bytes=kept)

    async def sync(self) -> bool:
        """Brings all that was written safely to disk now; False where the disk fails."""
        return await self._keeper.flush(index=True)

    async def _sync_at_once(self) -> None:
        if self._state.limits.sync_s == 0:
            await self._keeper.flush()


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """Holds the store's lock file; the kernel lets go of it whatever happens to the process."""
    try:
        os.makedirs(layout.root, mode=0o700, exist_ok=True)
        descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise StoreError(f"the store can't be opened: {explain(fault, layout.root)}") from fault
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            raise StoreInUse(
                f"the store {layout.root} is in use by another hausd"
                + (f" (process {holder})" if holder else "")
                + ": stop that one, or give this one another --home"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


async def _recovered(
    layout: Layout, limits: StoreLimits, clock: Clock, progress: Progress, evicted: EvictedHook
) -> tuple[State, Pins]:
    def tell(what: str, done: int, total: int) -> None:
        trio.from_thread.run_sync(progress, what, done, total)

    pins = Pins(layout.pins)
    try:
        notes = pins.load()
        found = await trio.to_thread.run_sync(recover.recover, layout, tell)
    except OSError as fault:
        raise StoreError(f"the store can't be opened: {explain(fault, layout.root)}") from fault
    state = State(
        layout=layout,
        limits=limits,
        clock=clock,
        catalog=found.catalog,
        index=found.index,
        journal=found.journal,
        next_id=found.next_id,
        lost=found.lost,
        evicted=evicted,
        repaired=[*notes, *found.repaired],
        pending=found.pending,
        gone=found.gone,
        found_corrupt=found.found_corrupt,
        index_bytes=found.index.size(),
    )
    for line in state.repaired:
        log.warning("repaired", what=line)
    return state, pins
