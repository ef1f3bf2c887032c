"""A faulty way to an RPC endpoint: it delays, lies, refuses and breaks off, as a test says."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from queue import Queue
from threading import Thread
from typing import Any

import httpx
import trio
from solders.transaction import VersionedTransaction

from tests.support.jsonserver import Hangs, Reply, serve_json

from .tls import TLS

Mangle = Callable[[dict[str, Any], dict[str, Any]], Reply | None]
"""Of a request and the genuine answer: what is answered instead; None: the answer, as it may
have been changed in place. May raise Hangs."""


class Proxy:
    """Its faults can be changed at any time. ``asked`` lists the methods that came."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.through: Mangle = lambda asked, told: None
        """What becomes of every answer, before ``mangle`` sees it."""
        self.mangle: Mangle = lambda asked, told: None
        self.delay_s = 0.0
        self.batches = True
        """Whether several calls at once are taken."""
        self.drops = 0
        """So many sent transactions are lost on their way."""
        self.asked: list[str] = []
        self.url = ""

    async def handle(self, body: bytes) -> Reply:
        asked = json.loads(body)
        await trio.sleep(self.delay_s)
        if isinstance(asked, list):
            if not self.batches:
                return Reply(b"one at a time", 400)
            return await self._batch(asked)
        self.asked.append(asked["method"])
        if asked["method"] == "sendTransaction" and self.drops:
            self.drops -= 1
            told = {"jsonrpc": "2.0", "id": asked["id"], "result": _signature(asked["params"][0])}
            return Reply(json.dumps(told).encode())
        told = await self._ask(body)
        replaced = self._changed(asked, told)
        return replaced if replaced is not None else Reply(json.dumps(told).encode())

    async def _batch(self, asked: list[dict[str, Any]]) -> Reply:
        self.asked += [each["method"] for each in asked]
        told = await self._ask(json.dumps(asked).encode())
        for one, answer in zip(asked, told, strict=True):
            replaced = self._changed(one, answer)
            if replaced is not None:
                return replaced
        return Reply(json.dumps(told).encode())

    def _changed(self, asked: dict[str, Any], told: dict[str, Any]) -> Reply | None:
        self.through(asked, told)
        return self.mangle(asked, told)

    async def _ask(self, body: bytes) -> Any:
        async with httpx.AsyncClient(trust_env=False, timeout=60, verify=TLS) as http:
            answer = await http.post(
                self.upstream, content=body, headers={"content-type": "application/json"}
            )
        return answer.json()


def _signature(transaction: str) -> str:
    return str(VersionedTransaction.from_bytes(base64.b64decode(transaction)).signatures[0])


@asynccontextmanager
async def proxied(upstream: str) -> AsyncIterator[Proxy]:
    """A proxy before an endpoint."""
    proxy = Proxy(upstream)
    async with serve_json(proxy.handle) as proxy.url:
        yield proxy


def result(change: Callable[[Any], Any], *methods: str) -> Mangle:
    """Answers these methods (all, where none is named) with another result."""

    def mangle(asked: dict[str, Any], told: dict[str, Any]) -> None:
        if "result" in told and (not methods or asked["method"] in methods):
            told["result"] = change(told["result"])

    return mangle


def status(code: int, **headers: str) -> Mangle:
    """Answers everything with an HTTP status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked, told: Reply(b"", code, named)


def hangs(asked: dict[str, Any], told: dict[str, Any]) -> Reply:
    raise Hangs


@contextmanager
def proxy_beside(upstream: str) -> Iterator[Proxy]:
    """A proxy in a thread of its own, for programs that run while the test does other things."""
    came: Queue[tuple[Proxy, trio.lowlevel.TrioToken, trio.CancelScope]] = Queue()

    async def serve() -> None:
        with trio.CancelScope() as scope:
            async with proxied(upstream) as proxy:
                came.put((proxy, trio.lowlevel.current_trio_token(), scope))
                await trio.sleep_forever()

    thread = Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    proxy, token, scope = came.get(timeout=10)
    try:
        yield proxy
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(10)


def stands_still(*, of_one_slot: bool = False) -> Mangle:
    """Answers what it answered first to the like: the chain as it was, when each was asked first,
    or else by its slot at least when the first was."""
    kept: dict[str, Any] = {}

    def at(slot: int) -> Any:
        return kept.setdefault("slot", slot) if of_one_slot else slot

    def mangle(asked: dict[str, Any], told: dict[str, Any]) -> None:
        if asked["method"] != "sendTransaction" and "result" in told:
            like = json.dumps([asked["method"], asked.get("params", [])[:1]])
            told["result"] = result = kept.setdefault(like, told["result"])
            if asked["method"] == "getSlot":
                told["result"] = at(result)
            elif isinstance(result, dict) and "context" in result:
                result["context"]["slot"] = at(result["context"]["slot"])

    return mangle
