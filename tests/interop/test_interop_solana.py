"""Solana's own clients in JavaScript at the embedded chain, without a change to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.chain import SOL, HandClock, Running, running_chain
from support.jspeer import JsPeer, has_package, js_peer

pytestmark = pytest.mark.skipif(
    not has_package("@solana/kit"),
    reason="needs Node.js and `npm ci` in tests/interop/js (scripts/test does both)",
)
FEE = 5_000


async def time_passes(clock: HandClock) -> None:
    while True:
        await trio.sleep(0.05)
        clock.pass_s(0.1)


@asynccontextmanager
async def client(path: Path) -> AsyncIterator[tuple[Running, JsPeer]]:
    async with (
        running_chain(path / "chain.sqlite") as one,
        js_peer("solana.mjs") as js,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(time_passes, one.clock)
        yield one, js
        nursery.cancel_scope.cancel()


async def test_web3_js_pays_subscribes_looks_up_addresses_and_explains_failures(
    tmp_path: Path,
) -> None:
    async with client(tmp_path) as (one, js):
        await js.tell(web3=[one.url, one.ws_url])
        paid = await js.says("paid")
        assert (paid["balance"], paid["heard"]) == (SOL, SOL)
        assert paid["logged"] == paid["signature"]
        versioned = await js.says("versioned")
        assert (versioned["simulated"], versioned["error"]) == (None, None)
        assert (versioned["version"], versioned["fee"]) == (0, FEE)
        assert versioned["loaded"] == [versioned["to"]], "it came from a lookup table"
        assert versioned["parsed"] == [True, False, False]
        asked = await js.says("asked")
        assert asked["refused"]["name"] == "SendTransactionError"
        assert "custom program error: 0x1" in asked["refused"]["words"]
        assert any("insufficient lamports" in line for line in asked["refused"]["logs"])
        assert asked["lamports"][0] == asked["parsedAccount"] == 2 * SOL
        assert asked["signatures"] == [asked["sent"], paid["signature"]], "newest first"
        assert asked["genesis"] == str(one.chain.ledger.genesis)
        assert (asked["fee"], asked["status"], asked["valid"]) == (FEE, "finalized", True)
        assert asked["count"] == 4
        assert asked["inBlock"] >= 1
        assert await js.says("done")


async def test_kit_pays_subscribes_and_reads(tmp_path: Path) -> None:
    async with client(tmp_path) as (one, js):
        await js.tell(kit=[one.url, one.ws_url])
        found = await js.says("kit")
        assert (found["simulated"], found["error"]) == (None, None)
        assert found["heard"] == found["balance"] == found["account"] == SOL
        assert found["to"] in found["keys"]
        assert found["block"] >= 1
        assert found["programAccounts"] == 3, "the faucet and both wallets"
        assert (found["tokens"], found["health"]) == (0, "ok")
        assert await js.says("code") == -32602
        assert await js.says("done")
