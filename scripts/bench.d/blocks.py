"""Blocks of 256 KiB from node to node on loopback, by each protocol, against Kubo to Kubo.

Part of ``scripts/bench p2p``. Every node is a process of its own, and all keep blocks in memory
(Kubo: its ``mem`` datastore), so that it is the exchange that is measured. ``/haus/blocks/1`` has
leaves of at most 128 KiB, which are raw; its blocks here are named as DAG-CBOR. Kubo fetches with
``ipfs pin add``; it is built by ``scripts/interop-tools``, and left out where it is not there.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import psutil
import trio

ROOT = Path(__file__).resolve().parents[2]
BLOCK_BYTES = 256 * 1024
AT_ONCE = 128
ROOM_SEED = bytes(31) + b"\1"
PROTOCOLS = ("haus", "bitswap")


def measure(
    role: Callable[[str, argparse.Namespace, str], Any], options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """MB/s and CPU seconds a GB of both ends, by who with whom."""
    rows: dict[str, dict[str, float]] = {}
    for protocol in PROTOCOLS:
        with role("blocks-serve", options, "") as server:
            address = server.says()["address"]
            with role(f"blocks-{protocol}", options, address) as client:
                fetched = client.says()
            assert server.process.stdin is not None
            server.process.stdin.close()
            cpu_s = fetched["cpu_s"] + server.says()["cpu_s"]
        rows[protocol] = _row(options, fetched["s"], cpu_s)
    program = _kubo_program()
    if program is not None:
        rows["kubo"] = _row(options, *kubo_to_kubo(program, options.mebibytes))
    return rows


def _row(options: argparse.Namespace, took_s: float, cpu_s: float) -> dict[str, float]:
    megabytes = options.mebibytes * 1.048576
    return {"mb_per_s": megabytes / took_s, "cpu_s_per_gb": cpu_s / megabytes * 1000}


# -- our processes --


class Made:
    """Blocks that are made when they are asked for: each differs from the others in 8 bytes."""

    def __init__(self, mebibytes: int) -> None:
        from hausd.core.cid import CID, Codec

        self._tail = random.Random(7).randbytes(BLOCK_BYTES - 8)
        count = mebibytes * 1024 * 1024 // BLOCK_BYTES
        self.numbers = {CID.of(self._made(each), Codec.DAG_CBOR): each for each in range(count)}

    def has(self, cid: Any) -> bool:
        return cid in self.numbers

    async def block(self, cid: Any) -> bytes | None:
        number = self.numbers.get(cid)
        return self._made(number) if number is not None else None

    async def leaf(self, cid: Any, *, may_wait: bool) -> bytes | None:
        return await self.block(cid)

    def _made(self, number: int) -> bytes:
        return number.to_bytes(8, "big") + self._tail


class Room:
    """The one room of the bench, of which these blocks are."""

    copy_bytes_per_s = 1e6
    most_bytes_per_s: float | None = None
    premium = False
    card: bytes | None = None

    def __init__(self, blocks: Made, is_origin: bool) -> None:
        from hausd.core.live import RoomState

        self.state = RoomState.LIVE
        self.is_origin = is_origin
        self.leaf = blocks.leaf

    def tell(self, ask: Any) -> Any:
        from hausd.core.following import Told

        return Told()

    def shared(self, room: Any) -> Room:
        return self


async def open_node(stack: AsyncExitStack, blocks: Made, *, is_origin: bool) -> Any:
    """Host, exchange and Bitswap of one process."""
    from hausd.core.keys import SigningKey
    from hausd.core.peers import HostSettings, Verdict, parse_multiaddr
    from hausd.p2p import PeerBook, open_host
    from hausd.p2p.bitswap import open_bitswap
    from hausd.p2p.exchange import UploadSettings, open_exchange

    settings = HostSettings(listen=(parse_multiaddr("/ip4/127.0.0.1/tcp/0"),), heartbeat_s=0.2)
    host = await stack.enter_async_context(
        open_host(settings, SigningKey(os.urandom(32)), PeerBook())
    )
    exchange = await stack.enter_async_context(
        open_exchange(host, Room(blocks, is_origin), UploadSettings(1e12, 1e6))
    )
    bitswap = await stack.enter_async_context(open_bitswap(host, blocks, exchange.uploads))
    await stack.enter_async_context(exchange.join(room_id(), lambda *_: Verdict.ACCEPT))
    return host, exchange, bitswap


def room_id() -> Any:
    from hausd.core.ids import RoomId
    from hausd.core.keys import SigningKey

    return RoomId(SigningKey(ROOM_SEED).public.open_room)


async def serve(options: argparse.Namespace, say: Callable[..., None]) -> None:
    blocks = Made(options.mebibytes)
    async with AsyncExitStack() as stack:
        host, *_ = await open_node(stack, blocks, is_origin=True)
        cpu_s = time.process_time()
        say(address=host.addresses[0])
        await trio.to_thread.run_sync(os.read, 0, 1)
        say(cpu_s=time.process_time() - cpu_s)


async def fetch(options: argparse.Namespace, say: Callable[..., None], protocol: str) -> None:
    from hausd.core.following import Priority

    wanted = list(Made(options.mebibytes).numbers)
    room = room_id()
    async with AsyncExitStack() as stack:
        host, exchange, bitswap = await open_node(stack, Made(0), is_origin=False)
        server = await host.connect(options.address)
        while server not in exchange.neighbours(room):
            await trio.sleep(0.01)
        left = iter(wanted)

        async def take() -> None:
            for cid in left:
                deadline_s = trio.current_time() + 60
                if protocol == "haus":
                    data = await exchange.fetch(
                        room,
                        cid,
                        BLOCK_BYTES,
                        told_by=server,
                        deadline_s=deadline_s,
                        priority=Priority.ARCHIVE,
                    )
                else:
                    data = await bitswap.source.fetch(cid, BLOCK_BYTES, deadline_s=deadline_s)
                assert len(data) == BLOCK_BYTES

        began, cpu_s = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(take)
        say(s=time.perf_counter() - began, cpu_s=time.process_time() - cpu_s)


# -- Kubo --


def _kubo_program() -> Path | None:
    script = ROOT / "scripts" / "interop-tools"
    told = subprocess.run([script, "--path"], capture_output=True, text=True, check=True)
    path = Path(told.stdout.strip())
    return path if path.exists() else None


def kubo_to_kubo(program: Path, mebibytes: int) -> tuple[float, float]:
    """Seconds, and CPU seconds of both daemons."""
    from support.kubo_daemon import kubo_daemon

    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        file = folder / "file"
        with file.open("wb") as out:
            for _ in range(mebibytes):
                out.write(os.urandom(1024 * 1024))
        giver, taker = (
            stack.enter_context(kubo_daemon(program, folder / side, in_memory=True))
            for side in ("giver", "taker")
        )
        how = ("--raw-leaves", "--cid-version=1", f"--chunker=size-{BLOCK_BYTES}", "--pin=false")
        root = giver.run("add", "-Q", *how, str(file)).decode().strip()
        taker.run("swarm", "connect", giver.address)
        time.sleep(1)  # each has heard of the other what it speaks
        began, cpu_s = time.perf_counter(), _cpu_s(giver, taker)
        taker.run("pin", "add", root)
        return time.perf_counter() - began, _cpu_s(giver, taker) - cpu_s


def _cpu_s(*kubos: Any) -> float:
    total = 0.0
    for kubo in kubos:
        times = psutil.Process(kubo.pid).cpu_times()
        total += times.user + times.system
    return total
