"""Stretches of a recording without a discontinuity: the same ones in every rendition.

Renditions are recorded apart, and some have holes: a quality that was shed, sound that began
late. Yet a discontinuity has to have one number in all of them (RFC 8216bis, 6.2.4), so a stretch
is what the room recorded, and what a rendition has not of it are gaps. Times are program time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hausd.core.ids import SessionId
from hausd.core.live import ArchiveGap, ArchiveSegment

CONTINUOUS_MS = 500
"""Picture and sound never end at quite the same time: less than this is no hole."""
LONGEST_HOLE_MS = 3_600_000
"""A time that leaps by more within a run begins another stretch: an origin may sign any."""


@dataclass(slots=True)
class _Stretch:
    number: int
    run: int
    first_segment: int
    last_segment: int
    begin_ms: int
    end_ms: int


@dataclass(slots=True)
class Stretches:
    """A room's stretches. Segments may come in any order among renditions that are at most a
    segment apart.

    A run is a stretch; it is several where the recording had stopped, which shows in segment
    numbers (they count spans of time) that no rendition has, or in times that leap.
    """

    target_ms: int
    _all: list[_Stretch] = field(default_factory=list)
    _of_run: dict[tuple[SessionId, int], list[_Stretch]] = field(default_factory=dict)

    def place(self, segment: ArchiveSegment) -> int:
        """The number of the stretch that a segment, as its origin counted it, belongs to."""
        known = self._of_run.setdefault((segment.session, segment.run), [])
        begun = (one for one in reversed(known) if one.first_segment <= segment.number)
        found = next(begun, known[0] if known else None)
        begin_ms, end_ms = segment.program_time_ms, segment.program_time_ms + segment.duration_ms
        newest = found is not None and found is known[-1]
        if (
            found is None
            or (newest and segment.number > found.last_segment + 1)
            or max(begin_ms - found.end_ms, found.begin_ms - end_ms) > LONGEST_HOLE_MS
        ):
            number = segment.number
            found = _Stretch(len(self._all), segment.run, number, number, begin_ms, end_ms)
            known.append(found)
            self._all.append(found)
        found.first_segment = min(found.first_segment, segment.number)
        found.last_segment = max(found.last_segment, segment.number)
        found.begin_ms = min(found.begin_ms, begin_ms)
        found.end_ms = max(found.end_ms, end_ms)
        return found.number

    def run_of(self, placed: ArchiveSegment) -> int:
        """The run of a segment that was placed, as its origin counted it."""
        return self._all[placed.run].run

    def gaps(
        self, most: int, last: ArchiveSegment | None, until: ArchiveSegment | None = None
    ) -> list[ArchiveGap]:
        """What the room recorded after a rendition's last segment (None: from the beginning) and
        before another one (None: to the end). Both are placed: their run is their stretch.

        No more than ``most``; those that there would be beyond it are left out.
        """
        made: list[ArchiveGap] = []
        final = until.run if until is not None else len(self._all) - 1
        for stretch in self._all[last.run if last is not None else 0 : final + 1]:
            begin_ms, end_ms = stretch.begin_ms, stretch.end_ms
            if last is not None and stretch.number == last.run:
                begin_ms = last.program_time_ms + last.duration_ms
            if until is not None and stretch.number == until.run:
                end_ms = until.program_time_ms
            if end_ms - begin_ms > CONTINUOUS_MS:
                made += self._pieces(stretch.number, begin_ms, end_ms, most - len(made))
        return made

    def _pieces(self, number: int, begin_ms: int, end_ms: int, most: int) -> list[ArchiveGap]:
        count = -(-(end_ms - begin_ms) // self.target_ms)
        pieces = range(max(0, min(count, most)) + 1)
        edges = [begin_ms + (end_ms - begin_ms) * at // count for at in pieces]
        return [ArchiveGap(number, here, there - here) for here, there in pairwise(edges)]
