"""The origin's role: a publisher that comes and goes, a session that is signed, its announcements.

Workers' messages, publishers and closing all end up here.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal

import structlog
import trio

from hausd.core.beat import beat
from hausd.core.cid import CID
from hausd.core.errors import Problem, WorkerCrashed
from hausd.core.following import Ask, Told
from hausd.core.freeing import Freed, FreeKey
from hausd.core.gating import WHOLE, EpochId
from hausd.core.ids import SessionId
from hausd.core.live import RoomState, Variant
from hausd.core.manifest import SegmentRecord, encode_record
from hausd.core.publishing import Publisher
from hausd.rooms.announcer import Announcer, PlaylistTerms
from hausd.rooms.archive import rank
from hausd.rooms.depicting import Depicting
from hausd.rooms.epochs import Epochs
from hausd.rooms.freeing import Freeing
from hausd.rooms.gops import LongGops, Targets
from hausd.rooms.live import LiveTrack
from hausd.rooms.metrics import SEGMENTS_RECORDED
from hausd.rooms.names import newest, renewed
from hausd.rooms.numbering import CardNumbers
from hausd.rooms.origin import Origin, UntrustedWorker
from hausd.rooms.outlet import Outlet
from hausd.rooms.records import RoomRecord
from hausd.rooms.room import Room, RoomParts
from hausd.rooms.stays import Stays
from hausd.rooms.stint import Stint
from hausd.rooms.succession import Succession
from hausd.wire.ipns import IpnsRecord
from hausd.wire.statements import Head
from hausd.wire.worker import (
    FromWorker,
    ImageMade,
    Notice,
    PartMade,
    RunEnded,
    RunStarted,
    Sandboxed,
    TrackStarted,
    TrackStopped,
    WorkerConfig,
    WorkerStats,
)

log = structlog.get_logger("hausd.rooms")

_SPARE_MSN = 64
"""A new session goes on counting this far ahead: what was numbered since the record was last
saved (at most one archive segment ago) is never numbered again."""
_SPARE_RUNS = 16
_GOES_ON = (RoomState.LIVE, RoomState.WAITING)


class OriginRoom(Room):
    """A room that is made here; ``publish`` gives an ``ingest.ports.Feed``."""

    def __init__(self, record: RoomRecord, parts: RoomParts) -> None:
        super().__init__(record, parts)
        settings = parts.settings
        self.stats: WorkerStats | None = None
        self.sandbox: Sandboxed | None = None
        self.latency_ms: float | None = None
        self.bitrate_in = 0
        terms = PlaylistTerms(settings.live_target_s, round(settings.live_window_s * 1000))
        self.announcer = Announcer(record, parts.clock, terms)
        self.announcer.holders = parts.key_holders
        self.outlet = Outlet(record, self.announcer)
        self.origin = Origin(
            self.id,
            self.recorder,
            target_s=settings.live_target_s,
            window_s=settings.live_window_s,
            now_ms=parts.clock.now_ms,
            announcer=self.announcer,
            leaves=self.leaves if parts.network is not None else None,
            opener=self.opener,
        )
        self.announcer.free = self.free
        self.freeing = Freeing(
            record, self.free, self.announcer, self.leaves, self.recorder, self._save, self.notice
        )
        self.epochs = Epochs(
            record,
            parts,
            self.announcer.epochs_changed,
            self.notice,
            self.freeing.free,
            self.announcer.init_epochs,
        )
        targets = Targets(settings.live_target_s, settings.archive_target_s)
        self._gops = LongGops(record, parts.workload, targets, self.notice)
        self._session_began_ms = self._run_began_ms = 0
        """Where in the recording session and run began: sprites are placed by it."""
        self._depicting = Depicting(
            record,
            self.images,
            self.announcer,
            self.leaves,
            self.recorder,
            parts.store,
            self._save,
            lambda: self.origin.sealing,
        )
        self.cards = CardNumbers(record, self._save)
        self._stays = Stays(
            self.id,
            parts.clock,
            Succession(self.notice),
            self._stint_of,
            takes=self._takes_streams,
            is_over=self._over.is_set,
            is_due=self._is_session_due,
            begin=self._begin_session,
            empty=self._is_empty,
        )

    def _begin(self, nursery: trio.Nursery) -> None:
        self._stays.open(nursery)
        if self.images:
            self._depicting.show()
        nursery.start_soon(self._measure)
        nursery.start_soon(self.epochs.run)
        if self._parts.network is not None:
            nursery.start_soon(self.outlet.run, self._parts.network)
        if self.record.state is RoomState.WAITING:
            nursery.start_soon(self._end_unless_back)

    async def stop(self) -> None:
        """Brings what was received to an end: parts made, segments closed, head signed."""
        self._stopping = True
        await self._stays.end("the node is stopping")
        self.origin.end_run()
        self._depicting.keep()
        await self.recorder.drained()
        await self._save_now()

    async def close(self) -> None:
        """Ends the room for good. Raises OSError where that can't be written down now."""
        await self._stays.end("the room was closed")
        self.origin.end_run()
        await self._prepare_end()
        self._end(RoomState.CLOSED)
        await self.recorder.drained()
        await self._save_now(strict=True)

    @property
    def head(self) -> Head | None:
        """The newest head that was signed here, perhaps before a restart."""
        return self.outlet.head

    def tell(self, ask: Ask) -> Told:
        return self.outlet.tell(ask)

    def take_freed(self, root: CID, freed: Freed) -> None:
        super().take_freed(root, freed)
        self.announcer.free_list = root

    @property
    def epoch_in_force(self) -> EpochId | None:
        sealing = self.origin.sealing
        return sealing.in_force.id if sealing is not None else None

    async def choose_free(
        self, first_s: int | None, rendition: str | None, finalized: bool | None
    ) -> None:
        """What of the room takes no ticket from now on; None: stays. Raises Problem, OSError."""
        self.freeing.choose(first_s, rendition, finalized)
        await self.epochs.open_beginning()
        self.epochs.renew()
        self._touch()
        await self._save_now(strict=True)

    @property
    def is_free(self) -> bool:
        """Whether the recording takes no ticket any more, and others hear so."""
        head = self.head
        return self.free.all and head is not None and str(head.free) == self.record.freed

    async def make_free(self) -> None:
        """All keys of a room that is closed are for everybody. Raises Problem, OSError."""
        keys = await self._parts.keyring.all_of(self.id)
        whole = [FreeKey(id_, WHOLE, key.raw) for id_, key in keys.items()]
        if not self.freeing.free(whole, all_of_it=True):
            raise Problem("free-full", f"the room has {len(keys)} keys, which no list can hold")
        await self.recorder.drained()
        if self.record.freed != str(self.announcer.free_list):
            raise OSError(errno.EIO, "the store took no list of the keys")
        await self._prepare_end()
        self._end(RoomState.CLOSED)
        await self.recorder.drained()
        await self._save_now(strict=True)

    # -- publishing --

    def publish(self, publisher: Publisher) -> AbstractAsyncContextManager[Stint]:
        """A publisher's stay; one that is there already is ended. Raises FeedOver where another
        stays (``Succession``), or the room takes no stream."""
        return self._stays.publish(publisher)

    @property
    def stint(self) -> Stint | None:
        """The newest publisher's stay."""
        return self._stays.stint

    def _stint_of(self, publisher: Publisher, now_ms: int) -> Stint:
        return Stint(
            publisher,
            now_ms,
            self._parts.workers,
            configure=self._worker_config,
            on_message=self._on_message,
            on_crash=self._on_crash,
        )

    def _takes_streams(self) -> bool:
        return not self._stopping and self.record.state is not RoomState.CLOSED

    def _is_session_due(self) -> bool:
        fresh = self.origin.timeline is None or self.record.state not in _GOES_ON
        return fresh or self.epochs.stale

    async def _is_empty(self) -> None:
        self.origin.end_run()
        self.stats = None
        self._gops.over()
        self.bitrate_in = 0
        if self.record.state is RoomState.LIVE:
            self._set_state(RoomState.WAITING)
            self._save()
        if self.record.state is RoomState.WAITING and not self._stopping:
            await self._end_unless_back()

    async def _end_unless_back(self) -> None:
        arrival = self._stays.arrival
        with trio.move_on_after(self._parts.settings.reconnect_s):
            await arrival.wait()
            return
        await self._prepare_end()
        if arrival.is_set() or self._stopping or self.record.state is not RoomState.WAITING:
            return
        self._end(RoomState.ENDED)

    async def _prepare_end(self) -> None:
        """So that the last head names the whole recording, and there is one: after a restart none
        goes on that could sign it."""
        await self.recorder.drained()
        if self.record.sessions and not self.announcer.in_session:
            self.announcer.begin_session(await self._new_session())

    def _worker_config(self) -> WorkerConfig:
        base = self._parts.settings.worker
        timeline = self.origin.timeline
        values = {name: getattr(base, name) for name in base.__struct_fields__}
        values["first_run"] = timeline.next_run if timeline is not None else 0
        values["part_target_ms"] = self.origin.part_target_ms
        values["first_time_ms"] = self.origin.media_end_ms
        values |= self._gops.configure(base)
        return WorkerConfig(**values)

    async def _begin_session(self) -> None:
        self.origin.end_run()
        record = self.record
        record.next_msn += _SPARE_MSN
        record.next_run += _SPARE_RUNS
        record.started_ms = record.started_ms or self._parts.clock.now_ms()
        target_s = self._gops.begin_session()
        record.begun = {}
        self._session_began_ms = round(self.archive_of.duration_s * 1000)
        session = await self._new_session()
        sealing = await self.epochs.begin(session)
        if sealing is not None:
            self._seal_seen()
        self.origin.begin_session(
            session,
            next_msn=record.next_msn,
            next_run=record.next_run,
            next_segment=record.next_segment,
            target_s=target_s,
            sealing=sealing,
        )
        self.announcer.begin_session(session, target_s, sealing.epochs if sealing else ())
        log.info("session-began", room=self.id, session=str(session))

    async def _new_session(self) -> SessionId:
        """Is on disk before the first signature (design, section 3: Session). Where the disk takes
        nothing, the session's random half alone keeps it apart from all others."""
        self.record.sessions += 1
        nonce = int.from_bytes(self._parts.random_bytes(8), "big")
        session = SessionId(self.record.sessions, nonce)
        if await self._write_record() is not None:
            self._unsaved.set()
        return session

    # -- a worker's words --

    def _on_message(self, message: FromWorker, body: bytes) -> None:
        try:
            self._apply(message, body)
        except (UntrustedWorker, ValueError) as fault:
            # numbers that no statement or playlist can hold end the worker, never the room
            raise WorkerCrashed(f"it said what can't be: {fault}") from fault

    def _apply(self, message: FromWorker, body: bytes) -> None:
        match message:
            case PartMade():
                self.origin.part_made(message, body)
                if self.origin.begun:
                    for name, began in self.origin.begun.items():
                        self.record.begun[name] = encode_record(began)
                    self.origin.begun.clear()
                    self._save()
                stint = self.stint
                if stint is not None and stint.last_tag_at_s:
                    taken_ms = (trio.current_time() - stint.last_tag_at_s) * 1000
                    old = self.latency_ms if self.latency_ms is not None else taken_ms
                    self.latency_ms = old + (taken_ms - old) / 16
            case RunStarted():
                self.origin.run_started(message)
                self._run_began_ms = self._session_began_ms + self.origin.media_end_ms
                self.archive_of.ended = False
                if self.record.state is not RoomState.LIVE:
                    self._set_state(RoomState.LIVE)
                    self._save()
            case TrackStarted():
                self.origin.track_started(message, body)
                self._touch()
            case TrackStopped():
                self.origin.track_stopped(message)
                self._touch()
            case RunEnded():
                self.origin.run_ended(message)
            case ImageMade():
                self._depicting.add(message, body, message.run_ms + self._run_began_ms)
            case Notice():
                self.notice(message.code, message.text)
            case WorkerStats():
                self.stats = message
                if self._gops.look(message, self._parts.settings.worker.gop_target_ms):
                    self._save()
            case Sandboxed():
                self.sandbox = message

    def _on_crash(self, how: str) -> None:
        self.origin.end_run()
        self.notice("worker-crashed", f"The media worker failed ({how}); another is tried.")

    # -- the recording --

    def restore(self, records: Sequence[SegmentRecord]) -> None:
        super().restore(records)
        for record in records:
            self.record.next_segment = max(self.record.next_segment, record.segment.number + 1)
        if records:
            # what a crash cut short, or an eviction changed, is in no node that was written
            blocks = self.announcer.restore(records)
            self.recorder.put(tuple(one for one in blocks if not self._parts.store.has(one[0])))

    def _recorded(self, record: SegmentRecord) -> None:
        self.archive_of.add(record.rendition, record.segment)
        live = self.origin.live(record.rendition.name)
        peak, average = (live.peak_bps(), live.average_bps()) if live is not None else (0, 0)
        self.recorder.put(self.announcer.recorded(record, peak, average))
        self.record.manifest = str(self.announcer.manifest)
        SEGMENTS_RECORDED.inc()
        self._save()

    # -- its name --

    def name_known(self, record: IpnsRecord) -> None:
        """Others have this record of the room's name."""
        if (mine := newest(self.record)) is None or mine < record:
            self.record.name = record.encoded

    async def name(self) -> IpnsRecord | None:
        """The newest record of the room's name; one that is due is signed, and on disk before
        anybody hears of it. Raises OSError."""
        before = self.record.name
        made = renewed(self.record, self._parts.clock.now_ms() * 10**6)
        if made is not None:
            self.record.name = made.encoded
            try:
                await self._save_now(strict=True)
            except OSError:
                self.record.name = before
                raise
        return newest(self.record)

    # -- state --

    def _end(self, state: Literal[RoomState.ENDED, RoomState.CLOSED]) -> None:
        self.origin.end()
        self._set_state(state)
        self._depicting.keep()
        self.archive_of.ended = True
        self.recorder.put(self.announcer.end(state))
        self.record.manifest = str(self.announcer.manifest)
        self._save()
        self._touch()

    def _save(self) -> None:
        timeline = self.origin.timeline
        if timeline is not None:
            self.record.next_msn = timeline.next_msn
            self.record.next_run = timeline.next_run
            self.record.next_segment = timeline.next_segment
        super()._save()

    async def _measure(self) -> None:
        """Bits a second that come in, over the last second."""
        before, stint = 0, None
        while True:
            await beat(1)
            if self.stint is not stint:
                stint, before = self.stint, 0
            if stint is not None and not stint.done.is_set():
                self.epochs.look()
                self.epochs.settle([one.rendition for one in self.tracks.values() if one.active])
                self.bitrate_in = (stint.bytes_in - before) * 8
                before = stint.bytes_in

    # -- http.ports.RoomView --

    @property
    def tracks(self) -> Mapping[str, LiveTrack]:
        return {name: track.live for name, track in self.origin.tracks.items()}

    def live(self, rendition: str) -> LiveTrack | None:
        return self.origin.live(rendition)

    def variants(self) -> Sequence[Variant]:
        made = [
            live.variant()
            for live in self.tracks.values()
            if live.active and live.last_msn is not None
        ]
        return sorted(made, key=rank)
