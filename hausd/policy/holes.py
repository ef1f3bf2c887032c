"""Numbers that were passed over, as ranges: of segments that were not to be had. Pure."""

from __future__ import annotations

Ranges = list[tuple[int, int]]
"""First and last number of each, ascending, none next to another."""
MAX_RANGES = 256
"""Beyond it the oldest numbers are forgotten."""


def has(ranges: Ranges, number: int) -> bool:
    """Whether a number was passed over."""
    return any(first <= number <= last for first, last in ranges)


def add(ranges: Ranges, number: int) -> None:
    """Passes over a number above all others, or one that is known."""
    if has(ranges, number):
        return
    if ranges and number <= ranges[-1][1]:
        raise ValueError(f"{number} comes after {ranges[-1][1]}")
    if ranges and ranges[-1][1] == number - 1:
        ranges[-1] = (ranges[-1][0], number)
    else:
        ranges.append((number, number))
        del ranges[:-MAX_RANGES]


def remove(ranges: Ranges, number: int) -> None:
    """A number is there now."""
    for at, (first, last) in enumerate(ranges):
        if first <= number <= last:
            ranges[at : at + 1] = [
                one for one in ((first, number - 1), (number + 1, last)) if one[0] <= one[1]
            ]
            del ranges[:-MAX_RANGES]
            return
