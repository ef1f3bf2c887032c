"""A transaction from its instructions to its end: rehearsed, shown, signed here, sent by the node.

The wallet never goes to the node, and what is signed is put together here: the node tells what a
transaction needs (blockhash, fees), and carries it.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hausctl.advice import advised
from hausctl.client import NotRunning, Refused, shaped
from hausctl.context import Here
from hausctl.money import paid, sol, symbol
from hausctl.previews import Cost, Preview, Rent, Step
from hausctl.trust import PROGRAM_NAMES, chain_name, told_programs, warning
from hausctl.wallet import Wallet

if TYPE_CHECKING:
    from solders.message import Message

    from hausd.core.chain_shapes import ChainShape, PlanShape
    from hausd.core.programs.accounts import Programs
    from hausd.core.programs.instructions import Builder
    from hausd.core.programs.upkeep import Upkeep

SIGN_AGAIN = 3
"""How often a transaction that expired unpaid is signed anew."""
_ASK_AGAIN = 5
_UNDECIDED = frozenset(
    {"not-yet", "disconnected", "timeout", "chain-unavailable", "internal", "bad-answer"}
)
_OF_ALL = _UNDECIDED | {"chain-refuses", "unknown", "expired"}
_BY_THE_CHAIN = re.compile(r"[A-Z][A-Za-z]*|custom-[0-9]+")
"""Codes of what programs refuse; the node's own are in small letters."""
_NEVER_SENT = frozenset(
    {"bad-signer", "no-signer", "signer-refuses", "signer-slow", "too-large", "bad-transaction"}
)
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Does not ask before signing.")]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Shows what it would do and cost; signs nothing.")
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of several steps that don't depend on each other."""

    step: Step
    sent: Any = None
    refused: Refused | None = None


class _Undecided(Exception):
    """What became of a transaction is not known; says why."""


