"""Whether an epoch's key is given away: the words in which it is refused. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hausd.core.ids import RoomId


class Refusal(StrEnum):
    """Why a key is not given. The values stand in ``/haus/keys/1``, in metrics and in answers."""

    NO_TICKET = "no-ticket"
    REFUNDED = "refunded"
    WRONG_EVENT = "wrong-event"
    EXPIRED = "expired"
    NOT_YET = "not-yet"
    BANNED = "banned"
    TOO_MANY_DELEGATES = "too-many-delegates"
    TRY_LATER = "try-later"
    NOT_A_HOLDER = "not-a-key-holder"
    CHAIN_UNKNOWN = "chain-unknown"
    BAD_DELEGATION = "bad-delegation"
    OTHER_NODE = "other-node"
    NOT_NAMED = "not-named"

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]


_WORDS = {
    Refusal.NO_TICKET: "the wallet has no ticket for this event",
    Refusal.REFUNDED: "the wallet's ticket was refunded or transferred",
    Refusal.WRONG_EVENT: "the delegation is for another event, another chain, or not for watching",
    Refusal.EXPIRED: "the delegation is over: make a new one with hausctl tickets use",
    Refusal.NOT_YET: "the delegation has not begun: is this machine's clock right?",
    Refusal.BANNED: "the wallet is banned from this room",
    Refusal.TOO_MANY_DELEGATES: "too many nodes watch with this ticket already",
    Refusal.TRY_LATER: "too many questions: the next one is answered in a while",
    Refusal.NOT_A_HOLDER: "the node asked does not have this key",
    Refusal.CHAIN_UNKNOWN: "the key holder's chain does not answer: the ticket can't be checked",
    Refusal.BAD_DELEGATION: "the delegation is not one that its wallet signed",
    Refusal.OTHER_NODE: "the delegation is for another node",
    Refusal.NOT_NAMED: "the room's head does not name this node as a key holder",
}


@dataclass(frozen=True, slots=True)
class Held:
    """The chain has tickets of the wallet for the event: ``count`` of them."""

    count: int


@dataclass(frozen=True, slots=True)
class Missing:
    """The chain has none. ``had``: it had some when it was last asked here."""

    had: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The chain does not answer."""


Ticket = Held | Missing | Unknown
"""What the chain says of a wallet's tickets for an event."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody may watch a room at a node until ``ends_s`` (since 1970), by this token."""

    room: RoomId
    wallet: str
    token: str = field(repr=False)
    ends_s: int
