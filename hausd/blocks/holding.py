"""Which files the pins hold now: of whole rooms, of the newest so much of a room, of CIDs."""

from __future__ import annotations

from collections.abc import Callable

from hausd.blocks.catalog import Volume
from hausd.blocks.layout import FileKind
from hausd.blocks.pins import Pins
from hausd.blocks.state import State
from hausd.core.ids import RoomId
from hausd.core.manifest import ManifestError, decode_record
from hausd.policy.depth import Depth, Span, holds, lasts


def span_of(record: bytes) -> Span | None:
    """When a segment was streamed, by its record; None where it doesn't say."""
    try:
        segment = decode_record(record).segment
    except ManifestError:
        return None
    return Span(segment.program_time_ms, segment.program_time_ms + segment.duration_ms)


def holder(state: State, pins: Pins) -> Callable[[Volume], bool]:
    """Tells of each file whether it must not be removed, as things are now."""
    if not pins.sure:
        return lambda volume: True
    now_ms = state.clock.now_ms()
    rooms = {room: depth for room, depth in pins.depths().items() if lasts(depth, now_ms)}
    newest = {room: newest_ms(state, room) for room, depth in rooms.items() if depth.last_ms}
    held = pins.held()

    def is_held(volume: Volume) -> bool:
        depth = rooms.get(volume.room)
        if depth is None:
            return volume in held
        return _in_depth(volume, depth, newest.get(volume.room, 0), now_ms) or volume in held

    return is_held


def newest_ms(state: State, room: RoomId) -> int:
    """Where what the store has of a room ends, Unix time; 0 where nobody knows."""
    account = state.catalog.rooms.get(room)
    segments = account.segments.values() if account is not None else ()
    return max((one.span.end_ms for one in segments if one.span is not None), default=0)


def _in_depth(volume: Volume, depth: Depth, newest: int, now_ms: int) -> bool:
    """What is not dated (small blocks, a segment that is not closed) belongs to all of a room."""
    if depth.last_ms is None or volume.kind is not FileKind.SEGMENT or volume.span is None:
        return True
    return holds(depth, volume.span, newest, now_ms)
