"""Times on hausctl's command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from hausctl.times import bounded_s, length_s, moment, whole_s

NOW = datetime(2026, 11, 26, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h", 3600),
        ("90 min", 5400),
        ("90m", 5400),
        ("1.5d", 129_600),
        ("45s", 45),
        ("2w", 1_209_600),
    ],
)
def test_lengths_are_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert length_s(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1", "0h", "-1h", "1 hour ago", "1e9h", "١h", "1h30m"])
def test_what_is_no_length_is_said_in_words(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="as in 1h"):
        length_s(text)


def test_a_length_outside_its_bounds_is_said_in_words() -> None:
    assert bounded_s("1.5s", "--last", "1s", "1h") == 1.5
    assert whole_s("1h", "--for", "1h") == 3600
    for text in ("0.5s", "61m", "999999999w"):
        with pytest.raises(typer.BadParameter, match="is not 1s to 1h"):
            whole_s(text, "--for", "1h")
    with pytest.raises(typer.BadParameter, match="whole seconds"):
        whole_s("1.5s", "--for", "1h")


@pytest.mark.parametrize(
    "text", ["+9999999d", "+999999999w", "9999-12-31", "0001-01-01", "0001-01-01T00:00:00+14:00"]
)
def test_a_moment_beyond_all_calendars_is_said_in_words(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not in the years 1971 to 8999"):
        moment(text)


def test_moments_are_dates_or_counted_from_now() -> None:
    assert moment("+30d", NOW) == NOW + timedelta(days=30)
    assert moment("now", NOW) == NOW
    assert moment("2027-01-31T18:00:00Z") == datetime(2027, 1, 31, 18, tzinfo=UTC)
    local = moment("2027-01-31")
    assert (local.year, local.month, local.day, local.hour) == (2027, 1, 31, 0)
    assert local.tzinfo is not None
    for text in ("tomorrow", "", "+", "2027-13-01", "31.1.2027"):
        with pytest.raises(typer.BadParameter, match="as in"):
            moment(text)
