"""Times and lengths of time as people write and read them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from hausctl.words import clock

_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?(s|m|min|h|d|w)")


def length_s(untrusted: str) -> float:
    """Seconds, of text as in ``90m`` or ``1h``. Raises typer.BadParameter."""
    match = _LENGTH.fullmatch(untrusted.strip())
    if match is None or not float(match[1]):
        raise typer.BadParameter(
            f"{untrusted!r} is not a length of time; write a number and s, min, h, d or w, as in 1h"
        )
    return float(match[1]) * _UNITS_S[match[2]]


def moment(untrusted: str, now: datetime | None = None) -> datetime:
    """A moment, of text as in ``2027-01-31`` (its begin, here), ``2027-01-31T18:00:00Z``,
    ``+30d`` or ``now``. Raises typer.BadParameter."""
    text = untrusted.strip()
    now = now or datetime.now(UTC)
    if text == "now":
        return now
    if text.startswith("+"):
        return now + timedelta(seconds=length_s(text[1:]))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{untrusted!r} is not a date; write it as in 2027-01-31, 2027-01-31T18:00:00Z or +30d"
        ) from None
    return found if found.tzinfo is not None else found.astimezone()


def when(then: Any) -> str:
    """A moment, as text or as it is, in the reader's own time zone."""
    return clock(
        then if isinstance(then, datetime) else datetime.fromisoformat(then).astimezone(UTC)
    )
