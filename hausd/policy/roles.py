"""Which rooms a node takes part in, and why: followed, watched, or relayed unasked. Pure.

*Followed* rooms are taken part in until they are unfollowed, whatever they cost. *Watched* ones
while somebody watches here, and a grace time after. Where the operator allows it (``auto``), what
is left of disk and upload relays rooms that need it: only those on the allow list (an open room's
id is the key of its artist), premium rooms, and events with sold tickets. There is no coordinator:
each node sees how much room there is for more followers. It decides anew every DECIDE_EVERY_S, each
at its own moment (``moment_s``), so that it sees what others decided before it and not all run to
the same room. What it sees is old by then, and nobody knows how many others look: so a room in need
calls few nodes at first, by a draw of their own, and twice as many whenever those can't have been
enough; and where there are too many relays, each leaves with just the chance that makes it right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.core.peers import PeerId

GRACE_S = 120.0
"""A room is kept so long after its last viewer left: one who reloads the page finds it warm."""
DECIDE_EVERY_S = 60.0
MAX_AUTO = 64
"""Most rooms that are relayed unasked."""
STAY_FACTOR = 1.25
"""A room that is relayed already counts for so much more: changing costs a catch-up."""

_FIRST_CALLED = 1 / 64
_TWICE_S = 20.0
"""How long it takes until those who came show in a room's card (``rooms.directory``)."""
_FETCHED = 0.8
"""Of a room's disk, so much is fetched of what was before: the rest is for what comes."""
_COPIES_OF_USE = (2.0, 3.0)
"""A relay sends so many copies of a room at least, the second figure where it can. One that sends
as many as it takes helps nobody, and a fleet of those looks as needy as before to everyone."""
_WANTED_FREE = 0.25
"""Of the copies that a room's viewers take, so many should be free for those who come next."""


class Why(StrEnum):
    """Why a node takes part in a room."""

    FOLLOWED = "followed"
    WATCHED = "watched"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Local:
    """What this node's own users want of a room. ``watched_s``: when somebody last watched."""

    followed: bool = False
    viewers: int = 0
    watched_s: float | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A room that could be relayed, as its card, the chain and its relays tell.

    ``allowed``: it is on the operator's list. ``taken`` and ``free``: copies that its
    relays send and could still send, as far as they say; ``own`` of the free ones are this
    node's. ``disk_bytes``: what it will take here while it is relayed. ``needy_s``: for how long
    it has been in need.
    """

    room: RoomId
    state: RoomState
    copy_bytes_per_s: float
    disk_bytes: int
    allowed: bool = False
    premium: bool = False
    tickets_sold: int = 0
    taken: int = 0
    free: int = 0
    own: int = 0
    needy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What ``auto`` may spend, all rooms together. ``on``: off by default."""

    on: bool = False
    disk_bytes: int = 0
    upload_bytes_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RelayTerms:
    """What the operator allows. ``upload_bytes_per_s`` and ``disk_bytes``: all rooms together."""

    auto: bool = False
    disk_bytes: int = 0
    upload_bytes_per_s: float = 0.0
    allow: frozenset[RoomId] = frozenset()
    premium: frozenset[RoomId] = frozenset()


NO_RELAYING = RelayTerms()


@dataclass(frozen=True, slots=True)
class Spend:
    """One room's part of what ``auto`` may spend."""

    disk_bytes: int
    upload_bytes_per_s: float
    keep_ms: int
    """How much of the recording that is, by the room's rate."""


def here(local: Local, now_s: float, grace_s: float = GRACE_S) -> Why | None:
    """Whether this node's own users keep it in a room, and why."""
    if local.followed:
        return Why.FOLLOWED
    if local.viewers or (local.watched_s is not None and now_s - local.watched_s < grace_s):
        return Why.WATCHED
    return None


def grace_ends_s(local: Local, grace_s: float = GRACE_S) -> float | None:
    """When ``here`` may turn to None by itself; None where it won't."""
    if local.followed or local.viewers or local.watched_s is None:
        return None
    return local.watched_s + grace_s


def moment_s(own: PeerId, every_s: float = DECIDE_EVERY_S) -> float:
    """When within each interval this node decides: spread evenly over all nodes."""
    return draw(own, "") * every_s


def may_relay(offer: Offer) -> bool:
    """Whether a room may be relayed unasked: somebody vouches for it, and it is on air."""
    vouched = offer.allowed or offer.premium or offer.tickets_sold > 0
    return vouched and offer.state in (RoomState.LIVE, RoomState.WAITING)


