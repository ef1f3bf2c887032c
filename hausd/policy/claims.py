"""What followers claim of a room's copies, and how much of it is believed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from hausd.core.peers import Copies, Gives

_MUCH, _LITTLE = 4, 8
"""Times the median of what followers claim, and more than it, that one of them is believed."""
_EVEN_ALONE = 4
_LEAST_RATIO = 1 / 16
"""Of free copies to those taken and _EVEN_ALONE, a quarter of what a room should have free."""


def believed(own: Copies, untrusted_told: Sequence[Gives]) -> Copies:
    """What is known here and what followers claim, together, each claim bounded by the others.

    Of copies taken a claim counts for four times the median and a little at most; of free ones,
    by how many are taken there, for twice the median. So a few that boast hardly move the sum,
    whatever they say. Who gives nothing has no say, and who is alone is believed.
    """
    told = [gives for gives in untrusted_told if gives.slots]
    if len(told) < 2:
        return Copies(
            own.taken + sum(gives.taken for gives in told),
            own.free + sum(gives.free for gives in told),
        )
    most = _MUCH * median_low(gives.taken for gives in told) + _LITTLE
    taken = [min(gives.taken, most) + _EVEN_ALONE for gives in told]
    ratios = [gives.free / each for gives, each in zip(told, taken, strict=True)]
    ratio = 2 * median_low(ratios) + _LEAST_RATIO
    free = [min(gives.free, int(ratio * each)) for gives, each in zip(told, taken, strict=True)]
    return Copies(own.taken + sum(taken) - _EVEN_ALONE * len(told), own.free + sum(free))
