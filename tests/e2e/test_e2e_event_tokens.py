"""An event that is paid in a token: from a new token to the last payout, by hausctl."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account

from hausd.core.programs.addresses import TOKEN, TOKEN_2022
from tests.support.eventstage import ARTIFACTS, SOL, Stage, stage
from tests.support.node import node, until
from tests.support.rpcproxy import Mangle, proxy_beside
from tests.support.tokens import ACCOUNT_BYTES, HARMFUL, HARMLESS, MINT_BYTES, Extension

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not ARTIFACTS.is_dir(), reason="the programs are not built"),
]


def _tokens(here: Stage, owner: str, mint: str) -> int:
    held = here.ctl("keys", "balance", owner)["tokens"]
    return sum(int(each["amount"]) for each in held if each["mint"] == mint)


def test_a_token_event_from_its_token_to_its_payout(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        fan_file, fan = here.wallet("fan")
        me, fans = ("--keypair", artist_file), ("--keypair", fan_file)
        mint = here.ctl("keys", "mint", "100", "--decimals", "2", "--to", fan, *me)["mint"]
        assert _tokens(here, fan, mint) == 100_00
        here.ctl("keys", "mint", "0.5", "--of", mint, "--to", fan, *me)
        assert _tokens(here, fan, mint) == 100_50
        fault = here.ctl("keys", "mint", "1", "--of", mint, *fans, code=1)
        assert fault["error"]["code"] == "OwnerMismatch"

        create = ("events", "create", "Für Münzen", "--mint", mint, *me)
        here.ctl(*create, "--ticket-price", "0.001", code=2)  # it has two decimals
        told = here.ctl(*create, "--ticket-price", "12.5", "--dry-run")
        before = here.balance(artist)
        event = here.ctl(*create, "--ticket-price", "12.5")["id"]
        assert before - here.balance(artist) == int(told["total"])
        shown = here.ctl("events", "show", event)
        assert (shown["mint"], shown["decimals"]) == (mint, 2)
        assert shown["tiers"][0]["price"] == "1250"

        poor_file, poor = here.wallet("poor")
        fault = here.ctl("tickets", "buy", event, "--keypair", poor_file, code=1)
        assert fault["error"]["code"] == "too-few-tokens"
        here.ctl("tickets", "buy", event, "--count", "2", *fans)
        done = here.ctl("tips", "send", event, "30", "-m", "encore", *fans)
        assert (done["total"], done["mint"], done["decimals"]) == ("3000", mint, 2)
        fault = here.ctl("tips", "send", event, "45.51", *fans, code=1)
        assert fault["error"]["code"] == "too-few-tokens"
        assert _tokens(here, fan, mint) == 100_50 - 25_00 - 30_00
        (held,) = here.ctl("tickets", "list", event)
        assert (held["paid_amount"], held["mint"], held["decimals"]) == ("2500", mint, 2)
        (tip,) = until(lambda: here.ctl("tips", "list", event))
        assert (tip["amount"], tip["mint"]) == ("3000", mint)

        here.ctl("events", "live", event, *me)
        here.ctl("events", "end", event, *me)
        here.ctl("events", "finalize", event, *me)
        # the artist has no account for it yet: who asks makes one
        done = here.ctl("events", "claim", event, *fans)
        assert all(payout["claimed"] for payout in done["payouts"])
        assert _tokens(here, artist, mint) == 55_00
        assert _tokens(here, poor, mint) == 0


def test_a_cancelled_token_event_gives_tokens_back(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        fan_file, fan = here.wallet("fan")
        me, fans = ("--keypair", artist_file), ("--keypair", fan_file)
        mint = here.ctl("keys", "mint", "100", "--to", fan, *me)["mint"]
        create = ("events", "create", "Off", "--mint", mint, "--ticket-price", "10")
        event = here.ctl(*create, *me)["id"]
        here.ctl("tickets", "buy", event, *fans)
        here.ctl("tips", "send", event, "5", *fans)
        here.ctl("events", "cancel", event, *me)
        here.ctl("tickets", "refund", event, *fans)
        assert here.ctl("tips", "refund", event, *fans)["refunded"] == "5000000"
        assert _tokens(here, fan, mint) == 100 * 10**6
        assert here.ctl("events", "deliver", event, *me)["rta_owner"] == artist


def _made(here: Stage, payer: Keypair, program: Pubkey, *extensions: Extension) -> str:
    """A mint that somebody can freeze, or one with these extensions."""
    mint = Keypair()
    size = ACCOUNT_BYTES + 1 + sum(4 + each.size for each in extensions)
    size = size if extensions else MINT_BYTES
    rent = here.rpc("getMinimumBalanceForRentExemption", size)
    metas = [AccountMeta(mint.pubkey(), False, True)]
    freezes = not extensions or extensions[0] is HARMFUL["MintFreezesNew"]
    freeze = bytes([1]) + bytes(payer.pubkey()) if freezes else bytes([0])
    space = CreateAccountParams(
        from_pubkey=payer.pubkey(),
        to_pubkey=mint.pubkey(),
        lamports=rent,
        space=size,
        owner=program,
    )
    begin = bytes([20, 6]) + bytes(payer.pubkey()) + freeze
    begun = [Instruction(program, each.begin, metas) for each in extensions]
    here.send(create_account(space), *begun, Instruction(program, begin, metas), by=[payer, mint])
    return str(mint.pubkey())


def test_a_token_of_the_newer_program_costs_what_is_said(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        fan_file, fan = here.wallet("fan")
        me, fans = ("--keypair", artist_file), ("--keypair", fan_file)
        maker = Keypair.from_bytes(bytes(json.loads(Path(artist_file).read_text())))
        mint = _made(here, maker, TOKEN_2022, HARMLESS["metadata pointer"])
        minting = ("keys", "mint", "20", "--of", mint, "--to", fan, *me)
        _costs_what_it_says(here, str(maker.pubkey()), *minting)
        event = here.ctl("events", "create", "Newer", "--mint", mint, "--ticket-price", "5", *me)
        _costs_what_it_says(here, fan, "tickets", "buy", event["id"], *fans)
        _costs_what_it_says(here, fan, "tips", "send", event["id"], "7.5", *fans)
        assert _tokens(here, fan, mint) == 7_500_000
        here.ctl("events", "live", event["id"], *me)
        here.ctl("events", "end", event["id"], *me)
        here.ctl("events", "finalize", event["id"], *me)
        (ticket_money, tip_money) = here.ctl("events", "show", event["id"])["payouts"]
        assert (ticket_money["amount"], tip_money["amount"]) == ("5000000", "7500000")
        here.ctl("events", "claim", event["id"], *fans)
        assert _tokens(here, str(maker.pubkey()), mint) == 12_500_000


def _costs_what_it_says(here: Stage, wallet: str, *arguments: str) -> None:
    told = here.ctl(*arguments, "--dry-run")
    before = here.balance(wallet)
    here.ctl(*arguments)
    assert before - here.balance(wallet) == int(told["total"])


def _with_decimals(mint: str, decimals: int) -> Mangle:
    """An endpoint that tells another number of a token's decimals."""

    def mangle(asked: dict[str, Any], told: dict[str, Any]) -> None:
        if asked["method"] != "getMultipleAccounts" or "result" not in told:
            return
        for address, account in zip(asked["params"][0], told["result"]["value"], strict=True):
            if address == mint:
                raw = bytearray(base64.b64decode(account["data"][0]))
                raw[44] = decimals
                account["data"][0] = base64.b64encode(raw).decode()

    return mangle


