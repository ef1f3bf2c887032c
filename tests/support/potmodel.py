"""What an event's two pots should do, in plain Python: no chain, no accounts, no bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

MIN_TIP = 1_000
GRACE_S = 24 * 3_600
EXTENSIONS = 8


class Phase(Enum):
    OPEN = 1
    ENDED = 2
    FINALIZED = 3
    CANCELLED = 4


@dataclass
class ModelTier:
    price: int
    supply: int
    per_wallet: int
    transferable: bool
    refundable_until: int
    sold: int = 0


@dataclass
class Model:
    """People are numbers. Every method says whether the programs should allow it, and does it."""

    tiers: list[ModelTier]
    now: int
    ends: int
    extension: int
    extended: bool = False
    live: bool = False
    phase: Phase = Phase.OPEN
    ended_at: int = 0
    proceeds: int = 0
    tips: int = 0
    leader: int | None = None
    leader_total: int = 0
    paid: Counter[tuple[int, int]] = field(default_factory=Counter)
    """By holder and tier."""
    comp: Counter[tuple[int, int]] = field(default_factory=Counter)
    records: dict[int, int] = field(default_factory=dict)
    """What everybody tipped, by tipper, where there is a record."""

    def __post_init__(self) -> None:
        self.close_at = self.ends
        self.latest_end = self.ends + 30 * GRACE_S

    @property
    def latest(self) -> int:
        """When tips close at the very latest."""
        return self.ends + EXTENSIONS * self.extension

    @property
    def abandoned(self) -> bool:
        return self.now > self.latest + GRACE_S

    def held(self, who: int) -> int:
        return sum(count for (holder, _), count in (self.paid + self.comp).items() if holder == who)

    def buy(self, holder: int, tier: int, count: int) -> bool:
        of, mine = self.tiers[tier], self.paid[holder, tier]
        if self.phase is not Phase.OPEN or of.sold + count > of.supply:
            return False
        if of.per_wallet and mine + count > of.per_wallet:
            return False
        of.sold += count
        self.paid[holder, tier] += count
        self.proceeds += of.price * count
        return True

    def gift(self, holder: int, tier: int, count: int) -> bool:
        of = self.tiers[tier]
        if self.phase is not Phase.OPEN or of.sold + count > of.supply:
            return False
        of.sold += count
        self.comp[holder, tier] += count
        return True

    def _take(self, who: int, tier: int, count: int) -> tuple[int, int] | None:
        paid = min(count, self.paid[who, tier])
        comp = count - paid
        if comp > self.comp[who, tier]:
            return None
        self.paid[who, tier] -= paid
        self.comp[who, tier] -= comp
        return paid, comp

    def transfer(self, who: int, to: int, tier: int, count: int) -> bool:
        if who == to or not self.tiers[tier].transferable or self.phase is Phase.CANCELLED:
            return False
        taken = self._take(who, tier, count)
        if taken is None:
            return False
        self.paid[to, tier] += taken[0]
        self.comp[to, tier] += taken[1]
        return True

    def refund(self, who: int, tier: int, count: int) -> bool:
        of = self.tiers[tier]
        if self.phase is Phase.FINALIZED:
            return False
        if self.phase is not Phase.CANCELLED and self.now >= of.refundable_until:
            return False
        taken = self._take(who, tier, count)
        if taken is None:
            return False
        of.sold -= count
        self.proceeds -= of.price * taken[0]
        return True

    def tip(self, who: int, amount: int) -> bool:
        late = self.extension > 0 and self.now >= self.close_at
        if self.phase is not Phase.OPEN or amount < MIN_TIP or late:
            return False
        self.records[who] = self.records.get(who, 0) + amount
        self.tips += amount
        if self.records[who] > self.leader_total:
            changes, self.leader = self.leader != who, who
            self.leader_total = self.records[who]
            until = min(self.now + self.extension, self.latest)
            if changes and self.extension and until > self.close_at:
                self.close_at, self.extended = until, True
        return True

    def refund_tips(self, who: int) -> bool:
        if self.phase is not Phase.CANCELLED or who not in self.records:
            return False
        self.tips -= self.records.pop(who)
        return True

    def go_live(self) -> bool:
        if self.phase is not Phase.OPEN or self.live:
            return False
        self.live = True
        return True

    def move(self, ends: int) -> bool:
        """The artist says another time for the end."""
        if self.phase is not Phase.OPEN or not self.now < ends <= self.latest_end:
            return False
        if self.extended and ends < self.close_at:
            return False
        soonest = min(self.close_at, self.now + self.extension)
        if self.extension and (self.now >= self.close_at or ends < soonest):
            return False
        self.ends = self.close_at = ends
        return True

    def end(self, *, own: bool) -> bool:
        """What never went live is called off instead, by anyone, once it is abandoned."""
        if self.phase is not Phase.OPEN or (self.extension and self.now < self.close_at):
            return False
        if not (own and self.live) and not self.abandoned:
            return False
        self.phase, self.ended_at = Phase.ENDED if self.live else Phase.CANCELLED, self.now
        return True

    def cancel(self) -> bool:
        if self.phase is not Phase.OPEN:
            return False
        self.phase = Phase.CANCELLED
        return True

    def finalize(self, *, own: bool) -> bool:
        if self.phase is not Phase.ENDED or not (own or self.now > self.ended_at + GRACE_S):
            return False
        self.phase = Phase.FINALIZED
        return True
