"""``hausctl tickets``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hausctl.client import Refused, shaped
from hausctl.coins import checking, cost_of, paying, receiving
from hausctl.completion import EventName
from hausctl.context import Here
from hausctl.events import Act, event_of
from hausctl.guests import read_guests
from hausctl.money import paid
from hausctl.paying import Cashier, DryOption, YesOption, address
from hausctl.previews import Rent, Step
from hausctl.signingin import sign_in
from hausctl.times import when, whole_s
from hausctl.wallet import KeypairOption, SignerOption, wallet
from hausctl.words import count as amount

if TYPE_CHECKING:
    from hausd.core.chain_shapes import ChainShape, TicketShape
    from hausd.core.delegation import Delegation
    from hausd.core.key_shapes import DelegationShape, KeysShape

app = typer.Typer(rich_markup_mode=None)
app.command("sign-in")(sign_in)

GIFTS_AT_ONCE = 8
"""So many have room in a transaction."""
TierOption = Annotated[
    int, typer.Option("--tier", metavar="N", min=0, max=7, help="Which kind, from 0.")
]
CountOption = Annotated[
    int, typer.Option("--count", metavar="N", min=1, max=65_535, help="How many.")
]


@app.command()
def buy(
    ctx: typer.Context,
    event: EventName,
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
    id_ = here.event_id(event)
    now = event_of(here, id_)
    if tier >= len(now.tiers):
        have = f"it has {len(now.tiers)}" if now.tiers else "entrance is free"
        raise Refused("no-such-tier", f"this event has no tickets of tier {tier}", have)
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)
    buyer = cashier.wallet.address
    whose = address(holder) if holder else buyer
    price = int(now.tiers[tier].price)
    payment = paying(here, buyer, now, price * count)
    bought = cashier.builder.buy(
        buyer,
        address(id_),
        whose,
        tier=tier,
        count=count,
        max_price=price,
        payment=payment,
    )
    rents = [] if _tickets(here, id_, str(whose)) else [_ticket_rent()]
    costs = [cost_of("Tickets", price * count, now)]
    what = f"{count} x {now.tiers[tier].name} for {paid(price * count, now)}"
    (sent,) = cashier.pay(Step(what, [*checking(buyer, payment, now), bought], costs, rents))
    _answer(here, _tickets(here, id_, str(whose)), sent)


def _ticket_rent() -> Rent:
    from hausd.core.programs.accounts import TicketAccount, account_size

    return Rent("Ticket", account_size(TicketAccount))


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
    id_ = here.event_id(event) if event else ""
    value = _tickets(here, id_, str(address(holder)) if holder else "")
    if here.json or not value:
        here.answer(value, "There are none.")
        return
    from rich.table import Table

    table = Table("Event", "Holder", "Tickets", "Of them gifts", "Paid", box=None)
    for each in cast("list[TicketShape]", shaped(value)):
        table.add_row(
            each.event,
            each.holder,
            str(each.count),
            str(sum(each.gifts)),
            paid(each.paid_amount, each),
        )
    here.answer(value, table)


@app.command()
def verify(
    ctx: typer.Context,
    event: EventName,
    holder: Annotated[str, typer.Argument(metavar="HOLDER", help="Address of a wallet.")],
) -> None:
    """Tells whether a wallet has a ticket; exit code 1 where it has none."""
    here = Here.of(ctx)
    id_ = here.event_id(event)
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
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    tier: TierOption = 0,
    count: CountOption = 1,
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Gives tickets back for what was paid, while that is possible."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    payer = address(_held(act).rent_payer)
    to = receiving(act.here, act.who, act.now, act.who)
    back = act.builder.refund_ticket(act.who, act.at, payer, tier, count, to.payment)
    what = f"Giving back {amount(count, 'ticket', 'tickets')}"
    (sent,) = act.cashier.pay(Step(what, [*to.opening, back], rents=to.rents))
    _answer(act.here, _tickets(act.here, act.event, str(act.who)), sent)


@app.command()
def transfer(
    ctx: typer.Context,
    event: EventName,
    to: Annotated[str, typer.Argument(metavar="ADDRESS", help="Whose they shall be.")],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    tier: TierOption = 0,
    count: CountOption = 1,
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Passes tickets on to another wallet.

    With the right to give them back."""
    new = address(to)
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    _held(act)
    passed = act.builder.transfer(act.who, act.at, new, tier, count)
    rents = [] if _tickets(act.here, act.event, str(new)) else [_ticket_rent()]
    what = f"{amount(count, 'ticket', 'tickets')} to {new}"
    (sent,) = act.cashier.pay(Step(what, [passed], rents=rents))
    _answer(act.here, _tickets(act.here, act.event, str(act.who)), sent)


@app.command()
def close(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Even with tickets in it, after the event.")
    ] = False,
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Closes an account for tickets.

    Its deposit goes back to who paid it."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    held = _held(act)
    if held.count and not give_up:
        have = amount(held.count, "ticket", "tickets")
        hint = "--give-up closes it all the same once the event is settled: no ticket is left then"
        raise Refused("TicketNotEmpty", f"there is {have} in this account", hint)
    closed = act.upkeep.close_ticket(act.who, act.at, address(held.rent_payer))
    (sent,) = act.cashier.pay(Step(f"Closing it, its deposit to {held.rent_payer}", [closed]))
    _answer(act.here, _tickets(act.here, act.event, str(act.who)), sent)


