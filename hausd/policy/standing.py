"""When a record is told to the DHT again. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

PROVIDE_AGAIN_S = 22 * 3600.0
"""Records are kept for 48 h; nodes come and go. Source: the kad-dht specification."""
PUBLISH_AGAIN_S = 4 * 3600.0
"""For names, as Kubo does: readers want the newest, and half of the nodes leave within hours."""
FIRST_S, SETTLE_S = 5.0, 600.0
NEWS_S = 60.0
"""Who comes is told of records that few keep, but not more often than so."""
ENOUGH = 20
"""So many peers keep a record in a network that has them."""


@dataclass(slots=True)
class Standing:
    """When a record is due (seconds of a monotonic clock), and what came of the last time."""

    due_s: float = 0.0
    wait_s: float = 0.0
    kept_by: int = 0


def next_due(last: Standing, kept_by: int, now_s: float, *, value: bool) -> Standing:
    """After telling it to so many: soon where nobody took it, and now and then while few did.

    Each wait is twice the one before, so a network of three nodes is not told for ever.
    """
    longest = PUBLISH_AGAIN_S if value else PROVIDE_AGAIN_S
    if kept_by >= ENOUGH:
        wait = longest
    elif kept_by:
        wait = min(longest, max(SETTLE_S, 2 * last.wait_s))
    else:
        wait = min(SETTLE_S, max(FIRST_S, 2 * last.wait_s))
    return Standing(now_s + wait, wait, kept_by)


def due_on_news(last: Standing, now_s: float) -> float:
    """When a record is due, now that a peer has come: it may be new, or have forgotten all."""
    if last.kept_by >= ENOUGH:
        return last.due_s
    if not last.kept_by:
        return now_s
    told_s = last.due_s - last.wait_s
    return min(last.due_s, max(now_s + FIRST_S, told_s + NEWS_S))
