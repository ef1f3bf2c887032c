"""What to do about a source whose keyframes come too seldom for live segments. Pure.

Encode it anew if a core is free for that; else make the next session's live segments as long as
the source's GOPs (design, section 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from hausd.policy.cut import SLACK_MS
from hausd.policy.ladder import BEHIND_MS

MOST_TARGET_S = 10
"""The longest live target: OBS on auto makes GOPs of 8 s, and a player without low latency is
three targets behind."""
_SEEN_MS = 20_000
"""A source is held to have short GOPs once it was watched for so long: more than two of those
that a live target can be raised for."""


class KeyframeGaps:
    """Measures how far apart a source's keyframes are. Times are decode times in milliseconds."""

    def __init__(self) -> None:
        self._keyframe_ms: int | None = None
        self._longest_ms = self._seen_ms = 0

    def keyframe(self, ms: int) -> None:
        """A keyframe comes."""
        if self._keyframe_ms is not None:
            gap_ms = max(ms - self._keyframe_ms, 0)
            self._longest_ms = max(self._longest_ms, gap_ms)
            self._seen_ms += gap_ms
        self._keyframe_ms = ms

    def broken(self) -> None:
        """What comes next does not follow what came."""
        self._keyframe_ms = None

    def longest_ms(self, target_ms: int) -> int:
        """The source's longest GOP; 0 while none was longer than ``target_ms`` and it was not
        watched for long enough to say that none is."""
        known = self._longest_ms > target_ms + SLACK_MS or self._seen_ms >= _SEEN_MS
        return self._longest_ms if known else 0


class Fares(Protocol):
    """How a running worker fares (``wire.worker.WorkerStats``)."""

    @property
    def behind_ms(self) -> int: ...

    @property
    def encoding(self) -> tuple[str, ...]: ...

    @property
    def shed(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """``cores`` of the machine, and how many the encoders of one stream may share (``threads``,
    as configured; 0 and 1 are one)."""

    cores: int
    threads: int


def has_core(
    machine: Machine, *, ladder: bool, before: Fares | None, others: Iterable[Fares]
) -> bool:
    """Whether a core is free to encode one more source.

    ``ladder``: whether the stream's other qualities are encoded as well. ``before`` is how this
    stream's worker fared until now, ``others`` how those of other rooms do: where one can't keep
    up, there is no core, however many are counted.
    """
    running = list(others)
    if any(one.shed or one.behind_ms > BEHIND_MS for one in (*running, *filter(None, [before]))):
        return False
    share = max(machine.threads, 1)
    taken = share * (sum(bool(one.encoding) for one in running) + ladder)
    return machine.cores - taken >= 1


def live_target_s(configured_s: int, gop_ms: int, archive_target_s: int) -> int:
    """The live target for a source whose GOPs pass through: one of them fits, rounded.

    Never under what is configured, nor over MOST_TARGET_S and the archive's target (a GOP never
    spans two segments): GOPs longer than that are cut where there is no keyframe.
    """
    wanted_s = -((SLACK_MS - gop_ms) // 1000)
    return max(configured_s, min(wanted_s, MOST_TARGET_S, archive_target_s))
