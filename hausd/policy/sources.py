"""Which of several sources a block is asked of, and when the next one: by what each has shown.

A block goes to whom it is expected from soonest, what is under way there counted in, so chunks
spread over the sources as their speed does. Who is late is hedged; who does not know it is asked
less; who fails rests, each time for longer; who lies is dropped. Pure: times are passed in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from hausd.policy.estimates import Estimate

MOST_AT_ONCE = 3
"""Sources of one block that are asked at the same time."""
MAX_UNDER_WAY = 16
"""Blocks that are asked of one source at the same time."""
LIAR_S = 3600.0
"""Who sent wrong bytes is not asked for so long."""
REST_S, LONGEST_REST_S = 1.0, 300.0
MOST_ASKED_REST_S = 900.0
"""A source may ask to be left alone; no longer than this is it granted."""
FORGET_S = 60.0
"""What was measured longer ago is measured again, with one block."""
_UNKNOWN_S = 1.5
"""Patience with a source that nothing is known of."""
_LEAST_PATIENCE_S = 0.2
_SMALL_BYTES = 16 * 1024
"""A block up to this size tells how long an answer takes, a larger one how fast its bytes come."""
_BESIDE_EACH_OTHER = 4
"""Blocks under way that hardly slow each other; with so many more an answer takes twice as long."""
_HIT_GAIN = 1 / 8
_LEAST_HITS = 0.05


@dataclass(slots=True)
class _Source:
    place: int
    answer: Estimate = field(default_factory=Estimate)
    per_byte: Estimate = field(default_factory=Estimate)
    hits: float = 1.0
    measured_s: float | None = None
    under_way: int = 0
    rests: int = 0
    resting_until_s: float = 0.0
    lying_until_s: float = 0.0
    blocks: int = 0

    def takes_s(self, size_bytes: int) -> float:
        return self.answer.mean + size_bytes * self.per_byte.mean


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a source. ``bytes_per_s`` of one block, 0 where not measured yet."""

    name: str
    answer_s: float
    bytes_per_s: float
    hits: float
    resting: bool
    lying: bool
    blocks: int


class Sources:
    """What is known of each source. Of those nothing is known of, the first named goes first."""

    def __init__(self, names: Iterable[str]) -> None:
        self._sources = {name: _Source(place) for place, name in enumerate(names)}

    def pick(self, among: Collection[str], size_bytes: int, now_s: float) -> str | None:
        """Whom to ask next; None where nobody of these is to be asked now."""
        ready = [
            (self._cost(source, size_bytes, now_s), source.place, name)
            for name, source in self._sources.items()
            if name in among and source.under_way < MAX_UNDER_WAY and _due_s(source) <= now_s
        ]
        return min(ready)[2] if ready else None

    def due_s(self, among: Collection[str]) -> float | None:
        """When the first of these may be asked again."""
        return min((_due_s(self._sources[name]) for name in among), default=None)

    def patience_s(self, name: str, size_bytes: int) -> float:
        """When an answer of this source has become late."""
        source = self._sources[name]
        if not source.answer.known and not source.per_byte.known:
            return _UNKNOWN_S
        late_s = source.answer.late(0.0) + size_bytes * source.per_byte.late(0.0)
        return max(_LEAST_PATIENCE_S, late_s)

    def _cost(self, source: _Source, size_bytes: int, now_s: float) -> float:
        measured = source.measured_s is not None and now_s - source.measured_s < FORGET_S
        if not measured and source.under_way == 0:
            return 0.0  # one block to find out
        takes_s = source.takes_s(size_bytes) or _UNKNOWN_S
        crowd = 1 + source.under_way / _BESIDE_EACH_OTHER
        return takes_s * crowd / max(source.hits, _LEAST_HITS)

    # -- what came of it --

    def asked(self, name: str) -> None:
        """A block is under way; exactly one of the calls below follows."""
        self._sources[name].under_way += 1

    def came(self, name: str, size_bytes: int, took_s: float, now_s: float) -> None:
        """The block came."""
        source = self._over(name, now_s)
        if size_bytes <= _SMALL_BYTES:
            source.answer.add(took_s)
        else:
            transfer_s = max(took_s - source.answer.mean, took_s / 10)
            source.per_byte.add(transfer_s / size_bytes)
        source.hits += _HIT_GAIN * (1 - source.hits)
        source.rests = 0
        source.blocks += 1

    def lacked(self, name: str, took_s: float, now_s: float) -> None:
        """It said that it has it not."""
        source = self._over(name, now_s)
        source.answer.add(took_s)
        source.hits -= _HIT_GAIN * source.hits

    def outrun(self, name: str, size_bytes: int, after_s: float, now_s: float) -> None:
        """Nobody waits for it any more: another's answer came first, or time was up."""
        source = self._over(name, now_s)
        if after_s <= max(source.takes_s(size_bytes), _LEAST_PATIENCE_S):
            return  # it was asked late, or let go early: that says nothing of it
        source.hits -= _HIT_GAIN * source.hits
        if size_bytes > _SMALL_BYTES:
            source.per_byte.add(after_s / size_bytes)
        else:
            source.answer.add(after_s)

    def failed(self, name: str, now_s: float, asked_rest_s: float = 0.0) -> None:
        """It could not answer; ``asked_rest_s``: it said when to come again."""
        source = self._over(name, now_s)
        rest_s = min(REST_S * 2.0**source.rests, LONGEST_REST_S)
        source.rests = min(source.rests + 1, 16)
        rest_s = max(rest_s, min(asked_rest_s, MOST_ASKED_REST_S))
        source.resting_until_s = max(source.resting_until_s, now_s + rest_s)

    def lied(self, name: str, now_s: float) -> None:
        """It sent bytes that are not the block's: it is dropped for LIAR_S."""
        self._over(name, now_s).lying_until_s = now_s + LIAR_S

    def standings(self, now_s: float) -> list[Standing]:
        """All sources, in the order they were named."""
        return [
            Standing(
                name,
                one.answer.mean,
                1 / one.per_byte.mean if one.per_byte.mean else 0.0,
                one.hits,
                one.resting_until_s > now_s,
                one.lying_until_s > now_s,
                one.blocks,
            )
            for name, one in self._sources.items()
        ]

    def _over(self, name: str, now_s: float) -> _Source:
        source = self._sources[name]
        source.under_way -= 1
        source.measured_s = now_s
        return source


def _due_s(source: _Source) -> float:
    return max(source.resting_until_s, source.lying_until_s)
