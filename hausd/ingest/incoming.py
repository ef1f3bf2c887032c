"""What an encoder sends, from bytes to tags, within its budget. No I/O, no waiting."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from hausd.ingest.metrics import BYTES
from hausd.ingest.terms import FINISHED, Ending, Limits
from hausd.policy.rhythm import PartRhythm
from hausd.wire.flv import Tag
from hausd.wire.rtmp import Event, RtmpServer, Unpublished, Violated
from hausd.wire.rtmp_chunks import Begun

_NEGOTIATION_BYTES = 32 * 1024
"""Several times what any encoder sends before it publishes: 3 KB of handshake, 1 KB of commands."""
_BURST_S = 10.0
_AUDIO_TAG, _VIDEO_TAG = 8, 9
_PICTURE_SOON_S = 0.06
"""Sound waits only while pictures come at least this often, so never longer."""
_MOST_WAITING = 6
_MOST_WAITING_BYTES = 1 << 20


class Incoming:
    """One connection's bytes, events and tags. ``now`` is the clock, in seconds."""

    def __init__(self, rtmp: RtmpServer, limits: Limits, now: Callable[[], float]) -> None:
        self.events: deque[Event] = deque()
        self._rtmp = rtmp
        self._rate = limits.max_bytes_per_s
        self._now = now
        self._publishing = False
        self._budget_bytes = float(_NEGOTIATION_BYTES)
        self._budget_at_s = now()
        self._waiting: list[Tag] = []
        self._waiting_bytes = 0
        self._rhythm = PartRhythm()
        self._just_now = True
        self._picture_at_s = -math.inf

    @property
    def begun(self) -> Begun | None:
        """The message that was left unfinished by what was taken last."""
        return self._rtmp.begun

    def publish(self) -> None:
        """From here on the budget is that of a stream."""
        self._publishing = True
        self._budget_bytes = self._rate * _BURST_S
        self._budget_at_s = self._now()

    def unpublish(self) -> None:
        """From here on the budget is that of negotiating, which goes on from what is left."""
        self._publishing = False

    def take(self, untrusted: bytes, *, just_now: bool = True) -> None:
        """Bytes as they came; not ``just_now``: some of them may have lain there for a while."""
        self._just_now = just_now
        BYTES.inc(len(untrusted))
        self.events.extend(self._rtmp.receive(untrusted))
        self._budget_bytes -= len(untrusted)
        if self._budget_bytes < 0:
            self._refill()

    def idle_s(self, due_ms: int | None) -> float:
        """How long nothing that may come is urgent; see ``PartRhythm``."""
        return self._rhythm.idle_s(due_ms, self._now())

    def rest_s(self, due_ms: int | None) -> float:
        """The same after all that came was handed on; see ``PartRhythm``."""
        return self._rhythm.rest_s(due_ms, self._now())

    def tags(
        self, due_ms: int | None = None, *, all_there_is: bool = False
    ) -> list[Tag] | Ending | None:
        """The tags that came, else how it ended; None where more has to come first.

        Tags wait for those that are better handed on with them: sound for a picture, all for the
        picture whose tag has the time ``due_ms``. ``all_there_is``: nothing waits.
        """
        events, tags = self.events, self._waiting
        while events:
            event = events[0]
            if isinstance(event, Tag):
                tags.append(event)
                self._waiting_bytes += len(event.data)
                if event.type == _VIDEO_TAG:
                    self._rhythm.came(event.timestamp_ms, self._now(), just_now=self._just_now)
            elif tags:
                break  # what came before is handed on first
            elif isinstance(event, Unpublished):
                events.popleft()
                return FINISHED
            elif isinstance(event, Violated):
                return Ending(event.code, event.reason)
            events.popleft()
        if not tags or not (all_there_is or events or not self._can_wait(tags, due_ms)):
            return None
        self._waiting, self._waiting_bytes = [], 0
        return tags

    def _can_wait(self, tags: list[Tag], due_ms: int | None) -> bool:
        if self._waiting_bytes > _MOST_WAITING_BYTES:
            return False
        now = self._now()
        if self._rhythm.waits(due_ms, now):
            return True
        if any(tag.type != _AUDIO_TAG for tag in tags):
            self._picture_at_s = now
            return False
        return len(tags) < _MOST_WAITING and now - self._picture_at_s < _PICTURE_SOON_S

    def _refill(self) -> None:
        """Looks at the clock only when the bytes of some seconds are used up."""
        if not self._publishing:
            self.events.append(Violated("protocol", "it sent much and did not publish"))
            return
        now = self._now()
        earned = (now - self._budget_at_s) * self._rate
        self._budget_at_s = now
        self._budget_bytes = min(self._budget_bytes + earned, self._rate * _BURST_S)
        if self._budget_bytes < 0:
            self.events.append(
                Violated("too-fast", f"it sent more than {self._rate * 8 / 1e6:g} Mbit/s for long")
            )
