"""The order of a room's ticks, as a follower puts it together: pure state, no clock.

Ticks come by gossip, in any order, some twice, some never. ``TickChain`` gives them out in order,
says which are missing, and notices when an authority contradicts itself. It is handed verified
statements only; whoever waits for a missing tick owns the deadline and calls ``skip``.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from hausd.core.ids import SessionId
from hausd.wire.announce import Signed, contradict, newer_session
from hausd.wire.statements import End, Tick

MAX_AHEAD = 64
"""A tick further ahead than this (some 25 s) is not waited for: what is between is given up."""
KEPT = 128
"""Ticks of the session that are kept, to notice contradictions and to help who missed some."""

SignedTick = Signed[Tick] | Signed[End]


@dataclass(frozen=True, slots=True)
class Fork:
    """Evidence: two statements that no honest authority signs both (see ``contradict``)."""

    first: SignedTick
    second: SignedTick


@dataclass(frozen=True, slots=True)
class InOrder:
    """Ticks that are next, in order. ``lost``: how many before or between them were given up.

    A tick of another session than the one before it begins a new session.
    """

    ticks: tuple[SignedTick, ...]
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """It waits for what is missing before it."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing new: known already, or its place or session is past."""


Accepted = InOrder | Held | Stale | Fork


class TickChain:
    """One room's ticks. Holds at most KEPT + MAX_AHEAD statements.

    A follower that joins begins with the first tick it is given; of a session that begins later
    it wants every tick from the first on. ``from_first``: it is known that nothing goes on when it
    joins, so that the first session is one that begins later.
    """

    def __init__(self) -> None:
        self.session: SessionId | None = None
        self.ended = False
        self.from_first = False
        self._time_ms = 0
        self._next = 0
        self._kept: OrderedDict[int, SignedTick] = OrderedDict()
        self._ahead: dict[int, SignedTick] = {}

    @property
    def next(self) -> int:
        """The number of the tick that is next in order."""
        return self._next

    def missing(self) -> list[range]:
        """The numbers that are waited for, as ranges without gaps."""
        found: list[range] = []
        at = self._next
        for n in sorted(self._ahead):
            if n > at:
                found.append(range(at, n))
            at = n + 1
        return found

    def __contains__(self, digest: object) -> bool:
        """Whether a statement of this digest was accepted and is kept (see ``unpack``)."""
        return any(
            one.digest == digest for held in (self._kept, self._ahead) for one in held.values()
        )

    def recent(self, first: int, last: int) -> list[SignedTick]:
        """The kept ticks from ``first`` to ``last``, for who missed them."""
        return [self._kept[n] for n in range(first, last + 1) if n in self._kept]

    def follows(self, said: Tick | End) -> bool:
        """Whether a statement is of a session after the one that is followed now."""
        return self.session is None or (
            said.session != self.session
            and newer_session(self.session, self._time_ms, said.session, said.time_ms)
        )

    def accept(self, signed: SignedTick) -> Accepted:
        """Takes a verified tick or end and says what follows from it."""
        said = signed.statement
        if self.session is None:
            self._begin(said, 0 if self.from_first else said.n)
        elif self.session != said.session:
            if not self.follows(said):
                return Stale()
            self._begin(said, 0)
        fork = self._fork(signed)
        if fork is not None:
            return fork
        if said.n < self._next or said.n in self._ahead or self.ended:
            return Stale()
        self._ahead[said.n] = signed
        lost = 0
        ready = self._take()
        while self._ahead and max(self._ahead) > self._next + MAX_AHEAD:
            lost += self._give_up()
            ready += self._take()
        return InOrder(tuple(ready), lost) if ready else Held()

    def skip(self) -> Accepted:
        """Gives up the first missing ticks; gives out what waited for them."""
        if not self._ahead:
            return Stale()
        lost = self._give_up()
        return InOrder(tuple(self._take()), lost)

    def _begin(self, said: Tick | End, first: int) -> None:
        self.session = said.session
        self.ended = False
        self._time_ms = said.time_ms
        self._next = first
        self._kept.clear()
        self._ahead.clear()

    def _fork(self, signed: SignedTick) -> Fork | None:
        n = signed.statement.n
        for near in (n - 1, n, n + 1):
            other = self._kept.get(near) or self._ahead.get(near)
            if other is not None and contradict(other, signed):
                return Fork(other, signed)
        return None

    def _give_up(self) -> int:
        first = min(self._ahead)
        lost, self._next = first - self._next, first
        return lost

    def _take(self) -> list[SignedTick]:
        """What is next in order, as far as it is here."""
        ready: list[SignedTick] = []
        while self._next in self._ahead and not self.ended:
            one = self._ahead.pop(self._next)
            self._kept[self._next] = one
            self._next += 1
            self._time_ms = one.statement.time_ms
            self.ended = isinstance(one.statement, End)
            ready.append(one)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return ready
