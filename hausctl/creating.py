"""``hausctl events create``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hausctl.client import Refused, shaped
from hausctl.coins import coin_of, payment_of
from hausctl.context import Here
from hausctl.drafts import (
    STAND_INS,
    BudgetOption,
    DescriptionOption,
    answer_room,
    described,
    nobody_yet,
    shares_of,
    tier_of,
)
from hausctl.events import event_of
from hausctl.money import lamports, units
from hausctl.paying import Cashier, DryOption, YesOption, address, is_final, nonce
from hausctl.previewing import (
    FinalizedOption,
    PreviewOption,
    RenditionOption,
    choose,
    free_wish,
)
from hausctl.previews import Cost, Rent, Step
from hausctl.times import moment, whole_s
from hausctl.wallet import KeypairOption, SignerOption, wallet

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

    from hausd.core.chain_shapes import NewEventShape
    from hausd.core.cid import CID
    from hausd.core.programs.accounts import Share, TicketTier
    from hausd.core.programs.instructions import NewEvent

_DEFAULT_LENGTH = timedelta(hours=4)
_MAX_TITLE_BYTES = 64
_RTA_SYMBOL_BYTES = 3
_ESCROW_BYTES = 165


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(create)


def create(
    ctx: typer.Context,
    title: Annotated[str, typer.Argument(help="What the event is called, at most 64 bytes.")],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    description: DescriptionOption = "",
    ticket_price: Annotated[
        str,
        typer.Option("--ticket-price", metavar="PRICE", help="Without it, entrance is free."),
    ] = "",
    mint: Annotated[
        str,
        typer.Option(
            "--mint", metavar="MINT", help="Paid in this token, as USDC, in place of SOL."
        ),
    ] = "",
    ticket_supply: Annotated[
        int,
        typer.Option(
            "--ticket-supply", metavar="N", min=1, max=2**32 - 1, help="Tickets there are."
        ),
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
            help="A late change of the highest tipper puts the close off to a whole TIME from "
            "then, eight times TIME at most; TIME is 1h at most.",
        ),
    ] = "",
    split: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="ADDRESS=PERCENT", help="Shares what comes in."),
    ] = None,
    checkpoint_budget: BudgetOption = "0.01",
    preview: PreviewOption = "",
    preview_rendition: RenditionOption = "",
    finalized: FinalizedOption = None,
    draft: Annotated[
        bool,
        typer.Option("--draft", help="Opens no sale yet: events add-tier, set-split and open do."),
    ] = False,
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Creates an event with its room, and opens its sale."""
    from hausd.core.cid import CID
    from hausd.core.programs.instructions import NewEvent

    here = Here.of(ctx)
    size = len(title.encode())
    if not 0 < size <= _MAX_TITLE_BYTES:
        raise typer.BadParameter(f"a title has 1 to {_MAX_TITLE_BYTES} bytes, not {size}")
    begin = moment(starts)
    end = moment(ends) if ends else begin + _DEFAULT_LENGTH
    told = {
        "title": title,
        "description": described(description),
        "starts": int(begin.timestamp()),
        "ends": int(end.timestamp()),
    }
    wish = free_wish(preview, preview_rendition, finalized)
    if wish and not (ticket_price or draft):
        raise typer.BadParameter("without --ticket-price, all of it is free")
    coin = coin_of(here, mint)
    tier = None
    if ticket_price:
        tier = tier_of("Ticket", units(ticket_price, coin), ticket_supply)
    shares = shares_of(split or ())
    budget = lamports(checkpoint_budget)
    extension_s = whole_s(tip_extension, "--tip-extension", "1h") if tip_extension else 0
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)
    # the node makes key and metadata once it is agreed to: until then others stand in their place
    plan = _Creation(
        cashier,
        nonce(),
        NewEvent(
            title=title,
            starts_at=int(begin.timestamp()),
            scheduled_end=int(end.timestamp()),
            tip_extension=extension_s,
            stream_authority=nobody_yet(),
            metadata=CID.of(title.encode()),
            payment=payment_of(coin),
        ),
        budget,
        shares,
        tier,
        draft=draft,
    )
    cashier.ask(*plan.steps(), note=STAND_INS if dry_run else "")
    made_value = here.client.post("events", body={"event": str(plan.event), **told})
    made = cast("NewEventShape", shaped(made_value))
    room = choose(here, str(plan.event), wish) if wish else made_value["room"]
    done = plan.streamed_by(address(made.stream_authority), CID.parse(made.metadata))
    try:
        cashier.do(*done.steps())
    except Refused as refused:
        raise half_made(here, str(plan.event), refused) from None
    answer_room(here, room, event_of(here, str(plan.event)).status)


