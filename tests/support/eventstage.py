"""A node with its own chain, and wallets: what tests of events by hausctl happen on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from solders.keypair import Keypair

from tests.support.node import Node, node

ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
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
