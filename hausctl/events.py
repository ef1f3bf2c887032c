"""``hausctl events``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hausctl.client import Refused, shaped
from hausctl.completion import RoomName
from hausctl.context import Here
from hausctl.money import lamports, money
from hausctl.paying import Cashier, Cost, DryOption, Rent, YesOption, address, nonce
from hausctl.times import length_s, moment
from hausctl.wallet import KeypairOption, SignerOption, wallet
from hausctl.words import clock

if TYPE_CHECKING:
    from hausd.core.chain_shapes import EventShape, NewEventShape

app = typer.Typer(rich_markup_mode=None)

_DEFAULT_LENGTH = timedelta(hours=4)
_SHARE = 100
_RTA_SYMBOL_BYTES = 3
_ESCROW_BYTES = 165
_WINNERS_BYTES = 170
"""An associated token account of Token-2022: with its ImmutableOwner extension."""


@app.command()
def create(
    ctx: typer.Context,
    title: Annotated[str, typer.Argument(help="What the event is called, at most 64 bytes.")],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    description: Annotated[str, typer.Option("--description", help="More about it.")] = "",
    ticket_price: Annotated[
        str, typer.Option("--ticket-price", metavar="SOL", help="Without it, entrance is free.")
    ] = "",
    ticket_supply: Annotated[
        int, typer.Option("--ticket-supply", metavar="N", min=1, help="Tickets there are.")
    ] = 10_000,
    starts: Annotated[str, typer.Option("--starts", metavar="TIME", help="As in +1h.")] = "now",
    ends: Annotated[
        str, typer.Option("--ends", metavar="TIME", help="Default: 4 h after its start.")
    ] = "",
    tip_extension: Annotated[
        str,
        typer.Option(
            "--tip-extension",
            metavar="TIME",
            help="A late change of the highest tipper extends the event by as much, once.",
        ),
    ] = "",
    split: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="ADDRESS=PERCENT", help="Shares what comes in."),
    ] = None,
    checkpoint_budget: Annotated[
        str,
        typer.Option(
            "--checkpoint-budget",
            metavar="SOL",
            help="Goes to the node, which writes the recording's manifest on chain with it.",
        ),
    ] = "0.01",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Creates an event on chain with its room here, and opens its sale of tickets."""
    here = Here.of(ctx)
    begin = moment(starts)
    end = moment(ends) if ends else begin + _DEFAULT_LENGTH
    extension_s = int(length_s(tip_extension)) if tip_extension else 0
    price = lamports(ticket_price) if ticket_price else None
    shares = [_share(each) for each in split or []]
    budget = lamports(checkpoint_budget)
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)

    from hausd.core.cid import CID
    from hausd.core.programs.accounts import TicketTier
    from hausd.core.programs.addresses import event_place
    from hausd.core.programs.instructions import NewEvent
    from hausd.core.programs.messages import transfer

    artist, once = cashier.wallet.address, nonce()
    event = event_place(cashier.builder.programs, artist, once).address
    body = {
        "event": str(event),
        "title": title,
        "description": description,
        "starts": int(begin.timestamp()),
        "ends": int(end.timestamp()),
    }
    made_value = here.client.post("events", body=body)
    made = cast("NewEventShape", shaped(made_value))
    authority = address(made.stream_authority)
    new = NewEvent(
        title=title,
        starts_at=int(begin.timestamp()),
        scheduled_end=int(end.timestamp()),
        tip_extension=extension_s,
        stream_authority=authority,
        metadata=CID.parse(made.metadata),
    )
    instructions = [cashier.builder.create_event(artist, once, new)]
    costs = []
    if budget:
        instructions.append(transfer(artist, authority, budget))
        costs.append(Cost("Checkpoints", budget))
    try:
        cashier.pay(f"Event “{title}”", instructions, costs=costs, rents=_rents(title))
        opening = [cashier.builder.open_event(artist, event)]
        if shares:
            opening.insert(0, cashier.builder.set_split(artist, event, shares))
        if price is not None:
            tier = TicketTier("Ticket", price, ticket_supply, 0, 0, 0, 0, True, 0)
            opening.insert(0, cashier.builder.add_tier(artist, event, tier))
        cashier.pay("Opening it", opening)
    except (Refused, typer.Exit, typer.Abort):
        _let_go(here, str(event))
        raise
    _answer_created(here, str(event), made_value["room"], made)


