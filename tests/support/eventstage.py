"""A node with its own chain, and wallets: what tests of events by hausctl happen on."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.transaction import Transaction

from tests.support.node import Node, node, until

from .tls import TLS

ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
SOL = 10**9


@dataclass
class Stage:
    node: Node
    directory: Path

    def rpc(self, method: str, *parameters: object) -> Any:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        answer = httpx.post(
            self.node.words["chain"], json=asked, trust_env=False, verify=TLS
        ).json()
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

    def send(self, *instructions: Instruction, by: Sequence[Keypair]) -> None:
        """What no command does; the first of ``by`` pays."""
        blockhash = Hash.from_string(self.rpc("getLatestBlockhash")["value"]["blockhash"])
        payer = by[0].pubkey()
        made = Transaction.new_signed_with_payer(list(instructions), payer, list(by), blockhash)
        raw = base64.b64encode(bytes(made)).decode()
        sent = self.rpc("sendTransaction", raw, {"encoding": "base64"})
        assert until(lambda: self.rpc("getSignatureStatuses", [sent])["value"][0])["err"] is None

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
