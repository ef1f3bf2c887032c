"""From an encoder's connection into its room, for as long as it publishes.

It reads only when the room has taken what came before: a busy room slows the encoder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from hausd.ingest.incoming import Incoming
from hausd.ingest.metrics import TAGS
from hausd.ingest.ports import Feed, FeedOver
from hausd.ingest.reader import GLANCE_S, SocketReader
from hausd.ingest.terms import CLOSED_UNSAID, LOST, Ending
from hausd.wire.flv import Tag
from hausd.wire.rtmp import RtmpServer

OVER = "over"
"""Code of an ending that the room wanted."""
_ROUND_TRIP_S = 0.02
"""So much earlier we read from an encoder that waits for our acknowledgement."""
_THREADS = trio.CapacityLimiter(math.inf)
"""Bounded by the number of connections."""


class Pump:
    """One publisher's. ``receive`` reads once into ``incoming`` and tells whether more may come.

    It is used for streams that only the event loop can read (TLS, memory); a plain TCP socket is
    read by a thread.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        rtmp: RtmpServer,
        incoming: Incoming,
        receive: Callable[[], Awaitable[bool]],
        stall_s: float,
        now: Callable[[], float],
    ) -> None:
        self._stream = stream
        self._rtmp = rtmp
        self._incoming = incoming
        self._receive = receive
        self._stall_s = stall_s
        self._now = now
        self._waiting_since_s = math.inf
        """Since when the room has had all tags there were; never while it is busy."""

    async def run(self, feed: Feed, tags: list[Tag]) -> Ending:
        """Hands on these tags and all that follow, until something ends it."""
        ending: Ending | None = None

        async def leave_when_over() -> Ending:
            return Ending(OVER, await feed.wait_over())

        async def first_to_end(end: Callable[[], Awaitable[Ending]]) -> None:
            nonlocal ending
            ended = await end()
            ending = ending or ended
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first_to_end, leave_when_over)
            nursery.start_soon(first_to_end, self._stall)
            await first_to_end(partial(self._pump, feed, tags))
        assert ending is not None
        return ending

    def stalled(self) -> Ending:
        """What a publisher that sends nothing gets."""
        return Ending("stalled", f"the encoder sent no media for {self._stall_s:g} s")

    async def next_tags(self) -> list[Tag] | Ending:
        """Tags, at least one, all that have come."""
        while (came := self._incoming.tags()) is None:
            if not await self._receive():
                # what waited is handed on; the next read tells the end again
                return self._incoming.tags(all_there_is=True) or CLOSED_UNSAID
        return came

    async def _stall(self) -> Ending:
        """Ends when the encoder lets us wait too long; one timer, however many tags come."""
        while True:
            waited_s = max(0.0, self._now() - self._waiting_since_s)
            if waited_s >= self._stall_s:
                return self.stalled()
            await trio.sleep(self._stall_s - waited_s)

    async def _pump(self, feed: Feed, tags: list[Tag]) -> Ending:
        try:
            if isinstance(self._stream, trio.SocketStream):
                return await trio.to_thread.run_sync(
                    self._pump_in_thread,
                    self._stream.socket.fileno(),
                    feed,
                    tags,
                    limiter=_THREADS,
                )
            while True:
                await feed.send(tags)
                self._waiting_since_s = self._now()
                more = await self.next_tags()
                self._waiting_since_s = math.inf
                if isinstance(more, Ending):
                    return more
                TAGS.inc(len(more))
                tags = more
        except FeedOver as over:
            return Ending(OVER, str(over))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return LOST

    def _pump_in_thread(self, descriptor: int, feed: Feed, tags: list[Tag]) -> Ending:
        with SocketReader(descriptor) as reader:
            while True:
                if not feed.offer(tags):
                    trio.from_thread.run(feed.send, tags)
                self._waiting_since_s = self._now()
                more = self._read_tags(reader, feed)
                self._waiting_since_s = math.inf
                if isinstance(more, Ending):
                    return more
                TAGS.inc(len(more))
                tags = more

    def _read_tags(self, reader: SocketReader, feed: Feed) -> list[Tag] | Ending:
        incoming = self._incoming
        if (rest_s := incoming.rest_s(feed.next_tag_ms)) > 0:
            time.sleep(min(rest_s, GLANCE_S))  # this thread's own: the worker tells the next part
        early_s = _ROUND_TRIP_S if reader.sends_apart else 0.0
        while (came := incoming.tags(feed.next_tag_ms)) is None:
            trio.from_thread.check_cancelled()
            idled = False
            while (idle_s := incoming.idle_s(feed.next_tag_ms) - early_s) > 0:
                idled = True
                time.sleep(min(idle_s, GLANCE_S))  # this thread's own: the kernel gathers
                trio.from_thread.check_cancelled()
            early_s = 0.0  # one acknowledgement early lets all come that is held back
            try:
                data = reader.read()
            except EOFError:
                return incoming.tags(all_there_is=True) or CLOSED_UNSAID
            except OSError:
                return incoming.tags(all_there_is=True) or LOST
            if data is None:
                if glance := incoming.tags(all_there_is=True):
                    return glance
                continue
            incoming.take(data, just_now=not idled)
            reader.came(incoming.begun)
            answer = self._rtmp.data_to_send()
            if answer and not reader.send(answer):
                return Ending("deaf", "the encoder reads nothing of what it is answered")
        return came
