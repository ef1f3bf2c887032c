"""An event in full, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hausctl.money import InMoney, paid, symbol
from hausctl.times import when
from hausctl.words import span

if TYPE_CHECKING:
    from rich.table import Table

    from hausd.core.chain_shapes import EventShape, TierShape

_PERCENT_BPS = 100
_MAX_EXTENSIONS = 8
"""Of the end, in all: as EventFactory has it."""


def event_sheet(event: EventShape) -> Table:
    """Everything about an event."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False)
    for name, value in _rows(event):
        table.add_row(escape(name), escape(value))
    return table


def _rows(event: EventShape) -> Iterator[tuple[str, str]]:
    yield "Event", event.id
    yield "Title", event.title
    yield "Status", f"{event.status}, premium" if event.premium else event.status
    yield "Artist", event.artist
    if event.mint:
        yield "Paid in", symbol(event.mint)
    yield "Starts", when(event.starts)
    yield "Ends", when(event.ends)
    if event.tip_extension_s:
        after, most = span(event.tip_extension_s), span(event.tip_extension_s * _MAX_EXTENSIONS)
        late = f"a late change of the highest tipper puts the close off to {after} from then"
        yield "", f"{late}, to {most} after the end at most"
    if event.tips_close and event.status in ("open", "live"):
        yield "Tips close", when(event.tips_close)
    yield "Stream by", event.stream_authority
    for number, tier in enumerate(event.tiers):
        yield f"Tier {number}", _tier(tier, event)
    yield "Tickets", f"{event.tickets:,}, {paid(event.proceeds, event)}"
    yield "Tips", f"{event.tips:,}, {paid(event.tips_total, event)}"
    leads = f", {paid(event.highest_total, event)}" if event.highest_tipper else ""
    yield "Highest tipper", f"{event.highest_tipper or '-'}{leads}"
    yield from _shares(event)
    yield "RTA", event.rta_owner or "held by the event"
    if event.rta_recipient and not event.rta_owner:
        yield "", f"for {event.rta_recipient}: hausctl events deliver"
    yield "Metadata", event.metadata or "-"
    yield "Recording", event.recording or "-"
    yield "Manifest", event.checkpoint.manifest if event.checkpoint else "-"
    for payout in event.payouts:
        state = "paid" if payout.claimed else "waits: hausctl events claim"
        owed = f"{paid(payout.amount, event)} to {payout.payee}, {state}"
        yield f"Owed of {payout.pot}", owed


def _shares(event: EventShape) -> Iterator[tuple[str, str]]:
    if event.fee_bps:
        yield "Platform", f"{event.fee_bps / _PERCENT_BPS:g} % of all"
    for share in event.split:
        yield "Share", f"{share.bps / _PERCENT_BPS:g} % to {share.payee}"


def _tier(tier: TierShape, coin: InMoney) -> str:
    told = [f"{tier.name}, {paid(tier.price, coin)}, {tier.sold:,} of {tier.supply:,} given out"]
    if tier.per_wallet:
        told.append(f"{tier.per_wallet} a wallet at most")
    if tier.sale_start:
        told.append(f"sold from {when(tier.sale_start)}")
    if tier.sale_end:
        told.append(f"sold until {when(tier.sale_end)}")
    if not tier.transferable:
        told.append("can't be passed on")
    if tier.refundable_until:
        told.append(f"given back until {when(tier.refundable_until)}")
    return ", ".join(told)
