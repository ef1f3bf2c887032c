"""``hausctl tips``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from hausctl.client import Refused, shaped
from hausctl.coins import checking, cost_of, paying, receiving
from hausctl.completion import EventName
from hausctl.context import Here
from hausctl.events import Act
from hausctl.money import paid, units
from hausctl.paying import Cashier, DryOption, YesOption, address
from hausctl.previews import Rent, Step
from hausctl.wallet import KeypairOption, SignerOption, wallet

if TYPE_CHECKING:
    from hausd.core.chain_shapes import EventShape, TipperShape, TipShape

app = typer.Typer(rich_markup_mode=None)

_MAX_MESSAGE_BYTES = 140


@app.command()
def send(
    ctx: typer.Context,
    event: EventName,
    amount: Annotated[
        str, typer.Argument(metavar="AMOUNT", help="Of SOL, or of its token, as in 0.5.")
    ],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    message: Annotated[
        str, typer.Option("--message", "-m", help="Shown with the tip, at most 140 bytes.")
    ] = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Tips an event. Who tips most in all gets the RTA when it is finalized."""
    here = Here.of(ctx)
    if len(message.encode()) > _MAX_MESSAGE_BYTES:
        raise typer.BadParameter(
            f"the message has {len(message.encode())} bytes, {_MAX_MESSAGE_BYTES} are possible"
        )
    id_ = here.event_id(event)
    now = cast("EventShape", shaped(here.client.get("events", id_)))
    given = units(amount, now)
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)
    tipper, at = cashier.wallet.address, address(id_)
    payment = paying(here, tipper, now, given)
    instructions, rents = checking(tipper, payment, now), []
    if here.client.get("events", id_, "tippers", str(tipper)) is None:
        instructions.append(cashier.builder.open_record(tipper, at, tipper))
        rents.append(_record_rent())
    instructions.append(cashier.builder.tip(tipper, at, given, message, payment))
    costs = [cost_of("Tip", given, now)]
    (sent,) = cashier.pay(Step(f"Tip for “{now.title}”", instructions, costs, rents))
    value = here.client.get("events", id_, "tippers", str(tipper)) or {}
    after = cast("EventShape", shaped(here.client.get("events", id_)))
    leads = after.highest_tipper == str(tipper)
    here.answer(
        {**value, "amount": str(given), "leader": leads, "transaction": sent},
        f"Tipped {paid(given, now)}, {paid(value.get('total', 0), now)} in all"
        f"{': the highest of all' if leads else ''}. Transaction {sent['signature']}",
    )


def _record_rent() -> Rent:
    from hausd.core.programs.accounts import TipRecordAccount, account_size

    return Rent("Record of your tips", account_size(TipRecordAccount))


@app.command("list")
def list_tips(
    ctx: typer.Context,
    event: EventName,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=100, help="How many.")
    ] = 20,
) -> None:
    """Lists the newest tips of an event."""
    here = Here.of(ctx)
    value = here.client.get("events", here.event_id(event), "tips", query=f"?limit={limit}")
    if here.json or not value:
        here.answer(value, "There are none yet.")
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("Tipper", "Amount", "In all", "Message", "State", box=None)
    for tip in cast("list[TipShape]", shaped(value)):
        state = "final" if tip.finalized else "confirmed"
        amounts = (paid(tip.amount, tip), paid(tip.total, tip))
        table.add_row(tip.tipper, *amounts, escape(tip.message), state)
    here.answer(value, table)


@app.command()
def refund(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Takes back what was tipped.

    All of it, where an event was called off."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    given = _given(act)
    now = act.now
    payer = address(given.rent_payer)
    to = receiving(act.here, act.who, now, act.who)
    back = act.builder.refund_tips(act.who, act.at, payer, to.payment)
    back_again = paid(given.total, now)
    (sent,) = act.cashier.pay(
        Step(f"Taking back {back_again}", [*to.opening, back], rents=to.rents)
    )
    value = {"event": act.event, "refunded": given.total, "mint": now.mint, "transaction": sent}
    act.here.answer(value, f"{back_again} are back; transaction {sent['signature']}")


@app.command()
def close(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Closes the record of a wallet's tips.

    After the event; its deposit goes back to who paid it."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    given = _given(act)
    closed = act.upkeep.close_record(act.who, act.at, address(given.rent_payer))
    (sent,) = act.cashier.pay(Step(f"Closing it, its deposit to {given.rent_payer}", [closed]))
    value = {"event": act.event, "rent_payer": given.rent_payer, "transaction": sent}
    act.here.answer(value, f"It is closed; transaction {sent['signature']}")


def _given(act: Act) -> TipperShape:
    """What the wallet tipped. Raises Refused where that is nothing."""
    found = act.here.client.get("events", act.event, "tippers", str(act.who))
    if found is None:
        message = f"{act.who} has no record of tips to this event"
        raise Refused("no-tips", message, "refunded and closed records are gone")
    return cast("TipperShape", shaped(found))
