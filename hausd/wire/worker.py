"""What the node and a media worker say to each other, and how it is framed.

The node sends FLV tags as they came and a few controls; the worker sends parts and what it
learned. Every frame is ``!BIII``: kind, number (a timestamp or 0), length of the head (JSON),
length of the body (bytes). A worker parses hostile media, so the node reads its frames as
untrusted: bounded in size, and validated against the types below.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from hausd.core.media import Kind

HEADER = struct.Struct("!BIII")
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 32 * 1024 * 1024


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker shall treat its stream; the first thing it is told.

    ``ladder`` lists rungs as ``(height, bits per second)``. ``part_target_ms`` is 0 for the first
    run of a session, which fixes it, else what that run fixed. ``first_run`` numbers the first
    run this worker makes: a replaced worker goes on counting.
    """

    part_ms: int = 400
    part_target_ms: int = 0
    gop_target_ms: int = 2000
    segment_ms: int = 10_000
    first_run: int = 0
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
    """A part; the body is its bytes. Fields as in ``core.media.Part``."""

    rendition: str
    run: int
    gop: int
    segment: int
    start: int
    duration: int
    independent: bool


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
    ``behind_ms`` is how much media waits inside.
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
