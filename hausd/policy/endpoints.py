"""Which RPC endpoint is asked: the order to try them in, and whom not to believe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_LAG_SLOTS = 50
"""Slots behind the foremost from which an endpoint is asked last: about 20 s at 400 ms."""
LEAP_SLOTS = 1_000
"""What an endpoint may be ahead of all others beyond what time explains: restarts, skew."""
SLOTS_PER_S = 10
"""Faster than any chain runs (2.5 a second, embedded ones on demand more)."""
FIRST_REST_S, LONGEST_REST_S = 1.0, 60.0
ALONE_REST_S = 5.0
"""The longest rest while no other endpoint answers: who waits for the chain waits for that."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an endpoint. Times in seconds of one steady clock.

    ``slot`` is the newest it told, first at ``slot_at_s``; 0 where it told none.
    """

    failures: int = 0
    rests_until_s: float = 0.0
    slot: int = 0
    slot_at_s: float = 0.0
    latency_s: float = 0.0
    foreign: bool = False
    """It is of another chain: it is never asked."""


def order(standings: Sequence[Standing], now_s: float) -> list[int]:
    """The endpoints to ask, the best first. Those that rest, or are of another chain, are not.

    The configured order counts, but for those that fail and those that lag behind.
    """
    newest = foremost(standings, now_s)

    def rank(index: int) -> tuple[bool, int, int]:
        each = standings[index]
        lags = each.slot > 0 and newest - each.slot > MAX_LAG_SLOTS
        return lags, min(each.failures, 3), index

    awake = [
        index
        for index, each in enumerate(standings)
        if not each.foreign and each.rests_until_s <= now_s
    ]
    return sorted(awake, key=rank)


def rest_s(failures: int, asked_s: float, *, alone: bool) -> float:
    """How long an endpoint is left alone after so many failures in a row.

    ``asked_s`` is what it asked for itself (Retry-After), 0 for nothing; ``alone``: there is none
    that answers in its place.
    """
    if asked_s > 0:
        return min(asked_s, LONGEST_REST_S)
    longest_s = ALONE_REST_S if alone else LONGEST_REST_S
    return min(FIRST_REST_S * 2.0 ** (failures - 1), longest_s) if failures > 1 else 0.0


def foremost(standings: Sequence[Standing], now_s: float) -> int:
    """The newest slot that was told, but for one that can't be by what all others told; 0 where
    none was."""
    told = [each for each in standings if each.slot]
    return max(
        (each.slot for each in told if not _outruns(each.slot, told, each, now_s)), default=0
    )


def leaps(standings: Sequence[Standing], index: int, slot: int, now_s: float) -> bool:
    """Whether a slot that an endpoint tells can't be, by what all others told, and does not follow
    from what it told itself: the others may lag, and catch up."""
    own = standings[index]
    if own.slot and slot <= _most(own, now_s):
        return False
    return _outruns(slot, [each for each in standings if each.slot], own, now_s)


def _outruns(slot: int, told: Sequence[Standing], own: Standing, now_s: float) -> bool:
    others = [_most(each, now_s) for each in told if each is not own]
    return bool(others) and slot > max(others)


def _most(each: Standing, now_s: float) -> float:
    return each.slot + (now_s - each.slot_at_s) * SLOTS_PER_S + LEAP_SLOTS
