"""Which rooms a node takes part in, and why: followed, watched, or relayed unasked. Pure.

*Followed* rooms are taken part in until they are unfollowed, whatever they cost. *Watched* ones
while somebody watches here, and a grace time after. Where the operator allows it (``auto``), what
is left of disk and upload relays rooms that need it: only of artists on the allow list, of
premium rooms, and of events with sold tickets. There is no coordinator: each node sees how much
room there is for more followers. It decides anew every DECIDE_EVERY_S, each at its own moment
(``moment_s``), so that it sees what others decided before it and not all run to the same room;
and by a draw of its own for each room, so that a small need calls few.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

    ``allowed``: its artist is on the operator's list. ``taken`` and ``free``: copies that its
    relays send and could still send, as far as they say; ``own`` of the free ones are this
    node's. ``disk_bytes``: what it will take here while it is relayed.
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


@dataclass(frozen=True, slots=True)
class Budget:
    """What ``auto`` may spend, all rooms together. ``on``: off by default."""

    on: bool = False
    disk_bytes: int = 0
    upload_bytes_per_s: float = 0.0


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
    return _draw(own, "") * every_s


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
) -> tuple[RoomId, ...]:
    """The rooms to relay unasked, those that are worth most first; never over the budget.

    ``now``: those that are relayed already. ``taken_part``: rooms that this node is in anyway.
    A room costs its disk and, to be of use, at least one copy of upload. Premium rooms come
    before others, but the others have half of the budget where they need it.
    """
    if not budget.on:
        return ()
    found = [
        (worth, one)
        for one in offers
        if one.room not in taken_part and may_relay(one)
        if (worth := _worth(one, own, one.room in now)) > 0
    ]
    # By name where worth is equal, so that the same input gives the same answer.
    found.sort(key=lambda pair: (-pair[0], pair[1].room))
    premium = [one for _, one in found if one.premium]
    others = [one for _, one in found if not one.premium]
    half = Budget(True, budget.disk_bytes // 2, budget.upload_bytes_per_s / 2)
    first = _fill(others, half, ())
    chosen = _fill(premium, _less(budget, first), ())
    rest = [one for one in others if one not in first]
    more = _fill(rest, _less(budget, [*first, *chosen]), ())
    return tuple(one.room for one in [*chosen, *first, *more][:MAX_AUTO])


def _worth(offer: Offer, own: PeerId, stays: bool) -> float:
    """Need, weighed by how many watch; 0 where the draw says that others are to come first.

    Each node draws its own number for a room, the same each time: as need grows more and more
    nodes are called. Those that came stay until there is twice what is wanted without them.
    """
    if stays:
        enough = offer.free - offer.own >= 2 * _wanted(offer)
        return 0.0 if enough else STAY_FACTOR * (1 + offer.taken)
    needed = need(offer)
    if needed <= _draw(own, offer.room):
        return 0.0
    return needed * (1 + offer.taken)


def _draw(own: PeerId, what: str) -> float:
    digest = hashlib.sha256(f"{own}/{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


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
