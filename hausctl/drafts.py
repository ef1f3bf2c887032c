"""``hausctl events``: what an artist arranges before an event opens, and while it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hausctl.client import Refused
from hausctl.completion import EventName
from hausctl.events import Act
from hausctl.money import lamports, units
from hausctl.paying import DryOption, YesOption, address
from hausctl.previews import Cost, Step
from hausctl.times import moment
from hausctl.wallet import KeypairOption, SignerOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from solders.pubkey import Pubkey

    from hausctl.context import Here
    from hausd.core.programs.accounts import Share, TicketTier

STAND_INS = (
    "What the node makes when it is done (keys, metadata) has others standing in for it here."
)
BudgetOption = Annotated[
    str,
    typer.Option(
        "--checkpoint-budget",
        metavar="SOL",
        help="Goes to the node, which writes the recording's manifest on chain with it.",
    ),
]
DescriptionOption = Annotated[
    str,
    typer.Option("--description", help="More about it, at most 4,000 characters."),
]
_MAX_DESCRIPTION = 4_000
_MAX_NAME_BYTES = 24
_MAX_PAYEES = 8
_SHARE = 100
"""Ten thousandths in a percent."""


def add_to(app: typer.Typer) -> None:
    """Adds these commands."""
    app.command("add-tier")(add_tier)
    app.command("set-split")(set_split)
    app.command("open")(open_)
    app.command("set-schedule")(set_schedule)
    app.command("set-metadata")(set_metadata)
    app.command("set-stream-authority")(set_stream_authority)


def add_tier(
    ctx: typer.Context,
    event: EventName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="At most 24 bytes.")],
    price: Annotated[
        str, typer.Argument(metavar="PRICE", help="In SOL, or the event's token, as in 0.25; or 0.")
    ],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    supply: Annotated[
        int, typer.Option("--supply", metavar="N", min=1, max=2**32 - 1, help="Tickets there are.")
    ] = 10_000,
    per_wallet: Annotated[
        int,
        typer.Option("--per-wallet", metavar="N", min=0, max=65_535, help="At most; 0: any."),
    ] = 0,
    sale_starts: Annotated[
        str, typer.Option("--sale-starts", metavar="TIME", help="Default: when it opens.")
    ] = "",
    sale_ends: Annotated[
        str, typer.Option("--sale-ends", metavar="TIME", help="Default: with the event.")
    ] = "",
    refundable_until: Annotated[
        str,
        typer.Option(
            "--refundable-until",
            metavar="TIME",
            help="Or until the artist finalizes, if sooner. Default: never.",
        ),
    ] = "",
    not_transferable: Annotated[
        bool, typer.Option("--not-transferable", help="They can't be passed on.")
    ] = False,
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Adds a kind of ticket to a draft, of eight."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    tier = tier_of(
        name,
        units(price, act.now),
        supply,
        per_wallet=per_wallet,
        sale_start=_seconds(sale_starts),
        sale_end=_seconds(sale_ends),
        transferable=not not_transferable,
        refundable_until=_seconds(refundable_until),
    )
    act.do(f"A tier “{name}”", act.builder.add_tier(act.who, act.at, tier))


def set_split(
    ctx: typer.Context,
    event: EventName,
    shares: Annotated[
        list[str] | None,
        typer.Argument(metavar="ADDRESS=PERCENT…", help="None: all is the artist's."),
    ] = None,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Shares what a draft will bring in.

    Among up to eight payees; what is left is the artist's."""
    wanted = shares_of(shares or ())
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    act.do("How it is shared", act.builder.set_split(act.who, act.at, wanted))


