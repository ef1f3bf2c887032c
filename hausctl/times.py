"""Times and lengths of time as people write and read them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from hausctl.words import clock

MOST_DEPTH = "36500d"
"""Of a recording, as the node takes it: a hundred years."""
_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_YEARS = range(1971, 9000)
"""Of a moment: the ends of what calendars hold are too near to count on from there."""
_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?(s|m|min|h|d|w)")


def length_s(untrusted: str, option: str | None = None) -> float:
    """Seconds, of text as in ``90m`` or ``1h``. Raises typer.BadParameter, for the option."""
    match = _LENGTH.fullmatch(untrusted.strip())
    if match is None or not float(match[1]):
        right = "write a number and s, min, h, d or w, as in 1h"
        raise typer.BadParameter(
            f"{untrusted!r} is not a length of time; {right}", param_hint=option
        )
    return float(match[1]) * _UNITS_S[match[2]]


def bounded_s(untrusted: str, option: str, least: str, most: str) -> float:
    """The same, from ``least`` to ``most``. Raises typer.BadParameter for the option."""
    found = length_s(untrusted, option)
    if not length_s(least) <= found <= length_s(most):
        raise typer.BadParameter(f"{untrusted!r} is not {least} to {most}", param_hint=option)
    return found


def whole_s(untrusted: str, option: str, most: str) -> int:
    """Whole seconds, at least one. Raises typer.BadParameter for the option."""
    found = bounded_s(untrusted, option, "1s", most)
    if found != int(found):
        raise typer.BadParameter(f"{untrusted!r} is not in whole seconds", param_hint=option)
    return int(found)


def moment(untrusted: str, now: datetime | None = None) -> datetime:
    """A moment, of text as in ``2027-01-31`` (its begin, here), ``2027-01-31T18:00:00Z``,
    ``+30d`` or ``now``. Raises typer.BadParameter."""
    text = untrusted.strip()
    now = now or datetime.now(UTC)
    if text == "now":
        return now
    try:
        if text.startswith("+"):
            found = now + timedelta(seconds=length_s(text[1:]))
        else:
            found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{untrusted!r} is not a date; write it as in 2027-01-31, 2027-01-31T18:00:00Z or +30d"
        ) from None
    except OverflowError:
        raise typer.BadParameter(_too_far(untrusted)) from None
    if found.year not in _YEARS:
        raise typer.BadParameter(_too_far(untrusted))
    return found if found.tzinfo is not None else found.astimezone()


def _too_far(untrusted: str) -> str:
    return f"{untrusted!r} is not in the years {_YEARS.start} to {_YEARS.stop - 1}"


def when(then: Any) -> str:
    """A moment, as text or as it is, in the reader's own time zone."""
    return clock(
        then if isinstance(then, datetime) else datetime.fromisoformat(then).astimezone(UTC)
    )
