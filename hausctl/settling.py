"""``hausctl events``: what follows an event's end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hausctl.client import NotRunning, Refused
from hausctl.coins import receiving
from hausctl.completion import EventName
from hausctl.drafts import cid_of
from hausctl.events import Act, answer_event
from hausctl.money import paid
from hausctl.paying import DryOption, YesOption, address, of_this_alone
from hausctl.previews import Rent, Step
from hausctl.wallet import KeypairOption, SignerOption

if TYPE_CHECKING:
    from hausd.core.chain_shapes import PayoutShape

_WINNERS_BYTES = 170
"""An associated token account of Token-2022: with its ImmutableOwner extension."""


def add_to(app: typer.Typer) -> None:
    """Adds these commands."""
    app.command()(finalize)
    app.command()(claim)
    app.command()(deliver)
    app.command("set-rta-recipient")(set_rta_recipient)
    app.command("set-recording")(set_recording)


def finalize(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Settles an event that ended.

    The RTA goes to the highest tipper, everybody's share waits for `events claim`."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    settle = act.builder.finalize(act.who, act.at)
    given = _delivery(act)
    what = "Settling the event and giving the RTA"
    step = Step(what, [settle, *given.instructions], rents=given.rents)
    try:
        act.cashier.ask(step)
    except Refused as refused:
        of_this_alone(refused)
        # who won may refuse the RTA, which must not hold up the money; where settling is what is
        # refused, it is refused alone as well
        step = Step("Settling the event", [settle])
        act.cashier.ask(step, note=f"The RTA can't be given with it: {refused.message}")
    act.cashier.do(step)
    answer_event(act.here, act.event)


def deliver(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Gives the RTA to whom it belongs; anyone may.

    Where that did not succeed with `events finalize`, or after a cancel."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    act.cashier.pay(_delivery(act))
    answer_event(act.here, act.event)


def _delivery(act: Act) -> Step:
    now = act.now
    cancelled = now.status == "cancelled"
    leader = None if cancelled else now.highest_tipper
    recipient = address(now.rta_recipient or leader or now.artist)
    given = act.builder.deliver_rta(act.who, act.at, recipient, address(now.artist))
    rent = Rent("The winner's token account", _WINNERS_BYTES, back=recipient == act.who)
    rents = [] if now.rta_owner else [rent]
    return Step(f"Giving the RTA to {recipient}", [given], rents=rents)


def set_rta_recipient(
    ctx: typer.Context,
    event: EventName,
    recipient: Annotated[str, typer.Argument(metavar="ADDRESS", help="Whose it shall be.")],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Has the RTA go to another wallet.

    By the winner, before it is delivered."""
    new = address(recipient)
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    act.do("Whose the RTA will be", act.builder.set_rta_recipient(act.who, act.at, new))


def set_recording(
    ctx: typer.Context,
    event: EventName,
    cid: Annotated[str, typer.Argument(metavar="CID", help="The finished directory's.")],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Tells the chain where a recording is.

    The node does so itself where it has the recording."""
    named = cid_of(cid)
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    act.do("Where the recording is", act.builder.set_recording(act.who, act.at, named))


def claim(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Has everybody paid whom a settled event owes."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    now = act.now
    owed = [payout for payout in now.payouts if not payout.claimed]
    if not owed:
        hint = "hausctl events show tells what was paid"
        if not now.payouts:
            hint = "it owes from when it is finalized: hausctl events finalize"
        raise Refused("nothing-owed", "this event owes nobody anything", hint)
    steps, refused = payments(act, owed)
    if not steps:
        raise refused[0][1]
    outcomes = act.cashier.pay_each(*steps)
    refused += [(each.step.what, each.refused) for each in outcomes if each.refused]
    told = [
        {"what": what, "code": why.code, "message": why.message, "hint": why.hint}
        for what, why in refused
    ]
    answer_event(act.here, act.event, refused=told)
    if refused:
        raise typer.Exit(1)


def payments(act: Act, owed: Sequence[PayoutShape]) -> tuple[list[Step], list[tuple[str, Refused]]]:
    """A step for each payout, and why there is none for the others: a payee whose accounts can't be
    told holds nobody else up. Raises NotRunning."""
    steps, refused = [], []
    for payout in owed:
        make = act.builder.claim_sale if payout.pot == "tickets" else act.builder.claim_tips
        payee = address(payout.payee)
        what = f"{paid(payout.amount, act.now)} of {payout.pot} to {payout.payee}"
        try:
            to = receiving(act.here, payee, act.now, act.who)
        except NotRunning:
            raise
        except Refused as fault:
            act.cashier.say_refused(what, fault)
            refused.append((what, fault))
            continue
        claimed = make(act.at, payee, payout.index, to.payment)
        steps.append(Step(what, [*to.opening, claimed], rents=to.rents))
    return steps, refused
