"""``hausctl tips``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from hausctl.client import shaped
from hausctl.completion import RoomName
from hausctl.context import Here
from hausctl.events import payment_of
from hausctl.money import lamports, money, sol
from hausctl.paying import Cashier, Cost, DryOption, Rent, YesOption, address
from hausctl.wallet import KeypairOption, SignerOption, wallet

if TYPE_CHECKING:
    from hausd.core.chain_shapes import EventShape, TipShape

app = typer.Typer(rich_markup_mode=None)

_MAX_MESSAGE_BYTES = 140


@app.command()
def send(
    ctx: typer.Context,
    event: RoomName,
    amount: Annotated[str, typer.Argument(metavar="SOL", help="How much, as in 0.5.")],
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
    given = lamports(amount)
    id_ = here.room_id(event)
    now = cast("EventShape", shaped(here.client.get("events", id_)))
    if now.mint is not None:
        raise typer.BadParameter(f"this event takes tips in the token {now.mint}, not in SOL")
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)
    tipper, at = cashier.wallet.address, address(id_)
    instructions, rents = [], []
    if here.client.get("events", id_, "tippers", str(tipper)) is None:
        instructions.append(cashier.builder.open_record(tipper, at, tipper))
        rents.append(_record_rent())
    instructions.append(cashier.builder.tip(tipper, at, given, message, payment_of(now)))
    sent = cashier.pay(
        f"Tip for “{now.title}”", instructions, costs=[Cost("Tip", given)], rents=rents
    )
    value = here.client.get("events", id_, "tippers", str(tipper)) or {}
    after = cast("EventShape", shaped(here.client.get("events", id_)))
    leads = after.highest_tipper == str(tipper)
    here.answer(
        {**value, "amount": str(given), "leader": leads, "transaction": sent},
        f"Tipped {sol(given)}, {sol(value.get('total', 0))} in all"
        f"{': the highest of all' if leads else ''}. Transaction {sent['signature']}",
    )


def _record_rent() -> Rent:
    from hausd.core.programs.accounts import TipRecordAccount, account_size

    return Rent("Record of your tips", account_size(TipRecordAccount))


@app.command("list")
def list_tips(
    ctx: typer.Context,
    event: RoomName,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=100, help="How many.")
    ] = 20,
) -> None:
    """Lists the newest tips of an event."""
    here = Here.of(ctx)
    value = here.client.get("events", here.room_id(event), "tips", query=f"?limit={limit}")
    if here.json or not value:
        here.answer(value, "There are none yet.")
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("Tipper", "Amount", "In all", "Message", "State", box=None)
    for tip in cast("list[TipShape]", shaped(value)):
        state = "final" if tip.finalized else "confirmed"
        amounts = (money(tip.amount, tip.mint), money(tip.total, tip.mint))
        table.add_row(tip.tipper, *amounts, escape(tip.message), state)
    here.answer(value, table)