def open_(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Opens a draft: its sale and its tips begin.

    Tiers and shares are fixed then."""
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    act.do("Opening it", act.builder.open_event(act.who, act.at))


def set_schedule(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    starts: Annotated[
        str, typer.Option("--starts", metavar="TIME", help="Default: as it is.")
    ] = "",
    ends: Annotated[str, typer.Option("--ends", metavar="TIME", help="Default: as it is.")] = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Moves start or end of an event.

    The end by 30 days in all at most."""
    if not starts and not ends:
        raise typer.BadParameter("name --starts, --ends, or both")
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    now = act.now
    begin = _seconds(starts) or int(now.starts.timestamp())
    end = _seconds(ends) or int(now.ends.timestamp())
    act.do("Its schedule", act.builder.set_schedule(act.who, act.at, begin, end))


def set_metadata(
    ctx: typer.Context,
    event: EventName,
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    description: DescriptionOption = "",
    cid: Annotated[
        str,
        typer.Option("--cid", metavar="CID", help="Metadata that is on IPFS already, instead."),
    ] = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Describes an event anew.

    This node stores the metadata, the chain names its CID."""
    if bool(description) == bool(cid):
        raise typer.BadParameter("name either --description or --cid")
    described(description)
    named = cid_of(cid) if cid else None
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    if named is None:
        now = act.now
        body = {
            "title": now.title,
            "description": description,
            "starts": int(now.starts.timestamp()),
            "ends": int(now.ends.timestamp()),
            "keep": not dry_run,
        }
        named = cid_of(act.here.client.post("events", act.event, "metadata", body=body)["metadata"])
    act.do("Its metadata", act.builder.set_metadata(act.who, act.at, named))


def set_stream_authority(
    ctx: typer.Context,
    event: EventName,
    authority: Annotated[
        str,
        typer.Argument(metavar="[ADDRESS]", help="The key that streams; a new one of this node's."),
    ] = "",
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    checkpoint_budget: BudgetOption = "0.01",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Has an event streamed from this node from now on.

    With ADDRESS: by that key."""
    budget = lamports(checkpoint_budget)
    named = address(authority) if authority else None
    act = Act.of(ctx, event, keypair, signer, yes=yes, dry=dry_run)
    if named is not None:
        act.do("Who streams it", act.builder.set_stream_authority(act.who, act.at, named))
        return
    act.cashier.ask(_move(act, nobody_yet(), budget), note=STAND_INS if dry_run else "")
    try:
        made = act.here.client.post("events", act.event, "stream")
    except Refused as refused:
        if refused.code != "room-exists":
            raise
        hint = "leave it first where it is only followed: hausctl rooms unfollow"
        raise Refused(refused.code, refused.message, hint) from None
    try:
        act.cashier.do(_move(act, address(made["stream_authority"]), budget))
    except Refused:
        act.here.client.post("rooms", act.event, "close")
        raise
    answer_room(act.here, made["room"], act.now.status)


def _move(act: Act, authority: Pubkey, budget: int) -> Step:
    from hausd.core.programs.messages import transfer

    moved = [act.builder.set_stream_authority(act.who, act.at, authority)]
    costs = []
    if budget:
        moved.append(transfer(act.who, authority, budget))
        costs.append(Cost("Checkpoints", budget))
    return Step("Streaming it from this node", moved, costs)


def nobody_yet() -> Pubkey:
    """Stands in for a key that the node makes once it is agreed to."""
    from solders.keypair import Keypair

    return Keypair().pubkey()


def answer_room(here: Here, room: dict[str, Any], status: str) -> None:
    """Says where an event is streamed to."""
    from rich.markup import escape

    from hausctl.context import marked

    names = ("id", "title", "state", "ingest_url", "stream_key", "watch_url")
    value = {name: room[name] for name in names} | {"status": status}
    here.answer(
        value,
        marked(f"Event [bold]{escape(room['title'])}[/]  {escape(room['id'])}  ({status})\n"),
        f"Publish to  {room['ingest_url']}",
        f"Stream key  {room['stream_key'] or ''}",
        f"Watch at    {room['watch_url']}\n",
    )


def described(text: str) -> str:
    """A description. Raises typer.BadParameter."""
    if len(text) > _MAX_DESCRIPTION:
        message = f"it has {len(text):,} characters, {_MAX_DESCRIPTION:,} are possible"
        raise typer.BadParameter(message, param_hint="--description")
    return text


def tier_of(name: str, price: int, supply: int, **more: Any) -> TicketTier:
    """A kind of ticket. Raises typer.BadParameter."""
    from hausd.core.programs.accounts import TicketTier

    size = len(name.encode())
    if not 0 < size <= _MAX_NAME_BYTES:
        raise typer.BadParameter(f"a tier's name has 1 to {_MAX_NAME_BYTES} bytes, not {size}")
    plain: dict[str, Any] = {
        "per_wallet": 0,
        "sale_start": 0,
        "sale_end": 0,
        "transferable": True,
        "refundable_until": 0,
    }
    return TicketTier(name=name, price=price, supply=supply, sold=0, **plain | more)


def shares_of(untrusted: Sequence[str]) -> tuple[Share, ...]:
    """Payees with their shares. Raises typer.BadParameter."""
    if len(untrusted) > _MAX_PAYEES:
        raise typer.BadParameter(
            f"{len(untrusted)} shares are too many, {_MAX_PAYEES} are possible"
        )
    return tuple(share(each) for each in untrusted)


def share(untrusted: str) -> Share:
    """A payee with a share, of text as in ``ADDRESS=12.5``. Raises typer.BadParameter."""
    from decimal import Decimal, InvalidOperation

    from hausd.core.programs.accounts import Share

    who, _, percent = untrusted.partition("=")
    right = "write ADDRESS=PERCENT, as in …=12.5; a hundredth of a percent is the least"
    try:
        exact = Decimal(percent) * _SHARE
        bps = int(exact) if exact.is_finite() else 0
    except InvalidOperation:
        raise typer.BadParameter(f"{untrusted!r}: {right}") from None
    if bps != exact or not 0 < bps <= 100 * _SHARE:
        raise typer.BadParameter(f"{untrusted!r}: {right}")
    return Share(address(who), bps)


def _seconds(untrusted: str) -> int:
    """Seconds since 1970; 0 where nothing is said."""
    return int(moment(untrusted).timestamp()) if untrusted else 0


def cid_of(untrusted: str) -> Any:
    """A CID. Raises typer.BadParameter."""
    from hausd.core.cid import CID, CIDError

    try:
        return CID.parse(untrusted)
    except CIDError:
        raise typer.BadParameter(f"{untrusted!r} is no CID, as in bafy…") from None
