"""A transaction from its instructions to its end: rehearsed, shown, signed here, sent by the node.

The wallet never goes to the node, and what is signed is put together here: the node tells what a
transaction needs (blockhash, fees), and carries it.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hausctl.client import NotRunning, Refused, shaped
from hausctl.context import Here
from hausctl.money import sol
from hausctl.wallet import Wallet

if TYPE_CHECKING:
    from solders.instruction import Instruction
    from solders.message import Message

    from hausd.core.chain_shapes import ChainShape, PlanShape
    from hausd.core.programs.accounts import Programs
    from hausd.core.programs.instructions import Builder

SIGN_AGAIN = 3
"""How often a transaction that expired unpaid is signed anew."""
_ASK_AGAIN = 5
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Does not ask before signing.")]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Shows what it would do and cost; signs nothing.")
]


@dataclass(frozen=True, slots=True)
class Cost:
    """Something that a transaction moves out of the wallet, in lamports; ``back``: a deposit."""

    what: str
    lamports: int
    back: bool = False


@dataclass(frozen=True, slots=True)
class Rent:
    """An account that a transaction makes, by its size in bytes."""

    what: str
    size: int


class Cashier:
    """One command's transactions, signed by one wallet."""

    def __init__(self, here: Here, wallet: Wallet, *, yes: bool, dry: bool) -> None:
        self._here = here
        self.wallet = wallet
        self._yes = yes
        self._dry = dry
        self.chain = chain_of(here)

    @property
    def builder(self) -> Builder:
        from hausd.core.programs.instructions import Builder

        return Builder(programs_of(self.chain))

    def pay(
        self,
        what: str,
        instructions: Sequence[Instruction],
        *,
        costs: Sequence[Cost] = (),
        rents: Sequence[Rent] = (),
    ) -> Any:
        """Does it; gives the chain's answer. Raises Refused, and typer.Exit after a dry run."""
        for _ in range(SIGN_AGAIN):
            plan, message = self._plan(instructions, [rent.size for rent in rents])
            named = zip(rents, plan.rents, strict=True)
            kept = [Cost(rent.what, int(lamports), back=True) for rent, lamports in named]
            self._show(what, message, [*costs, *kept], int(plan.fee))
            self._consent()
            try:
                return self._send(message, plan.last_valid_block_height)
            except Refused as refused:
                if refused.code != "expired":
                    raise
                self._say("The chain did not take it in time, and never will: signing it anew.")
        raise Refused("expired", "the chain takes nothing at present", "nothing was paid")

    def _plan(
        self, instructions: Sequence[Instruction], sizes: Sequence[int]
    ) -> tuple[PlanShape, Message]:
        from solders.hash import Hash

        from hausd.core.programs.messages import MAX_COMPUTE_UNITS, Budget, message_of

        payer = self.wallet.address
        try:
            draft = message_of(payer, instructions, Hash.default(), Budget(MAX_COMPUTE_UNITS, 0))
        except ValueError as fault:
            raise Refused("too-large", str(fault), "give less at once") from None
        body = {"message": base64.b64encode(bytes(draft)).decode(), "sizes": list(sizes)}
        plan = cast("PlanShape", shaped(self._here.client.post("chain", "plan", body=body)))
        budget = Budget(int(plan.units), int(plan.unit_price))
        blockhash = Hash.from_string(plan.blockhash)
        return plan, message_of(payer, instructions, blockhash, budget)

    def _send(self, message: Message, last_valid_block_height: int) -> Any:
        from solders.transaction import VersionedTransaction

        signature = self.wallet.sign(bytes(message))
        signed = bytes(VersionedTransaction.populate(message, [signature]))
        body: dict[str, object] = {
            "transaction": base64.b64encode(signed).decode(),
            "last_valid_block_height": last_valid_block_height,
        }
        for _ in range(_ASK_AGAIN):
            try:
                return self._here.work("POST", "chain", "send", body=body)
            except NotRunning:
                raise
            except Refused as refused:
                if refused.code not in ("not-yet", "disconnected", "timeout", "chain-unavailable"):
                    raise
                body["resumed"] = True  # it may be on its way: only the chain tells
        raise Refused(
            "unknown",
            f"the chain does not tell what became of transaction {signature}",
            "look it up before you pay again",
        )

    # -- what is shown --

    def _show(self, what: str, message: Message, costs: Iterable[Cost], fee: int) -> None:
        total = fee + sum(cost.lamports for cost in costs)
        self._say(f"{what}")
        for cost in costs:
            self._say(f"  {cost.what}: {sol(cost.lamports)}{' (a deposit)' if cost.back else ''}")
        self._say(f"  Fee: {sol(fee)}")
        self._say(f"  In all {sol(total)}, from {self.wallet.address}")
        if self.chain.embedded:
            self._say("  On the node's own chain, which proves what its operator vouches for.")
        if not self._dry:
            return
        from hausd.core.programs.messages import shown

        for each in shown(message, programs_of(self.chain)):
            self._say(f"  {each.program}.{each.name} {_flat(each.arguments)}")
        raise typer.Exit

    def _say(self, line: str) -> None:
        if not self._here.json:
            sys.stderr.write(f"{line}\n")

    def _consent(self) -> None:
        if self._yes or self._here.json or not sys.stdin.isatty():
            return
        typer.confirm("Sign it?", default=True, abort=True, err=True)


def chain_of(here: Here) -> ChainShape:
    """The node's chain."""
    return cast("ChainShape", shaped(here.client.get("chain")))


def programs_of(chain: ChainShape) -> Programs:
    """The addresses of its programs."""
    from solders.pubkey import Pubkey

    from hausd.core.programs.accounts import Programs

    names = (chain.event_factory, chain.ticket_factory, chain.live_tipping)
    return Programs(*map(Pubkey.from_string, names))


def address(untrusted: str) -> Any:
    """A base58 address. Raises typer.BadParameter."""
    from solders.pubkey import Pubkey

    try:
        return Pubkey.from_string(untrusted)
    except ValueError:
        raise typer.BadParameter(f"{untrusted!r} is no address (base58, 32 bytes)") from None


def nonce() -> bytes:
    """Sixteen random bytes, by which an artist's events differ."""
    return os.urandom(16)


def _flat(arguments: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        return value.hex() if isinstance(value, bytes) else str(value)

    return " ".join(f"{name}={text(value)}" for name, value in arguments.items())
