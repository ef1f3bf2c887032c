"""A new token, signed for by nobody but its maker: for events that are tried out.

Source: the System program's ``CreateAccountWithSeed`` (3), spl-token's ``InitializeMint2`` (20) and
``MintToChecked`` (14).
"""

from __future__ import annotations

import struct

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from hausd.core.programs.addresses import SYSTEM, TOKEN
from hausd.core.programs.tokens import MINT_BYTES

MAX_SEED_BYTES = 32
CREATE_WITH_SEED, INITIALIZE_MINT, MINT_TO = 3, 20, 14
_NO_FREEZING = b"\0"


def mint_place(maker: Pubkey, seed: str) -> Pubkey:
    """Where the token of this seed is."""
    return Pubkey.create_with_seed(maker, seed, TOKEN)


def new_mint(maker: Pubkey, seed: str, decimals: int, rent: int) -> list[Instruction]:
    """Makes a token of SPL Token that nobody can freeze; ``maker`` may make more of it.

    ``rent`` in lamports; ``seed`` has at most 32 bytes.
    """
    place, raw = mint_place(maker, seed), seed.encode()
    data = struct.pack("<I", CREATE_WITH_SEED) + bytes(maker) + struct.pack("<Q", len(raw)) + raw
    data += struct.pack("<QQ", rent, MINT_BYTES) + bytes(TOKEN)
    metas = [AccountMeta(maker, True, True), AccountMeta(place, False, True)]
    begin = bytes([INITIALIZE_MINT, decimals]) + bytes(maker) + _NO_FREEZING
    return [
        Instruction(SYSTEM, data, metas),
        Instruction(TOKEN, begin, [AccountMeta(place, False, True)]),
    ]


def mint_to(
    authority: Pubkey, mint: Pubkey, token_program: Pubkey, to: Pubkey, amount: int, decimals: int
) -> Instruction:
    """Makes more of a token: ``amount`` in base units, to the token account ``to``."""
    metas = [
        AccountMeta(mint, False, True),
        AccountMeta(to, False, True),
        AccountMeta(authority, True, False),
    ]
    return Instruction(token_program, struct.pack("<BQB", MINT_TO, amount, decimals), metas)
