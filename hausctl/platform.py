"""``hausctl platform``: the programs' own configuration, by the wallet that owns it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hausctl.client import shaped
from hausctl.completion import EventName
from hausctl.context import Here
from hausctl.events import Act
from hausctl.paying import Cashier, DryOption, YesOption, address, chain_of
from hausctl.previews import Step
from hausctl.trust import PROGRAM_NAMES, chain_name, pin, told_programs, warning
from hausctl.wallet import KeypairOption, SignerOption, wallet

if TYPE_CHECKING:
    from solders.instruction import Instruction

    from hausd.core.chain_shapes import PlatformShape

app = typer.Typer(rich_markup_mode=None)

_PERCENT_BPS = 100
_CAP_BPS = 1000


@app.command()
def show(ctx: typer.Context) -> None:
    """Shows the programs, who owns them, their fee."""
    from hausctl.sheet import plain_facts

    here = Here.of(ctx)
    chain = chain_of(here)
    value = here.client.get("chain", "platform")
    programs = dict(zip(PROGRAM_NAMES, told_programs(chain), strict=True))
    found = cast("PlatformShape", shaped(value))
    pairs = [
        ("chain", chain_name(chain)),
        ("genesis", chain.genesis),
        *programs.items(),
        ("authority", found.authority),
        ("offered to", found.pending_authority or "-"),
        ("treasury", found.treasury),
        ("fee", f"{found.fee_bps / _PERCENT_BPS:g} % of what new events bring in"),
    ]
    here.answer({"genesis": chain.genesis, **value, **programs}, plain_facts(pairs))


@app.command("pin")
def pin_(ctx: typer.Context) -> None:
    """Has nothing signed for other programs.

    Writes those of the node's chain down, in ~/.config/hausctl/programs."""
    from hausctl.sheet import plain_facts

    here = Here.of(ctx)
    chain = chain_of(here)
    warning(chain, here.programs)
    path = pin(chain)
    programs = dict(zip(PROGRAM_NAMES, told_programs(chain), strict=True))
    value = {"genesis": chain.genesis, **programs, "file": str(path)}
    here.answer(
        value, f"On {chain_name(chain)}:", plain_facts(programs.items()), f"pinned in {path}"
    )


@app.command("set")
def set_(
    ctx: typer.Context,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    fee: Annotated[
        str, typer.Option("--fee", metavar="PERCENT", help="At most 10. Default: as it is.")
    ] = "",
    treasury: Annotated[
        str, typer.Option("--treasury", metavar="ADDRESS", help="Who gets it. Default: as it is.")
    ] = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Sets fee and treasury of new events."""
    if not fee and not treasury:
        raise typer.BadParameter("name --fee, --treasury, or both")
    wanted = _bps(fee) if fee else None
    act = _Owner.of(ctx, keypair, signer, yes=yes, dry=dry_run)
    now = cast("PlatformShape", shaped(act.here.client.get("chain", "platform")))
    bps = now.fee_bps if wanted is None else wanted
    who = address(treasury or now.treasury)
    what = f"A fee of {bps / _PERCENT_BPS:g} % to {who}"
    act.do(what, act.upkeep.set_config(act.cashier.wallet.address, bps, who))


@app.command("propose-authority")
def propose_authority(
    ctx: typer.Context,
    new: Annotated[str, typer.Argument(metavar="ADDRESS", help="Who shall own the platform.")],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Offers the platform to another wallet.

    It is handed over once that wallet accepts it."""
    to = address(new)
    act = _Owner.of(ctx, keypair, signer, yes=yes, dry=dry_run)
    offered = act.upkeep.propose_authority(act.cashier.wallet.address, to)
    act.do(f"The platform is offered to {to}", offered)


@app.command("accept-authority")
def accept_authority(
    ctx: typer.Context,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Takes over a platform that was offered."""
    act = _Owner.of(ctx, keypair, signer, yes=yes, dry=dry_run)
    act.do("Taking it over", act.upkeep.accept_authority(act.cashier.wallet.address))


@app.command("set-premium")
def set_premium(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    off: Annotated[bool, typer.Option("--off", help="Not any more.")] = False,
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Marks an event as premium.

    Relays that look at the mark serve it first."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    marked = act.upkeep.set_premium(act.who, act.at, premium=not off)
    act.do("No premium event any more" if off else "A premium event", marked)


class _Owner:
    """What one wallet does to the platform."""

    def __init__(self, here: Here, cashier: Cashier) -> None:
        self.here = here
        self.cashier = cashier
        self.upkeep = cashier.upkeep

    @classmethod
    def of(cls, ctx: typer.Context, keypair: str, signer: str, *, yes: bool, dry: bool) -> _Owner:
        here = Here.of(ctx)
        return cls(here, Cashier(here, wallet(keypair, signer), yes=yes, dry=dry))

    def do(self, what: str, instruction: Instruction) -> None:
        (sent,) = self.cashier.pay(Step(what, [instruction]))
        value = {**self.here.client.get("chain", "platform"), "transaction": sent}
        self.here.answer(value, f"{what}: done, transaction {sent['signature']}")


def _bps(untrusted: str) -> int:
    right = "write percent, as in 2.5; 10 is the most, a hundredth the least"
    try:
        exact = Decimal(untrusted) * _PERCENT_BPS
        bps = int(exact) if exact.is_finite() else -1
    except InvalidOperation:
        raise typer.BadParameter(f"{untrusted!r} is no fee; {right}") from None
    if bps != exact or not 0 <= bps <= _CAP_BPS:
        raise typer.BadParameter(f"{untrusted!r} is no fee; {right}")
    return bps
