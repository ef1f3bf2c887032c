"""A node's own chain: wallets are made and filled, and Solana's client sees the same."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
from anchorpy import Idl, Program, Provider, Wallet
from solana.rpc.api import Client
from solana.rpc.async_api import AsyncClient
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from support.node import node
from trio_websocket import open_websocket_url

from hausd.core.programs.addresses import EMBEDDED, config_place

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
SOL = 10**9


async def fee_bps(url: str) -> int:
    idl = Idl.from_json((ROOT / "programs/idl/event_factory.json").read_text())
    async with AsyncClient(url) as client:
        provider = Provider(client, Wallet(Keypair()))
        program = Program(idl, EMBEDDED.event_factory, provider)
        config = await program.account["Config"].fetch(config_place(EMBEDDED).address)
    return int(config.fee_bps)


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
        assert trio.run(fee_bps, one.words["chain"]) == 0, "anchorpy reads what genesis wrote"
        one.ctl("keys", "airdrop", "1001", "--keypair", str(file), code=2)
        genesis = chain.get_genesis_hash().value
    with node(tmp_path / "home", "chain.listen=127.0.0.1:0") as one:
        assert Client(one.words["chain"]).get_genesis_hash().value == genesis
        given = one.ctl("keys", "airdrop", "1", "--keypair", str(file))
        assert given["balance"] == str(7 * SOL // 2)


def test_off_loopback_the_chain_speaks_tls_with_the_nodes_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    # the node has another name than its loopback address, and asks its own chain all the same
    made = authority.issue_cert("localhost")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in made.cert_chain_pems:
        blob.write_to_path(tmp_path / "cert.pem", append=True)
    files = [f"http.tls_cert={tmp_path / 'cert.pem'}", f"http.tls_key={tmp_path / 'key.pem'}"]
    key = Keypair()
    (tmp_path / "artist.json").touch(mode=0o600)
    (tmp_path / "artist.json").write_text(json.dumps(list(bytes(key))))
    with node(tmp_path / "home", "chain.listen=0.0.0.0:0", *files) as one:
        assert one.words["chain"].startswith("https://")
        one.ctl("keys", "airdrop", "2", "--keypair", str(tmp_path / "artist.json"))
        url = one.words["chain"].replace("127.0.0.1", "localhost")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert Client(url).get_balance(key.pubkey()).value == 2 * SOL
        told = trio.run(first_told, url.replace("https", "wss"), tmp_path / "ca.pem")
        assert told["method"] == "slotNotification"
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http"))


async def first_told(url: str, authority: Path) -> Any:
    trust = ssl.create_default_context(cafile=authority)
    with trio.fail_after(20):
        async with open_websocket_url(url, ssl_context=trust) as socket:
            await socket.send_message('{"jsonrpc":"2.0","id":1,"method":"slotSubscribe"}')
            await socket.get_message()
            return json.loads(await socket.get_message())
