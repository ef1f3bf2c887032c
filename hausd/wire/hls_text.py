"""Values of HLS tags as text: durations, dates, quoted strings."""

from __future__ import annotations

from datetime import UTC, datetime


def seconds_text(ticks: int, timescale: int) -> str:
    """``ticks / timescale`` as a decimal, exact to the tick.

    It has as many digits as ``timescale``, so that rounding ``text * timescale`` gives ``ticks``
    back; at least three, so that it is on the same side of any whole millisecond (such as
    PART-TARGET, or the half second at which EXTINF is rounded up) as the true value.
    """
    digits = max(3, len(str(timescale)))
    unit: int = 10**digits
    scaled = (2 * ticks * unit + timescale) // (2 * timescale)
    whole, rest = divmod(scaled, unit)
    return f"{whole}.{rest:0{digits}}".rstrip("0").rstrip(".")


def millis_text(milliseconds: int) -> str:
    """Milliseconds as a decimal number of seconds."""
    return seconds_text(milliseconds, 1000)


def date_text(time_ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC, for EXT-X-PROGRAM-DATE-TIME."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03}Z"


def quoted(text: str) -> str:
    """A quoted-string (RFC 8216bis, 4.2): it can't hold quotes or line ends, so they are left
    out."""
    return '"' + "".join(c for c in text if c not in '"\r\n') + '"'
