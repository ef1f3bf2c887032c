"""A faulty way to an RPC endpoint: it delays, lies, refuses and breaks off, as a test says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from tests.support.jsonserver import Hangs, Reply, serve_json

Mangle = Callable[[dict[str, Any], dict[str, Any]], Reply | None]
"""Of a request and the genuine answer: what is answered instead; None: the answer, as it may
have been changed in place. May raise Hangs."""


class Proxy:
    """Its faults can be changed at any time. ``asked`` lists the methods that came."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.mangle: Mangle = lambda asked, told: None
        self.delay_s = 0.0
        self.asked: list[str] = []
        self.url = ""

    async def handle(self, body: bytes) -> Reply:
        asked = json.loads(body)
        self.asked.append(asked["method"])
        await trio.sleep(self.delay_s)
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            answer = await http.post(
                self._upstream, content=body, headers={"content-type": "application/json"}
            )
        told = answer.json()
        replaced = self.mangle(asked, told)
        return replaced if replaced is not None else Reply(json.dumps(told).encode())


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
