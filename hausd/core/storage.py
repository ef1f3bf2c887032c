"""What rooms tell the block store, and what it tells them."""

from __future__ import annotations

from dataclasses import dataclass

from hausd.core.cid import CID
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import RoomState

MAX_SEGMENT_BYTES = 256 * 1024 * 1024
"""Of one rendition's segment of another node's room: 10 s at 200 Mbit/s, or 60 s at 35. What is
being written is never evicted, so that a segment without an end would fill the store."""


class RecordingStopped(Exception):
    """The store takes no more for now (full, over quota, or failing); ``args[0]`` says why."""


@dataclass(frozen=True, slots=True, order=True)
class SegmentKey:
    """Names one segment file: the ``number``-th segment of a rendition in a session."""

    room: RoomId
    session: SessionId
    rendition: str
    number: int


@dataclass(frozen=True, slots=True)
class Append:
    """Leaves to be written one after the other at the end of a segment's file."""

    key: SegmentKey
    leaves: tuple[tuple[CID, bytes | memoryview], ...]


@dataclass(frozen=True, slots=True)
class Close:
    """A segment is whole: its UnixFS nodes go into the file's trailer.

    ``record`` is the segment's entry as DAG-CBOR (see ``core.manifest``), so that a room can be
    told again from its files alone.
    """

    key: SegmentKey
    nodes: tuple[tuple[CID, bytes], ...]
    record: bytes


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A closed segment as the store holds it; ``size`` is that of its leaves, in bytes."""

    key: SegmentKey
    size: int
    closed_ms: int
    record: bytes


@dataclass(frozen=True, slots=True)
class UnclosedSegment:
    """A segment that was begun and never closed: its leaves with their sizes, in order.

    The next Append goes behind them. They outlive the process, so that a room can still close
    what a crash cut short.
    """

    key: SegmentKey
    leaves: tuple[tuple[CID, int], ...]


@dataclass(frozen=True, slots=True)
class RoomRating:
    """How much a room's content is worth keeping. ``value``: more is kept longer.

    ``own``: this node makes it, so that no stranger decides how much of it there is.
    """

    value: int = 0
    state: RoomState = RoomState.ENDED
    own: bool = False


FOR_A_WHILE = -1
"""The value of a room that is taken part in, but that nobody asked to keep."""
LEFT = RoomRating(value=-2)
"""A room that this node takes part in no more: it goes first."""
