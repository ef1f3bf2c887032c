"""Which epochs and renditions of a gated room are free. Pure."""

from __future__ import annotations

from collections.abc import Collection

from hausd.core.media import Kind, Rendition
from hausd.core.preview import LOWEST, FreeTerms
from hausd.policy.ladder import SOURCE


def free_left_ms(terms: FreeTerms, started_ms: int, now_ms: int) -> int:
    """How long what is streamed is free as a whole yet, in a room whose first session began at
    ``started_ms``; 0 where it is not. All in ms, the two since 1970.

    An epoch is free where it is made while something is left. It is the last till then: as nothing
    is left the next one is made, so that no stretch of a paid epoch is given away.
    """
    return max(0, started_ms + terms.first_s * 1000 - now_ms) if terms.first_s else 0


def free_renditions(terms: FreeTerms, made: Collection[Rendition]) -> frozenset[str]:
    """The renditions that are free all the time, of those that are made.

    Of a picture the sound beside it is free too. ``LOWEST`` is the smallest picture of the ladder:
    where there is only the source, nothing is.
    """
    if not terms.rendition:
        return frozenset()
    ladder = [one for one in made if one.kind is Kind.VIDEO and one.name != SOURCE]
    found = [one for one in made if one.name == terms.rendition]
    if terms.rendition == LOWEST and ladder:
        found = [min(ladder, key=lambda one: (one.width * one.height, one.bandwidth_bps))]
    if not found:
        return frozenset()
    sound = [one for one in made if one.kind is Kind.AUDIO] if found[0].kind is Kind.VIDEO else []
    return frozenset(one.name for one in (*found, *sound))