def test_who_lies_about_a_tokens_decimals_has_nobody_pay_another_amount(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        fan_file, fan = here.wallet("fan")
        me, fans = ("--keypair", artist_file), ("--keypair", fan_file)
        minting = ("keys", "mint", "10000", "--decimals", "2", "--to", fan, *me)
        mint = here.ctl(*minting)["mint"]
        create = ("events", "create", "Dear", "--mint", mint, "--ticket-price", "1")
        event = here.ctl(*create, *me)["id"]
        with proxy_beside(here.node.words["chain"]) as liar:
            liar.mangle = _with_decimals(mint, 4)
            rpc = f"chain.rpc_url={liar.url}"
            with node(tmp_path / "other", rpc, "chain.listen=") as other:
                assert other.ctl("events", "show", event)["decimals"] == 4
                for command in (("tips", "send", event, "30"), ("tickets", "buy", event)):
                    error = other.ctl(*command, *fans, code=1)["error"]
                    assert error["code"] == "MintDecimalsMismatch"
                    assert "chain.rpc_url" in error["hint"]
        assert _tokens(here, fan, mint) == 10_000_00
        told = here.ctl("tips", "send", event, "30", *fans, "--dry-run")
        checks = [each["name"] for each in told["transactions"][0]["instructions"]]
        assert checks[-3:] == ["transfer_checked", "open_record", "tip"]
        here.ctl("tips", "send", event, "30", *fans)
        here.ctl("tickets", "buy", event, *fans)
        assert _tokens(here, fan, mint) == 9_969_00


def test_a_payee_whose_tokens_are_not_told_holds_no_other_up(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        fan_file, fan = here.wallet("fan")
        other = str(Keypair().pubkey())
        me, fans = ("--keypair", artist_file), ("--keypair", fan_file)
        mint = here.ctl("keys", "mint", "100", "--to", fan, *me)["mint"]
        create = ("events", "create", "Two", "--mint", mint, "--split", f"{other}=50")
        event = here.ctl(*create, *me)["id"]
        here.ctl("tips", "send", event, "10", *fans)
        for command in ("live", "end", "finalize"):
            here.ctl("events", command, event, *me)
        with proxy_beside(here.node.words["chain"]) as liar:
            rpc = f"chain.rpc_url={liar.url}"
            with node(tmp_path / "second", rpc, "chain.listen=") as second:
                liar.mangle = _refuses_tokens_of(other)
                second.ctl("events", "claim", event, *fans, code=1)
                assert _tokens(here, artist, mint) == 5_000_000
                error = second.ctl("events", "claim", event, *fans, code=1)["error"]
                assert error["code"] == "chain-refuses"
        here.ctl("events", "claim", event, *fans)
        assert _tokens(here, other, mint) == 5_000_000


def _refuses_tokens_of(owner: str) -> Mangle:
    def mangle(asked: dict[str, Any], told: dict[str, Any]) -> None:
        if asked["method"] == "getTokenAccountsByOwner" and asked["params"][0] == owner:
            del told["result"]
            told["error"] = {"code": -32010, "message": "too many accounts"}

    return mangle


def test_each_kind_of_mint_that_is_refused_is_explained(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        payer = Keypair()
        here.rpc("requestAirdrop", str(payer.pubkey()), 10 * SOL)
        wanted = {"no-such-mint": artist, "MintFreezes": _made(here, payer, TOKEN)}
        wanted |= {name: _made(here, payer, TOKEN_2022, each) for name, each in HARMFUL.items()}
        for name, mint in wanted.items():
            create = ("events", "create", "X", "--mint", mint, "--keypair", artist_file)
            error = here.ctl(*create, code=1)["error"]
            assert error["code"] == name
            assert error["hint"]
        assert here.ctl("events", "list") == []
        assert len(here.ctl("rooms", "list")) == 1  # the node's own
