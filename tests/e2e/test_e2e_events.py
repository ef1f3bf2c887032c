"""An artist, a viewer and a node: from the event's creation to the last payout, by hausctl."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from solders.keypair import Keypair

from hausctl.money import lamports
from tests.support.node import Node, node

_ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not _ARTIFACTS.is_dir(), reason="the programs are not built"),
]
SOL = 10**9


@dataclass
class Stage:
    node: Node
    directory: Path

    def rpc(self, method: str, *parameters: object) -> Any:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        answer = httpx.post(self.node.words["chain"], json=asked, trust_env=False).json()
        assert "result" in answer, answer
        return answer["result"]

    def wallet(self, name: str, lamports: int = 10 * SOL) -> tuple[str, str]:
        """A funded wallet: its file and its address."""
        key = Keypair()
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(list(bytes(key))))
        path.chmod(0o600)
        self.rpc("requestAirdrop", str(key.pubkey()), lamports)
        return str(path), str(key.pubkey())

    def balance(self, address: str) -> int:
        found: int = self.rpc("getBalance", address)["value"]
        return found

    def ctl(self, *arguments: str, code: int = 0) -> Any:
        return self.node.ctl(*arguments, code=code)


@contextmanager
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A node with its own chain."""
    with node(tmp_path / "home", "chain.listen=127.0.0.1:0") as running:
        yield Stage(running, tmp_path)


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
        assert fault["error"]["hint"] == "nothing was sent or paid"

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


def test_a_dry_run_signs_nothing(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        here.ctl("events", "create", "Never", "--keypair", artist_file, "--dry-run")
        assert here.balance(artist) == 10 * SOL
        assert here.ctl("events", "list") == []


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
