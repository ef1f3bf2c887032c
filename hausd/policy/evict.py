"""What goes first when the store has to make room.

Units are whole segments: all renditions of one span of time together, so that what is left can
be played in any quality. Nothing pinned and nothing in use is ever chosen.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from hausd.core.live import RoomState

_RANKS = {RoomState.WAITING: 1, RoomState.LIVE: 1}
"""What belongs to a running stream goes after what is over; all other states are equal."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that could be removed as one.

    ``id`` is the caller's. ``in_use``: being written, or at the live edge. ``value`` is what the
    room is worth (more is kept longer), ``last_use_ms`` when the room was last read or written
    and ``made_ms`` when this was written, both Unix time.
    """

    id: int
    size: int
    files: int
    pinned: bool
    in_use: bool
    value: int
    state: RoomState
    last_use_ms: int
    made_ms: int

    @property
    def evictable(self) -> bool:
        return not self.pinned and not self.in_use


def choose(
    candidates: Iterable[Candidate], need_bytes: int, need_files: int
) -> list[Candidate] | None:
    """The least valuable candidates that together free at least what is needed, in order.

    Least valuable: the room's value, then rooms that are over before running ones, then the room
    that was used longest ago, then the oldest segment. None where everything that may go is not
    enough; then nothing should.
    """
    heap = [(*_order(one), number, one) for number, one in enumerate(candidates) if one.evictable]
    heapq.heapify(heap)
    chosen: list[Candidate] = []
    while need_bytes > 0 or need_files > 0:
        if not heap:
            return None
        least = heapq.heappop(heap)[-1]
        chosen.append(least)
        need_bytes -= least.size
        need_files -= least.files
    return chosen


def collectable(candidates: Iterable[Candidate], keep_value: int | None = None) -> list[Candidate]:
    """All that a collection may remove, least valuable first.

    Running rooms are kept, and rooms of at least ``keep_value`` where that is given.
    """
    return sorted(
        (
            one
            for one in candidates
            if one.evictable
            and one.state not in _RANKS
            and (keep_value is None or one.value < keep_value)
        ),
        key=_order,
    )


def _order(one: Candidate) -> tuple[int, int, int, int]:
    return one.value, _RANKS.get(one.state, 0), one.last_use_ms, one.made_ms
