"""Loops that look at something now and then wake together: each wake-up of an idle node costs more
than what most of them do."""

from __future__ import annotations

import math

import trio


def next_beat(every_s: float) -> float:
    """When a loop is due that looks every so many seconds, by ``trio.current_time``.

    That is when all others of this period are, so the first pause may be shorter, never longer.
    """
    now_s = trio.current_time()
    due_s = (math.floor(now_s / every_s) + 1) * every_s
    return due_s if due_s > now_s else due_s + every_s  # the quotient may be rounded down


async def beat(every_s: float) -> None:
    """Sleeps until then. For what takes little of the period, and need not keep its distance."""
    await trio.sleep_until(next_beat(every_s))
