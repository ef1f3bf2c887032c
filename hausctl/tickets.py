"""``hausctl tickets``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hausctl.client import Refused, shaped
from hausctl.completion import RoomName
from hausctl.context import Here
from hausctl.events import payment_of
from hausctl.money import money
from hausctl.paying import Cashier, Cost, DryOption, Rent, YesOption, address
from hausctl.wallet import KeypairOption, SignerOption, wallet
from hausctl.words import count as amount

if TYPE_CHECKING:
    from hausd.core.chain_shapes import EventShape, TicketShape

app = typer.Typer(rich_markup_mode=None)

TierOption = Annotated[
    int, typer.Option("--tier", metavar="N", min=0, max=7, help="Which kind, from 0.")
]
CountOption = Annotated[
    int, typer.Option("--count", metavar="N", min=1, max=65_535, help="How many.")
]


@app.command()
def buy(
    ctx: typer.Context,
    event: RoomName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    tier: TierOption = 0,
    count: CountOption = 1,
    holder: Annotated[
        str, typer.Option("--for", metavar="ADDRESS", help="Whose they are, if not yours.")
    ] = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Buys tickets for an event."""
    here = Here.of(ctx)
    id_ = here.room_id(event)
    now = _event(here, id_)
    if tier >= len(now.tiers):
        have = f"it has {len(now.tiers)}" if now.tiers else "entrance is free"
        raise Refused("no-such-tier", f"this event has no tickets of tier {tier}", have)
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)
    buyer = cashier.wallet.address
    whose = address(holder) if holder else buyer
    price = int(now.tiers[tier].price)
    bought = cashier.builder.buy(
        buyer,
        address(id_),
        whose,
        tier=tier,
        count=count,
        max_price=price,
        payment=payment_of(now),
    )
    rents = [] if _tickets(here, id_, str(whose)) else [_ticket_rent()]
    costs = [Cost("Tickets", price * count)] if now.mint is None else []
    what = f"{count} x {now.tiers[tier].name} for {money(price * count, now.mint)}"
    sent = cashier.pay(what, [bought], costs=costs, rents=rents)
    _answer(here, _tickets(here, id_, str(whose)), sent)


def _ticket_rent() -> Rent:
    from hausd.core.programs.accounts import TicketAccount, account_size

    return Rent("Ticket", account_size(TicketAccount))


def _event(here: Here, id_: str) -> EventShape:
    return cast("EventShape", shaped(here.client.get("events", id_)))


def _tickets(here: Here, event: str, holder: str) -> Any:
    query = "&".join(
        f"{name}={value}" for name, value in (("event", event), ("holder", holder)) if value
    )
    return here.client.get("tickets", query=f"?{query}")


def _answer(here: Here, tickets: Any, sent: Any) -> None:
    value = {**(tickets[0] if tickets else {}), "transaction": sent}
    count = tickets[0]["count"] if tickets else 0
    here.answer(value, f"{amount(count, 'ticket', 'tickets')} now; transaction {sent['signature']}")


@app.command("list")
def list_tickets(
    ctx: typer.Context,
    event: Annotated[str, typer.Argument(metavar="[EVENT]", help="Of this event.")] = "",
    holder: Annotated[
        str, typer.Option("--holder", metavar="ADDRESS", help="Of this wallet.")
    ] = "",
) -> None:
    """Lists the tickets of an event, or of a wallet."""
    here = Here.of(ctx)
    if not event and not holder:
        raise typer.BadParameter("name an event, or a wallet with --holder")
    id_ = here.room_id(event) if event else ""
    value = _tickets(here, id_, str(address(holder)) if holder else "")
    if here.json or not value:
        here.answer(value, "There are none.")
        return
    from rich.table import Table

    table = Table("Event", "Holder", "Tickets", "Of them gifts", "Paid", box=None)
    for each in cast("list[TicketShape]", shaped(value)):
        paid = money(each.paid_amount, each.mint)
        table.add_row(each.event, each.holder, str(each.count), str(sum(each.gifts)), paid)
    here.answer(value, table)


@app.command()
def verify(
    ctx: typer.Context,
    event: RoomName,
    holder: Annotated[str, typer.Argument(metavar="HOLDER", help="Address of a wallet.")],
) -> None:
    """Tells whether a wallet has a ticket; exit code 1 where it has none."""
    here = Here.of(ctx)
    id_ = here.room_id(event)
    found = _tickets(here, id_, str(address(holder)))
    count = found[0]["count"] if found else 0
    here.answer(
        {"event": id_, "holder": holder, "valid": count > 0, "count": count},
        f"{holder} has {amount(count, 'ticket', 'tickets')}."
        if count
        else f"{holder} has no ticket.",
    )
    if not count:
        raise typer.Exit(1)


@app.command()
def refund(
    ctx: typer.Context,
    event: RoomName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    tier: TierOption = 0,
    count: CountOption = 1,
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Gives tickets back for what was paid, while that is possible."""
    here = Here.of(ctx)
    id_ = here.room_id(event)
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)
    holder = cashier.wallet.address
    found = _tickets(here, id_, str(holder))
    if not found:
        raise Refused("no-ticket", f"{holder} has no ticket for this event")
    payer = address(found[0]["rent_payer"])
    payment = payment_of(_event(here, id_))
    back = cashier.builder.refund_ticket(holder, address(id_), payer, tier, count, payment)
    sent = cashier.pay(f"Giving back {amount(count, 'ticket', 'tickets')}", [back])
    _answer(here, _tickets(here, id_, str(holder)), sent)