def _rents(title: str) -> list[Rent]:
    from hausd.core.programs.accounts import (
        CheckpointAccount,
        EventAccount,
        SaleAccount,
        VaultAccount,
        account_size,
    )

    kinds = {
        "Event": EventAccount,
        "Sale": SaleAccount,
        "Tip vault": VaultAccount,
        "Checkpoint": CheckpointAccount,
    }
    rents = [Rent(what, account_size(kind)) for what, kind in kinds.items()]
    return [*rents, Rent("RTA", rta_mint_bytes(title)), Rent("RTA's escrow", _ESCROW_BYTES)]


def rta_mint_bytes(title: str) -> int:
    """Size of a Token-2022 mint with a metadata pointer to itself and its metadata.

    Source: Token-2022's extensions: 165 bytes and one of kind before them, each with 4 of type and
    length; the pointer has 64; metadata has two addresses, three strings and an empty list.
    """
    uri_bytes = len("ipfs://") + 59
    texts = sum(4 + size for size in (len(title.encode()), _RTA_SYMBOL_BYTES, uri_bytes))
    return 165 + 1 + (4 + 64) + 4 + (64 + texts + 4)


def _let_go(here: Here, event: str) -> None:
    """The room of an event that did not come to be is closed, unless the chain has it."""
    try:
        here.client.get("events", event)
    except Refused as refused:
        if refused.code == "no-such-event":
            here.client.post("rooms", event, "close")


def _answer_created(here: Here, event: str, room: dict[str, Any], made: NewEventShape) -> None:
    from rich.markup import escape

    names = ("id", "title", "state", "ingest_url", "stream_key", "watch_url")
    value = {name: room[name] for name in names}
    value["status"] = here.client.get("events", event)["status"]
    here.answer(
        value,
        f"Event [bold]{escape(made.room.title)}[/]  {event}  ({value['status']})\n",
        f"Publish to  {escape(made.room.ingest_url)}",
        f"Stream key  {escape(made.room.stream_key or '')}",
        f"Watch at    {escape(made.room.watch_url)}\n",
    )


@app.command("list")
def list_events(
    ctx: typer.Context,
    artist: Annotated[
        str, typer.Option("--artist", metavar="ADDRESS", help="Only this artist's.")
    ] = "",
) -> None:
    """Lists the events of the chain."""
    here = Here.of(ctx)
    value = here.client.get("events", query=f"?artist={address(artist)}" if artist else "")
    if here.json or not value:
        here.answer(value, "The chain has no such events.")
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("Event", "Title", "Status", "Starts", "Artist", box=None)
    for event in cast("list[EventShape]", shaped(value)):
        table.add_row(
            event.id, escape(event.title), event.status, _time(event.starts), event.artist
        )
    here.answer(value, table)


@app.command()
def show(ctx: typer.Context, event: RoomName) -> None:
    """Shows an event as the chain has it."""
    here = Here.of(ctx)
    value = here.client.get("events", here.room_id(event))
    if here.json:
        here.answer(value)
        return
    here.answer(value, _sheet(cast("EventShape", shaped(value))))


def _sheet(event: EventShape) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False)
    rows = [
        ("Event", event.id),
        ("Title", escape(event.title)),
        ("Status", event.status),
        ("Artist", event.artist),
        ("Starts", _time(event.starts)),
        ("Ends", _time(event.ends)),
        ("Tickets", f"{event.tickets:,}, {money(event.proceeds, event.mint)}"),
        ("Tips", f"{event.tips:,}, {money(event.tips_total, event.mint)}"),
        ("Highest tipper", event.highest_tipper or "-"),
        ("RTA", event.rta_owner or "held by the event"),
        ("Recording", event.recording or "-"),
        ("Manifest", event.checkpoint.manifest if event.checkpoint else "-"),
    ]
    for tier in event.tiers:
        price = money(tier.price, event.mint)
        rows.append(
            (f"Tier {escape(tier.name)}", f"{price}, {tier.sold:,} of {tier.supply:,} sold")
        )
    for payout in event.payouts:
        state = "claimed" if payout.claimed else "open"
        rows.append(
            (
                f"Owed of {payout.pot}",
                f"{money(payout.amount, event.mint)} to {payout.payee}, {state}",
            )
        )
    for row in rows:
        table.add_row(*row)
    return table


