"""The JSON shapes of events, tickets, tips, and of the chain they are on.

Money is a string of base units (lamports where ``mint`` is null), beside the mint it is in and how
many ``decimals`` one of it has. Ids and addresses are base58.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from hausd.core.event_shapes import EndpointShape as EndpointShape
from hausd.core.events import EventState
from hausd.core.shapes import RoomShape, Shape


class ChainShape(Shape):
    """The chain that this node is configured for. ``embedded``: it is the node's own, and proves
    only what its operator vouches for."""

    genesis: str
    slot: int
    embedded: bool
    event_factory: str
    ticket_factory: str
    live_tipping: str
    fee_bps: int
    endpoints: list[EndpointShape]


class PlatformShape(Shape):
    """EventFactory's configuration. ``pending_authority``: to whom it was offered."""

    event_factory: str
    authority: str
    pending_authority: str | None
    treasury: str
    fee_bps: int


class MetadataShape(Shape):
    """Metadata of an event, by its CID; ``kept``: it is in the store, pinned."""

    metadata: str
    kept: bool


class PlanShape(Shape):
    """What a message is to be signed with, and what it costs: ``fee`` in lamports, ``rents`` what
    accounts of the sizes asked for have to keep."""

    blockhash: str
    last_valid_block_height: int
    units: int
    unit_price: int
    fee: str
    rents: list[str]


class AirdropShape(Shape):
    """What an embedded chain's faucet gave. Amounts in lamports; ``balance`` is after it."""

    address: str
    lamports: str
    balance: str
    signature: str


class SentShape(Shape):
    """A transaction that succeeded. ``fee`` is None where no endpoint told."""

    signature: str
    slot: int
    finalized: bool
    fee: str | None
    units: int | None


class TierShape(Shape):
    """One kind of ticket."""

    name: str
    price: str
    supply: int
    sold: int
    per_wallet: int
    sale_start: datetime | None = None
    sale_end: datetime | None = None
    transferable: bool = False
    refundable_until: datetime | None = None


class ShareShape(Shape):
    """What part of the pots a payee gets, in ten thousandths."""

    payee: str
    bps: int


class PayoutShape(Shape):
    """What a payee is owed of a settled pot."""

    pot: Literal["tickets", "tips"]
    index: int
    payee: str
    amount: str
    claimed: bool


class CheckpointShape(Shape):
    """The newest manifest on chain."""

    manifest: str
    session: str
    sequence: int
    slot: int
    count: int


class EventShape(Shape):
    """An event, as the chain has it at ``slot``. ``room`` is given where this node has it."""

    id: str
    title: str
    status: EventState
    artist: str
    mint: str | None
    decimals: int
    token_program: str | None
    premium: bool
    created: datetime
    starts: datetime
    ends: datetime
    tip_extension_s: int
    tips_close: datetime | None = None
    stream_authority: str
    authority_since: int
    fee_bps: int
    split: list[ShareShape]
    tiers: list[TierShape]
    tickets: int = 0
    proceeds: str = "0"
    tips: int = 0
    tips_total: str = "0"
    highest_tipper: str | None = None
    highest_total: str = "0"
    rta_mint: str
    rta_owner: str | None = None
    """Whom the RTA was given to; None while the event holds it."""
    rta_recipient: str | None = None
    """Whom it goes to; None until the event is finalized or cancelled."""
    metadata: str | None = None
    recording: str | None = None
    checkpoint: CheckpointShape | None = None
    payouts: list[PayoutShape]
    slot: int


class NewStreamShape(Shape):
    """What the node made to stream an event: its room, and the authority that signs the stream."""

    room: RoomShape
    stream_authority: str


class NewEventShape(NewStreamShape):
    """What the node made for an event that is to be created: the CID of its metadata as well."""

    metadata: str


class TicketShape(Shape):
    """The tickets that one holder has for one event, by tier."""

    event: str
    holder: str
    rent_payer: str
    paid: list[int]
    gifts: list[int]
    count: int
    paid_amount: str
    mint: str | None
    decimals: int


class TipperShape(Shape):
    """What one tipper gave to one event."""

    event: str
    tipper: str
    rent_payer: str
    total: str
    count: int
    mint: str | None
    decimals: int


class TipShape(Shape):
    """One tip. ``message`` is what the tipper wrote, whatever that is."""

    event: str
    tipper: str
    amount: str
    total: str
    leader: bool
    message: str
    time: datetime | None
    signature: str
    slot: int
    finalized: bool
    mint: str | None
    decimals: int


class MintShape(Shape):
    """A token: one of it is ten to the power of ``decimals`` base units."""

    mint: str
    token_program: str
    decimals: int


class TokensShape(Shape):
    """What one token account holds."""

    account: str
    mint: str
    token_program: str
    amount: str
    decimals: int
    frozen: bool


class WalletShape(Shape):
    """What an address has."""

    address: str
    lamports: str
    tokens: list[TokensShape]
