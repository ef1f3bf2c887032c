"""What a room knows of its event: as the chain has it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hausd.core.cid import CID
from hausd.core.ids import RoomId, SessionId
from hausd.core.keys import PublicKey


class EventState(StrEnum):
    """How far an event is."""

    DRAFT = "draft"
    OPEN = "open"
    LIVE = "live"
    ENDED = "ended"
    FINALIZED = "finalized"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RoomCheckpoint:
    """The newest manifest that an event's stream authority wrote down on chain, at ``slot``."""

    manifest: CID
    session: SessionId
    n: int
    slot: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A kind of ticket. ``price`` is in base units of what the event is paid in."""

    name: str
    price: int
    sold_out: bool = False


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """An event account as it was at ``slot``.

    ``chain`` is the genesis hash (32 bytes) of the chain that it is on. ``authority`` signs the
    room's stream since ``authority_slot``. ``artist`` is a wallet's base58 address. Times are
    milliseconds since 1970. ``gated``: watching takes a ticket, one of the ``offers``, which are
    paid in ``mint`` (None: SOL), one of which has so many ``decimals``. ``recording``: the
    finished recording's directory, once it is told.
    """

    room: RoomId
    chain: bytes
    slot: int
    state: EventState
    title: str
    artist: str
    authority: PublicKey
    authority_slot: int
    starts_ms: int
    ends_ms: int
    gated: bool = False
    premium: bool = False
    recording: CID | None = None
    checkpoint: RoomCheckpoint | None = None
    offers: tuple[Offer, ...] = ()
    mint: str | None = None
    decimals: int = 9

    @property
    def over(self) -> bool:
        """Whether nothing more will be streamed."""
        return self.state in (EventState.ENDED, EventState.FINALIZED, EventState.CANCELLED)
