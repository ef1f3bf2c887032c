"""Publishers of a room that is made here, one after the other: who has it, and when it is empty."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
import trio

from hausd.core.clock import Clock
from hausd.core.ids import RoomId
from hausd.core.publishing import FeedOver, Publisher
from hausd.rooms.stint import Stint
from hausd.rooms.succession import Succession

log = structlog.get_logger("hausd.rooms")


@dataclass(slots=True)
class Stays:
    """``open`` begins it. A stay that is being begun counts as one."""

    room: RoomId
    clock: Clock
    succession: Succession
    stint_of: Callable[[Publisher, int], Stint]
    """Of a publisher and when it came, in ms since 1970."""
    takes: Callable[[], bool]
    """Whether the room takes a stream now."""
    is_over: Callable[[], bool]
    """Whether the room runs no more."""
    is_due: Callable[[], bool]
    """Whether who comes begins another session."""
    begin: Callable[[], Awaitable[None]]
    """Begins one; nobody's parts are under way any more."""
    empty: Callable[[], Awaitable[None]]
    """The last one is over."""
    stint: Stint | None = None
    """The newest."""
    arrival: trio.Event = field(default_factory=trio.Event)
    """Set when somebody comes; then there is another."""
    _nursery: trio.Nursery | None = None

    def open(self, nursery: trio.Nursery) -> None:
        """From now on; stays go on in ``nursery``."""
        self._nursery = nursery

    async def end(self, because: str) -> None:
        """Sends away who publishes; returns when all parts of theirs are made."""
        if self.stint is not None:
            self.stint.end(because)
            await self.stint.done.wait()

    @asynccontextmanager
    async def publish(self, publisher: Publisher) -> AsyncIterator[Stint]:
        """A publisher's stay; one that is there already is ended. Raises FeedOver where another
        stays (``Succession``), or the room takes no stream."""
        await self.succession.decide(publisher, lambda: self.stint)
        if self._nursery is None or not self.takes():
            raise FeedOver("the room takes no stream now")
        stint = self.stint_of(publisher, self.clock.now_ms())
        before, self.stint = self.stint, stint
        after = None
        if before is not None and not before.done.is_set():
            before.end(
                f"another encoder, at {publisher.address}, began to publish with the same key"
            )
            after = before.done
        self.arrival.set()
        self.arrival = trio.Event()
        if self.is_due():
            try:
                if after is not None:
                    await after.wait()
                await self.begin()
            except BaseException:  # the encoder may be gone by now
                self._give_up(stint, before, self._nursery)
                raise
        log.info(
            "publisher-came",
            room=self.room,
            address=publisher.address,
            by=publisher.protocol,
            encoder=publisher.encoder,
        )
        self._nursery.start_soon(self._run, stint, after)
        try:
            yield stint
        finally:
            stint.until_ms = self.clock.now_ms()
            stint.close_because("the encoder disconnected")
            stint.leave()
            log.info("publisher-left", room=self.room, because=stint.closed_because)

    def _give_up(self, stint: Stint, before: Stint | None, nursery: trio.Nursery) -> None:
        """A stay that did not begin: who waits for its end, and for the room's, goes on."""
        if self.stint is stint:
            self.stint = before
        if before is not None and not before.done.is_set() and not self.is_over():
            nursery.start_soon(self._done_after, stint, before)
            return
        stint.done.set()
        if self.takes() and not self.is_over():
            nursery.start_soon(self._ended, before)

    async def _done_after(self, stint: Stint, before: Stint) -> None:
        """Who waits for a stay that did not begin waits for the one before, whose worker goes on
        to the end of what it has."""
        await before.done.wait()
        stint.done.set()

    async def _run(self, stint: Stint, after: trio.Event | None) -> None:
        await stint.run(after)
        await self._ended(stint)

    async def _ended(self, stint: Stint | None) -> None:
        if self.stint is stint:
            await self.empty()
