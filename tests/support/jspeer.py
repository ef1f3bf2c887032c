"""Nodes in JavaScript that a test steers: the scripts in tests/interop/js."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

JS = Path(__file__).parents[1] / "interop/js"


def has_package(name: str) -> bool:
    """Whether Node.js is there, and this package."""
    return (JS / "node_modules" / name).exists() and shutil.which("node") is not None


class JsPeer:
    """A node in a process, which follows lines of JSON and says facts as such."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.facts: list[dict[str, Any]] = []

    async def read(self) -> None:
        assert self._process.stdout is not None
        buffer = b""
        async for chunk in self._process.stdout:
            *lines, buffer = (buffer + chunk).split(b"\n")
            self.facts += map(json.loads, lines)

    async def tell(self, **wanted: object) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps(wanted).encode() + b"\n")

    async def says(self, key: str) -> Any:
        """The next fact with this key; taken away."""
        with trio.fail_after(20):
            while True:
                for fact in self.facts:
                    assert "failed" not in fact, fact
                    if key in fact:
                        self.facts.remove(fact)
                        return fact[key]
                await trio.sleep(0.02)


@asynccontextmanager
async def js_peer(script: str, *arguments: str) -> AsyncIterator[JsPeer]:
    process = await trio.lowlevel.open_process(
        ["node", "--import", "./older-node.mjs", script, *arguments],
        cwd=JS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    peer = JsPeer(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read)
            yield peer
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        await process.wait()