@app.command()
def live(
    ctx: typer.Context,
    event: RoomName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Says that an event is on. Its node does so by itself when the stream begins."""
    _simple(ctx, event, keypair, signer, yes, dry_run, "go_live", "Going live")


@app.command()
def end(
    ctx: typer.Context,
    event: RoomName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Ends an event that was live: sale and tips close."""
    _simple(ctx, event, keypair, signer, yes, dry_run, "end_event", "Ending the event")


@app.command()
def cancel(
    ctx: typer.Context,
    event: RoomName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Calls an event off: tickets and tips can be refunded then."""
    _simple(ctx, event, keypair, signer, yes, dry_run, "cancel", "Calling the event off")


def _simple(
    ctx: typer.Context,
    event: str,
    keypair: str,
    signer: str,
    yes: bool,
    dry_run: bool,
    instruction: str,
    what: str,
) -> None:
    here = Here.of(ctx)
    id_ = here.room_id(event)
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)
    make = getattr(cashier.builder, instruction)
    cashier.pay(what, [make(cashier.wallet.address, address(id_))])
    _answer_shown(here, id_)


def _answer_shown(here: Here, id_: str) -> None:
    value = here.client.get("events", id_)
    here.answer(value, _sheet(cast("EventShape", shaped(value))))


@app.command()
def finalize(
    ctx: typer.Context,
    event: RoomName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Settles an event that ended, and gives the RTA to the highest tipper."""
    here = Here.of(ctx)
    id_ = here.room_id(event)
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)
    now = cast("EventShape", shaped(here.client.get("events", id_)))
    who, at = cashier.wallet.address, address(id_)
    winner = address(now.rta_recipient or now.highest_tipper or now.artist)
    deliver = cashier.builder.deliver_rta(who, at, winner, address(now.artist))
    rents = [Rent("The winner's token account", _WINNERS_BYTES)]
    if now.status == "finalized":
        if not now.rta_owner:
            cashier.pay("Giving the RTA", [deliver], rents=rents)
    else:
        settle = cashier.builder.finalize(who, at)
        try:
            cashier.pay("Settling the event and giving the RTA", [settle, deliver], rents=rents)
        except Refused:
            # the winner's account may refuse the RTA, which must not hold up the money
            cashier.pay("Settling the event", [settle])
    _answer_shown(here, id_)


@app.command()
def claim(
    ctx: typer.Context,
    event: RoomName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Has everything paid out that a settled event still owes, to whomever it owes it."""
    here = Here.of(ctx)
    id_ = here.room_id(event)
    now = cast("EventShape", shaped(here.client.get("events", id_)))
    owed = [payout for payout in now.payouts if not payout.claimed]
    if not owed:
        raise Refused("nothing-owed", "this event owes nobody anything", "hausctl events show")
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)
    payment = _payment(now)
    for payout in owed:
        make = cashier.builder.claim_sale if payout.pot == "tickets" else cashier.builder.claim_tips
        claim_ = make(address(id_), address(payout.payee), payout.index, payment)
        amount = money(payout.amount, now.mint)
        cashier.pay(f"{amount} of {payout.pot} to {payout.payee}", [claim_])
    _answer_shown(here, id_)


def _payment(event: EventShape) -> Any:
    from hausd.core.programs.instructions import SOL, Payment

    if event.mint is None or event.token_program is None:
        return SOL
    return Payment(address(event.mint), address(event.token_program))


def payment_of(event: EventShape) -> Any:
    """What an event is paid in, for instructions."""
    return _payment(event)


def _share(untrusted: str) -> Any:
    from hausd.core.programs.accounts import Share

    who, _, percent = untrusted.partition("=")
    try:
        bps = round(float(percent) * _SHARE)
    except ValueError:
        bps = 0
    if not 0 < bps <= 100 * _SHARE:
        raise typer.BadParameter(f"{untrusted!r}: write ADDRESS=PERCENT, as in …=12.5")
    return Share(address(who), bps)


def _time(then: Any) -> str:
    return clock(
        then if isinstance(then, datetime) else datetime.fromisoformat(then).astimezone(UTC)
    )
