"""Figures in the words that people read: sizes, rates, times."""

from __future__ import annotations

from datetime import UTC, datetime


def size(count: float) -> str:
    """Bytes in decimal units, as disks are sold and quotas written."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def rate(bps: float) -> str:
    """Bits a second."""
    if bps <= 0:
        return "-"
    if bps < 1_000_000:
        return f"{bps / 1000:.0f} kbit/s"
    return f"{bps / 1_000_000:.1f} Mbit/s"


def span(seconds: float) -> str:
    """A length of time, to the second or coarser."""
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    if minutes:
        return f"{minutes} min {secs:02} s"
    return f"{secs} s"


def ago(then: datetime, now: datetime | None = None) -> str:
    """How long ago a moment was."""
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    return "just now" if seconds < 1 else f"{span(seconds)} ago"


def clock(then: datetime) -> str:
    """A moment in the reader's own time zone."""
    return then.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def short_id(room: str) -> str:
    """As much of a room id as tells rooms apart on a screen; hausctl takes it for the whole."""
    return room if len(room) <= 20 else f"{room[:18]}…"


def count(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many}"
