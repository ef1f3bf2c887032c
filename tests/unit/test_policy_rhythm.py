"""Frames before the last of a part wait; the last one never does, whatever the encoder's clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.rhythm import EARLY_S, LATE_S, PartRhythm


def test_nothing_is_idle_before_anything_is_known() -> None:
    rhythm = PartRhythm()
    assert rhythm.idle_s(100, 5.0) == 0
    rhythm.came(0, 5.0)
    assert rhythm.idle_s(None, 5.0) == 0


def test_the_picture_that_closes_a_part_is_waited_for_until_just_before_it_comes() -> None:
    rhythm = PartRhythm()
    rhythm.came(1000, 10.0)
    assert rhythm.idle_s(1200, 10.0) == pytest.approx(0.2 - EARLY_S)
    assert rhythm.idle_s(1200, 10.1) < 0.1
    assert rhythm.idle_s(1200, 10.2) == 0
    rhythm.came(1200, 10.2)
    assert rhythm.idle_s(1200, 10.2) == 0


@given(
    tag_ms=st.integers(0, 2**32 - 1),
    due_ms=st.integers(0, 2**32 - 1),
    later_s=st.floats(0, 100),
)
def test_nobody_idles_longer_than_a_part_may_be_or_for_a_time_that_is_past(
    tag_ms: int, due_ms: int, later_s: float
) -> None:
    rhythm = PartRhythm()
    rhythm.came(tag_ms, 0.0)
    idle_s = rhythm.idle_s(due_ms, later_s)
    assert 0 <= idle_s <= 1.0
    ahead_ms = (due_ms - tag_ms) % 2**32
    assert idle_s == 0 or later_s + idle_s < ahead_ms / 1000


def test_pictures_that_lay_there_put_off_nothing() -> None:
    rhythm = PartRhythm()
    rhythm.came(0, 0.0)
    rhythm.came(167, 0.197, just_now=False)
    assert rhythm.idle_s(200, 0.197) == 0
    rhythm.came(200, 0.230)
    assert rhythm.idle_s(400, 0.230) == pytest.approx(0.173 - EARLY_S), "what is late is doubted"
    for n in range(2, 60):
        rhythm.came(200 * n, 0.2 * n + 0.03)
    assert rhythm.idle_s(12_000, 11.83) == pytest.approx(0.2 - EARLY_S, abs=0.001), "for a while"
    rhythm.came(12_000, 11.99)
    assert rhythm.idle_s(12_200, 11.99) == pytest.approx(0.2 - EARLY_S), "what is early never"
    rhythm.came(12_200, 14.0)
    assert rhythm.idle_s(12_400, 14.0) == pytest.approx(0.2 - EARLY_S), "nor a pause"


def test_times_wrap() -> None:
    rhythm = PartRhythm()
    rhythm.came(2**32 - 100, 0.0)
    assert 0.19 < rhythm.idle_s(100, 0.0) < 0.2


def test_after_a_part_nothing_is_read_till_the_next_one_can_close() -> None:
    rhythm = PartRhythm()
    rhythm.came(1000, 10.0)
    assert rhythm.rest_s(1000, 10.0) == 0, "how long a part is, is not known yet"
    rhythm.came(1200, 10.2)
    assert rhythm.rest_s(1200, 10.201) == pytest.approx(0.079)
    assert rhythm.idle_s(1200, 10.2) == 0, "what closes the part does not wait"
    assert rhythm.rest_s(1200, 10.3) == 0
    rhythm.came(1233, 10.233)
    assert rhythm.rest_s(1200, 10.233) == 0
    assert rhythm.rest_s(None, 10.25) == 0


@given(
    dues_ms=st.lists(st.none() | st.integers(0, 2**32 - 1), min_size=1, max_size=6),
    later_s=st.floats(0, 100),
)
def test_nobody_rests_as_long_as_a_part_may_be(dues_ms: list[int | None], later_s: float) -> None:
    rhythm = PartRhythm()
    for due_ms in dues_ms:
        rhythm.came(due_ms or 0, 0.0)
        assert 0 <= rhythm.rest_s(due_ms, later_s) <= 0.4


def test_pictures_wait_for_the_one_that_closes_their_part_and_little_longer() -> None:
    rhythm = PartRhythm()
    assert not rhythm.waits(1200, 10.0)
    rhythm.came(1167, 10.0)
    assert rhythm.waits(1200, 10.02)
    assert rhythm.waits(1200, 10.033 + 0.9 * LATE_S), "encoders are late, too"
    assert not rhythm.waits(1200, 10.034 + LATE_S)
    assert not rhythm.waits(None, 10.0)
    rhythm.came(1200, 10.04)
    assert not rhythm.waits(1200, 10.04)


def test_a_picture_that_closes_its_part_by_rounding_does_not_wait_for_the_next() -> None:
    rhythm = PartRhythm()
    rhythm.came(1167, 10.0)
    rhythm.came(1199, 10.033)
    assert not rhythm.waits(1204, 10.033)
    assert rhythm.waits(1233, 10.033)
