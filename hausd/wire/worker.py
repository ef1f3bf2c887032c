"""What the node and a media worker say to each other, and how it is framed.

The node sends FLV tags as they came and a few controls; the worker sends parts and what it
learned. Every frame is ``!BIII``: kind, number (a timestamp or 0), length of the head (JSON),
length of the body (bytes). A worker parses hostile media, so the node reads its frames as
untrusted: bounded in size, and validated against the types below.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from hausd.core.media import Kind
from hausd.wire.flv import Tag

HEADER = struct.Struct("!BIII")
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 32 * 1024 * 1024


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker shall treat its stream; the first thing it is told.

    ``ladder`` lists rungs as ``(height, bits per second)``. ``part_target_ms`` is 0 for the first
    run of a session, which fixes it, else what that run fixed. ``first_run`` numbers the first
    run this worker makes, ``first_time_ms`` is where on the session's time line it begins: a
    replaced worker goes on counting.
    """

    part_ms: int = 400
    part_target_ms: int = 0
    gop_target_ms: int = 2000
    segment_ms: int = 10_000
    first_run: int = 0
    first_time_ms: int = 0
    ladder: tuple[tuple[int, int], ...] = ()
    preset: str = "veryfast"
    audio_bps: int = 128_000
    reencode_long_gops: bool = True
    images: bool = True
    threads: int = 0
    memory_bytes: int = 0
    cpu_nice: int = 5


class RunStarted(msgspec.Struct, frozen=True, tag="run"):
    """From here on everything belongs to a new run: a discontinuity with new inits."""

    run: int
    reason: str
    part_target_ms: int


class TrackStarted(msgspec.Struct, frozen=True, tag="track"):
    """A rendition begins in this run; the body is its init segment.

    ``frame_rate`` is ``(numerator, denominator)``, or None when unknown.
    """

    rendition: str
    run: int
    kind: Kind
    codecs: str
    timescale: int
    bandwidth_bps: int = 0
    width: int = 0
    height: int = 0
    frame_rate: tuple[int, int] | None = None
    sample_rate_hz: int = 0
    channels: int = 0
    closed_captions: bool = False


class PartMade(msgspec.Struct, frozen=True, tag="part"):
    """A part; the body is its bytes. Fields as in ``core.media.Part``.

    ``ends_gop``: this part closes its GOP, as far as the worker knows when it sends it (a part
    that happened to be full at the end of a GOP learns it only from the next part's ``gop``).
    ``next_tag_ms``: the time of the tag (RTMP's, modulo 2**32) with which the next part of the
    rendition will close; None where that is not known, or every frame is wanted as it comes.
    """

    rendition: str
    run: int
    gop: int
    segment: int
    start: int
    duration: int
    independent: bool
    ends_gop: bool = False
    next_tag_ms: int | None = None


class TrackStopped(msgspec.Struct, frozen=True, tag="untrack"):
    """A rendition makes no more parts for now (shed, or gone from the source)."""

    rendition: str
    run: int
    reason: str


class RunEnded(msgspec.Struct, frozen=True, tag="run-end"):
    """Every part of this run has been sent."""

    run: int


class ImageMade(msgspec.Struct, frozen=True, tag="image"):
    """A JPEG: the poster, or one sprite sheet of the storyboard with its tiles' times.

    ``run_ms`` is the time of its first picture since the run began, ``interval_ms`` between
    tiles; a poster has one tile.
    """

    use: Literal["poster", "storyboard"]
    run: int
    run_ms: int
    interval_ms: int
    columns: int
    rows: int
    tiles: int
    tile_width: int
    tile_height: int


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """Something the artist or operator should read, in plain words.

    ``code`` is stable (``long-gop``, ``shed``, ``restored``, ``unsupported-codec``, ``gap`` …)
    and counted in the metrics.
    """

    code: str
    text: str


class WorkerStats(msgspec.Struct, frozen=True, tag="stats", kw_only=True):
    """Once a second: how the worker fares.

    ``speed`` is media time made per wall time over the last seconds (1.0 keeps up);
    ``behind_ms`` is how much media waits inside. ``gop_ms`` is the longest time between keyframes
    of the source, 0 until that is known.
    """

    frames_in: int
    frames_dropped: int
    fps: float
    speed: float
    behind_ms: int
    encoding: tuple[str, ...]
    shed: tuple[str, ...]
    memory_bytes: int
    cpu_s: float
    gop_ms: int = 0


class Sandboxed(msgspec.Struct, frozen=True, tag="sandbox"):
    """Which limits hold in this worker (``landlock``, ``seccomp``, ``rlimits``, ``nice``)."""

    holds: tuple[str, ...]
    missing: tuple[str, ...]


FromWorker = (
    RunStarted
    | TrackStarted
    | PartMade
    | TrackStopped
    | RunEnded
    | ImageMade
    | Notice
    | WorkerStats
    | Sandboxed
)

_TAG_TYPES = frozenset((8, 9, 18))
_CONFIG = 1
_END = 2
_MESSAGE = 3
_to_json = msgspec.json.Encoder().encode
_config_from_json = msgspec.json.Decoder(WorkerConfig, strict=True).decode
_message_from_json: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker, strict=True)


class WorkerProtocolError(ValueError):
    """The other side sent something that is not of this protocol; the message says what."""


@dataclass(frozen=True, slots=True)
class End:
    """The node has no more tags; the worker sends what it has left and ends."""


ToWorker = WorkerConfig | Tag | End


def encode_config(config: WorkerConfig) -> bytes:
    """The first frame from node to worker."""
    head = _to_json(config)
    return HEADER.pack(_CONFIG, 0, len(head), 0) + head


