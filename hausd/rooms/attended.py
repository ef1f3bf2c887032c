"""A room of another node's: why this node is in it, how long, and how much of it is kept here."""

from __future__ import annotations

import trio

from hausd.core.live import RoomState
from hausd.core.manifest import SegmentRecord
from hausd.core.storage import FOR_A_WHILE, RoomRating, SegmentKey
from hausd.policy.depth import Depth, deepest
from hausd.policy.roles import Local, Spend, Why, here
from hausd.rooms.records import RoomRecord
from hausd.rooms.room import Room, RoomParts

_OVER = (RoomState.ENDED, RoomState.CLOSED)
_PLAYED_S = 30.0
"""Players ask for a playlist that goes on once in a segment."""


class Attended(Room):
    """``policy.roles`` decides; ``Rooms`` leaves a room that nothing speaks for any more."""

    def __init__(self, record: RoomRecord, parts: RoomParts) -> None:
        self.share: Spend | None = None
        """What may be spent on it where it is relayed unasked."""
        self._opened_s: float | None = None
        """When somebody asked for the recording last."""
        self._late: list[SegmentRecord] = []
        super().__init__(record, parts)

    @property
    def why(self) -> Why | None:
        """Why this node is in the room; None where it may leave."""
        audience = self.audience
        local = Local(self.record.followed, audience.viewers(), audience.watched_s)
        return here(local, trio.current_time()) or (Why.AUTO if self.share is not None else None)

    def keep(self, *, followed: bool, last_ms: int = 0) -> None:
        """Whether the room is taken part in whoever watches, and how much of it is fetched."""
        record = self.record
        if followed:
            self.share = None
        auto = record.auto and not followed
        if (followed, last_ms, auto) != (record.followed, record.last_ms, record.auto):
            record.followed, record.last_ms, record.auto = followed, last_ms, auto
            self._rate()
            self._save()

    def _rate(self) -> None:
        value = 0 if self.record.followed else FOR_A_WHILE
        self._parts.store.rate(self.id, RoomRating(value, self.record.state))

    def relay(self, share: Spend | None) -> None:
        """The room is relayed unasked, within its share, or is not any more."""
        self.share = share
        if share is not None and not self.record.auto:
            self.record.auto = True
            self._save()

    @property
    def most_bytes_per_s(self) -> float | None:
        return self.share.upload_bytes_per_s if self.share is not None else None

    @property
    def archive_wanted(self) -> bool:
        """Whether the recording is kept up: who only watches what is live needs none of it."""
        only_watched = self.why in (Why.WATCHED, None)
        opened = self._opened_s is not None
        return opened or not only_watched or self._parts.store.pinned(self.id) is not None

    @property
    def archive_is_played(self) -> bool:
        """Whether somebody here plays the recording, which players ask for every few seconds."""
        at_s = self._opened_s
        return at_s is not None and trio.current_time() - at_s < _PLAYED_S

    def list_late(self, record: SegmentRecord) -> None:
        """A segment came that the archive had gone on without."""
        self._late.append(record)
        self.insert_late()
        self._save()

    def insert_late(self) -> None:
        """A playlist that goes on may grow only at its end, as long as somebody plays it."""
        if self._late and (self.state in _OVER or not self.archive_is_played):
            for record in self._late:
                self.archive_of.insert(record.rendition, record.segment)
            self._late.clear()
            self._touch()

    def evicted(self, key: SegmentKey) -> None:
        super().evicted(key)
        self._late = [record for record in self._late if record.key != key]

    def _depth(self) -> Depth:
        """How far back the recording is fetched: as there is a wish or a budget, else all of it."""
        wishes = [self._parts.store.pinned(self.id)]
        if self.share is not None:
            wishes.append(Depth(self.share.keep_ms))
        elif self.record.last_ms:
            wishes.append(Depth(self.record.last_ms))
        return deepest(wish for wish in wishes if wish is not None)
