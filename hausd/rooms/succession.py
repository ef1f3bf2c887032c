"""Who has a room when a second encoder comes with its key (``policy.takeover`` says why)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

from hausd.core.publishing import FeedOver, Publisher
from hausd.policy.takeover import SILENT_S, Takeovers
from hausd.rooms.metrics import TAKEOVERS


class Holder(Protocol):
    """The publisher's stay that a newcomer finds."""

    @property
    def publisher(self) -> Publisher: ...

    @property
    def holds(self) -> bool:
        """Whether it neither left nor was sent away."""

    @property
    def last_tag_at_s(self) -> float:
        """When it last sent (trio's clock); 0 before it did."""

    async def heard(self) -> None:
        """Returns when it sends next, leaves, or is sent away."""


class Succession:
    """Decides for one room. ``tell`` gives artist and operator a notice: a code and a text."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self._takeovers = Takeovers()
        self._told: Holder | None = None

    async def decide(self, newcomer: Publisher, holder: Callable[[], Holder | None]) -> None:
        """Returns when the newcomer may have the room; raises FeedOver where it may not.

        It waits, at most SILENT_S, only where an encoder that seems to be sending was there to
        stay: should that be dead, it gives no further sign.
        """
        while True:
            there = holder()
            if there is None or not there.holds:
                return
            now, sent_at_s = trio.current_time(), there.last_tag_at_s
            if now - there.last_tag_at_s >= SILENT_S:
                TAKEOVERS.labels("silent").inc()
                return
            if not self._takeovers.held(now):
                self._takeovers.taken(now)
                TAKEOVERS.labels("sending").inc()
                self._tell(
                    "taken-over",
                    f"{_who(newcomer)} took this room over from {_who(there.publisher)}, which "
                    "was still sending: both have this room's stream key. Stop one of them.",
                )
                return
            with trio.move_on_after(SILENT_S):
                await there.heard()
            if holder() is there and there.holds and there.last_tag_at_s != sent_at_s:
                self._refuse(newcomer, there)

    def _refuse(self, newcomer: Publisher, there: Holder) -> None:
        self._takeovers.refused(trio.current_time())
        TAKEOVERS.labels("refused").inc()
        if self._told is not there:  # an encoder that tries again and again is told of once
            self._told = there
            self._tell(
                "contested",
                f"{_who(newcomer)} keeps trying to publish here and is refused: "
                f"{_who(there.publisher)} is sending with the same stream key. Stop one of them.",
            )
        raise FeedOver(
            f"{_who(there.publisher)} is already sending into this room with this stream key; "
            "stop it first"
        )


def _who(publisher: Publisher) -> str:
    name = f" ({publisher.encoder})" if publisher.encoder else ""
    return f"the encoder at {publisher.address}{name}"
