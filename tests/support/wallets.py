"""Wallets as users have them: a key file, and what is in it on a chain."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from solders.keypair import Keypair

from .tls import TLS

SOL = 10**9


@dataclass(frozen=True)
class Wallet:
    """A key file and its address."""

    file: str
    address: str

    @property
    def key(self) -> Keypair:
        """What is in the file."""
        return Keypair.from_json(Path(self.file).read_text())


def rpc(url: str, method: str, *parameters: object) -> Any:
    """What an endpoint answers."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    answer = httpx.post(url, json=asked, trust_env=False, verify=TLS).json()
    assert "result" in answer, answer
    return answer["result"]


def wallet(path: Path, url: str, lamports: int = 10 * SOL) -> Wallet:
    """A new wallet with so much in it, by the faucet of the embedded chain at this URL."""
    key = Keypair()
    path.write_text(json.dumps(list(bytes(key))))
    path.chmod(0o600)
    rpc(url, "requestAirdrop", str(key.pubkey()), lamports)
    return Wallet(str(path), str(key.pubkey()))
