"""An encoder as tests need it: RTMP's client side sans-IO, FLV files, and rooms that record.

``RtmpClient`` writes what real encoders write, and on request what only some of them do: small or
large chunks, two and three byte chunk headers, extended timestamps repeated or not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from hausd.core.ids import RoomId
from hausd.core.publishing import FeedOver, Publisher, Refused
from hausd.wire import amf
from hausd.wire.flv import Tag
from hausd.wire.rtmp_chunks import ChunkLimits, ChunkReader, Message

HANDSHAKE_BYTES = 1536
EXTENDED = 0xFFFFFF


@dataclass
class ChunkWriter:
    """Writes messages as chunks, choosing the shortest header that says what is needed."""

    chunk_bytes: int = 128
    repeat_extended: bool = True
    always_type_0: bool = False
    _last: dict[int, tuple[int, int | None, int, int, int]] = field(default_factory=dict)
    """Per chunk stream: time, delta (None after type 0), length, type, stream id."""

    def set_chunk_bytes(self, chunk_bytes: int) -> bytes:
        written = b"".join(self.chunks(2, Message(1, 0, 0, chunk_bytes.to_bytes(4, "big"))))
        self.chunk_bytes = chunk_bytes
        return written

    def write(self, csid: int, message: Message) -> bytes:
        return b"".join(self.chunks(csid, message))

    def chunks(self, csid: int, message: Message) -> Iterator[bytes]:
        """One chunk after the other, so that tests can interleave messages."""
        last = self._last.get(csid)
        header, extension, delta = self._header(last, message)
        self._last[csid] = (
            message.timestamp_ms,
            delta,
            len(message.data),
            message.type,
            message.stream_id,
        )
        size = self.chunk_bytes
        yield basic_header(header[0], csid) + header[1] + extension + message.data[:size]
        repeated = extension if self.repeat_extended else b""
        for at in range(size, len(message.data), size):
            yield basic_header(3, csid) + repeated + message.data[at : at + size]

    def _header(
        self, last: tuple[int, int | None, int, int, int] | None, message: Message
    ) -> tuple[tuple[int, bytes], bytes, int | None]:
        time = message.timestamp_ms
        size = len(message.data).to_bytes(3, "big") + bytes((message.type,))
        if self.always_type_0 or last is None or last[4] != message.stream_id or time < last[0]:
            shown, extension = _time(time)
            stream_id = message.stream_id.to_bytes(4, "little")
            return (0, shown + size + stream_id), extension, None
        delta = time - last[0]
        shown, extension = _time(delta)
        same = last[2:4] == (len(message.data), message.type)
        if same and last[1] == delta:
            return (3, b""), extension if self.repeat_extended else b"", delta
        return ((2, shown) if same else (1, shown + size)), extension, delta


def basic_header(chunk_type: int, csid: int) -> bytes:
    if csid < 64:
        return bytes((chunk_type << 6 | csid,))
    if csid < 320:
        return bytes((chunk_type << 6, csid - 64))
    return bytes((chunk_type << 6 | 1,)) + (csid - 64).to_bytes(2, "little")


def _time(time_ms: int) -> tuple[bytes, bytes]:
    if time_ms < EXTENDED:
        return time_ms.to_bytes(3, "big"), b""
    return EXTENDED.to_bytes(3, "big"), time_ms.to_bytes(4, "big")


@dataclass
class RtmpClient:
    """Publishes. Each method gives bytes to send; ``receive`` gives what the server said."""

    app: str = "live"
    writer: ChunkWriter = field(default_factory=ChunkWriter)
    flash_version: str = "FMLE/3.0 (compatible; hausd-tests)"
    media_csids: tuple[int, int, int] = (4, 6, 5)
    """Chunk streams of audio, video and script data."""
    stream_id: int = 1
    _reader: ChunkReader = field(default_factory=lambda: ChunkReader(ChunkLimits()))
    _handshake: bytearray = field(default_factory=bytearray)
    answered: bool = False

    def hello(self) -> bytes:
        return b"\x03" + bytes(8) + bytes(range(256)) * 5 + bytes(248)

    def echo(self) -> bytes:
        return bytes(HANDSHAKE_BYTES)

    def command(self, *values: amf.AmfWritable, stream_id: int = 0) -> bytes:
        return self.writer.write(3, Message(20, 0, stream_id, amf.encode(*values)))

    def connect(self) -> bytes:
        properties = {
            "app": self.app,
            "tcUrl": f"rtmp://127.0.0.1/{self.app}",
            "flashVer": self.flash_version,
        }
        return self.command("connect", 1, properties)

    def publish(self, key: str) -> bytes:
        return (
            self.command("releaseStream", 2, None, key)
            + self.command("FCPublish", 3, None, key)
            + self.command("createStream", 4, None)
            + self.command("publish", 5, None, key, "live", stream_id=self.stream_id)
        )

    def opening(self, key: str) -> bytes:
        """All there is before media, not waiting for any answer."""
        return self.hello() + self.echo() + self.connect() + self.publish(key)

    def tag(self, tag: Tag) -> bytes:
        csid = self.media_csids[{8: 0, 9: 1, 18: 2}[tag.type]]
        return self.writer.write(csid, self.message(tag))

    def message(self, tag: Tag) -> Message:
        data = amf.encode("@setDataFrame") + tag.data if tag.type == 18 else tag.data
        return Message(tag.type, tag.timestamp_ms, self.stream_id, data)

    def unpublish(self) -> bytes:
        return self.command("FCUnpublish", 6, None, "") + self.command(
            "deleteStream", 7, None, self.stream_id
        )

    def receive(self, data: bytes) -> list[tuple[int, object]]:
        """What the server said: message types with decoded commands, or bytes."""
        if not self.answered:
            self._handshake += data
            if len(self._handshake) < 1 + 2 * HANDSHAKE_BYTES:
                return []
            assert self._handshake[0] == 3
            data = bytes(self._handshake[1 + 2 * HANDSHAKE_BYTES :])
            self.answered = True
        messages: list[Message] = []
        self._reader.receive(data, messages)
        return [(m.type, amf.decode(m.data) if m.type == 20 else m.data) for m in messages]


def statuses(said: Iterable[tuple[int, object]]) -> list[str]:
    """The codes of the ``onStatus`` commands among what a server said."""
    return [values[3]["code"] for kind, values in said if kind == 20 and values[0] == "onStatus"]


def read_flv(data: bytes) -> list[Tag]:
    """The tags of an FLV file."""
    assert data[:3] == b"FLV"
    tags, at = [], int.from_bytes(data[5:9], "big") + 4
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        time = data[at + 7] << 24 | int.from_bytes(data[at + 4 : at + 7], "big")
        tags.append(Tag(data[at], time, data[at + 11 : at + 11 + size]))
        at += 11 + size + 4
    return tags


@dataclass
class RecordingFeed:
    """A way into a room that keeps what it gets. ``gate`` closed is a busy room."""

    room: RoomId
    publisher: Publisher
    tags: list[Tag] = field(default_factory=list)
    closed_because: str = ""
    over_because: str = ""
    next_tag_ms: int | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    gate: trio.Event = field(default_factory=trio.Event)
    _over: trio.Event = field(default_factory=trio.Event)

    def offer(self, tags: Sequence[Tag]) -> bool:
        """As a room does: takes them at once, unless it is busy."""
        if self.over_because:
            raise FeedOver(self.over_because)
        if not self.gate.is_set():
            return False
        self.tags.extend(tags)
        return True

    async def send(self, tags: Sequence[Tag]) -> None:
        await self.gate.wait()
        if self.over_because:
            raise FeedOver(self.over_because)
        self.tags += tags
        await trio.lowlevel.checkpoint()

    async def wait_over(self) -> str:
        await self._over.wait()
        return self.over_because

    def close_because(self, reason: str) -> None:
        self.closed_because = reason

    def end(self, reason: str) -> None:
        self.over_because = reason
        self._over.set()


@dataclass
class RecordingRooms:
    """Rooms by their keys, which record; a newcomer ends who publishes into the same room."""

    keys: dict[str, RoomId]
    feeds: list[RecordingFeed] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    busy: bool = False
    _changed: trio.Event = field(default_factory=trio.Event)
    _live: dict[RoomId, RecordingFeed] = field(default_factory=dict)

    def admit(self, untrusted_key: str) -> RoomId | Refused:
        self.tried.append(untrusted_key)
        room = self.keys.get(untrusted_key)
        return room or Refused("wrong-key", "No room has this stream key.")

    @asynccontextmanager
    async def publish(self, room: RoomId, publisher: Publisher) -> AsyncIterator[RecordingFeed]:
        before = self._live.get(room)
        if before is not None:
            before.end("another encoder took over")
        feed = RecordingFeed(room, publisher)
        if not self.busy:
            feed.gate.set()
        self._live[room] = feed
        self.feeds.append(feed)
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        try:
            yield feed
        finally:
            if self._live.get(room) is feed:
                del self._live[room]
            feed.ended.set()

    async def feed(self, number: int = 0) -> RecordingFeed:
        """The ``number``-th feed there was, once there is one."""
        while len(self.feeds) <= number:
            await self._changed.wait()
        return self.feeds[number]
