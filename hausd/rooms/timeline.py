"""A room's time: which live segment and archive segment a part belongs to, and when it was.

Runs follow each other without overlap: media sequence numbers, archive segment numbers and
program time only ever grow. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hausd.core.ids import SessionId
from hausd.rooms.live import Span


@dataclass(slots=True)
class _Run:
    number: int
    base_msn: int
    base_segment: int
    zero_ms: int | None = None
    """Wall time at which the run's media time 0 was."""
    gops: int = 0
    segments: int = 0


@dataclass(slots=True)
class Timeline:
    """Numbers the spans of a session. ``next_…`` is what the next run begins with."""

    session: SessionId
    next_msn: int
    next_run: int
    next_segment: int
    _run: _Run | None = None
    _end_ms: int = 0
    _begins: dict[int, int] = field(default_factory=dict)

    @property
    def run(self) -> int | None:
        """The run that is going on."""
        return self._run.number if self._run is not None else None

    @property
    def first_msn(self) -> int:
        """Media sequence number with which the run began, or the next one will."""
        return self._run.base_msn if self._run is not None else self.next_msn

    @property
    def zero_ms(self) -> int:
        """Wall time of the run's media time 0; 0 before the run's first part."""
        return (self._run.zero_ms or 0) if self._run is not None else 0

    def start_run(self, number: int) -> None:
        """Begins a run, ending the one before."""
        self.end_run()
        self._run = _Run(number, self.next_msn, self.next_segment)
        self.next_run = number + 1

    def end_run(self) -> None:
        """The next part, if any, belongs to a new run."""
        if self._run is not None:
            self.next_msn = self._run.base_msn + self._run.gops
            self.next_segment = self._run.base_segment + self._run.segments
            self._run = None

    def place(
        self, *, gop: int, segment: int, start_ms: float, duration_ms: float, now_ms: int
    ) -> tuple[Span, int]:
        """The span and archive segment number of a part that was made just now.

        The run's first part sets its program time, never before the end of the run before.
        """
        run = self._run
        if run is None:
            raise ValueError("a part outside of a run")
        if run.zero_ms is None:
            begin_ms = max(now_ms - round(duration_ms), self._end_ms)
            run.zero_ms = begin_ms - round(start_ms)
        run.gops = max(run.gops, gop + 1)
        run.segments = max(run.segments, segment + 1)
        self.next_msn = run.base_msn + run.gops
        self.next_segment = run.base_segment + run.segments
        program_ms = run.zero_ms + round(start_ms)
        self._end_ms = max(self._end_ms, program_ms + round(duration_ms))
        span = Span(run.base_msn + gop, self.session, run.number, program_ms)
        return span, run.base_segment + segment
