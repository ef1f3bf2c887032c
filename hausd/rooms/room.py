"""One room: its publisher, its live edge, its recording, and what others may know of it.

``run`` is the task that owns a room. Workers' messages, publishers that come and go and closing
all end up here; HTTP and admin only read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.clock import Clock
from hausd.core.errors import WorkerCrashed
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import ArchivePlaylist, Media, RoomState, Variant
from hausd.core.manifest import SegmentRecord, encode_record
from hausd.core.media import Kind
from hausd.core.publishing import FeedOver, Publisher
from hausd.core.shapes import NoticeShape
from hausd.core.storage import RoomRating
from hausd.rooms.announcer import Announcer, PlaylistTerms
from hausd.rooms.archive import Archive, rank
from hausd.rooms.audience import RoomAudience
from hausd.rooms.gops import LongGops, Targets, Workload
from hausd.rooms.images import JPEG, Images
from hausd.rooms.live import LiveTrack
from hausd.rooms.metrics import NOTICES, SEGMENTS_RECORDED
from hausd.rooms.origin import Origin, UntrustedWorker
from hausd.rooms.ports import BlockStore, MediaWorkers
from hausd.rooms.recorder import Recorder
from hausd.rooms.records import RoomRecord, RoomRecords, encode
from hausd.rooms.stint import Stint
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
_NOTICES = 50
_GOES_ON = (RoomState.LIVE, RoomState.WAITING)


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """What of the configuration rooms need. Seconds are wall time."""

    worker: WorkerConfig
    reconnect_s: float
    live_target_s: int
    live_window_s: float
    archive_target_s: int


@dataclass(slots=True)
class RoomParts:
    """What every room is given: the node's adapters, clock and source of randomness.

    ``settings`` may be replaced while rooms run; a room's next worker and session follow them.
    """

    settings: RoomSettings
    workers: MediaWorkers
    store: BlockStore
    records: RoomRecords
    clock: Clock
    random_bytes: Callable[[int], bytes]
    workload: Workload = field(default_factory=Workload)


class Room:
    """Implements ``http.ports.RoomView``; ``publish`` gives an ``ingest.ports.Feed``."""

    def __init__(self, record: RoomRecord, parts: RoomParts) -> None:
        settings = parts.settings
        self.record = record
        self.id = RoomId(record.id)
        self.archive_of = Archive(target_s=settings.archive_target_s)
        self.audience = RoomAudience()
        self.images = Images()
        self.notices: deque[NoticeShape] = deque(maxlen=_NOTICES)
        self.stats: WorkerStats | None = None
        self.sandbox: Sandboxed | None = None
        self.stint: Stint | None = None
        self.latency_ms: float | None = None
        self.bitrate_in = 0
        self._parts = parts
        self.recorder = Recorder(
            self.id,
            parts.store,
            on_recorded=self._recorded,
            on_stopped=self._recording_stopped,
            on_resumed=self._recording_resumed,
        )
        terms = PlaylistTerms(settings.live_target_s, round(settings.live_window_s * 1000))
        self.announcer = Announcer(record, parts.clock, terms)
        self.origin = Origin(
            self.id,
            self.recorder,
            target_s=settings.live_target_s,
            window_s=settings.live_window_s,
            now_ms=parts.clock.now_ms,
            announcer=self.announcer,
        )
        targets = Targets(settings.live_target_s, settings.archive_target_s)
        self._gops = LongGops(record, parts.workload, targets, self.notice)
        self._changed = trio.Event()
        self._session_began_ms = self._run_began_ms = 0
        """Where in the recording session and run began: sprites are placed by it."""
        self._unsaved = trio.Event()
        self._saving = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._arrival = trio.Event()
        self._stopping = False
        if record.state in (RoomState.LIVE, RoomState.WAITING):
            record.state = RoomState.WAITING
        parts.store.rate(self.id, RoomRating(state=record.state))
        self.archive_of.ended = record.state in (RoomState.ENDED, RoomState.CLOSED)

    # -- the owning task --

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns the room until cancelled; ``stop`` first, so that nothing is lost."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.recorder.run)
            nursery.start_soon(self._measure)
            nursery.start_soon(self._keep_saving)
            if self.record.state is RoomState.WAITING:
                nursery.start_soon(self._end_unless_back)
            task_status.started()
            await trio.sleep_forever()

    async def stop(self) -> None:
        """Brings what was received to an end: parts made, segments closed, head signed."""
        self._stopping = True
        if self.stint is not None:
            self.stint.end("the node is stopping")
            await self.stint.done.wait()
        self.origin.end_run()
        await self.recorder.drained()
        await self._save_now()

    async def close(self) -> None:
        """Ends the room for good."""
        if self.stint is not None:
            self.stint.end("the room was closed")
            await self.stint.done.wait()
        self._end(RoomState.CLOSED)
        await self.recorder.drained()
        await self._save_now()

    # -- publishing --

    @asynccontextmanager
    async def publish(self, publisher: Publisher) -> AsyncIterator[Stint]:
        """A publisher's stay. One that is there already is ended at once."""
        if self._nursery is None or self._stopping or self.record.state is RoomState.CLOSED:
            raise FeedOver("the room takes no stream now")
        stint = Stint(
            publisher,
            self._parts.clock.now_ms(),
            self._parts.workers,
            configure=self._worker_config,
            on_message=self._on_message,
            on_crash=self._on_crash,
        )
        before, self.stint = self.stint, stint
        after = None
        if before is not None and not before.done.is_set():
            before.end("the same key began to publish from elsewhere")
            after = before.done
        self._arrival.set()
        self._arrival = trio.Event()
        if self.origin.timeline is None or self.record.state not in _GOES_ON:
            await self._begin_session()
        log.info("publisher-came", room=self.id, address=publisher.address, by=publisher.protocol)
        self._nursery.start_soon(self._run_stint, stint, after)
        try:
            yield stint
        finally:
            stint.until_ms = self._parts.clock.now_ms()
            stint.close_because("the encoder disconnected")
            stint.leave()
            log.info("publisher-left", room=self.id, because=stint.closed_because)

    async def _run_stint(self, stint: Stint, after: trio.Event | None) -> None:
        await stint.run(after)
        if self.stint is stint:
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
        arrival = self._arrival
        with trio.move_on_after(self._parts.settings.reconnect_s):
            await arrival.wait()
            return
        if not self._stopping and self.record.state is RoomState.WAITING:
            self._end(RoomState.ENDED)

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
        record = self.record
        record.sessions += 1
        record.next_msn += _SPARE_MSN
        record.next_run += _SPARE_RUNS
        record.started_ms = record.started_ms or self._parts.clock.now_ms()
        target_s = self._gops.begin_session()
        session = SessionId(record.sessions, int.from_bytes(self._parts.random_bytes(8), "big"))
        record.begun = {}
        self._session_began_ms = round(self.archive_of.duration_s * 1000)
        # on disk before the first signature (design, section 3: Session)
        await trio.to_thread.run_sync(self._parts.records.write, self.id, encode(record))
        self.origin.begin_session(
            session,
            next_msn=record.next_msn,
            next_run=record.next_run,
            next_segment=record.next_segment,
            target_s=target_s,
        )
        self.announcer.begin_session(session, target_s)
        log.info("session-began", room=self.id, session=str(session))

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
                cid = self.images.add(message, body, message.run_ms + self._run_began_ms)
                if message.use == "storyboard":
                    self.recorder.put(((cid, body),))
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
        self.notice("worker-crashed", f"The media worker died ({how}) and was replaced.")

    # -- the recording --

    def restore(self, records: Sequence[SegmentRecord]) -> None:
        """Takes up the segments that the store holds from earlier on, by their numbers."""
        for record in records:
            self.archive_of.add(record.rendition, record.segment)
            self.record.next_segment = max(self.record.next_segment, record.segment.number + 1)
        if records:
            self.announcer.restore(records)

    def _recorded(self, record: SegmentRecord) -> None:
        self.archive_of.add(record.rendition, record.segment)
        live = self.origin.live(record.rendition.name)
        peak, average = (live.peak_bps(), live.average_bps()) if live is not None else (0, 0)
        self.recorder.put(self.announcer.recorded(record, peak, average))
        self.record.manifest = str(self.announcer.manifest)
        SEGMENTS_RECORDED.inc()
        self._save()

    def _recording_stopped(self, reason: str) -> None:
        self.notice("recording-stopped", f"The recording stopped: {reason}. The stream goes on.")

    def _recording_resumed(self) -> None:
        self.notice("recording-resumed", "The recording goes on.")

    # -- state --

    def notice(self, code: str, text: str) -> None:
        """Tells artist and operator something, once where it repeats at once."""
        NOTICES.labels(code).inc()
        time = datetime.fromtimestamp(self._parts.clock.now_ms() / 1000, UTC)
        self.notices.append(NoticeShape(time=time, code=code, text=text))
        log.warning("notice", room=self.id, code=code, text=text)

    def _end(self, state: Literal[RoomState.ENDED, RoomState.CLOSED]) -> None:
        self.origin.end()
        self._set_state(state)
        self.archive_of.ended = True
        self.recorder.put(self.announcer.end(state))
        self.record.manifest = str(self.announcer.manifest)
        self._save()
        self._touch()

    def _set_state(self, state: RoomState) -> None:
        log.info("room-state", room=self.id, state=state.value, was=self.record.state.value)
        self.record.state = state
        self._parts.store.rate(self.id, RoomRating(state=state))
        self._touch()

    def _save(self) -> None:
        """Has the room's file written soon."""
        timeline = self.origin.timeline
        if timeline is not None:
            self.record.next_msn = timeline.next_msn
            self.record.next_run = timeline.next_run
            self.record.next_segment = timeline.next_segment
        self._unsaved.set()

    async def _keep_saving(self) -> None:
        while True:
            await self._unsaved.wait()
            self._unsaved = trio.Event()
            await self._write_record()

    async def _save_now(self) -> None:
        self._save()
        await self._write_record()

    async def _write_record(self) -> None:
        encoded = encode(self.record)
        async with self._saving:
            try:
                await trio.to_thread.run_sync(self._parts.records.write, self.id, encoded)
            except OSError as fault:
                # a full disk: the live stream goes on, and the next save tells the newer state
                log.error("room-not-saved", room=self.id, error=fault.strerror)

    def _touch(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _measure(self) -> None:
        """Bits a second that come in, over the last second."""
        before, stint = 0, None
        while True:
            await trio.sleep(1)
            if self.stint is not stint:
                stint, before = self.stint, 0
            if stint is not None and not stint.done.is_set():
                self.bitrate_in = (stint.bytes_in - before) * 8
                before = stint.bytes_in

    # -- http.ports.RoomView --

    @property
    def title(self) -> str:
        return self.record.title

    @property
    def state(self) -> RoomState:
        return self.record.state

    def variants(self) -> Sequence[Variant]:
        made = [
            track.live.variant()
            for track in self.origin.tracks.values()
            if track.live.active and track.live.last_msn is not None
        ]
        return sorted(made, key=rank)

    def live(self, rendition: str) -> LiveTrack | None:
        return self.origin.live(rendition)

    def archive_variants(self) -> Sequence[Variant]:
        return self.archive_of.variants()

    def archive(self, rendition: str) -> ArchivePlaylist | None:
        return self.archive_of.playlist(rendition)

    def archive_media(self, rendition: str, cid: CID) -> Media | None:
        size = self.archive_of.holds(rendition, cid)
        playlist = self.archive_of.playlist(rendition)
        if size is None or playlist is None:
            return None
        place = self._parts.store.locate(cid)
        if place is None:
            return None
        kind = "video/mp4" if playlist.rendition.kind is Kind.VIDEO else "audio/mp4"
        return Media(cid, kind, place.length, place)

    def poster(self) -> Media | None:
        return self.images.poster

    def storyboard(self) -> str | None:
        return self.images.storyboard()

    def sprite(self, name: str) -> Media | None:
        found = self.images.sprite(name)
        place = self._parts.store.locate(found[0]) if found is not None else None
        if found is None or place is None:
            return None
        return Media(found[0], JPEG, place.length, place)

    async def changed(self) -> None:
        await self._changed.wait()
