"""Money is read exactly, shown exactly, and refused where it is neither."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from solders.keypair import Keypair

from hausctl.client import Refused
from hausctl.coins import Coin
from hausctl.creating import rta_mint_bytes
from hausctl.money import SYMBOLS, decimals_of, lamports, money, sol, units
from hausctl.wallet import ExternalSigner, KeyFile, wallet


@given(st.integers(0, 2**63 - 1))
def test_what_is_shown_is_read_as_the_same(amount: int) -> None:
    assert lamports(sol(amount).removesuffix(" SOL").replace(",", "")) == amount


@pytest.mark.parametrize(
    ("text", "amount"), [("0.5", 500_000_000), ("1", 10**9), ("0.000000001", 1), ("1e-3", 10**6)]
)
def test_sol_is_lamports(text: str, amount: int) -> None:
    assert lamports(text) == amount


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "0.0000000001", "nan", "inf", "1e400", "9e18", "1,5", "0x10"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="no amount"):
        lamports(text)


def test_a_token_is_shown_in_its_base_units() -> None:
    assert money("1500000", "Mint", 6) == "1.5 of Mint"


def _file(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_key_file_signs_as_its_address(tmp_path: Path) -> None:
    key = Keypair()
    read = KeyFile.read(_file(tmp_path / "key", json.dumps(list(bytes(key)))))
    assert read.address == key.pubkey()
    assert read.sign(b"message").verify(key.pubkey(), b"message")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", json.dumps([1] * 64), json.dumps([300] * 64), json.dumps(["a"] * 64), "[1"],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(Refused, match="no key file") as caught:
        KeyFile.read(_file(tmp_path / "key", content))
    assert caught.value.code == "bad-wallet"


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path / "key", json.dumps(list(bytes(Keypair()))), 0o640)
    with pytest.raises(Refused, match="other users") as caught:
        KeyFile.read(path)
    assert str(path) in caught.value.hint


def test_a_signer_that_signs_something_else_is_refused(tmp_path: Path) -> None:
    key = Keypair()
    script = _file(
        tmp_path / "signer",
        "#!/bin/sh\n"
        f'[ "$1" = address ] && echo {key.pubkey()} || echo {key.sign_message(b"another")}\n',
        0o700,
    )
    signer = ExternalSigner([str(script)])
    assert signer.address == key.pubkey()
    with pytest.raises(Refused, match="wrong"):
        signer.sign(b"message")
    assert signer.sign(b"another")


@pytest.mark.parametrize(
    ("script", "code"),
    [("echo nonsense", "bad-signer"), ("exit 3", "signer-refuses"), (None, "no-signer")],
)
def test_a_signer_that_fails_says_how(tmp_path: Path, script: str | None, code: str) -> None:
    path = tmp_path / "signer"
    if script is not None:
        _file(path, f"#!/bin/sh\n{script}\n", 0o700)
    with pytest.raises(Refused) as caught:
        wallet("", str(path))
    assert caught.value.code == code


def test_two_wallets_at_once_are_refused() -> None:
    with pytest.raises(typer.BadParameter, match="either"):
        wallet("a", "b")


def test_the_rtas_mint_has_the_size_that_token_2022_gives_it() -> None:
    # 165 and the kind, the pointer's 68, then 4 + 64 + (4 + title) + (4 + 3) + (4 + 66) + 4
    assert rta_mint_bytes("Sundown") == 166 + 68 + 4 + 64 + 11 + 7 + 70 + 4


@given(st.integers(0, 2**63 - 1), st.integers(0, 255))
def test_any_token_is_shown_and_read_as_the_same(amount: int, decimals: int) -> None:
    shown = money(amount, "Mint", decimals).removesuffix(" of Mint").replace(",", "")
    assert units(shown, Coin("Mint", decimals)) == amount


@pytest.mark.parametrize("mint", SYMBOLS)
def test_a_well_known_tokens_decimals_are_known_whatever_is_told(mint: str) -> None:
    told = Coin(mint, 3)
    assert (units("1.5", told), decimals_of(told)) == (1_500_000, 6)
    assert money(1_500_000, mint, 3) == f"1.5 {SYMBOLS[mint]}"


def test_nothing_is_rounded_away() -> None:
    for text in ("1." + "0" * 40 + "1", "0.1234567", "1e-7", "9" * 400):
        with pytest.raises(typer.BadParameter, match="no amount"):
            units(text, Coin("Mint", 6))
