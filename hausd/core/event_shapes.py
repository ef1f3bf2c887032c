"""The JSON shapes of what a room and a node know of the chain."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from hausd.core.shape import Shape


class RoomCheckpointShape(Shape):
    """The newest manifest on chain: head ``n`` of ``session``, written at ``slot``."""

    manifest: str
    session: str
    n: int
    slot: int


class RoomHeadShape(Shape):
    """The newest manifest that was signed, as far as is known here."""

    manifest: str
    session: str
    n: int


class OfferShape(Shape):
    """A kind of ticket. ``price`` is a string of base units of the event's coin."""

    name: str
    price: str
    sold_out: bool = False


class RoomEventShape(Shape):
    """A room's event, as the chain had it at ``slot``.

    ``artist`` is a wallet's address, ``authority`` the key that signs the stream. ``signs``:
    whether that is this node's, None for a follower. ``behind`` counts heads that were signed and
    are not on chain yet. ``proof`` tells a follower whether the manifest on chain is the one that
    was signed: ``matches``, ``differs``, ``unseen`` where that head was not heard of here, or
    ``alone`` where nothing that was signed was, so that the recording is what the chain names.
    ``matched`` counts the manifests on chain that were found to be the signed ones.
    ``offers`` are tickets, paid in ``mint`` (None: SOL), one of which has so many ``decimals``.

    ``doubt`` says why all this may be out of date or wrong; ``proven`` tells a follower
    whether there is none, and the manifest on chain is the right one.
    """

    status: Literal["draft", "open", "live", "ended", "finalized", "cancelled"]
    artist: str
    authority: str
    slot: int
    starts: datetime
    ends: datetime
    gated: bool = False
    premium: bool = False
    signs: bool | None = None
    head: RoomHeadShape | None = None
    checkpoint: RoomCheckpointShape | None = None
    behind: int | None = None
    proof: Literal["matches", "differs", "unseen", "alone"] | None = None
    matched: int | None = None
    proven: bool | None = None
    doubt: str = ""
    recording: str | None = None
    offers: list[OfferShape] = []
    mint: str | None = None
    decimals: int = 9


class EndpointShape(Shape):
    """An RPC endpoint. ``trouble`` is empty where it answers."""

    name: str
    slot: int
    behind: int
    latency_ms: float
    trouble: str = ""


class ToldShape(Shape):
    """A checkpoint that is on chain: head ``n`` of a room's ``session``."""

    room: str
    manifest: str
    session: str
    n: int
    slot: int


class BudgetShape(Shape):
    """What a room's stream authority has left, in lamports, and how many checkpoints that pays."""

    room: str
    authority: str
    lamports: str
    checkpoints: int


class ChainStatusShape(Shape):
    """The chain as this node sees it now, without asking.

    ``url`` is the embedded chain's, or the host of the endpoint asked first. ``slot`` is 0 before
    the first answer. ``doubt`` says why the chain can't be gone by now; empty where it can.
    ``rooms`` are own rooms of events that are not over; of their heads ``checkpoints_behind`` are
    not on chain. ``waiting`` says why the chain was not told what is due.
    """

    url: str
    embedded: bool
    genesis: str
    slot: int
    lag: int
    doubt: str = ""
    endpoints: list[EndpointShape]
    rooms: int = 0
    checkpoints_behind: int = 0
    last_checkpoint: ToldShape | None = None
    waiting: str = ""
    budgets: list[BudgetShape] = []
