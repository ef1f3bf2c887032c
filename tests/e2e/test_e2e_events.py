"""An artist, a viewer and a node: from the event's creation to the last payout, by hausctl."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hausctl.money import lamports
from tests.support.eventstage import ARTIFACTS, SOL, Stage, stage
from tests.support.hausctl import on_terminal

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not ARTIFACTS.is_dir(), reason="the programs are not built"),
]


def test_an_event_from_its_creation_to_its_payout(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        viewer_file, viewer = here.wallet("viewer")
        options = ("--ticket-price", "0.25", "--ends", "+2h", "--keypair", artist_file)
        made = here.ctl("events", "create", "Sundown", *options)
        assert made["status"] == "open"
        assert made["ingest_url"]
        assert made["stream_key"]
        event = made["id"]

        shown = here.ctl("events", "show", event)
        assert (shown["artist"], shown["title"]) == (artist, "Sundown")
        assert [tier["price"] for tier in shown["tiers"]] == [str(SOL // 4)]
        room = here.ctl("rooms", "show", event)
        assert room["title"] == "Sundown"
        assert [each["id"] for each in here.ctl("events", "list")] == [event]

        here.ctl("tickets", "verify", event, viewer, code=1)
        here.ctl("tickets", "buy", event, "--count", "2", "--keypair", viewer_file)
        assert (here.ctl("tickets", "verify", event, viewer))["count"] == 2

        first = here.ctl("tips", "send", event, "0.5", "-m", "encore", "--keypair", viewer_file)
        assert first["leader"]
        again = here.ctl("tips", "send", event, "0.1", "--keypair", viewer_file)
        assert again["total"] == str(SOL * 6 // 10)
        tips = here.ctl("tips", "list", event)
        assert [(tip["amount"], tip["message"]) for tip in tips] == [
            (str(SOL // 10), ""),
            (str(SOL // 2), "encore"),
        ]

        fault = here.ctl("tips", "send", event, "0.000000001", "--keypair", viewer_file, code=1)
        assert fault["error"]["code"] == "TipTooSmall"
        fault = here.ctl("tips", "send", event, "900", "--keypair", viewer_file, code=1)
        assert "nothing was sent or paid" in fault["error"]["hint"]

        fault = here.ctl("events", "end", event, "--keypair", artist_file, code=1)
        assert fault["error"]["code"] == "NeverLive"
        here.ctl("events", "live", event, "--keypair", artist_file)
        here.ctl("events", "end", event, "--keypair", artist_file)
        done = here.ctl("events", "finalize", event, "--keypair", artist_file)
        assert (done["status"], done["rta_owner"]) == ("finalized", viewer)
        owed = {payout["pot"]: payout["amount"] for payout in done["payouts"]}
        assert owed == {"tickets": str(SOL // 2), "tips": str(SOL * 6 // 10)}
        before = here.balance(artist)
        done = here.ctl("events", "claim", event, "--keypair", viewer_file)
        assert all(payout["claimed"] for payout in done["payouts"])
        assert here.balance(artist) - before == SOL * 11 // 10
        by_mint = {"mint": done["rta_mint"]}
        held = here.rpc("getTokenAccountsByOwner", viewer, by_mint, {"encoding": "jsonParsed"})
        amounts = [
            each["account"]["data"]["parsed"]["info"]["tokenAmount"]["amount"]
            for each in held["value"]
        ]
        assert amounts == ["1"]


def test_what_it_says_to_cost_is_what_it_costs(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        fan_file, fan = here.wallet("fan")
        create = ("events", "create", "Grüße an alle", "--ticket-price", "0.25")
        assert _shown(here, *create, "--keypair", artist_file) == 10 * SOL - here.balance(artist)
        (event,) = here.ctl("events", "list")
        for command in (("tips", "send", event["id"], "0.5"), ("tickets", "buy", event["id"])):
            for _ in range(2):  # the first time with a deposit
                before = here.balance(fan)
                shown = _shown(here, *command, "--keypair", fan_file)
                assert shown == before - here.balance(fan)


def _shown(here: Stage, *arguments: str) -> int:
    """What a command says that its transactions cost, in lamports."""
    program = [sys.executable, "-m", "hausctl", "--home", str(here.node.home), *arguments]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=True)
    return sum(lamports(each) for each in re.findall(r"In all ([0-9.]+) SOL", done.stderr))


def test_a_dry_run_tells_all_and_leaves_nothing(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        create = ("events", "create", "Never", "--ticket-price", "0.25", "--keypair", artist_file)
        told = here.ctl(*create, "--dry-run")
        assert here.balance(artist) == 10 * SOL
        assert here.ctl("events", "list") == []
        assert len(here.ctl("rooms", "list")) == 1  # the node's own
        assert told["wallet"] == artist
        first, second = told["transactions"]
        names = [each["name"] for each in first["instructions"] + second["instructions"]]
        assert [name for name in names if name != "limit"] == [
            "create_event",
            "transfer",
            "add_tier",
            "open",
        ]
        here.ctl(*create)
        assert 10 * SOL - here.balance(artist) == int(told["total"])


def test_an_event_that_is_refused_leaves_no_room(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        poor_file, _ = here.wallet("poor", SOL // 1000)
        fault = here.ctl("events", "create", "X", "--keypair", poor_file, code=1)
        assert "too little SOL" in fault["error"]["message"]
        assert len(here.ctl("rooms", "list")) == 1  # the node's own


def test_a_wallet_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        Path(artist_file).chmod(0o644)
        fault = here.ctl("events", "create", "X", "--keypair", artist_file, code=1)
        assert fault["error"]["code"] == "wallet-open"


def test_a_program_that_keeps_the_key_signs(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        signer = tmp_path / "signer.py"
        signer.write_text(
            "import json, sys\n"
            "from solders.keypair import Keypair\n"
            f"key = Keypair.from_bytes(bytes(json.load(open({artist_file!r}))))\n"
            "print(key.pubkey() if sys.argv[1] == 'address'"
            " else key.sign_message(sys.stdin.buffer.read()))\n"
        )
        command = f"{sys.executable} {signer}"
        made = here.ctl("events", "create", "By a device", "--signer", command)
        assert (here.ctl("events", "show", made["id"]))["artist"] == artist


def test_nothing_is_signed_for_other_programs_than_the_named(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        create = ("events", "create", "Mine", "--keypair", artist_file)
        fault = here.ctl(*create, "--programs", artist, code=1)
        assert fault["error"]["code"] == "other-programs"
        assert here.balance(artist) == 10 * SOL
        named = here.ctl("platform", "show")["event_factory"]
        assert here.ctl(*create, "--programs", named)["status"] == "open"


async def test_who_says_no_leaves_nothing(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        create = ("events", "create", "No", "--keypair", artist_file)
        with on_terminal(here.node.home, *create) as terminal:
            asked = await terminal.until("Sign it?")
            assert "In all" in asked
            terminal.press("n\n")
            assert await terminal.ended() == 130
        assert here.balance(artist) == 10 * SOL
        assert len(here.ctl("rooms", "list")) == 1  # the node's own
