"""What a follower hands to its lanes: a rendition's share of each tick."""

from __future__ import annotations

from dataclasses import dataclass

from hausd.rooms.pulling import Pull
from hausd.wire.statements import TickGap, TickGop, TickPart


@dataclass(frozen=True, slots=True)
class Entry:
    """A part of a tick, and the pull that brings it; None where it is not wanted."""

    gop: TickGop
    part: TickPart
    pull: Pull | None


@dataclass(frozen=True, slots=True)
class Step:
    """What one tick has for a rendition. ``lost``: ticks before it are missing."""

    tick: int
    entries: tuple[Entry | TickGap, ...]
    deadline_s: float
    ends_run: bool = False
    ends: bool = False
    lost: bool = False
