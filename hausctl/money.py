"""SOL as people write it, and lamports as the chain counts."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import typer

LAMPORTS = 10**9
_MOST = 2**63 - 1


def lamports(untrusted: str) -> int:
    """Lamports, of SOL as in ``0.5``. Raises typer.BadParameter."""
    right = "write SOL, as in 0.5; a lamport, 0.000000001, is the least"
    try:
        exact = Decimal(untrusted.strip()) * LAMPORTS
        whole = int(exact) if exact.is_finite() else -1
    except InvalidOperation:
        raise typer.BadParameter(f"{untrusted!r} is no amount of SOL; {right}") from None
    if whole != exact or not 0 <= whole <= _MOST:
        raise typer.BadParameter(f"{untrusted!r} is no amount of SOL; {right}")
    return whole


def sol(amount: int | str) -> str:
    """Lamports as SOL: ``0.5 SOL``."""
    whole, part = divmod(int(amount), LAMPORTS)
    digits = f"{part:09}".rstrip("0")
    return f"{whole:,}{'.' if digits else ''}{digits} SOL"


def money(amount: int | str, mint: str | None) -> str:
    """An amount in SOL, or in base units of a token."""
    return sol(amount) if mint is None else f"{int(amount):,} of {mint}"
