"""How one block is sought among peers that may have it: whom to ask what, and when. Pure.

Peers that have just given blocks are asked for this one too. Where none has, or it has it not, all
are asked who has it, and the first that says so for the block itself. Whoever does not answer is
left behind, not given up: its answer still counts. At last those are sought that are said to have
it (a DHT knows). Times are the caller's seconds.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hausd.core.peers import PeerId
from hausd.policy.estimates import Estimates

MAX_ASKED = 64
"""Peers that are asked for one block, in all."""
HAVE_S = 1.0
"""So long others may take to say whether they have it, before providers are sought."""
SILENT_S = 3.0
"""From a peer of which nothing is known: no byte in so long, and another is asked."""
LONGEST_S = 15.0
"""A block that takes longer is asked of another, however many bytes trickle in."""
GAVE_S = 60.0
"""So long a peer that gave a block is asked for others before anyone else."""
MAX_GIVERS = 64
PROBE_EVERY = 16
"""Of so many blocks one is asked of all, so that others that have them are found."""


@dataclass(frozen=True, slots=True)
class AskHave:
    """Ask these peers whether they have it."""

    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class AskBlock:
    """Ask this peer for the block."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class FindProviders:
    """Look for peers that are said to have it; ``Seek.found`` is told, and ``found_all``."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Everyone said no, and nobody else is known."""


Step = AskHave | AskBlock | FindProviders | Lost


@dataclass(slots=True)
class Seek:
    """One block that is sought. Each method gives what is to be done next."""

    size_bytes: int
    """At most."""
    peers: deque[PeerId]
    """Connected, and not asked yet."""
    unasked: bool = True
    """Whether providers are yet to be sought."""
    finding: bool = False
    asked: set[PeerId] = field(default_factory=set)
    """Of whom it is unknown whether they have it."""
    claims: deque[PeerId] = field(default_factory=deque)
    """Who said that they have it, and were not asked for it yet."""
    open: dict[PeerId, float] = field(default_factory=dict)
    """Whom it was asked of, and since when."""
    late: set[PeerId] = field(default_factory=set)
    refused: set[PeerId] = field(default_factory=set)
    told_s: float = float("-inf")
    """When all were asked who has it."""

    def start(self, giver: PeerId | None, probe: bool, now_s: float) -> list[Step]:
        """Whom to ask first. ``giver``: who gave others; ``probe``: ask all the same."""
        if giver is None:
            return self._next(now_s)
        self.open[giver] = now_s
        return [AskBlock(giver), *(self._broadcast(now_s) if probe else ())]

    def has(self, peer: PeerId, now_s: float) -> list[Step]:
        """It says that it has the block."""
        self.asked.discard(peer)
        self._claim(peer)
        return self._next(now_s)

    def has_not(self, peer: PeerId, now_s: float) -> list[Step]:
        """It says that it has it not, or is not to be asked any more."""
        self.asked.discard(peer)
        self.late.discard(peer)
        self.open.pop(peer, None)
        for untried in (self.claims, self.peers):
            if peer in untried:
                untried.remove(peer)
        self.refused.add(peer)
        return self._next(now_s)

    def came(self, peer: PeerId, now_s: float) -> list[Step]:
        """It is connected from now on."""
        self.refused.discard(peer)
        if len(self.peers) < MAX_ASKED and peer not in self.peers:
            self.peers.append(peer)
        return self._next(now_s)

    def found(self, provider: PeerId, now_s: float) -> list[Step]:
        """A connected peer is said to have it."""
        self._claim(provider)
        return self._next(now_s)

    def found_all(self, now_s: float) -> list[Step]:
        """Nobody else is said to have it."""
        self.finding = False
        return self._next(now_s)

    def due(
        self, heard_s: Callable[[PeerId], float], estimates: Estimates, now_s: float
    ) -> list[Step]:
        """What time has brought. ``heard_s``: when a peer last sent anything."""
        for peer, asked_s in self.open.items():
            patience_s = max(estimates.patience_s(peer, self.size_bytes, SILENT_S), SILENT_S)
            silent_s = now_s - max(asked_s, heard_s(peer))
            if silent_s > patience_s or now_s - asked_s > LONGEST_S:
                self.late.add(peer)
        if now_s - self.told_s > LONGEST_S:
            self.asked.clear()
        return self._next(now_s)

    def _claim(self, peer: PeerId) -> None:
        tried = peer in self.open or peer in self.refused or peer in self.claims
        if not tried and len(self.claims) < MAX_ASKED:
            self.claims.append(peer)

    def _next(self, now_s: float) -> list[Step]:
        if self.open.keys() - self.late:
            return []  # somebody is about to send it
        if self.claims:
            peer = self.claims.popleft()
            self.open[peer] = now_s
            return [AskBlock(peer)]
        if steps := self._broadcast(now_s):
            return steps
        if self.unasked and not (self.asked and now_s - self.told_s < HAVE_S):
            self.unasked, self.finding = False, True
            return [FindProviders()]
        if self.finding or self.asked or self.open:
            return []
        return [Lost()]

    def _broadcast(self, now_s: float) -> list[Step]:
        fresh = tuple(one for one in self.peers if one not in self.open)
        self.peers.clear()
        if not fresh:
            return []
        self.asked.update(fresh)
        self.told_s = now_s
        return [AskHave(fresh)]


class Givers:
    """Who has given blocks of late, and so is asked for others first."""

    def __init__(self) -> None:
        self.estimates = Estimates()
        self._gave_s: OrderedDict[PeerId, float] = OrderedDict()
        self._begun = 0

    def gave(self, peer: PeerId, now_s: float) -> None:
        """It gave a block, or says that it has one."""
        self._gave_s[peer] = now_s
        self._gave_s.move_to_end(peer)
        if len(self._gave_s) > MAX_GIVERS:
            self._gave_s.popitem(last=False)

    def gone(self, peer: PeerId) -> None:
        """It is not to be asked first any more."""
        self._gave_s.pop(peer, None)

    def begin(
        self,
        size_bytes: int,
        connected: Sequence[PeerId],
        load: Callable[[PeerId], int],
        now_s: float,
    ) -> tuple[Seek, list[Step]]:
        """Seeks a block. ``load``: how many a peer is asked for now.

        Of those that gave, the one is asked that is likely to be done first.
        """
        able = [
            peer for peer in connected if now_s - self._gave_s.get(peer, float("-inf")) <= GAVE_S
        ]
        rates = {peer: self.estimates.throughput_bytes_per_s(peer) for peer in able}
        # of whom nothing is known, the best is hoped
        best = max(rates.values(), default=0.0) or 1.0
        giver = min(able, key=lambda one: (load(one) + 1) / (rates[one] or best), default=None)
        self._begun += 1
        others = sorted(connected, key=lambda peer: peer not in able)[:MAX_ASKED]
        seek = Seek(size_bytes, deque(others))
        return seek, seek.start(giver, self._begun % PROBE_EVERY == 1, now_s)
