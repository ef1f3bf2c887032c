"""A chain whose past a test can change: the embedded one behind endpoints that say what is final.

A fork is the chain's file as it once was, served anew: the same genesis and blockhashes, the same
programs, and another history from there on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from solders.keypair import Keypair

from hausd.chain.embedded.disk import Held
from hausd.core.programs.addresses import EMBEDDED
from hausd.ownchain import platform, programs_code
from tests.support.chain import HandClock, Running, running_chain
from tests.support.rpcproxy import Proxy, proxied

SLOT_S = 0.4
TREASURY = Keypair.from_seed(b"\x21" * 32)
_CONFIRMED = {"confirmationStatus": "confirmed", "confirmations": 1}


class ForkChain:
    """The programs are there, at EMBEDDED's addresses. Time stands still until ``advance``."""

    def __init__(self, folder: Path, accounts: Sequence[Held], nursery: trio.Nursery) -> None:
        self._folder = folder
        self._accounts = accounts
        self._nursery = nursery
        self._chains = 0
        self.clock = HandClock()
        self.proxies: list[Proxy] = []
        self.finalized_behind = 0
        """So many slots it takes until something is final."""

    async def serve(self) -> str:
        """Serves the newest fork; gives its URL."""
        self._running: Running = await self._nursery.start(self._run, self._file(self._chains))
        return self._running.url

    async def _run(self, path: Path, task_status: trio.TaskStatus[Running]) -> None:
        genesis = [platform(EMBEDDED, TREASURY.pubkey()), *self._accounts]
        running = running_chain(path, clock=self.clock, programs=programs_code(), genesis=genesis)
        async with running as chain:
            task_status.started(chain)
            await trio.sleep_forever()

    def _file(self, number: int) -> Path:
        return self._folder / f"chain{number}.sqlite"

    @property
    def genesis(self) -> str:
        return str(self._running.chain.ledger.genesis)

    @property
    def slot(self) -> int:
        return self._running.chain.ledger.slot

    def advance(self, slots: int = 1) -> None:
        self.clock.pass_s(slots * SLOT_S)

    def keep(self) -> None:
        """What is there now is in the next fork as well."""
        with sqlite3.connect(self._file(self._chains)) as db:
            db.execute("VACUUM INTO ?", (str(self._file(self._chains + 1)),))

    async def fork(self) -> None:
        """Another fork wins: what happened after ``keep`` never was, or is yet to come."""
        self._chains += 1
        url = await self.serve()
        for proxy in self.proxies:
            proxy.upstream = url

    def not_final(self, asked: dict[str, Any], told: dict[str, Any]) -> None:
        """What is younger than it takes is confirmed only."""
        final, result, listed = self.slot - self.finalized_behind, told.get("result"), []
        match asked["method"]:
            case "getSlot" | "getBlockHeight" if {"commitment": "finalized"} in asked["params"]:
                told["result"] = max(0, final)
            case "getSignatureStatuses" if result:
                listed = result["value"]
            case "getSignaturesForAddress" if result:
                listed = result
        for one in listed:
            if one is not None and one["slot"] > final:
                one |= _CONFIRMED


@asynccontextmanager
async def fork_chain(
    folder: Path, accounts: Sequence[Held] = (), endpoints: int = 1
) -> AsyncIterator[ForkChain]:
    """A chain that begins with these accounts, behind so many endpoints."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        chain = ForkChain(folder, accounts, nursery)
        url = await chain.serve()
        chain.advance(100)
        for _ in range(endpoints):
            proxy = await stack.enter_async_context(proxied(url))
            proxy.through = chain.not_final
            chain.proxies.append(proxy)
        yield chain
        nursery.cancel_scope.cancel()
