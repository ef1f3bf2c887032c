"""One encoder's connection: negotiates, asks the rooms, hands on tags, and knows how it ended."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
import trio

from hausd.core.ids import RoomId
from hausd.ingest.incoming import Incoming
from hausd.ingest.metrics import ATTEMPTS_LIMITED, PUBLISHING, REFUSED
from hausd.ingest.ports import FeedOver, Publisher, Publishing, Refused
from hausd.ingest.pump import OVER, Pump
from hausd.ingest.terms import FINISHED, LOST, Ending, Limits
from hausd.policy.attempts import Attempts
from hausd.wire import flv
from hausd.wire.flv import Tag
from hausd.wire.rtmp import (
    HANDSHAKE_RANDOM_BYTES,
    ChunkLimits,
    Connect,
    PlayRefused,
    PublishRequested,
    RtmpServer,
    Unpublished,
    Violated,
)

log = structlog.get_logger("hausd.ingest")

_READ_BYTES = 65_536
_ASKING_READ_BYTES = 2048
"""Before it publishes: one step of the loop for what a stranger sends is a short one."""
_KEY_CHARS_MAX = 256
_ENCODER_CHARS_MAX = 80
_LINGER_BYTES = 1 << 20


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
        # a clock that a thread may ask, too
        now = trio.lowlevel.current_clock().current_time
        self._incoming = Incoming(self._rtmp, limits, now)
        self._pump = Pump(stream, self._rtmp, self._incoming, self._receive, limits.stall_s, now)
        self._flash_version = ""
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
            return LOST

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
                return FINISHED
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
            self._incoming.unpublish()
            self._desk.taken[room] -= 1
            if not self._desk.taken[room]:
                del self._desk.taken[room]
        return None if ending is FINISHED else ending

    # -- what the encoder says --

    async def _next_request(self) -> PublishRequested | Ending:
        await self._flush()
        events = self._incoming.events
        while True:
            while events:
                match events.popleft():
                    case Connect(flash_version=flash_version):
                        self._flash_version = flash_version
                    case PublishRequested() as asked:
                        return asked
                    case Violated(code, reason):
                        await self._flush_and_linger()
                        return Ending(code, reason)
                    case PlayRefused():
                        REFUSED.labels("play").inc()
                        await self._flush_and_linger()
                        return Ending("play", "it wanted to watch, which RTMP is not for here")
                    case Tag() | Unpublished():
                        pass  # of a publish that is over
            if not await self._receive():
                return Ending("left", "it left before it published")

    async def _receive(self) -> bool:
        """Reads once; False at the end. What is to be answered is sent at once."""
        most = _READ_BYTES if self.publishing else _ASKING_READ_BYTES
        data = await self._stream.receive_some(most)
        if not data:
            return False
        self._incoming.take(bytes(data))
        await self._flush()
        return True

    # -- what the rooms say --

    async def _publish(self, room: RoomId) -> Ending:
        """Publishes until something ends it. The room is taken over by the first tag."""
        await self._flush()
        self._incoming.publish()
        tags: list[Tag] | Ending = self._pump.stalled()
        with trio.move_on_after(self._limits.stall_s):
            tags = await self._pump.next_tags()
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
                ending = await self._pump.run(feed, tags)
            finally:
                PUBLISHING.dec()
                feed.close_because(ending.reason)
                log.debug("left", room=room, why=ending.code, reason=ending.reason)
        if ending.code == OVER:
            self._rtmp.reject_publish("NetStream.Failed", ending.reason)
            await self._flush_and_linger()
        return ending

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


_LIMITED = "attempts-limited"


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