def need(offer: Offer) -> float:
    """How much a room needs another relay, from 0 (not at all) to 1."""
    return max(0.0, 1.0 - offer.free / _wanted(offer))


def _wanted(offer: Offer) -> float:
    return _WANTED_FREE * offer.taken + 1


def relay(
    offers: Iterable[Offer],
    budget: Budget,
    own: PeerId,
    taken_part: Mapping[RoomId, Why],
    now: frozenset[RoomId] = frozenset(),
    turn: int = 0,
) -> tuple[RoomId, ...]:
    """The rooms to relay unasked, those that are worth most first; never over the budget.

    ``now``: those that are relayed already. ``taken_part``: rooms that this node is in anyway.
    ``turn``: another number at each decision.
    A room costs its disk and, to be of use, some copies of upload: a relay takes one itself.
    Premium rooms come before others, but the others have half of the budget where they need it.
    """
    if not budget.on:
        return ()
    found = [
        (worth, one)
        for one in offers
        if one.room not in taken_part and may_relay(one)
        if (worth := _worth(one, own, turn, stays=one.room in now)) > 0
    ]
    # By name where worth is equal, so that the same input gives the same answer.
    found = [(worth, replace(one, copy_bytes_per_s=_cost(one, budget))) for worth, one in found]
    found.sort(key=lambda pair: (-pair[0], pair[1].room))
    premium = [one for _, one in found if one.premium]
    others = [one for _, one in found if not one.premium]
    half = Budget(True, budget.disk_bytes // 2, budget.upload_bytes_per_s / 2)
    first = _fill(others, half, ())
    chosen = _fill(premium, _less(budget, first), ())
    rest = [one for one in others if one not in first]
    more = _fill(rest, _less(budget, [*first, *chosen]), ())
    return tuple(one.room for one in [*chosen, *first, *more][:MAX_AUTO])


def split(chosen: Sequence[Offer], budget: Budget) -> dict[RoomId, Spend]:
    """The whole budget, shared by the rooms' rates: so each can send the same number of copies.

    Where ``relay`` chose them each has its ``disk_bytes`` at least, and the copies of use.
    """
    rate = sum(one.copy_bytes_per_s for one in chosen)
    shares = {}
    for one in chosen:
        disk = int(budget.disk_bytes * one.copy_bytes_per_s / rate)
        upload = budget.upload_bytes_per_s * one.copy_bytes_per_s / rate
        keep_ms = max(1, int(_FETCHED * disk / one.copy_bytes_per_s * 1000))
        shares[one.room] = Spend(disk, upload, keep_ms)
    return shares


def _worth(offer: Offer, own: PeerId, turn: int, *, stays: bool) -> float:
    """Need, weighed by how many watch; 0 where others are to come first, or this one to leave."""
    if not stays:
        called = draw(own, offer.room) < _called(offer.needy_s)
        return need(offer) * (1 + offer.taken) if called else 0.0
    spare = offer.free - offer.own - 2 * _wanted(offer)
    if spare > 0 and draw(own, f"{offer.room}/{turn}") < spare / (offer.free + offer.taken):
        return 0.0
    return STAY_FACTOR * (1 + offer.taken)


def _called(needy_s: float) -> float:
    """Which part of all nodes a room calls that has been in need for so long."""
    return min(1.0, _FIRST_CALLED * 2 ** min(needy_s / _TWICE_S, 60.0))


def draw(own: PeerId, what: str) -> float:
    """A node's own number from 0 to 1 for a room (or whatever is named), the same each time."""
    digest = hashlib.sha256(f"{own}/{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _cost(offer: Offer, budget: Budget) -> float:
    """The upload that a room has to get, in bytes a second: more copies than the relay takes."""
    most = budget.upload_bytes_per_s / offer.copy_bytes_per_s
    least, enough = _COPIES_OF_USE
    return offer.copy_bytes_per_s * min(max(most, least), enough)


def _fill(offers: Sequence[Offer], budget: Budget, already: Sequence[Offer]) -> list[Offer]:
    left = _less(budget, already)
    chosen: list[Offer] = []
    for one in offers:
        if one.disk_bytes <= left.disk_bytes and one.copy_bytes_per_s <= left.upload_bytes_per_s:
            chosen.append(one)
            left = _less(left, [one])
    return chosen


def _less(budget: Budget, spent: Sequence[Offer]) -> Budget:
    return Budget(
        budget.on,
        budget.disk_bytes - sum(one.disk_bytes for one in spent),
        budget.upload_bytes_per_s - sum(one.copy_bytes_per_s for one in spent),
    )