class Cashier:
    """One command's transactions, signed by one wallet."""

    def __init__(self, here: Here, wallet: Wallet, *, yes: bool, dry: bool) -> None:
        self._here = here
        self.wallet = wallet
        self._yes = yes
        self._dry = dry
        self.chain = chain_of(here)
        self._warning = warning(self.chain, here.programs)
        self._agreed: Preview | None = None

    @property
    def builder(self) -> Builder:
        from hausd.core.programs.instructions import Builder

        return Builder(self.programs)

    @property
    def upkeep(self) -> Upkeep:
        from hausd.core.programs.upkeep import Upkeep

        return Upkeep(self.programs)

    @property
    def programs(self) -> Programs:
        """The addresses of the programs that are called."""
        return programs_of(self.chain)

    def rent(self, size: int) -> int:
        """Lamports that an account of so many bytes has to keep. Raises Refused."""
        from hausd.core.programs.messages import transfer

        nothing = transfer(self.wallet.address, self.wallet.address, 0)
        return self._preview(Step("", [nothing], rents=[Rent("", size)]), None).costs[0].amount

    def pay(self, *steps: Step) -> list[Any]:
        """Shows all, asks once, does one after the other; gives the chain's answers.

        Raises Refused, and typer.Exit after a dry run.
        """
        self.ask(*steps)
        return self.do(*steps)

    def ask(self, *steps: Step, note: str = "") -> None:
        """Shows what they do and cost, and asks. Raises as ``pay`` does."""
        previews: list[Preview] = []
        for step in steps:
            previews.append(self._preview(step, previews[-1] if previews else None))
        if note:
            self.say(note)
        self._agree(previews)

    def do(self, *steps: Step) -> list[Any]:
        """Does what was agreed to."""
        return [self._done(step) for step in steps]

    def pay_each(self, *steps: Step) -> list[Outcome]:
        """Like ``pay``, for steps that don't need each other: one that is refused holds none up.

        Raises Refused where all are, and where the chain can't be asked.
        """
        refused: dict[int, Refused] = {}
        previews: dict[int, Preview] = {}
        for number, step in enumerate(steps):
            try:
                previews[number] = self._preview(step, None)
            except Refused as fault:
                refused[number] = of_this_alone(fault)
        if refused and not previews:
            raise refused[0]
        for number, why in refused.items():  # before it is asked whether to sign the others
            self.say_refused(steps[number].what, why)
        self._agree(list(previews.values()))
        outcomes = []
        for number, step in enumerate(steps):
            if number in refused:
                outcomes.append(Outcome(step, refused=refused[number]))
                continue
            try:
                outcomes.append(Outcome(step, sent=self._done(step)))
            except Refused as fault:
                outcomes.append(Outcome(step, refused=of_this_alone(fault)))
                self.say_refused(step.what, fault)
        return outcomes

    # -- one transaction --

    def _done(self, step: Step) -> Any:
        for _ in range(SIGN_AGAIN):
            preview, self._agreed = self._agreed, None
            if preview is None or preview.step is not step:
                preview = self._preview(step, None)
            assert preview.plan is not None  # it was rehearsed
            try:
                return self._send(preview.message, preview.plan.last_valid_block_height)
            except Refused as refused:
                if refused.code != "expired":
                    raise
                self.say("The chain did not take it in time, and never will: signing it anew.")
        raise Refused("expired", "the chain takes nothing at present", "nothing was paid")

    def _preview(self, step: Step, before: Preview | None) -> Preview:
        """``before``: what is done first, where this one can't be rehearsed before that."""
        from solders.hash import Hash

        from hausd.core.programs.messages import MAX_COMPUTE_UNITS, Budget, message_of

        payer = self.wallet.address
        try:
            widest = Budget(MAX_COMPUTE_UNITS, 0)
            draft = message_of(payer, step.instructions, Hash.default(), widest)
        except ValueError as fault:
            raise Refused("too-large", str(fault), "give less at once") from None
        if step.after and before is not None:
            return Preview(step, draft, None, before.fee, step.costs)
        sizes = [rent.size for rent in step.rents]
        body = {"message": base64.b64encode(bytes(draft)).decode(), "sizes": sizes}
        try:
            plan = cast("PlanShape", shaped(self._here.client.post("chain", "plan", body=body)))
        except Refused as fault:
            raise advised(fault) from None
        budget = Budget(int(plan.units), int(plan.unit_price))
        message = message_of(payer, step.instructions, Hash.from_string(plan.blockhash), budget)
        named = zip(step.rents, plan.rents, strict=True)
        kept = [Cost(rent.what, int(lamports), back=rent.back) for rent, lamports in named]
        return Preview(step, message, plan, int(plan.fee), [*step.costs, *kept])

    def _send(self, message: Message, last_valid_block_height: int) -> Any:
        from solders.transaction import VersionedTransaction

        signature = self.wallet.sign(bytes(message))
        signed = bytes(VersionedTransaction.populate(message, [signature]))
        body: dict[str, object] = {
            "transaction": base64.b64encode(signed).decode(),
            "last_valid_block_height": last_valid_block_height,
        }
        # so that it can be looked up, come what may: with --json too
        sys.stderr.write(f"  Sending transaction {signature}\n")
        try:
            return self._sent(body)
        except KeyboardInterrupt:
            because = "you broke off"
        except _Undecided as undecided:
            because = str(undecided)
        raise Refused(
            "unknown",
            f"what became of transaction {signature} is not known: {because}",
            "look it up before you pay again",
        )

    def _sent(self, body: dict[str, object]) -> Any:
        """The chain's answer. Raises Refused where nothing came of it, _Undecided."""
        for _ in range(_ASK_AGAIN):
            try:
                return self._here.work("POST", "chain", "send", body=body)
            except Refused as refused:
                begun = "resumed" in body
                undecided = refused.code in _UNDECIDED or (begun and not is_final(refused))
                if not undecided:
                    raise advised(refused) from None
                because = refused.message
                if isinstance(refused, NotRunning):
                    break
                body["resumed"] = True  # it may be on its way: only the chain tells
        raise _Undecided(because)

    # -- what is shown --

    def _agree(self, previews: Sequence[Preview]) -> None:
        self._agreed = previews[0]
        for preview in previews:
            for line in preview.lines():
                self.say(line)
        total = sum(preview.total for preview in previews)
        tokens = [paid(cost.amount, cost) for each in previews for cost in each.tokens]
        self.say(f"  In all {' and '.join([sol(total), *tokens])}, from {self.wallet.address}")
        for mint in dict.fromkeys(str(cost.mint) for each in previews for cost in each.tokens):
            self.say(f"  The token is {symbol(mint)}{f', {mint}' if symbol(mint) != mint else ''}")
        if self.chain.embedded:
            self.say("  On the node's own chain, which proves what its operator vouches for.")
        if self._warning:
            sys.stderr.write(f"  {self._warning}\n")  # with --json too: its readers log it
        if self._dry:
            self._tell_dry(previews, total)
            raise typer.Exit
        if self._yes or self._here.json or not sys.stdin.isatty():
            return
        typer.confirm("Sign it?", default=True, abort=True, err=True)

    def _tell_dry(self, previews: Sequence[Preview], total: int) -> None:
        if self._here.json:
            value = {
                "dry_run": True,
                "wallet": str(self.wallet.address),
                "genesis": self.chain.genesis,
                "programs": dict(zip(PROGRAM_NAMES, told_programs(self.chain), strict=True)),
                "transactions": [preview.value(self.programs) for preview in previews],
                "total": str(total),
            }
            self._here.answer(value)
        for preview in previews:
            for line in preview.instruction_lines(self.programs):
                self.say(line)
        self.say(f"On {chain_name(self.chain)}, genesis {self.chain.genesis}")
        for name, at in zip(PROGRAM_NAMES, told_programs(self.chain), strict=True):
            self.say(f"  {name} is {at}")

    def say_refused(self, what: str, fault: Refused) -> None:
        """Tells people which of several steps is not done, and a way out."""
        self.say(f"{what}: not done, {fault.message}")
        for line in fault.hint.splitlines():
            self.say(f"  {line}")

    def say(self, line: str) -> None:
        """Tells people something, who may watch. What others wrote moves no terminal's cursor."""
        if not self._here.json:
            shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
            sys.stderr.write(f"{shown}\n")


def of_this_alone(fault: Refused) -> Refused:
    """The refusal of one of several; raises it where it is of all."""
    if isinstance(fault, NotRunning) or fault.code in _OF_ALL:
        raise fault
    return fault


def is_final(fault: Refused) -> bool:
    """Whether it is certain that the transaction will never have done anything."""
    code = fault.code
    return code == "expired" or code in _NEVER_SENT or bool(_BY_THE_CHAIN.fullmatch(code))


def chain_of(here: Here) -> ChainShape:
    """The node's chain."""
    return cast("ChainShape", shaped(here.client.get("chain")))


def programs_of(chain: ChainShape) -> Programs:
    """The addresses of its programs."""
    from solders.pubkey import Pubkey

    from hausd.core.programs.accounts import Programs

    return Programs(*map(Pubkey.from_string, told_programs(chain)))


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
