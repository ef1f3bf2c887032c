"""An artist, a viewer and a node: from the event's creation to the last payout, by hausctl."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair

from tests.support.chain_data import PROGRAMS
from tests.support.litechain import LiteChain, serve_chain, with_programs
from tests.support.node import Node, node

pytestmark = pytest.mark.e2e
SOL = 10**9


@dataclass
class Stage:
    chain: LiteChain
    node: Node
    directory: Path

    def wallet(self, name: str, lamports: int = 10 * SOL) -> tuple[str, str]:
        """A funded wallet: its file and its address."""
        key = Keypair()
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(list(bytes(key))))
        path.chmod(0o600)
        self.chain.fund(key.pubkey(), lamports)
        return str(path), str(key.pubkey())

    async def ctl(self, *arguments: str, code: int = 0) -> Any:
        ctl = partial(self.node.ctl, code=code)
        return await trio.to_thread.run_sync(ctl, *arguments)


@asynccontextmanager
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    chain = with_programs()
    async with serve_chain(chain) as url:
        sets = (f"chain.rpc_url={url}", f"chain.event_factory={PROGRAMS.event_factory}")
        running = node(tmp_path / "home", *sets)
        started = await trio.to_thread.run_sync(running.__enter__)
        try:
            yield Stage(chain, started, tmp_path)
        finally:
            await trio.to_thread.run_sync(running.__exit__, None, None, None)


async def test_an_event_from_its_creation_to_its_payout(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        viewer_file, viewer = here.wallet("viewer")
        options = ("--ticket-price", "0.25", "--ends", "+2h", "--keypair", artist_file)
        made = await here.ctl("events", "create", "Sundown", *options)
        assert made["status"] == "open"
        assert made["ingest_url"]
        assert made["stream_key"]
        event = made["id"]

        shown = await here.ctl("events", "show", event)
        assert (shown["artist"], shown["title"]) == (artist, "Sundown")
        assert [tier["price"] for tier in shown["tiers"]] == [str(SOL // 4)]
        room = await here.ctl("rooms", "show", event)
        assert room["title"] == "Sundown"
        assert [each["id"] for each in await here.ctl("events", "list")] == [event]

        await here.ctl("tickets", "verify", event, viewer, code=1)
        await here.ctl("tickets", "buy", event, "--count", "2", "--keypair", viewer_file)
        assert (await here.ctl("tickets", "verify", event, viewer))["count"] == 2

        first = await here.ctl(
            "tips", "send", event, "0.5", "-m", "encore", "--keypair", viewer_file
        )
        assert first["leader"]
        again = await here.ctl("tips", "send", event, "0.1", "--keypair", viewer_file)
        assert again["total"] == str(SOL * 6 // 10)
        tips = await here.ctl("tips", "list", event)
        assert [(tip["amount"], tip["message"]) for tip in tips] == [
            (str(SOL // 10), ""),
            (str(SOL // 2), "encore"),
        ]

        fault = await here.ctl(
            "tips", "send", event, "0.000000001", "--keypair", viewer_file, code=1
        )
        assert fault["error"]["code"] == "TipTooSmall"
        fault = await here.ctl("tips", "send", event, "900", "--keypair", viewer_file, code=1)
        assert fault["error"]["hint"] == "nothing was sent or paid"

        await here.ctl("events", "end", event, "--keypair", artist_file)
        done = await here.ctl("events", "finalize", event, "--keypair", artist_file)
        assert (done["status"], done["rta_owner"]) == ("finalized", viewer)
        owed = {payout["pot"]: payout["amount"] for payout in done["payouts"]}
        assert owed == {"tickets": str(SOL // 2), "tips": str(SOL * 6 // 10)}
        done = await here.ctl("events", "claim", event, "--keypair", viewer_file)
        assert all(payout["claimed"] for payout in done["payouts"])


async def test_a_dry_run_signs_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        await here.ctl("events", "create", "Never", "--keypair", artist_file, "--dry-run")
        assert not here.chain.done
        assert await here.ctl("events", "list") == []


async def test_a_wallet_that_others_may_read_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        Path(artist_file).chmod(0o644)
        fault = await here.ctl("events", "create", "X", "--keypair", artist_file, code=1)
        assert fault["error"]["code"] == "wallet-open"


async def test_a_program_that_keeps_the_key_signs(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        signer = tmp_path / "signer.py"
        signer.write_text(
            "import json, sys\n"
            "from solders.keypair import Keypair\n"
            f"key = Keypair.from_bytes(bytes(json.load(open({artist_file!r}))))\n"
            "print(key.pubkey() if sys.argv[1] == 'address'"
            " else key.sign_message(sys.stdin.buffer.read()))\n"
        )
        import sys

        command = f"{sys.executable} {signer}"
        made = await here.ctl("events", "create", "By a device", "--signer", command)
        assert (await here.ctl("events", "show", made["id"]))["artist"] == artist
