"""A program is put on a chain, exchanged and compared, and an interruption costs nothing twice."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import PlatformConfig, read_account

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "programs"
NAME = "live_tipping"
SOL = 10**9
pytestmark = pytest.mark.skipif(
    not hasattr(LiteSVM, "with_mainnet_features"),
    reason="this runtime has features on that end deployments: scripts/programs test has another",
)


class Desk:
    """Who deploys, in a folder of their own, with 10 SOL."""

    def __init__(self, port: int, folder: Path) -> None:
        self.url, self.folder = f"http://127.0.0.1:{port}", folder
        self.payer, self.program = Keypair(), Keypair()
        self.payer_file = self.key_file("payer", self.payer)
        self.program_file = self.key_file("program", self.program)
        self.buffer_file = folder / f"{NAME}.buffer.json"
        self.fund(self.payer)

    def key_file(self, name: str, key: Keypair) -> Path:
        path = self.folder / f"{name}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(list(bytes(key))))
        return path

    def ask(self, method: str, *params: object) -> Any:
        body = json.dumps({"method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["result"]

    def fund(self, key: Keypair) -> None:
        self.ask("requestAirdrop", str(key.pubkey()), 10 * SOL)

    def balance(self) -> int:
        return int(self.ask("getBalance", str(self.payer.pubkey()))["value"])

    def command(self, what: str, *more: str, name: str = NAME) -> list[str]:
        return [str(SCRIPT), what, name, "--rpc", self.url, *more]

    def deploying(self) -> list[str]:
        keys = ["--keypair", str(self.payer_file), "--program", str(self.program_file)]
        return self.command("deploy", *keys)

    def run(self, command: list[str]) -> tuple[int, str]:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    chain = subprocess.Popen(
        [sys.executable, "-m", "tests.support.loaderchain"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert chain.stdout is not None
        yield Desk(int(chain.stdout.readline()), tmp_path)
    finally:
        chain.kill()
        chain.wait()


def test_deployed_compared_and_exchanged(desk: Desk) -> None:
    code, told = desk.run(desk.deploying())
    assert code == 0, told
    assert "is what is committed" in told
    assert not desk.buffer_file.exists()
    there = ["--address", str(desk.program.pubkey())]
    assert desk.run(desk.command("verify", *there))[0] == 0
    code, told = desk.run(desk.command("verify", *there, name="ticket_factory"))
    assert (code, "another program" in told) == (1, True)
    code, told = desk.run(desk.deploying())
    assert (code, "scripts/programs upgrade" in told) == (1, True)
    keys = ["--keypair", str(desk.payer_file)]
    code, told = desk.run(desk.command("upgrade", *keys, *there))
    assert code == 0, told


def test_only_who_may_exchanges_a_program(desk: Desk) -> None:
    assert desk.run(desk.deploying())[0] == 0
    stranger = Keypair()
    desk.fund(stranger)
    keys = ["--keypair", str(desk.key_file("stranger", stranger))]
    there = ["--address", str(desk.program.pubkey())]
    code, told = desk.run(desk.command("upgrade", *keys, *there))
    assert (code, "not this wallet" in told) == (1, True)


def test_what_was_written_before_an_interruption_is_paid_for_once(desk: Desk) -> None:
    whole = desk.balance()
    process = subprocess.Popen(desk.deploying(), cwd=desk.folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while whole - desk.balance() < SOL // 10:  # the buffer's rent is paid
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    assert desk.buffer_file.exists()
    code, told = desk.run(desk.deploying())
    assert code == 0, told
    place = json.loads(desk.program_file.read_text())
    assert place == list(bytes(desk.program))
    # one program account with room for a quarter more, and fees: no second buffer
    size = (ROOT / "programs" / "artifacts" / f"{NAME}_v3.so").stat().st_size
    rent = int(rent_of(desk, 45 + size * 5 // 4)) + int(rent_of(desk, 36))
    assert whole - desk.balance() - rent < SOL // 100


def test_platform_is_set_up_by_who_deployed_it(desk: Desk) -> None:
    keys = ["--keypair", str(desk.payer_file)]
    place = desk.program.pubkey()
    put = desk.command("deploy", *keys, "--program", str(desk.program_file), name="event_factory")
    code, told = desk.run(put)
    assert code == 0, told
    others = ["--ticket-factory", str(Pubkey(b"t" * 32)), "--live-tipping", str(Pubkey(b"l" * 32))]
    setting = ["--address", str(place), "--fee-bps", "250", *others]

    stranger = Keypair()
    desk.fund(stranger)
    theirs = ["--keypair", str(desk.key_file("stranger", stranger))]
    code, told = desk.run(desk.command("initialize", *theirs, *setting, name="event_factory"))
    assert (code, "6000" in told) == (1, True), told
    code, told = desk.run(desk.command("initialize", *keys, *setting, name="event_factory"))
    assert code == 0, told
    config = Pubkey.find_program_address([b"config"], place)[0]
    raw = base64.b64decode(desk.ask("getAccountInfo", str(config), {})["value"]["data"][0])
    read = read_account(PlatformConfig, config, place, place, raw)
    assert (read.authority, read.fee_bps) == (desk.payer.pubkey(), 250)


def rent_of(desk: Desk, size: int) -> int:
    return int(desk.ask("getMinimumBalanceForRentExemption", size))
