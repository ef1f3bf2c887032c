"""Brings an origin's announcements to other nodes: by gossip as they are signed, and when asked."""

from __future__ import annotations

from contextlib import suppress

import structlog
import trio

from hausd.core.following import Ask, Told
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, Verdict
from hausd.rooms.announcer import Announcer
from hausd.rooms.metrics import MESSAGES
from hausd.rooms.ports import Announcements, Topic
from hausd.rooms.records import RoomRecord
from hausd.wire.announce import AnnounceError, Signed, pack, unpack, verify
from hausd.wire.statements import End, Head, Statement, Tick

log = structlog.get_logger("hausd.rooms")


class Outlet:
    """An origin's side of its room's topic."""

    def __init__(self, record: RoomRecord, announcer: Announcer) -> None:
        self._room = RoomId(record.id)
        self._record = record
        self._announcer = announcer
        self._authority = SigningKey(record.seed).public
        self._topic: Topic | None = None
        self._kept: Head | None = None
        announcer.on_stated = self._publish

    async def run(self, announcements: Announcements) -> None:
        """Takes part in the topic until cancelled."""
        async with announcements.join(self._room, self.judge) as topic:
            self._topic = topic
            try:
                await trio.sleep_forever()
            finally:
                self._topic = None

    def judge(self, peer: PeerId, untrusted: bytes) -> Verdict:
        """What others send here is our own come back, or not ours at all."""
        try:
            unpack(untrusted, self._authority, self._room)
        except AnnounceError:
            verdict = Verdict.REJECT
        else:
            verdict = Verdict.IGNORE
        MESSAGES.labels(verdict.value).inc()
        return verdict

    @property
    def head(self) -> Head | None:
        """The newest head that was signed, perhaps before a restart."""
        if self._announcer.head is not None:
            return self._announcer.head.statement
        if self._record.head and self._kept is None:
            with suppress(AnnounceError):
                kept = verify(self._record.head, self._authority, self._room).statement
                self._kept = kept if isinstance(kept, Head) else None
        return self._kept

    def tell(self, ask: Ask) -> Told:
        """The newest tracks and head, and the ticks that were asked for."""
        recent = list(self._announcer.recent)
        ticks = recent[-ask.recent :] if ask.recent else []
        if recent and ask.session == recent[-1].statement.session:
            ticks = [
                one
                for one in recent
                if one in ticks or any(one.statement.n in span for span in ask.missing)
            ]
        head = self._announcer.head
        return Told(
            tuple(one.encoded for one in self._announcer.tracks),
            head.encoded if head is not None else self._record.head or None,
            tuple(one.encoded for one in ticks),
        )

    def _publish(self, signed: Signed[Statement]) -> None:
        if isinstance(signed.statement, Head):
            self._record.head = signed.encoded
        if self._topic is None:
            return
        message = pack(signed)
        if isinstance(signed.statement, Tick | End):
            message = self._announcer.message() or message
        self._topic.publish(message)
