"""Accounts as the API shows them."""

from __future__ import annotations

from datetime import UTC, datetime

from solders.pubkey import Pubkey

from hausd.chain.calls import words
from hausd.chain.index import Entry
from hausd.chain.tokens import Coin
from hausd.core.chain_shapes import (
    CheckpointShape,
    EventShape,
    PayoutShape,
    ShareShape,
    TicketShape,
    TierShape,
    TipperShape,
    TipShape,
    TokensShape,
)
from hausd.core.events import EventState, Offer, RoomCheckpoint, RoomEvent
from hausd.core.ids import RoomId, SessionId
from hausd.core.keys import PublicKey
from hausd.core.programs.accounts import (
    NOBODY,
    CheckpointAccount,
    EventAccount,
    EventStatus,
    Payout,
    SaleAccount,
    TicketAccount,
    TicketTier,
    TipRecordAccount,
    VaultAccount,
)
from hausd.core.programs.tokens import Tokens

_MAX_TIME_S = 253_402_300_799
"""The end of the year 9999, the last that a datetime reaches."""


def event_state(event: EventAccount) -> EventState:
    return EventState(event.status.name.lower())


def event_shape(
    event: EventAccount,
    sale: SaleAccount | None,
    vault: VaultAccount | None,
    checkpoint: CheckpointAccount | None,
    slot: int,
    coin: Coin,
) -> EventShape:
    """An event with its pots; without them, only what it says itself."""
    cancelled = event.status is EventStatus.CANCELLED
    recipient = event.rta_recipient or event.winner or (event.artist if cancelled else None)
    payouts = _payouts(sale.payouts if sale else (), "tickets")
    payouts += _payouts(vault.payouts if vault else (), "tips")
    return EventShape(
        id=str(event.address),
        title=words(event.title),
        status=event_state(event),
        artist=str(event.artist),
        mint=coin.mint,
        decimals=coin.decimals,
        token_program=_or_none(event.token_program),
        premium=event.premium,
        created=moment(event.created_at),
        starts=moment(event.starts_at),
        ends=moment(event.scheduled_end),
        tip_extension_s=event.tip_extension,
        tips_close=_set(vault.tips_close_at) if vault else None,
        stream_authority=str(event.stream_authority),
        authority_since=event.authority_since,
        fee_bps=event.fee_bps,
        split=[ShareShape(payee=str(each.payee), bps=each.bps) for each in event.split],
        tiers=[_tier(tier) for tier in sale.tiers] if sale else [],
        tickets=sale.tickets if sale else 0,
        proceeds=str(sale.proceeds) if sale else "0",
        tips=vault.tips if vault else 0,
        tips_total=str(vault.total) if vault else "0",
        highest_tipper=str(vault.leader) if vault and vault.leader else None,
        highest_total=str(vault.leader_total) if vault else "0",
        rta_mint=str(event.rta_mint),
        rta_owner=str(recipient) if event.rta_delivered and recipient else None,
        rta_recipient=str(recipient) if recipient else None,
        metadata=str(event.metadata) if event.metadata else None,
        recording=str(event.recording) if event.recording else None,
        checkpoint=_checkpoint(checkpoint) if checkpoint else None,
        payouts=payouts,
        slot=slot,
    )


def room_event(
    event: EventAccount,
    sale: SaleAccount | None,
    checkpoint: CheckpointAccount | None,
    genesis: bytes,
    slot: int,
    coin: Coin,
) -> RoomEvent:
    """An event as its room knows it. It is gated once tickets are sold at a price."""
    return RoomEvent(
        room=RoomId(str(event.address)),
        chain=genesis,
        slot=slot,
        state=event_state(event),
        title=words(event.title),
        artist=str(event.artist),
        authority=PublicKey(bytes(event.stream_authority)),
        # who lies must not be believed for ever: no later word would count
        authority_slot=min(event.authority_since, slot),
        starts_ms=_in_calendar(event.starts_at) * 1000,
        ends_ms=_in_calendar(event.scheduled_end) * 1000,
        gated=bool(sale and sale.tiers),
        premium=event.premium,
        recording=event.recording,
        checkpoint=_room_checkpoint(checkpoint),
        offers=tuple(_offer(tier) for tier in sale.tiers) if sale else (),
        mint=coin.mint,
        decimals=coin.decimals,
    )


