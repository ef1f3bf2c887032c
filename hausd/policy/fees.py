"""What a transaction asks for and bids: its compute units, and their price."""

from __future__ import annotations

from collections.abc import Sequence

MAX_UNITS = 1_400_000
"""Most compute units of a transaction. Source: Solana's runtime."""
MICRO_LAMPORTS = 10**6
_SPARE_PERCENT = 10
_BUDGET_UNITS = 300
"""What the two compute budget instructions take themselves (150 each); one may be added after
the rehearsal."""
_PERCENTILE = 75


def units_limit(used: int) -> int:
    """The limit for a transaction that used so many units when it was rehearsed."""
    return min(MAX_UNITS, used + used * _SPARE_PERCENT // 100 + _BUDGET_UNITS)


def unit_price(untrusted_bids: Sequence[int], units: int, most_lamports: int) -> int:
    """Micro-lamports to bid for a unit: more than three of four recent transactions did.

    Never so much that the priority fee exceeds ``most_lamports``, whatever the bids are.
    """
    if not untrusted_bids or units <= 0:
        return 0
    ranked = sorted(untrusted_bids)
    wanted = ranked[min(len(ranked) - 1, len(ranked) * _PERCENTILE // 100)]
    return min(wanted, most_lamports * MICRO_LAMPORTS // units)
