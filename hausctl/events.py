"""``hausctl events``: events as the chain has them, and what needs no more than a signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from hausctl.client import shaped
from hausctl.completion import EventName
from hausctl.context import Here
from hausctl.eventsheet import event_sheet
from hausctl.paying import Cashier, DryOption, YesOption, address
from hausctl.previews import Step
from hausctl.times import when
from hausctl.wallet import KeypairOption, SignerOption, wallet

if TYPE_CHECKING:
    from solders.instruction import Instruction

    from hausd.core.chain_shapes import EventShape


def add_looking(app: typer.Typer) -> None:
    """Adds the commands that look at events."""
    app.command("list")(list_events)
    app.command()(show)


def add_running(app: typer.Typer) -> None:
    """Adds the commands of an event that is open."""
    app.command()(live)
    app.command()(end)
    app.command()(cancel)


def event_of(here: Here, id_: str) -> EventShape:
    """The event as the chain has it. Raises Refused."""
    return cast("EventShape", shaped(here.client.get("events", id_)))


def answer_event(here: Here, id_: str, **more: object) -> None:
    """Says how the event is now; ``more``: what programs are told beside that."""
    value = here.client.get("events", id_)
    here.answer({**value, **more}, event_sheet(cast("EventShape", shaped(value))))


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
        table.add_row(event.id, escape(event.title), event.status, when(event.starts), event.artist)
    here.answer(value, table)


def show(ctx: typer.Context, event: EventName) -> None:
    """Shows an event as the chain has it."""
    here = Here.of(ctx)
    answer_event(here, here.event_id(event))


def end(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Ends an event that was live: sale and tips close."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    act.do("Ending the event", act.builder.end_event(act.who, act.at))


def cancel(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Calls an event off: everybody gets their money back."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    act.do("Calling the event off", act.builder.cancel(act.who, act.at))


def live(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Says that an event is on. Its node does so by itself when the stream begins."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    act.do("Going live", act.builder.go_live(act.who, act.at))


class Act:
    """What one wallet does to one event."""

    def __init__(self, here: Here, event: str, cashier: Cashier) -> None:
        self.here = here
        self.event = event
        self.cashier = cashier
        self.at = address(event)
        self.who = cashier.wallet.address
        self.builder = cashier.builder
        self.upkeep = cashier.upkeep

    @classmethod
    def of(
        cls, ctx: typer.Context, event: str, keypair: str, signer: str, *, yes: bool, dry: bool
    ) -> Act:
        """Of a command's options. Raises Refused."""
        here = Here.of(ctx)
        id_ = here.event_id(event)
        return cls(here, id_, Cashier(here, wallet(keypair, signer), yes=yes, dry=dry))

    @property
    def now(self) -> EventShape:
        """The event as the chain has it now."""
        return event_of(self.here, self.event)

    def do(self, what: str, *instructions: Instruction) -> None:
        """Does it, and says how the event is then. Raises as ``Cashier.pay``."""
        self.cashier.pay(Step(what, instructions))
        answer_event(self.here, self.event)
