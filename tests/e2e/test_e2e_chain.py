"""A node's own chain: wallets are made and filled, and Solana's client sees the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from solana.rpc.api import Client
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from support.node import node

pytestmark = pytest.mark.e2e
SOL = 10**9


def test_a_wallet_is_made_filled_and_kept_by_the_nodes_own_chain(tmp_path: Path) -> None:
    file = tmp_path / "artist.json"
    with node(tmp_path / "home", "chain.listen=127.0.0.1:0") as one:
        made = one.ctl("keys", "new", str(file))
        assert file.stat().st_mode & 0o777 == 0o600
        key = Keypair.from_bytes(bytes(json.loads(file.read_bytes())))
        assert made["address"] == str(key.pubkey())
        again = one.ctl("keys", "new", str(file), code=1)
        assert again["error"]["code"] == "exists"
        assert one.ctl("keys", "show", "--keypair", str(file)) == {"address": made["address"]}
        given = one.ctl("keys", "airdrop", "2.5", "--keypair", str(file))
        assert (given["lamports"], given["balance"]) == (str(5 * SOL // 2),) * 2
        chain = Client(one.words["chain"])
        assert chain.get_balance(Pubkey.from_string(made["address"])).value == 5 * SOL // 2
        one.ctl("keys", "airdrop", "1001", "--keypair", str(file), code=2)
        genesis = chain.get_genesis_hash().value
    with node(tmp_path / "home", "chain.listen=127.0.0.1:0") as one:
        assert Client(one.words["chain"]).get_genesis_hash().value == genesis
        given = one.ctl("keys", "airdrop", "1", "--keypair", str(file))
        assert given["balance"] == str(7 * SOL // 2)