def encode_tag_header(tag: Tag) -> bytes:
    """What goes before a tag's body on its way to the worker."""
    return HEADER.pack(tag.type, tag.timestamp_ms & 0xFFFFFFFF, 0, len(tag.data))


def encode_end() -> bytes:
    """The last frame from node to worker."""
    return HEADER.pack(_END, 0, 0, 0)


def encode_message(message: FromWorker, body_bytes: int) -> bytes:
    """What goes before the body of a message on its way to the node."""
    head = _to_json(message)
    return HEADER.pack(_MESSAGE, 0, len(head), body_bytes) + head


class _Frames:
    """Cuts a byte stream into frames; bounded by MAX_HEAD_BYTES and MAX_BODY_BYTES.

    What is fed is read where it lies; only of a frame that is cut short something is kept.
    """

    def __init__(self) -> None:
        self._begun = bytearray()
        """Of a frame that is not whole yet."""
        self._lacks = 0
        """What is missing of it at least."""

    def pending_bytes(self) -> int:
        """Bytes of a frame that has begun and is not whole yet."""
        return len(self._begun)

    def feed(self, untrusted: bytes | memoryview) -> Iterator[tuple[int, int, bytes, bytes]]:
        """Kind, number, head and body of every whole frame."""
        view = memoryview(untrusted)
        at = 0
        while self._begun:
            taken = view[at : at + self._lacks]
            at += len(taken)
            self._begun += taken
            self._lacks -= len(taken)
            if self._lacks:
                return
            begun, self._begun = self._begun, bytearray()
            with memoryview(begun) as seen:
                past = yield from self._cut(seen, 0)
            if not past:
                self._begun = begun
        at = yield from self._cut(view, at)
        self._begun += view[at:]

    def _cut(
        self, view: memoryview, at: int
    ) -> Generator[tuple[int, int, bytes, bytes], None, int]:
        """The whole frames in ``view`` from ``at`` on; gives where they end."""
        end = len(view)
        while at < end:
            if end - at < HEADER.size:
                self._lacks = HEADER.size - (end - at)
                return at
            kind, number, head_bytes, body_bytes = HEADER.unpack_from(view, at)
            if head_bytes > MAX_HEAD_BYTES or body_bytes > MAX_BODY_BYTES:
                raise WorkerProtocolError(
                    f"a frame of {head_bytes} + {body_bytes} bytes is over the limit of "
                    f"{MAX_HEAD_BYTES} + {MAX_BODY_BYTES}"
                )
            body_at = at + HEADER.size + head_bytes
            past = body_at + body_bytes
            if past > end:
                self._lacks = past - end
                return at
            head = bytes(view[at + HEADER.size : body_at]) if head_bytes else b""
            yield kind, number, head, bytes(view[body_at:past])
            at = past
        return at


class ToWorkerDecoder:
    """Reads what the node sends, in the worker."""

    def __init__(self) -> None:
        self._frames = _Frames()

    def feed(self, data: bytes | memoryview) -> Iterator[ToWorker]:
        """Takes bytes, gives every whole frame; raises WorkerProtocolError."""
        for kind, number, head, body in self._frames.feed(data):
            if kind in _TAG_TYPES:
                yield Tag(kind, number, body)
            elif kind == _END:
                yield End()
            elif kind == _CONFIG:
                try:
                    yield _config_from_json(head)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise WorkerProtocolError(f"not a worker configuration: {error}") from None
            else:
                raise WorkerProtocolError(f"no frame to a worker has kind {kind}")


class FromWorkerDecoder:
    """Reads what a worker sends, in the node. A worker parses hostile media: nothing is trusted.

    At most one frame (MAX_HEAD_BYTES + MAX_BODY_BYTES) plus what was fed last is held.
    """

    def __init__(self) -> None:
        self._frames = _Frames()

    def feed(self, untrusted: bytes | memoryview) -> Iterator[tuple[FromWorker, bytes]]:
        """Takes bytes, gives every whole message with its body; raises WorkerProtocolError."""
        for kind, number, head, body in self._frames.feed(untrusted):
            if kind != _MESSAGE or number:
                raise WorkerProtocolError(f"no frame from a worker has kind {kind}")
            try:
                message = _message_from_json.decode(head)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise WorkerProtocolError(f"not a worker's message: {error}") from None
            _check(message)
            yield message, body

    def finish(self) -> None:
        """The worker closed its side; raises WorkerProtocolError in the middle of a frame."""
        if left := self._frames.pending_bytes():
            raise WorkerProtocolError(f"the worker stopped in the middle of a frame ({left} bytes)")


def _check(message: FromWorker) -> None:
    """Bounds that the types do not say; raises WorkerProtocolError."""
    match message:
        case PartMade():
            numbers = (message.run, message.gop, message.segment, message.start)
            if min(numbers) < 0 or max(numbers) >= 1 << 62 or not 0 < message.duration < 1 << 40:
                raise WorkerProtocolError("a part's indices or times are out of range")
        case TrackStarted():
            if not 0 < message.timescale < 1 << 31 or min(message.width, message.height) < 0:
                raise WorkerProtocolError("a track's timescale or size is out of range")
            if message.frame_rate is not None and min(message.frame_rate) <= 0:
                raise WorkerProtocolError("a track's frame rate is not positive")
        case WorkerStats():
            if not 0 <= message.gop_ms < 1 << 40:
                raise WorkerProtocolError("the time between keyframes is out of range")
        case ImageMade():
            if not 0 < message.tiles <= message.columns * message.rows:
                raise WorkerProtocolError("an image has more tiles than places for them")
        case _:
            pass
    rendition = getattr(message, "rendition", "source")
    if not (0 < len(rendition) <= 32 and rendition.isascii() and rendition.isalnum()):
        raise WorkerProtocolError("a rendition's name is 1 to 32 letters and digits")
