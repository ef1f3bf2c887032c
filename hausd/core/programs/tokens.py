"""Mints and token accounts of SPL Token and Token-2022, read at one door.

Source: the accounts of spl-token and spl-token-2022 (``Mint``, ``Account``, ``AccountType``).
"""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey

from hausd.core.programs.accounts import AccountError
from hausd.core.programs.addresses import TOKEN, TOKEN_2022

MINT_BYTES = 82
TOKENS_BYTES = 165
ASSOCIATED_2022_BYTES = 170
"""An associated token account of Token-2022: with its ImmutableOwner extension."""
OWNER_AT = 32
_AMOUNT_AT, _STATE_AT = 64, 108
_DECIMALS_AT, _READY_AT = 44, 45
_KIND_AT = TOKENS_BYTES
_MINT_KIND, _TOKENS_KIND = 1, 2
_FROZEN = 2


@dataclass(frozen=True, slots=True)
class Mint:
    """A token: what one of it is, in base units, is ten to the power of ``decimals``."""

    address: Pubkey
    token_program: Pubkey
    decimals: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token account: ``amount`` in base units."""

    address: Pubkey
    token_program: Pubkey
    mint: Pubkey
    owner: Pubkey
    amount: int
    frozen: bool


def read_mint(address: Pubkey, untrusted_owner: Pubkey, untrusted: bytes) -> Mint:
    """A mint. Raises AccountError."""
    if not _is(untrusted_owner, untrusted, MINT_BYTES, _MINT_KIND) or untrusted[_READY_AT] != 1:
        raise AccountError(f"{address} is no mint of SPL Token or Token-2022")
    return Mint(address, untrusted_owner, untrusted[_DECIMALS_AT])


def read_tokens(address: Pubkey, untrusted_owner: Pubkey, untrusted: bytes) -> Tokens:
    """A token account. Raises AccountError."""
    if not _is(untrusted_owner, untrusted, TOKENS_BYTES, _TOKENS_KIND) or not untrusted[_STATE_AT]:
        raise AccountError(f"{address} is no token account of SPL Token or Token-2022")
    return Tokens(
        address,
        untrusted_owner,
        Pubkey(untrusted[:OWNER_AT]),
        Pubkey(untrusted[OWNER_AT:_AMOUNT_AT]),
        int.from_bytes(untrusted[_AMOUNT_AT : _AMOUNT_AT + 8], "little"),
        untrusted[_STATE_AT] == _FROZEN,
    )


def _is(untrusted_owner: Pubkey, untrusted: bytes, plain: int, kind: int) -> bool:
    """With extensions it is longer than either kind, and says itself which it is."""
    if untrusted_owner not in (TOKEN, TOKEN_2022):
        return False
    if len(untrusted) == plain:
        return True
    return (
        untrusted_owner == TOKEN_2022 and len(untrusted) > _KIND_AT and untrusted[_KIND_AT] == kind
    )