@dataclass(frozen=True, slots=True)
class _Creation:
    cashier: Cashier
    nonce: bytes
    new: NewEvent
    budget: int
    shares: tuple[Share, ...]
    tier: TicketTier | None
    draft: bool

    @property
    def event(self) -> Pubkey:
        from hausd.core.programs.addresses import event_place

        artist = self.cashier.wallet.address
        return event_place(self.cashier.programs, artist, self.nonce).address

    def streamed_by(self, authority: Pubkey, metadata: CID) -> _Creation:
        return replace(self, new=replace(self.new, stream_authority=authority, metadata=metadata))

    def steps(self) -> list[Step]:
        """Two transactions: one has not room for all of it."""
        from hausd.core.programs.messages import transfer

        artist, builder = self.cashier.wallet.address, self.cashier.builder
        creating = [builder.create_event(artist, self.nonce, self.new)]
        costs = []
        if self.budget:
            creating.append(transfer(artist, self.new.stream_authority, self.budget))
            costs.append(Cost("Checkpoints", self.budget))
        steps = [Step(f"Event “{self.new.title}”", creating, costs, _rents(self.new))]
        opening = []
        if self.tier is not None:
            opening.append(builder.add_tier(artist, self.event, self.tier))
        if self.shares:
            opening.append(builder.set_split(artist, self.event, self.shares))
        if not self.draft:
            opening.append(builder.open_event(artist, self.event))
        if opening:
            what = "What is sold, and shared" if self.draft else "Opening it"
            steps.append(Step(what, opening, after=True))
        return steps


def _rents(new: NewEvent) -> list[Rent]:
    from hausd.core.programs.accounts import (
        CheckpointAccount,
        EventAccount,
        SaleAccount,
        VaultAccount,
        account_size,
    )
    from hausd.core.programs.payments import SOL
    from hausd.core.programs.tokens import TOKENS_BYTES

    kinds = {
        "Event": EventAccount,
        "Sale": SaleAccount,
        "Tip vault": VaultAccount,
        "Checkpoint": CheckpointAccount,
    }
    sizes = [(what, account_size(kind)) for what, kind in kinds.items()]
    if new.payment != SOL:
        sizes += [("Sale's tokens", TOKENS_BYTES), ("Vault's tokens", TOKENS_BYTES)]
    sizes.append(("RTA", rta_mint_bytes(new.title)))
    kept = [Rent(what, size, back=False) for what, size in sizes]
    return [*kept, Rent("RTA's escrow", _ESCROW_BYTES)]


def rta_mint_bytes(title: str) -> int:
    """Size of a Token-2022 mint with a metadata pointer to itself and its metadata.

    Source: Token-2022's extensions: 165 bytes and one of kind before them, each with 4 of type and
    length; the pointer has 64; metadata has two addresses, three strings and an empty list.
    """
    uri_bytes = len("ipfs://") + 59
    texts = sum(4 + size for size in (len(title.encode()), _RTA_SYMBOL_BYTES, uri_bytes))
    return 165 + 1 + (4 + 64) + 4 + (64 + texts + 4)


def half_made(here: Here, event: str, because: Refused) -> Refused:
    """What is to be said. The room of an event that never will be is closed; what is on the chain
    goes on from there; and what may yet come to be keeps its room, which never opens again."""
    try:
        here.client.get("events", event)
        on = f"it is there as a draft: hausctl events add-tier, set-split and open {event} go on"
    except Refused as refused:
        if is_final(because):
            if refused.code == "no-such-event":
                here.client.post("rooms", event, "close")
            return because
        on = (
            f"event {event} may yet come to be, and keeps its room here: hausctl events show tells;"
            " where it never does, hausctl rooms close closes that"
        )
    return Refused(because.code, because.message, "\n".join(filter(None, (on, because.hint))))
