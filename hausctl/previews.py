"""What transactions do and cost, before anything is signed: for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hausctl.money import SOL_DECIMALS, paid, sol

if TYPE_CHECKING:
    from solders.instruction import Instruction
    from solders.message import Message

    from hausd.core.chain_shapes import PlanShape
    from hausd.core.programs.accounts import Programs
    from hausd.core.programs.messages import ShownInstruction


@dataclass(frozen=True, slots=True)
class Cost:
    """Something that a transaction moves out of the wallet; ``back``: a deposit. ``amount`` is in
    lamports where ``mint`` is None, else in base units of the token."""

    what: str
    amount: int
    back: bool = False
    mint: str | None = None
    decimals: int = SOL_DECIMALS


@dataclass(frozen=True, slots=True)
class Rent:
    """An account that a transaction makes, by its size in bytes; ``back``: what it keeps comes
    back to the wallet when it is closed."""

    what: str
    size: int
    back: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction. ``after``: it can't be rehearsed before the one in front of it is done."""

    what: str
    instructions: Sequence[Instruction]
    costs: Sequence[Cost] = ()
    rents: Sequence[Rent] = ()
    after: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """A step with its message, and what it costs. ``plan`` is None where it was not rehearsed."""

    step: Step
    message: Message
    plan: PlanShape | None
    fee: int
    """Lamports."""
    costs: Sequence[Cost]

    @property
    def total(self) -> int:
        """Lamports that leave the wallet."""
        return self.fee + sum(cost.amount for cost in self.costs if cost.mint is None)

    @property
    def tokens(self) -> list[Cost]:
        """What leaves it beside them."""
        return [cost for cost in self.costs if cost.mint is not None]

    def lines(self) -> Iterator[str]:
        """For people."""
        yield self.step.what
        for cost in self.costs:
            yield f"  {cost.what}: {paid(cost.amount, cost)}{' (a deposit)' if cost.back else ''}"
        yield f"  Fee: {'' if self.plan else 'about '}{sol(self.fee)}"

    def instruction_lines(self, programs: Programs) -> Iterator[str]:
        """The instructions, read from the bytes that would be signed."""
        yield f"{self.step.what}:"
        for each in self._shown(programs):
            yield f"  {each.program}.{each.name} {_text(each.arguments)[1:-1]}".rstrip()

    def value(self, programs: Programs) -> dict[str, Any]:
        """For programs."""
        return {
            "what": self.step.what,
            "fee": str(self.fee),
            "costs": [
                {
                    "what": cost.what,
                    "amount": str(cost.amount),
                    "mint": cost.mint,
                    "back": cost.back,
                }
                for cost in self.costs
            ],
            "instructions": [
                {
                    "program": each.program,
                    "name": each.name,
                    "arguments": {name: _text(value) for name, value in each.arguments.items()},
                    "accounts": each.accounts,
                }
                for each in self._shown(programs)
            ],
        }

    def _shown(self, programs: Programs) -> list[ShownInstruction]:
        """Without the budget where that is not known yet."""
        from hausd.core.programs.messages import shown

        every = shown(self.message, programs)
        return [each for each in every if self.plan or each.program != "compute_budget"]


def _text(value: Any) -> str:
    match value:
        case bytes():
            padded = value.rstrip(b"\0")
            plain = padded.isascii() and padded.decode("ascii").isprintable()
            return padded.decode() if plain and padded else value.hex()
        case dict():
            return f"{{{' '.join(f'{name}={_text(each)}' for name, each in value.items())}}}"
        case tuple() | list():
            return f"[{', '.join(map(_text, value))}]"
        case _:
            return str(value)
