"""Mints and token accounts are told apart, and from everything else."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import AccountError
from hausd.core.programs.addresses import SYSTEM, TOKEN, TOKEN_2022
from hausd.core.programs.tokens import read_mint, read_tokens

_AT = Pubkey(b"a" * 32)
_OWNER, _MINT = Pubkey(b"o" * 32), Pubkey(b"m" * 32)
_PLAIN_MINT = bytes(36) + (500).to_bytes(8, "little") + bytes([6, 1]) + bytes(36)
_PLAIN_TOKENS = (
    bytes(_MINT) + bytes(_OWNER) + (77).to_bytes(8, "little") + bytes(36) + bytes([1]) + bytes(56)
)


def test_a_mint_and_tokens_of_either_program() -> None:
    longer = _PLAIN_MINT.ljust(165, b"\0") + b"\1" + bytes(70)
    for program, raw in ((TOKEN, _PLAIN_MINT), (TOKEN_2022, _PLAIN_MINT), (TOKEN_2022, longer)):
        assert read_mint(_AT, program, raw).decimals == 6
    for program, raw in ((TOKEN, _PLAIN_TOKENS), (TOKEN_2022, _PLAIN_TOKENS + b"\2\7\0\0\0")):
        tokens = read_tokens(_AT, program, raw)
        assert (tokens.owner, tokens.mint, tokens.amount) == (_OWNER, _MINT, 77)
        assert not tokens.frozen
    frozen = _PLAIN_TOKENS[:108] + b"\2" + _PLAIN_TOKENS[109:]
    assert read_tokens(_AT, TOKEN, frozen).frozen


@pytest.mark.parametrize(
    ("program", "raw"),
    [
        (SYSTEM, _PLAIN_MINT),
        (TOKEN, _PLAIN_MINT[:-1]),
        (TOKEN, _PLAIN_MINT[:45] + b"\0" + _PLAIN_MINT[46:]),
        (TOKEN, _PLAIN_MINT.ljust(165, b"\0") + b"\1"),
        (TOKEN_2022, _PLAIN_TOKENS),
        (TOKEN_2022, _PLAIN_TOKENS + b"\2"),
    ],
)
def test_what_is_no_mint(program: Pubkey, raw: bytes) -> None:
    with pytest.raises(AccountError, match="no mint"):
        read_mint(_AT, program, raw)


@pytest.mark.parametrize(
    ("program", "raw"),
    [
        (SYSTEM, _PLAIN_TOKENS),
        (TOKEN, _PLAIN_MINT),
        (TOKEN, _PLAIN_TOKENS[:108] + b"\0" + _PLAIN_TOKENS[109:]),
        (TOKEN_2022, _PLAIN_MINT.ljust(165, b"\0") + b"\1"),
    ],
)
def test_what_is_no_token_account(program: Pubkey, raw: bytes) -> None:
    with pytest.raises(AccountError, match="no token account"):
        read_tokens(_AT, program, raw)
