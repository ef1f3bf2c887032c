"""What was passed over is remembered as a set of numbers would be, in bounded space."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.holes import MAX_RANGES, Ranges, add, has, remove


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=200))
def test_ranges_hold_what_a_set_would(steps: list[tuple[bool, int]]) -> None:
    ranges: Ranges = []
    model: set[int] = set()
    for adds, number in steps:
        if not adds:
            remove(ranges, number)
            model.discard(number)
        elif number in model or not model or number > max(model):
            add(ranges, number)
            model.add(number)
        else:
            with pytest.raises(ValueError, match="comes after"):
                add(ranges, number)
        assert {n for n in range(61) if has(ranges, n)} == model
        assert all(first <= last for first, last in ranges)
        assert all(a[1] < b[0] for a, b in pairwise(ranges))


def test_beyond_the_bound_the_oldest_are_forgotten() -> None:
    ranges: Ranges = []
    for number in range(0, 4 * MAX_RANGES, 2):
        add(ranges, number)
    assert len(ranges) == MAX_RANGES
    assert ranges[-1] == (4 * MAX_RANGES - 2,) * 2
    assert not has(ranges, 0)
