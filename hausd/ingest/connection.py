"""One encoder's connection: negotiates, asks the rooms, hands on tags, and knows how it ended."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog
import trio

from hausd.core.ids import RoomId
from hausd.ingest.gather import Gathering
from hausd.ingest.metrics import ATTEMPTS_LIMITED, BYTES, PUBLISHING, REFUSED, TAGS
from hausd.ingest.ports import Feed, FeedOver, Publisher, Publishing, Refused
from hausd.policy.attempts import Attempts
from hausd.wire import flv
from hausd.wire.flv import Tag
from hausd.wire.rtmp import (
    HANDSHAKE_RANDOM_BYTES,
    ChunkLimits,
    Connect,
    Event,
    PlayRefused,
    PublishRequested,
    RtmpServer,
    Unpublished,
    Violated,
)

log = structlog.get_logger("hausd.ingest")

_READ_BYTES = 65_536
_KEY_CHARS_MAX = 256
_ENCODER_CHARS_MAX = 80
_NEGOTIATION_BYTES = 262_144
"""More than any encoder sends before it publishes, ten times over."""
_LINGER_BYTES = 1 << 20
_BURST_S = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What an encoder may take of us.

    ``handshake_timeout_s`` runs until it publishes; ``stall_s`` is how long it may send no whole
    tag while it publishes, ``max_bytes_per_s`` how fast it may send in the long run (ten seconds'
    worth at once). ``max_attempts`` wrong keys per ``attempts_window_s`` and address. A refused
    encoder is listened to for ``linger_s``, so that it reads why and does not try again at once.
    """

    handshake_timeout_s: float = 10.0
    stall_s: float = 30.0
    linger_s: float = 1.0
    max_publishers: int = 16
    max_connections: int = 64
    max_connections_per_address: int = 32
    max_bytes_per_s: int = 12_000_000
    max_message_bytes: int = 8 << 20
    max_attempts: int = 10
    attempts_window_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection ended: a short stable code, and plain words for artist and operator."""

    code: str
    reason: str


@dataclass(slots=True)
class Desk:
    """What the connections of a server share. ``taken`` counts the publishers of each room."""

    publishing: Publishing
    limits: Limits
    attempts: Attempts
    random_bytes: Callable[[int], bytes]
    taken: Counter[RoomId] = field(default_factory=Counter)

    def admit(self, address: str, untrusted_key: str) -> RoomId | Refused:
        """The room this key opens, unless the address guessed too often or the house is full."""
        now = trio.current_time()
        wait_s = self.attempts.wait_s(address, now)
        if wait_s > 0:
            ATTEMPTS_LIMITED.inc()
            text = f"Too many wrong stream keys. Try again in {math.ceil(wait_s)} s."
            return Refused(_LIMITED, text)
        room = self.publishing.admit(untrusted_key[:_KEY_CHARS_MAX])
        if isinstance(room, Refused):
            self.attempts.failed(address, now)
        elif room not in self.taken and len(self.taken) >= self.limits.max_publishers:
            text = f"This node takes {self.limits.max_publishers} publishers at once."
            return Refused("max-publishers", text)
        return room


class Connection:
    """One connection, from its first byte on. ``stream`` is closed by who opened it."""

    def __init__(self, stream: trio.abc.Stream, address: str, protocol: str, desk: Desk) -> None:
        self._stream = stream
        self._gathering = Gathering(stream)
        self._picture_at_s = -math.inf
        self._address = address
        self._protocol = protocol
        self._desk = desk
        self._limits = limits = desk.limits
        self._rtmp = RtmpServer(
            desk.random_bytes(HANDSHAKE_RANDOM_BYTES),
            ChunkLimits(
                max_message_bytes=limits.max_message_bytes,
                max_buffered_bytes=2 * limits.max_message_bytes,
            ),
        )
        self._events: deque[Event] = deque()
        self._flash_version = ""
        self._budget_bytes = float(_NEGOTIATION_BYTES)
        self._budget_at_s = trio.current_time()
        self._waiting_since_s = math.inf
        """Since when the room has had all tags there were; never while it is busy."""
        self.published = False
        """Whether a room ever took it in."""
        self.publishing = False
        """Whether media flows now; until it does, the connection may have to make room."""

    async def serve(self) -> Ending:
        """Serves the encoder until it goes or has to go."""
        try:
            while True:
                ending = await self._serve_publish()
                if ending is not None:
                    return ending
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return Ending("lost", "the connection to the encoder broke")

    async def _serve_publish(self) -> Ending | None:
        """One round of negotiating and publishing; None where the encoder may begin another."""
        asked: PublishRequested | Ending
        with trio.move_on_after(self._limits.handshake_timeout_s) as deadline:
            asked = await self._next_request()
        if deadline.cancelled_caught:
            asked = Ending(
                "handshake-timeout", f"no publish within {self._limits.handshake_timeout_s:g} s"
            )
        if isinstance(asked, Ending):
            if self.published and asked.code in ("left", "handshake-timeout"):
                return _FINISHED
            return asked
        room = self._desk.admit(self._address, asked.untrusted_key)
        if isinstance(room, Refused):
            REFUSED.labels(room.code).inc()
            code = "Denied" if room.code == _LIMITED else "BadName"
            self._rtmp.reject_publish(f"NetStream.Publish.{code}", room.message)
            await self._flush_and_linger()
            return Ending("refused", room.message)
        self._rtmp.accept_publish()
        self._desk.taken[room] += 1
        self.publishing = True
        try:
            ending = await self._publish(room)
        finally:
            self.publishing = False
            self._desk.taken[room] -= 1
            if not self._desk.taken[room]:
                del self._desk.taken[room]
        return None if ending is _FINISHED else ending

    # -- what the encoder says --

    async def _next_request(self) -> PublishRequested | Ending:
        await self._flush()
        while True:
            while self._events:
                match self._events.popleft():
                    case Connect(flash_version=flash_version):
                        self._flash_version = flash_version
                    case PublishRequested() as asked:
                        return asked
                    case Violated(code, reason):
                        await self._flush()
                        return Ending(code, reason)
                    case PlayRefused():
                        REFUSED.labels("play").inc()
                        await self._flush_and_linger()
                        return Ending("play", "it wanted to watch, which RTMP is not for here")
                    case Tag() | Unpublished():
                        pass  # of a publish that is over
            if not await self._receive():
                return Ending("left", "it left before it published")

    async def _next_tags(self) -> list[Tag] | Ending:
        """Tags, at least one, all that have come."""
        events = self._events
        tags: list[Tag] = []
        while True:
            while events:
                event = events[0]
                if isinstance(event, Tag):
                    tags.append(event)
                elif tags:
                    return tags
                elif isinstance(event, Unpublished):
                    events.popleft()
                    return _FINISHED
                elif isinstance(event, Violated):
                    return Ending(event.code, event.reason)
                events.popleft()
            if tags and not self._can_wait(tags):
                return tags
            if not await self._receive():
                # what waited is handed on; the next read tells the end again
                return tags or Ending("lost", "the encoder closed the connection without saying so")

    def _can_wait(self, tags: list[Tag]) -> bool:
        """Sound goes on with the picture that follows it: half the wake-ups further on."""
        now = trio.current_time()
        if any(tag.type != _AUDIO_TAG for tag in tags):
            self._picture_at_s = now
            return False
        return len(tags) < _MOST_WAITING and now - self._picture_at_s < _PICTURE_SOON_S

    async def _receive(self) -> bool:
        """Reads once; False at the end. What is to be answered is sent at once."""
        data = await self._stream.receive_some(_READ_BYTES)
        if not data:
            return False
        self._take(bytes(data))
        if self._rtmp.begun is not None and (more := self._gathering.more(_READ_BYTES)):
            self._take(more)
        await self._flush()
        return True

    def _take(self, data: bytes) -> None:
        BYTES.inc(len(data))
        self._events.extend(self._rtmp.receive(data))
        self._gathering.came(self._rtmp.begun)
        self._budget_bytes -= len(data)
        if self._budget_bytes < 0:
            self._refill()

    def _refill(self) -> None:
        """Looks at the clock only when the bytes of some seconds are used up."""
        if not self.publishing:
            self._events.append(Violated("protocol", "it sent much and did not publish"))
            return
        rate = self._limits.max_bytes_per_s
        now = trio.current_time()
        earned = (now - self._budget_at_s) * rate
        self._budget_at_s = now
        self._budget_bytes = min(self._budget_bytes + earned, rate * _BURST_S)
        if self._budget_bytes < 0:
            self._events.append(
                Violated("too-fast", f"it sent more than {rate * 8 / 1e6:g} Mbit/s for long")
            )

    # -- what the rooms say --

    async def _publish(self, room: RoomId) -> Ending:
        """Publishes until something ends it. The room is taken over by the first tag."""
        await self._flush()
        self._budget_bytes = self._limits.max_bytes_per_s * _BURST_S
        self._budget_at_s = trio.current_time()
        tags: list[Tag] | Ending = self._stalled()
        with trio.move_on_after(self._limits.stall_s):
            tags = await self._next_tags()
        if isinstance(tags, Ending):
            return tags
        encoder = encoder_name(self._flash_version, tags)
        publisher = Publisher(self._address, self._protocol, encoder)
        try:
            return await self._stay(room, publisher, tags)
        except FeedOver as refused:
            REFUSED.labels("room").inc()
            self._rtmp.reject_publish("NetStream.Publish.BadName", str(refused))
            await self._flush_and_linger()
            return Ending("refused", str(refused))

    async def _stay(self, room: RoomId, publisher: Publisher, tags: list[Tag]) -> Ending:
        """The encoder's stay in the room. Raises FeedOver where the room doesn't take it in."""
        async with self._desk.publishing.publish(room, publisher) as feed:
            self.published = True
            PUBLISHING.inc()
            log.debug("publishing", room=room, address=self._address)
            ending = Ending("stopped", "the node is stopping")
            try:
                ending = await self._feed(feed, tags)
            finally:
                PUBLISHING.dec()
                feed.close_because(ending.reason)
                log.debug("left", room=room, why=ending.code, reason=ending.reason)
        if ending.code == _OVER:
            self._rtmp.reject_publish("NetStream.Failed", ending.reason)
            await self._flush_and_linger()
        return ending

    async def _feed(self, feed: Feed, tags: list[Tag]) -> Ending:
        ending: Ending | None = None
        self._waiting_since_s = math.inf

        async def leave_when_over() -> Ending:
            return Ending(_OVER, await feed.wait_over())

        async def first_to_end(end: Callable[[], Awaitable[Ending]]) -> None:
            nonlocal ending
            ended = await end()
            ending = ending or ended
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first_to_end, leave_when_over)
            nursery.start_soon(first_to_end, self._stall)
            nursery.start_soon(self._gathering.run)
            await first_to_end(partial(self._pump, feed, tags))
        assert ending is not None
        return ending

    async def _stall(self) -> Ending:
        """Ends when the encoder lets us wait too long; one timer, however many tags come."""
        stall_s = self._limits.stall_s
        while True:
            waited_s = max(0.0, trio.current_time() - self._waiting_since_s)
            if waited_s >= stall_s:
                return self._stalled()
            await trio.sleep(stall_s - waited_s)

    def _stalled(self) -> Ending:
        return Ending("stalled", f"the encoder sent no media for {self._limits.stall_s:g} s")

    async def _pump(self, feed: Feed, tags: list[Tag]) -> Ending:
        """Reads only when the room has taken what came before: a busy room slows the encoder."""
        try:
            while True:
                await feed.send(tags)
                self._waiting_since_s = trio.current_time()
                TAGS.inc(len(tags))
                more = await self._next_tags()
                if isinstance(more, Ending):
                    return more
                self._waiting_since_s = math.inf
                tags = more
        except FeedOver as over:
            return Ending(_OVER, str(over))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return Ending("lost", "the connection to the encoder broke")

    # -- sending --

    async def _flush(self) -> None:
        """Sends what is to be sent.

        An encoder that is gone may have left its last tags in our buffers: not being able to
        answer is no reason not to read them. Reading tells when it is over.
        """
        data = self._rtmp.data_to_send()
        if data:
            with suppress(trio.BrokenResourceError):
                await self._stream.send_all(data)

    async def _flush_and_linger(self) -> None:
        """Sends what is left and reads on for a while: closing at once would lose the answer."""
        left_bytes = _LINGER_BYTES
        with trio.move_on_after(self._limits.linger_s):
            await self._flush()
            while left_bytes > 0:
                data = await self._stream.receive_some(_READ_BYTES)
                if not data:
                    return
                left_bytes -= len(data)
            await trio.sleep_forever()


_AUDIO_TAG = 8
_PICTURE_SOON_S = 0.06
"""Sound waits only while pictures come at least this often, so never longer."""
_MOST_WAITING = 6
_LIMITED = "attempts-limited"
_OVER = "over"
_FINISHED = Ending("finished", "the encoder finished")


def encoder_name(untrusted_flash_version: str, first_tags: list[Tag]) -> str:
    """What the encoder calls itself: in onMetaData, else in flashVer (``FMLE/3.0 (compatible; X``).

    Printable, at most 80 characters; empty where it says nothing.
    """
    name = untrusted_flash_version.strip()
    _, _, compatible = name.partition("(compatible;")
    for part in compatible.rstrip(") ").split(";"):
        if part.strip() and not part.strip().startswith("FMSc/"):
            name = part
            break
    for tag in first_tags:
        if tag.type != 18:
            continue
        for unit in flv.parse(tag):
            if isinstance(unit, flv.Metadata) and isinstance(unit.values.get("encoder"), str):
                name = str(unit.values["encoder"])
    return "".join(filter(str.isprintable, name)).strip()[:_ENCODER_CHARS_MAX]