def _offer(tier: TicketTier) -> Offer:
    return Offer(words(tier.name), tier.price, sold_out=tier.sold >= tier.supply)


def _room_checkpoint(account: CheckpointAccount | None) -> RoomCheckpoint | None:
    if account is None or account.manifest is None:
        return None
    session = SessionId(account.session_counter, account.session_random)
    return RoomCheckpoint(account.manifest, session, account.sequence, account.slot)


def ticket_shape(ticket: TicketAccount, coin: Coin) -> TicketShape:
    return TicketShape(
        event=str(ticket.event),
        holder=str(ticket.holder),
        rent_payer=str(ticket.rent_payer),
        paid=list(ticket.paid),
        gifts=list(ticket.gifts),
        count=ticket.count,
        paid_amount=str(ticket.paid_amount),
        mint=coin.mint,
        decimals=coin.decimals,
    )


def tipper_shape(record: TipRecordAccount, event: Pubkey, coin: Coin) -> TipperShape:
    return TipperShape(
        event=str(event),
        tipper=str(record.tipper),
        rent_payer=str(record.rent_payer),
        total=str(record.total),
        count=record.count,
        mint=coin.mint,
        decimals=coin.decimals,
    )


def tip_shape(entry: Entry, event: RoomId, coin: Coin) -> TipShape:
    """A ``Tipped`` entry."""
    fields = entry.fields
    return TipShape(
        event=event,
        tipper=entry.who,
        amount=str(fields["amount"]),
        total=str(fields["total"]),
        leader=bool(fields["leader"]),
        message=words(str(fields["message"])),
        time=moment(entry.time_s) if entry.time_s else None,
        signature=entry.signature,
        slot=entry.slot,
        finalized=entry.final,
        mint=coin.mint,
        decimals=coin.decimals,
    )


def tokens_shape(tokens: Tokens, decimals: int) -> TokensShape:
    return TokensShape(
        account=str(tokens.address),
        mint=str(tokens.mint),
        token_program=str(tokens.token_program),
        amount=str(tokens.amount),
        decimals=decimals,
        frozen=tokens.frozen,
    )


def moment(seconds: int) -> datetime:
    """A time on chain; what no calendar has is its nearest end."""
    return datetime.fromtimestamp(_in_calendar(seconds), UTC)


def _in_calendar(seconds: int) -> int:
    return max(0, min(seconds, _MAX_TIME_S))


def _set(seconds: int) -> datetime | None:
    return moment(seconds) if seconds else None


def _or_none(address: Pubkey) -> str | None:
    return None if address == NOBODY else str(address)


def _tier(tier: TicketTier) -> TierShape:
    return TierShape(
        name=words(tier.name),
        price=str(tier.price),
        supply=tier.supply,
        sold=tier.sold,
        per_wallet=tier.per_wallet,
        sale_start=_set(tier.sale_start),
        sale_end=_set(tier.sale_end),
        transferable=tier.transferable,
        refundable_until=_set(tier.refundable_until),
    )


def _checkpoint(checkpoint: CheckpointAccount) -> CheckpointShape | None:
    if checkpoint.manifest is None:
        return None
    return CheckpointShape(
        manifest=str(checkpoint.manifest),
        session=str(SessionId(checkpoint.session_counter, checkpoint.session_random)),
        sequence=checkpoint.sequence,
        slot=checkpoint.slot,
        count=checkpoint.count,
    )


def _payouts(payouts: tuple[Payout, ...], pot: str) -> list[PayoutShape]:
    return [
        PayoutShape(
            pot="tickets" if pot == "tickets" else "tips",
            index=index,
            payee=str(each.payee),
            amount=str(each.amount),
            claimed=each.claimed,
        )
        for index, each in enumerate(payouts)
    ]
