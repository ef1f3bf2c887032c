"""Whether an origin's room is gated, and the epochs of its sessions, one after the other.

A key is on disk before anything is sealed with it: what was streamed can be opened again whatever
happens to the process. It holds for one session; no epoch is ever taken up again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import structlog
import trio

from hausd.core.errors import Problem
from hausd.core.events import RoomEvent
from hausd.core.freeing import FreeKey
from hausd.core.gating import WHOLE, Epoch, EpochFrom, EpochId, EpochKey, new_epoch
from hausd.core.ids import RoomId, SessionId
from hausd.core.keys import open_room_authority
from hausd.core.media import Rendition
from hausd.core.preview import FreeTerms
from hausd.core.publishing import FeedOver
from hausd.policy.preview import free_left_ms, free_renditions
from hausd.rooms.metrics import EPOCHS
from hausd.rooms.records import RoomRecord, free_terms
from hausd.rooms.room import RoomParts
from hausd.rooms.sealing import Sealing
from hausd.wire.leafseal import ObjectClass, object_use, use_key

log = structlog.get_logger("hausd.rooms")

LEAST_S = 60.0
"""From one epoch to the next, however often tickets change hands."""
_LOOK_UP_S = 5.0
_LOOK_S = 1.0
_SETTLE_S = 8.0
"""From a session's begin till it is decided which of its renditions is the lowest: a ladder's
encoders begin one after the other."""


class Epochs:
    """``run`` owns their changes. ``announce`` is told of the next one before it holds, ``free`` of
    keys that are for everybody."""

    def __init__(
        self,
        record: RoomRecord,
        parts: RoomParts,
        announce: Callable[[tuple[EpochFrom, ...]], None],
        notice: Callable[[str, str], None],
        free: Callable[[Sequence[FreeKey]], object],
        inits: Callable[[], Collection[EpochId]],
    ) -> None:
        """``inits``: the epochs that the inits in use are sealed in, perhaps hours ago."""
        self._record = record
        self._room = RoomId(record.id)
        self._parts = parts
        self._announce = announce
        self._notice = notice
        self._free = free
        self._inits = inits
        self._sealing: Sealing | None = None
        self._wake = trio.Event()
        self._newest_free = False
        self._began_s = 0.0
        self._settled: tuple[FreeTerms, frozenset[str]] | None = None
        """The renditions that are free in this session, by these terms."""
        self._told = False
        self._doubted_slot = -1
        """Of what was known of the event when its chain gave no answer: that is no news."""

    async def begin(self, session: SessionId) -> Sealing | None:
        """The seals of a new session; None where the room is open. Raises FeedOver where it is
        gated and its key can't be kept: nothing of it is streamed in clear."""
        sealing: Sealing | None = None
        if await self._is_gated():
            epoch, key = new_epoch(self._room, self._parts.random_bytes)
            try:
                await self._parts.keyring.keep(self._room, epoch, key)
            except OSError as fault:
                why = f"the room's key can't be kept ({fault.strerror or fault})"
                self._notice("key-not-kept", f"The room is gated and takes no stream: {why}.")
                raise FeedOver(why) from fault
            sealing = Sealing(self._room, session, epoch, key)
            self._settled = None
            self._begun(epoch, key)
        self._sealing, self._settled = sealing, None
        self._began_s = trio.current_time()
        self._tell()
        self._wake.set()
        return self._sealing

    @property
    def stale(self) -> bool:
        """Whether the chain says otherwise by now than when the session began. What took tickets
        once always does."""
        chain = self._parts.chain
        event = chain.known(self._room) if chain is not None else None
        if event is None:
            return False
        if event.gated or self._record.gated:
            return self._sealing is None
        return self._sealing is not None and event.slot > self._doubted_slot

    def look(self) -> None:
        """Tells the artist, once, that the stream should be sealed and is not, or the contrary."""
        stale = self.stale
        if stale and not self._told:
            if self._sealing is None:
                self._notice(
                    "gated-late",
                    "The event sells tickets by now, and this stream began without any: everybody "
                    "can watch it. Let the encoder connect anew to have it encrypted.",
                )
            else:
                self._notice(
                    "sealed-needlessly",
                    "The event takes no tickets, and this stream began encrypted, for that was not "
                    "known then: nobody can watch it. Let the encoder connect anew to have it open "
                    "to all.",
                )
        self._told = stale

    def settle(self, made: Collection[Rendition]) -> None:
        """Of the renditions that are made by now, those that the terms say are free: for the
        session, once its encoders had time to begin."""
        terms, sealing = free_terms(self._record), self._sealing
        if sealing is None or (self._settled is not None and self._settled[0] == terms):
            return
        if trio.current_time() - self._began_s < _SETTLE_S:
            return
        self._settled = terms, free_renditions(terms, made)
        if self._settled[1]:
            self._free([*sealing.free_keys(self._settled[1]), *self._init_keys()])
            self._announce(sealing.epochs)
        elif terms.rendition:
            self._notice(
                "nothing-free",
                f"The preview is to be {terms.rendition}, and there is no such rendition beside "
                "the source: nothing is free.",
            )

    async def open_beginning(self) -> None:
        """Where the beginning is free from now on and is not over: all that was streamed till now
        is of it, so it plays at once."""
        if not self._free_s():
            return
        keys = await self._parts.keyring.all_of(self._room)
        if keys and self._free([FreeKey(id_, WHOLE, key.raw) for id_, key in keys.items()]):
            self._newest_free = self._sealing is not None
            if self._sealing is not None:
                self._announce(self._sealing.epochs)

    def renew(self) -> None:
        """Who may watch has changed, or what is free: another epoch begins, at most one every
        LEAST_S. One that is free is for everybody, and goes on till that is over."""
        self._wake.set()

    async def run(self) -> None:
        """Begins a new epoch every ``epoch_s``, and when a preview is over, until cancelled."""
        while True:
            sealing = self._sealing
            began_s, epoch_s = trio.current_time(), self._parts.settings.epoch_s
            with trio.move_on_after(min(epoch_s, self._free_s() or epoch_s)):
                await self._wake.wait()
            self._wake = trio.Event()
            if sealing is None or sealing is not self._sealing:
                continue  # the session's first epoch was just made
            if self._newest_free and self._free_s() > 0:
                continue
            if not self._newest_free:
                await trio.sleep_until(began_s + min(LEAST_S, epoch_s))
            while sealing is self._sealing and (sealing.pending or not await self._next(sealing)):
                await trio.sleep(_LOOK_S)

    async def _next(self, sealing: Sealing) -> bool:
        epoch, key = new_epoch(self._room, self._parts.random_bytes)
        try:
            await self._parts.keyring.keep(self._room, epoch, key)
        except OSError as fault:
            log.error("key-not-kept", room=self._room, error=fault.strerror or str(fault))
            return False
        if sealing is self._sealing:
            begins = sealing.add(epoch, key)
            self._begun(epoch, key)
            log.info("epoch-follows", room=self._room, from_segment=begins.segment)
            self._tell()
            self._announce(sealing.epochs)
        return True

    def _begun(self, epoch: Epoch, key: EpochKey) -> None:
        EPOCHS.inc()
        self._newest_free = self._free_s() > 0
        if self._newest_free:
            self._free([FreeKey(epoch.id, WHOLE, key.raw)])
        elif self._sealing is not None and self._settled is not None:
            terms, names = self._settled
            if names and terms == free_terms(self._record):
                self._free(self._sealing.free_keys(names))

    def _init_keys(self) -> list[FreeKey]:
        """Those that open the inits in use, and nothing else."""
        use = object_use(ObjectClass.INIT)
        found = [(id_, self._parts.keyring.get(self._room, id_)) for id_ in self._inits()]
        return [
            FreeKey(id_, use, use_key(key, self._room, id_, use).raw)
            for id_, key in found
            if key is not None
        ]

    def _free_s(self) -> float:
        """How long what is streamed is free yet, as the terms are now; 0 where it is not."""
        record, now_ms = self._record, self._parts.clock.now_ms()
        return free_left_ms(free_terms(record), record.started_ms, now_ms) / 1000

    def _tell(self) -> None:
        """What a crash cuts short is closed by these (``rooms.reload``)."""
        sealing = self._sealing
        begun = sealing.epochs if sealing is not None else ()
        self._record.epochs = [(at.segment, at.epoch.id, at.epoch.commitment) for at in begun]

    async def _is_gated(self) -> bool:
        """As the event is now. Only an answer of now opens it: who streams behind a ticket must
        not find it in clear because a chain did not answer, or was asked before the sale opened.
        What took tickets once always does: an endpoint that leaves the sale out opens nothing."""
        record = self._record
        if open_room_authority(self._room) is not None:
            return bool(record.gated)
        chain = self._parts.chain
        known = chain.known(self._room) if chain is not None else None
        if record.gated or (known is not None and known.gated):
            record.gated = True
            return True
        now = await self._look_up()
        if now is not None:
            record.gated = now.gated
            return now.gated
        self._doubted_slot = known.slot if known is not None else -1
        self._notice(
            "gated-unknown",
            "Whether this event takes tickets is not known, for its chain did not answer: it "
            "is streamed encrypted, as if it did.",
        )
        return True

    async def _look_up(self) -> RoomEvent | None:
        chain = self._parts.chain
        if chain is not None:
            with trio.move_on_after(_LOOK_UP_S):
                try:
                    return await chain.look_up(self._room)
                except Problem as fault:
                    log.warning("event-unread", room=self._room, because=fault.message)
        return None
