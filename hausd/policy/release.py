"""Who gets an epoch's key: decided from what the delegation, the chain and a key holder's memory
say. Pure.

First what costs nothing (``refused_by_text``), then what has to be asked of the chain
(``refused``). Bounds on how often somebody asks are ``Attempts``' there, before either.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hausd.core.delegation import Delegation, Scope
from hausd.core.ids import RoomId
from hausd.core.peers import PeerId
from hausd.core.release import Held, Missing, Refusal, Ticket, Unknown

CLOCK_TOLERANCE_S = 60
"""So far the wallet's clock and the key holder's may differ."""
DELEGATES = 3
"""Nodes that get an epoch's key by one ticket."""
MAX_DELEGATES = 60
"""The same for all tickets of one wallet, however many it has."""


def refused_by_text(
    delegation: Delegation, peer: PeerId, room: RoomId, chain: bytes, now_s: float
) -> Refusal | None:
    """What a delegation that its wallet did sign does not allow; None where it allows this.

    ``peer`` is who asks, as its connection proves; ``chain`` the genesis hash of the room's chain.
    """
    if delegation.node != peer:
        return Refusal.OTHER_NODE
    if delegation.chain != chain or not delegation.covers(room, Scope.WATCH):
        return Refusal.WRONG_EVENT
    if now_s > delegation.not_after_s + CLOCK_TOLERANCE_S:
        return Refusal.EXPIRED
    if now_s < delegation.not_before_s - CLOCK_TOLERANCE_S:
        return Refusal.NOT_YET
    return None


@dataclass(frozen=True, slots=True)
class Guest:
    """What a key holder remembers of a wallet's node in a room: it was given the keys of ``given``
    after the chain had been asked, and that of ``graced`` while the chain did not answer."""

    given: frozenset[bytes] = frozenset()
    graced: bytes | None = None


NOBODY = Guest()


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides about one epoch's key. ``delegates``: the nodes that the tickets this wallet has
    now have brought the key already; ``per_ticket`` of them are allowed for each ticket."""

    peer: PeerId
    ticket: Ticket
    holds_key: bool = True
    banned: bool = False
    guest: Guest = NOBODY
    delegates: Collection[PeerId] = ()
    per_ticket: int = DELEGATES


def refused(epoch: bytes, facts: Facts) -> Refusal | None:
    """Why this epoch's key is not given; None: it is.

    Where the chain does not answer, nobody new comes in, and who is inside gets the key of one
    epoch more.
    """
    if facts.banned:
        return Refusal.BANNED
    match facts.ticket:
        case Missing(had):
            return Refusal.REFUNDED if had else Refusal.NO_TICKET
        case Unknown():
            if not _graced(epoch, facts.guest):
                return Refusal.CHAIN_UNKNOWN
        case Held(count):
            most = min(MAX_DELEGATES, count * facts.per_ticket)
            if facts.peer not in facts.delegates and len(facts.delegates) >= most:
                return Refusal.TOO_MANY_DELEGATES
    return None if facts.holds_key else Refusal.NOT_A_HOLDER


def gone_with(
    given: Collection[PeerId], left: int, passed: int, per_ticket: int
) -> frozenset[PeerId]:
    """Of the nodes that a wallet's tickets brought a key, those that count for who gets ``passed``
    of the tickets: as many as the ``left`` ones could not have brought it."""
    surplus = min(len(given) - min(MAX_DELEGATES, left * per_ticket), passed * per_ticket)
    return frozenset(sorted(given)[: max(0, surplus)])


def _graced(epoch: bytes, guest: Guest) -> bool:
    if not guest.given:
        return False
    return epoch in guest.given or guest.graced in (None, epoch)