@app.command()
def gift(
    ctx: typer.Context,
    event: EventName,
    guests: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS]…", help="Who gets them.")
    ] = None,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    file: Annotated[
        str,
        typer.Option(
            "--file",
            metavar="FILE",
            help="The guest list: ADDRESS or ADDRESS,COUNT a line. Who has so many gifts already "
            "is passed over, so it can be given again. -: standard input.",
        ),
    ] = "",
    tier: TierOption = 0,
    count: CountOption = 1,
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Puts wallets on the guest list.

    They get tickets from the artist, for nothing."""
    if bool(guests) == bool(file):
        raise typer.BadParameter("name addresses, or a list with --file")
    wanted = (
        read_guests(file, count) if file else {str(address(each)): count for each in guests or ()}
    )
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    known = {each["holder"]: each["gifts"] for each in _tickets(act.here, act.event, "")}
    if file:
        have = {who: known[who][tier] for who in wanted if who in known}
        wanted = {who: many - have.get(who, 0) for who, many in wanted.items()}
    due = {who: many for who, many in wanted.items() if many > 0}
    if not due:
        value = {"event": act.event, "guests": [], "passed_over": len(wanted), "transactions": []}
        act.here.answer(value, "All of them have theirs already.")
        return
    sent = act.cashier.pay(*_gifts(act, due, known, tier))
    value = {
        "event": act.event,
        "guests": [{"holder": who, "count": many} for who, many in due.items()],
        "passed_over": len(wanted) - len(due),
        "transactions": sent,
    }
    given = amount(sum(due.values()), "ticket", "tickets")
    over = f", {value['passed_over']} had theirs" if value["passed_over"] else ""
    act.here.answer(value, f"{given} to {amount(len(due), 'wallet', 'wallets')}{over}.")


def _gifts(act: Act, due: dict[str, int], known: dict[str, Any], tier: int) -> list[Step]:
    steps = []
    listed = list(due.items())
    for begin in range(0, len(listed), GIFTS_AT_ONCE):
        some = listed[begin : begin + GIFTS_AT_ONCE]
        given = [act.builder.gift(act.who, act.at, address(who), tier, n) for who, n in some]
        rents = [_ticket_rent() for who, _ in some if who not in known]
        steps.append(Step(f"Gifts to {', '.join(who for who, _ in some)}", given, rents=rents))
    return steps


def _held(act: Act) -> TicketShape:
    """The wallet's own account. Raises Refused where it has none."""
    found = _tickets(act.here, act.event, str(act.who))
    if not found:
        message = f"{act.who} has no ticket for this event"
        raise Refused("no-ticket", message, "hausctl tickets list --holder ADDRESS shows them")
    return cast("TicketShape", shaped(found[0]))


@app.command()
def use(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long, at most 366d.")
    ] = "30d",
    every: Annotated[
        bool, typer.Option("--every-event", help="Any event on this chain, not this one alone.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Shows what would be signed, and signs nothing.")
    ] = False,
) -> None:
    """Lets this node watch with your ticket: signs a text that says so, once."""
    here, lasts_s = Here.of(ctx), whole_s(lasts, "--for", "366d")
    id_ = here.event_id(event)
    who = wallet(keypair, signer)
    if not _tickets(here, id_, str(who.address)) and event_of(here, id_).artist != str(who.address):
        hint = f"hausctl tickets buy {id_}"
        raise Refused("no-ticket", f"{who.address} has no ticket for this event", hint)
    made = _delegation(here, id_, str(who.address), lasts_s, every=every)
    if dry_run:
        here.answer({"text": made.text}, made.text)
        return
    body = {"text": made.text, "signature": str(who.sign(made.text.encode()))}
    value = here.client.post("delegations", body=body)
    told = cast("DelegationShape", shaped(value))
    here.answer(
        value, f"This node may watch with the ticket of {told.wallet} until {when(told.ends)}."
    )


def _delegation(here: Here, room: str, who: str, lasts_s: int, *, every: bool) -> Delegation:
    import os
    import time

    from hausd.core.delegation import NONCE_BYTES, Delegation, DelegationError, Scope
    from hausd.core.ids import RoomId
    from hausd.core.peers import PeerId

    keys = cast("KeysShape", shaped(here.client.get("keys")))
    chain = cast("ChainShape", shaped(here.client.get("chain")))
    now_s = int(time.time())
    try:
        return Delegation(
            chain=bytes(address(chain.genesis)),
            room=None if every else RoomId(room),
            wallet=who,
            node=PeerId(keys.node),
            sealing_key=bytes(address(keys.sealing_key)),
            scopes=frozenset({Scope.WATCH}),
            not_before_s=now_s,
            not_after_s=now_s + lasts_s,
            nonce=os.urandom(NONCE_BYTES),
        )
    except DelegationError as fault:
        raise Refused("bad-delegation", str(fault), "--for takes 1s to 366d") from None
