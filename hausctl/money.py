"""Amounts as people write them, and base units as the chain counts: exactly, in both directions."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation, localcontext
from typing import Protocol

import typer

LAMPORTS = 10**9
SOL_DECIMALS = 9
SYMBOLS = {
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v": "USDC",
    "HzwqbKZw8HxMN6bF2yFZNrht3c2iXXzpKcFu7uBEDKtr": "EURC",
    "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB": "USDT",
    "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU": "USDC (devnet)",
}
"""Well-known mints, those that the programs know. Whatever a mint calls itself proves nothing."""
_KNOWN_DECIMALS = 6
"""Of each of them, whatever an endpoint says."""
_ENDS = 6
_MOST = 2**63 - 1
_MAX_DIGITS = 300
"""More than any mint has decimals: reading never rounds."""


class InMoney(Protocol):
    """Something that says what its amounts are in: ``mint`` is None where that is SOL."""

    @property
    def mint(self) -> str | None: ...

    @property
    def decimals(self) -> int: ...


def lamports(untrusted: str) -> int:
    """Lamports, of SOL as in ``0.5``. Raises typer.BadParameter."""
    return _units(untrusted, SOL_DECIMALS, "SOL")


def units(untrusted: str, coin: InMoney) -> int:
    """Base units of what an event is paid in. Raises typer.BadParameter."""
    return _units(untrusted, decimals_of(coin), symbol(coin.mint))


def _units(untrusted: str, decimals: int, name: str) -> int:
    least = f"{Decimal(1).scaleb(-decimals):f}"
    right = f"write {name}, as in {'0.5' if decimals else '5'}; {least} is the least"
    wrong = f"{untrusted!r} is no amount of {name}; {right}"
    try:
        with localcontext(prec=_MAX_DIGITS):
            exact = Decimal(untrusted.strip()[:_MAX_DIGITS]).scaleb(decimals)
        whole = int(exact) if exact.is_finite() and exact.adjusted() < _MAX_DIGITS else -1
    except (InvalidOperation, OverflowError):
        raise typer.BadParameter(wrong) from None
    if whole != exact or not 0 <= whole <= _MOST:
        raise typer.BadParameter(wrong)
    return whole


def sol(amount: int | str) -> str:
    """Lamports as SOL: ``0.5 SOL``."""
    return money(amount, None)


def money(amount: int | str, mint: str | None, decimals: int = SOL_DECIMALS) -> str:
    """An amount in SOL, or of a token: ``0.5 SOL``, ``12 USDC``, ``3 of Cr2Fab…x9Qz1m``."""
    decimals = _decimals(mint, decimals)
    whole, part = divmod(int(amount), 10**decimals)
    digits = f"{part:0{decimals}}".rstrip("0") if decimals else ""
    name = symbol(mint)
    if mint is not None and mint not in SYMBOLS:
        name = f"of {short(mint)}"
    return f"{whole:,}{'.' if digits else ''}{digits} {name}"


def paid(amount: int | str, coin: InMoney) -> str:
    """An amount of what ``coin`` says."""
    return money(amount, coin.mint, coin.decimals)


def decimals_of(coin: InMoney) -> int:
    """What amounts are counted with: of a well-known mint what is known, else what was told."""
    return _decimals(coin.mint, coin.decimals)


def _decimals(mint: str | None, untrusted: int) -> int:
    return _KNOWN_DECIMALS if mint in SYMBOLS else untrusted


def short(mint: str) -> str:
    """As much of an address as tells tokens apart; whoever signs is shown the whole."""
    return mint if len(mint) <= 2 * _ENDS else f"{mint[:_ENDS]}…{mint[-_ENDS:]}"


def symbol(mint: str | None) -> str:
    """What people call it: a mint that is not well known by its address."""
    return "SOL" if mint is None else SYMBOLS.get(mint, mint)
