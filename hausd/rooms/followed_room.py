"""The follower's role: a room whose announcements come from elsewhere, served here as there.

Its tasks: hearing, mending what was missed, one lane for each rendition, and the archive behind
the live edge. What is missing for too long is given up; nothing waits for it any longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.events import RoomEvent
from hausd.core.following import Ask, Told
from hausd.core.freeing import Freed
from hausd.core.gating import EpochId, Withheld
from hausd.core.live import RoomState, Variant
from hausd.core.manifest import ManifestError, SegmentRecord, decode_record
from hausd.core.peers import PeerId
from hausd.core.preview import FreeTerms
from hausd.core.storage import SegmentKey
from hausd.policy.sharing import weight
from hausd.rooms.admission import Admission
from hausd.rooms.archivist import Archivist
from hausd.rooms.attended import Attended
from hausd.rooms.catchingup import TICK_DEADLINE_S, CatchingUp
from hausd.rooms.door import Door
from hausd.rooms.evidence import keep_evidence
from hausd.rooms.fetching import Fetcher
from hausd.rooms.follower import Events, Follower
from hausd.rooms.freed import FreedKeys
from hausd.rooms.lane import Lane
from hausd.rooms.live import LiveTrack
from hausd.rooms.mending import Mending
from hausd.rooms.metrics import FOLLOWING_FAILED, SEGMENTS_RECORDED
from hausd.rooms.picturing import Picturing
from hausd.rooms.ports import Network
from hausd.rooms.proving import Proving
from hausd.rooms.pulling import Puller
from hausd.rooms.records import (
    RoomRecord,
    authority_of,
    free_terms,
    take_authority,
    take_free_terms,
)
from hausd.rooms.room import RoomParts
from hausd.wire.announce import Signed, advances
from hausd.wire.follow import TickChain
from hausd.wire.statements import End, Head, Statement, Tick, Track

log = structlog.get_logger("hausd.rooms")

_JOIN_S = 1.5
"""Who joins waits so long for an answer before beginning with what gossip brings."""
_SILENT_S = 5.0
"""Without a tick for so long, others are asked whether there is one."""
_SILENT_MAX_S = 30.0
_WAITING_AFTER_S = 10.0
_ENDED_AFTER_S = 300.0
"""An origin that is silent for so long is held to be gone. It may come back all the same."""
_BEGIN_AGAIN_S = 1.0
_BEGIN_AGAIN_MAX_S = 60.0
_OVER = (RoomState.ENDED, RoomState.CLOSED)
_RECENT = 64
"""Ticks that are asked for when joining, and after a silence: 25 s."""
_RUN_GRACE_S = 0.8
"""A run that is over is followed at once by another, or the encoder is gone."""


class FollowedRoom(Attended):
    """A room that is made elsewhere. Begins where it was when the node stopped."""

    def __init__(self, record: RoomRecord, parts: RoomParts, network: Network) -> None:
        super().__init__(record, parts)
        self._network = network
        self._authority = authority_of(record)
        self._nursery: trio.Nursery | None = None
        self._ticked_at_s = 0.0
        self._scopes: dict[int, trio.CancelScope] = {}
        self._admission = Admission(self.id, parts.keyring, self.opener)
        self._assemble()

    def _assemble(self) -> None:
        """What following is made of, as new."""
        network, store = self._network, self._parts.store
        self.proving = Proving(self.notice)
        self._chain = TickChain()
        self._door = Door(self.id, self._authority, self._chain, self.leaves, self._contradiction)
        self._puller = Puller(self.id, network, self.leaves, store)
        fetcher = Fetcher(
            self.id,
            store,
            network,
            self.leaves,
            self.recorder,
            self._parts.turns,
            lambda: weight(premium=self.premium),
        )
        self._picturing = Picturing(fetcher, self.images, self.leaves.set_aside)
        self._freed = FreedKeys(fetcher, self.take_freed)
        self._archivist = Archivist(
            fetcher,
            self.record.listed,
            recording=self._recording,
            list_segment=self._list_segment,
            mending=Mending(self.record.passed, fetcher, self._depth),
            list_late=self.list_late,
            on_complete=self._archive_complete,
            notice=self.notice,
            on_read=self._manifest_read,
            ask_others=lambda: self._catching_up.ask(),
            free=self._freed.link,
            depth=self._depth,
            wanted=lambda: self.archive_wanted,
        )
        self._follower = Follower(
            self.id,
            self._chain,
            self._door,
            self._puller,
            self.recorder,
            Events(
                on_session=self._session_began,
                on_tick=self._ticked,
                on_track=self._track_stated,
                on_head=self._head_came,
                on_kept=self._archivist.kept_by,
                on_change=self._touch,
                on_lane=self._lane_began,
                on_missing=lambda: self._catching_up.missing(),
                on_contradiction=self._contradiction,
                may_record=lambda key: not self._archivist.claims(key),
            ),
            self.opener,
        )
        self._catching_up = CatchingUp(self.id, network, self._chain, self._follower)
        self._follower.take_up(self.record.head, self.record.read_head)

    # -- tasks --

    def _begin(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._keep_following)

    async def _keep_following(self) -> None:
        """What an authority signs, or a peer tells, must never end more than this room's tasks."""
        pause_s, anew = _BEGIN_AGAIN_S, False
        while True:
            try:
                if anew:
                    await self._begin_anew()
                anew = True
                await self._follow()
            except* Exception as faults:  # the door of this room's tasks; counted
                FOLLOWING_FAILED.inc()
                log.error("following-failed", room=self.id, exc_info=faults)
                self.notice("following-failed", "Following the room failed and begins anew.")
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, _BEGIN_AGAIN_MAX_S)

    async def _begin_anew(self) -> None:
        await self.recorder.drained()
        self._assemble()
        for stored in await self._parts.store.segments(self.id):
            with suppress(ManifestError):  # told when the node started
                self._archivist.stored(decode_record(stored.record))

    async def _follow(self) -> None:
        async with (
            self._network.join(self.id, self._door.judge) as topic,
            trio.open_nursery() as nursery,
        ):
            self._nursery = nursery
            self._puller.begin(nursery)
            self._ticked_at_s = trio.current_time()
            with trio.move_on_after(_JOIN_S):
                await self._catching_up.ask(_RECENT)
            nursery.start_soon(self._archivist.run)
            nursery.start_soon(self._admission.run)
            nursery.start_soon(self._picturing.run)
            nursery.start_soon(self._freed.run)
            nursery.start_soon(self._catching_up.run)
            nursery.start_soon(self._watch)
            async for heard in topic.heard():
                self._follower.hear(heard.data, heard.peer)

    async def take_authority(self, event: RoomEvent) -> None:
        """Keeps who signs for its event now; the room that takes this one's place follows it.
        Raises OSError where that can't be written down; then it stays as it was."""
        record = self.record
        before = record.authority, record.authority_slot, record.chain
        take_authority(record, event)
        try:
            await self.kept()
        except OSError:
            record.authority, record.authority_slot, record.chain = before
            raise

    async def stop(self) -> None:
        """What was recorded is on disk; an open segment goes on after the next start."""
        self._stopping = True
        await self.recorder.drained()
        await self._save_now()

    def tell(self, ask: Ask) -> Told:
        read = self._archivist.heads.read
        return self._follower.tell(ask, read if read is not None and read.encoded else None)

    async def _watch(self) -> None:
        """Asks when nothing is heard: the end may have been missed, or the way to us cut."""
        pause_s = _SILENT_S
        while True:
            now_s = trio.current_time()
            if now_s < self._ticked_at_s + _SILENT_S:
                pause_s = _SILENT_S
                await trio.sleep_until(self._ticked_at_s + _SILENT_S)
                continue
            self._grow_silent(now_s - self._ticked_at_s)
            with trio.move_on_after(TICK_DEADLINE_S):
                await self._catching_up.ask(_RECENT)
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, _SILENT_MAX_S)

    def _grow_silent(self, silent_s: float) -> None:
        if self.state is RoomState.LIVE and silent_s >= _WAITING_AFTER_S:
            self._set_state(RoomState.WAITING)
        if self.state is RoomState.WAITING and self._is_over:
            self._come_to(RoomState.CLOSED)
        if self.state is RoomState.WAITING and silent_s >= _ENDED_AFTER_S:
            self._come_to(RoomState.ENDED)
            self._picturing.over()

    def call(self, title: str, free: FreeTerms) -> None:
        """The room's card names it so, and says what of it is free."""
        record = self.record
        if (title, free) != (record.title, free_terms(record)):
            record.title = title
            take_free_terms(record, free)
            self._save()
            self._touch()

    # -- what the follower tells --

    def _session_began(self) -> None:
        for scope in self._scopes.values():
            scope.cancel()
        self.record.started_ms = self.record.started_ms or self._parts.clock.now_ms()
        log.info("session-followed", room=self.id, session=str(self._follower.session))
        self._touch()

    def _lane_began(self, lane: Lane) -> None:
        assert self._nursery is not None  # nothing is heard before
        self._nursery.start_soon(self._run_lane, lane)

    async def _run_lane(self, lane: Lane) -> None:
        with trio.CancelScope() as scope:
            self._scopes[id(lane)] = scope
            try:
                await lane.run()
            finally:
                del self._scopes[id(lane)]

    def _track_stated(self, track: Track) -> None:
        if track.seal is None:
            return
        self._admission.stated(track.seal)
        self._seal_seen()

    def withheld(self) -> Withheld | None:
        return self._admission.withheld

    @property
    def epoch_in_force(self) -> EpochId | None:
        return self._admission.in_force

    def take_freed(self, root: CID, freed: Freed) -> None:
        super().take_freed(root, freed)
        self.record.freed = str(root)
        self._save()

    def _ticked(self, said: Tick | End) -> None:
        self._ticked_at_s = trio.current_time()
        if isinstance(said, Tick) and said.gops:
            self._admission.ticked(said.gops[-1].epoch)
        if isinstance(said, End):
            self._come_to(said.state)
        elif said.ends_run:
            assert self._nursery is not None  # nothing is heard before
            self._nursery.start_soon(self._wait_for_run, said)
        elif said.gops:
            self._come_to(RoomState.LIVE)

    async def _wait_for_run(self, ended: Tick) -> None:
        await trio.sleep(_RUN_GRACE_S)
        if (self._chain.session, self._chain.next) == (ended.session, ended.n + 1):
            self._come_to(RoomState.WAITING)

    def _come_to(self, state: RoomState) -> None:
        if state is not self.state:
            if state is RoomState.LIVE:
                self.archive_of.ended = False
            self._set_state(state)
            if state in _OVER:
                self._archivist.over()
                self.insert_late()
            self._save()

    @property
    def newest(self) -> Head | None:
        """The newest head that was signed, as far as is known here."""
        signed = self._follower.head
        return signed.statement if signed is not None else None

    def proven(self, head: Head) -> None:
        """The event's account names this manifest: as good as a head that is signed, so that a
        recording is found where nobody of the room is left. ``n`` and ``session`` are as there."""
        self.proving.compare(head, self._door.head_at(head.session, head.n), self.newest)
        # while the stream is heard what is signed comes by itself, whatever an endpoint says
        if self.state is not RoomState.LIVE and self.proving.takes(head, self.newest):
            self._archivist.head(Signed(head, b"", b""), None)
        if self._chain.session is None and head.state in _OVER:
            self._come_to(head.state)

    @property
    def _is_over(self) -> bool:
        event = self.event
        return event is not None and event.over

    def event_over(self) -> None:
        """The room's event is over: an origin that is not heard will not be."""
        if self._chain.session is None or self.state is RoomState.ENDED:
            self._come_to(RoomState.CLOSED)

    def _head_came(self, signed: Signed[Head], told_by: PeerId | None) -> None:
        head = signed.statement
        self.record.head = signed.encoded
        if head.holders:
            self._seal_seen()
        # the chain may have named a newer one, which counts once it could be read
        read = self._archivist.heads.read
        if self.state is RoomState.LIVE or read is None or advances(read.statement, head):
            self._archivist.head(signed, told_by)
        self._picturing.head(head, told_by)
        self._freed.head(head, told_by)
        if self._chain.session is None and head.state in _OVER and self.state is not head.state:
            self._set_state(head.state)  # it ended while nobody was here to hear it
        self._save()

    def _contradiction(self, first: Signed[Statement], second: Signed[Statement]) -> None:
        said = keep_evidence(self.record, first, second)
        if said is not None:
            self.notice("contradiction", said)
            self._save()

    # -- the recording --

    def restore(self, records: Sequence[SegmentRecord]) -> None:
        """What was listed is listed again; what else is here waits for the manifest."""
        for record in records:
            if self._is_listed(record):
                self.archive_of.add(record.rendition, record.segment)
            self._archivist.stored(record)

    @property
    def sought(self) -> CID | None:
        head = self.proving.head or self.newest
        return head.manifest if head is not None and self._archivist.heads.unread else None

    @property
    def missing_segments(self) -> int:
        return self._archivist.missing

    def evicted(self, key: SegmentKey) -> None:
        super().evicted(key)
        self._archivist.evicted(key)

    def _recorded(self, record: SegmentRecord) -> None:
        SEGMENTS_RECORDED.inc()
        self._archivist.stored(record)

    def _recording(self, key: SegmentKey) -> bool:
        lane = self._follower.lanes.get(key.rendition)
        return lane is not None and lane.recording(key)

    def _list_segment(self, record: SegmentRecord) -> None:
        self.archive_of.add(record.rendition, record.segment)
        self.insert_late()
        self._save()

    def _manifest_read(self, signed: Signed[Head]) -> None:
        """What it names is known here, whatever becomes of the origin and its newest head."""
        if signed.encoded:
            self.record.read_head = signed.encoded
            self._save()

    def _archive_complete(self, signed: Signed[Head]) -> None:
        """All that the manifest names is listed here, under the same CIDs: it is ours too."""
        self.record.manifest = str(signed.statement.manifest)
        over = signed.statement.state in _OVER or self._is_over
        if over and self.state in _OVER:
            self.archive_of.ended = True
        self._save()
        self._touch()

    def _is_listed(self, record: SegmentRecord) -> bool:
        return record.segment.number <= self.record.listed.get(record.rendition.name, -1)

    # -- http.ports.RoomView --

    def archive_opened(self) -> bool:
        first, self._opened_s = self._opened_s is None, trio.current_time()
        if first:
            self._archivist.opened()
        coming = self._archivist.heads.unread or self._archivist.missing > 0
        return coming and not self.archive_of.segments

    @property
    def tracks(self) -> Mapping[str, LiveTrack]:
        return self._follower.tracks

    def variants(self) -> Sequence[Variant]:
        return self._follower.variants()
