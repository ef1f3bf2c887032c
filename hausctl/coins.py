"""What an event is paid in, and the token accounts between a wallet and an event's pots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from hausctl.client import Refused, shaped
from hausctl.money import InMoney, decimals_of, paid, symbol
from hausctl.paying import address
from hausctl.previews import Cost, Rent

if TYPE_CHECKING:
    from solders.instruction import Instruction
    from solders.pubkey import Pubkey

    from hausctl.context import Here
    from hausd.core.chain_shapes import EventShape, MintShape, TokensShape, WalletShape
    from hausd.core.programs.payments import Payment


@dataclass(frozen=True, slots=True)
class Coin:
    """SOL, or a token."""

    mint: str | None = None
    decimals: int = 9
    token_program: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where somebody is paid to: what has to be done for it first, and what that costs."""

    payment: Payment
    opening: Sequence[Instruction] = ()
    rents: Sequence[Rent] = ()


def coin_of(here: Here, mint: str) -> Coin:
    """A token by its mint, SOL where none is named. Raises Refused."""
    if not mint:
        return Coin()
    found = cast("MintShape", shaped(here.client.get("mints", str(address(mint)))))
    return Coin(found.mint, found.decimals, found.token_program)


def payment_of(coin: Coin | EventShape) -> Payment:
    """What an event is paid in, for instructions."""
    from hausd.core.programs.payments import SOL, Payment

    if coin.mint is None or coin.token_program is None:
        return SOL
    return Payment(address(coin.mint), address(coin.token_program))


def cost_of(what: str, amount: int, coin: InMoney) -> Cost:
    """An amount that goes out of the wallet."""
    return Cost(what, amount, mint=coin.mint, decimals=coin.decimals)


def paying(here: Here, who: Pubkey, event: EventShape, amount: int) -> Payment:
    """A payment from a token account of ``who`` that has enough. Raises Refused."""
    from dataclasses import replace

    payment = payment_of(event)
    if event.mint is None:
        return payment
    held = _held(here, who, event.mint)
    if not held or int(held[0].amount) < amount:
        most = paid(held[0].amount if held else 0, event)
        hint = "hausctl keys balance shows what a wallet has; nothing was sent or paid"
        message = f"{paid(amount, event)} are needed, and the wallet has {most} in one account"
        raise Refused("too-few-tokens", message, hint)
    return replace(payment, account=address(held[0].account))


def checking(who: Pubkey, payment: Payment, coin: InMoney) -> list[Instruction]:
    """What goes in front of a payment in a token, so that none is made of another amount than is
    shown: how many decimals the token has is an endpoint's word."""
    from hausd.core.programs.payments import check_decimals

    return [] if coin.mint is None else [check_decimals(who, payment, decimals_of(coin))]


def receiving(here: Here, owner: Pubkey, event: EventShape | Coin, payer: Pubkey) -> Receipt:
    """Where ``owner`` is paid to; an account for it is made where there is none."""
    from dataclasses import replace

    from hausd.core.programs.addresses import TOKEN_2022
    from hausd.core.programs.payments import open_tokens
    from hausd.core.programs.tokens import ASSOCIATED_2022_BYTES, TOKENS_BYTES

    payment = payment_of(event)
    if event.mint is None:
        return Receipt(payment)
    if held := _held(here, owner, event.mint):
        return Receipt(replace(payment, account=address(held[0].account)))
    newer = payment.token_program == TOKEN_2022
    size = ASSOCIATED_2022_BYTES if newer else TOKENS_BYTES
    what = f"{owner}'s account for {symbol(event.mint)}"
    rent = Rent(what, size, back=owner == payer)
    return Receipt(payment, [open_tokens(payer, owner, payment)], [rent])


def _held(here: Here, owner: Pubkey, mint: str) -> list[TokensShape]:
    """Accounts of this token that can be used: the one with the most first."""
    found = cast("WalletShape", shaped(here.client.get("wallets", str(owner))))
    usable = [each for each in found.tokens if each.mint == mint and not each.frozen]
    return sorted(usable, key=lambda each: -int(each.amount))
