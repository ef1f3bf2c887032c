"""How much of a recording a pin holds: the last hour, all of it, or all until a date. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Depth:
    """What of a room is pinned. ``last_ms`` None: the whole recording; else its newest so much.

    ``until_ms``: Unix time at which the pin ends by itself; None for never.
    """

    last_ms: int | None = None
    until_ms: int | None = None

    def __post_init__(self) -> None:
        if self.last_ms is not None and self.last_ms <= 0:
            raise ValueError("a pin's depth is above 0")


LAST_HOUR = Depth(HOUR_MS)
WHOLE = Depth()


@dataclass(frozen=True, slots=True)
class Span:
    """A segment's place in time: Unix time of its begin and end."""

    begin_ms: int
    end_ms: int


def holds(depth: Depth, span: Span, newest_ms: int, now_ms: int) -> bool:
    """Whether a pin of this depth holds a segment. ``newest_ms``: end of the newest segment.

    Counted from the newest segment, not from now: the last hour of a room that is over stays.
    A segment that reaches into the span is held as a whole.
    """
    if not lasts(depth, now_ms):
        return False
    return depth.last_ms is None or span.end_ms > newest_ms - depth.last_ms


def lasts(depth: Depth, now_ms: int) -> bool:
    """Whether a pin has not ended by its date."""
    return depth.until_ms is None or now_ms < depth.until_ms


def held(depths: Iterable[Depth], span: Span, newest_ms: int, now_ms: int) -> bool:
    """Whether any of a room's pins holds a segment."""
    return any(holds(depth, span, newest_ms, now_ms) for depth in depths)


def deepest(depths: Iterable[Depth]) -> Depth:
    """What reaches furthest back of several wishes; all where nobody has one."""
    found = list(depths)
    if not found or any(one.last_ms is None for one in found):
        return WHOLE
    return max(found, key=lambda one: one.last_ms or 0)


def next_change_ms(depths: Iterable[Depth], now_ms: int) -> int | None:
    """When a pin ends next by its date; None where none does."""
    return min(
        (one.until_ms for one in depths if one.until_ms is not None and one.until_ms > now_ms),
        default=None,
    )
