"""Between nodes: a stream's throughput against stock py-libp2p's, blocks' against Kubo's, and
gossip's delay a hop.

Run by ``scripts/bench p2p``, or by itself: ``python scripts/bench.d/p2p.py [--json]``. All on
loopback, every host in a process of its own; throughputs are taken in turn and medians compared.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio

ROOT = Path(__file__).resolve().parents[2]
# Last, not first: this folder's http.py would hide the standard library's.
sys.path[0] = str(ROOT)
sys.path += [str(ROOT / "scripts" / "bench.d"), str(ROOT / "tests")]

import blocks  # noqa: E402 the folders above are needed first

CHUNK_BYTES = 256 * 1024
PROTOCOL = "/bench/1"
HOPS = 3
STUCK_S = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--megabytes", type=int, default=200, help="a transfer's size")
    parser.add_argument("--mebibytes", type=int, default=1024, help="of blocks that are fetched")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=("stream", "blocks", "gossip"),
        default=("stream", "blocks", "gossip"),
    )
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--address", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        logging.disable(logging.CRITICAL)
        quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
        structlog.configure(wrapper_class=quiet)
        trio.run(ROLES[options.role], options)
        return
    parts = {"stream": streams, "blocks": exchanged, "gossip": gossip}
    found = {name: measured(options) for name, measured in parts.items() if name in options.only}
    print(json.dumps(found) if options.json else table(found))


def streams(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Ours and stock py-libp2p's, in turn: medians, and their ratio."""
    results: dict[str, list[dict[str, float]]] = {"hausd": [], "stock": []}
    for _ in range(options.repeat):
        for side, measured in results.items():
            try:
                measured.append(transfer(side, options))
            except Stuck:
                if side == "hausd":
                    raise
                print("a transfer of stock py-libp2p got stuck, and is not counted")
    return medians(results, "hausd", "stock")


def exchanged(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Blocks by each protocol, in turn: medians, and the ratio of ours to Kubo's."""
    results: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.repeat):
        for side, measured in blocks.measure(Role, options).items():
            results.setdefault(side, []).append(measured)
    return medians(results, "haus", "kubo")


def medians(
    results: dict[str, list[dict[str, float]]], ours: str, theirs: str
) -> dict[str, dict[str, float]]:
    """Of each figure of each side, and what ours are to theirs."""
    found = {
        side: {
            key: round(statistics.median(one[key] for one in measured), 2) for key in measured[0]
        }
        for side, measured in results.items()
    }
    if theirs in found:
        found["ratio"] = {
            key: round(found[ours][key] / found[theirs][key], 2) for key in found[ours]
        }
    return found


def table(found: dict[str, Any]) -> str:
    """What was measured, for people."""
    rows = []
    titles = {"stream": "one stream, loopback", "blocks": "blocks of 256 KiB, loopback"}
    names = {"haus": "/haus/blocks/1", "bitswap": "our bitswap", "kubo": "Kubo to Kubo"}
    for part, title in titles.items():
        if part in found:
            rows.append(f"{title:28}    MB/s   CPU s/GB (both ends)")
            for side, row in found[part].items():
                name = names.get(side, side)
                rows.append(f"{name:28}{row['mb_per_s']:8} {row['cpu_s_per_gb']:10}")
            rows.append("")
    if "gossip" in found:
        rows.append("gossip, ms after it was published     p50    p99")
        for hop, row in found["gossip"].items():
            rows.append(f"{hop:34} {row['p50_ms']:6} {row['p99_ms']:6}")
    return "\n".join(rows).rstrip()


class Stuck(Exception):
    """A process ended, or did nothing for too long."""


class Role:
    """A process of the bench. It prints lines of JSON."""

    def __init__(self, role: str, options: argparse.Namespace, address: str = "") -> None:
        command = [sys.executable, __file__, "--role", role, "--address", address]
        for name in ("megabytes", "mebibytes", "messages"):
            command += [f"--{name}", str(getattr(options, name))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def says(self) -> dict[str, Any]:
        """Its next line; raises Stuck."""
        assert self.process.stdout is not None
        timer = threading.Timer(STUCK_S, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise Stuck
        said: dict[str, Any] = json.loads(line)
        return said

    def __enter__(self) -> Role:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def transfer(side: str, options: argparse.Namespace) -> dict[str, float]:
    """One transfer, from one process to another."""
    with Role(f"{side}-serve", options) as server:
        address = server.says()["address"]
        with Role(f"{side}-fetch", options, address) as client:
            fetched = client.says()
        served = server.says()
    gigabytes = options.megabytes / 1000
    return {
        "mb_per_s": options.megabytes / fetched["s"],
        "cpu_s_per_gb": (fetched["cpu_s"] + served["cpu_s"]) / gigabytes,
    }


def gossip(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """A chain of hosts: the first publishes, each hears it from the one before."""
    roles = [Role("chain", options)]
    try:
        for _ in range(HOPS):
            address = roles[-1].says()["address"]
            roles.append(Role("chain", options, address))
        roles[-1].says()
        time.sleep(4)  # meshes form
        for role in roles:
            assert role.process.stdin is not None
        publisher = roles[0].process.stdin
        assert publisher is not None
        publisher.write("publish\n")
        publisher.flush()
        rows = {}
        for hop, role in enumerate(roles[1:], 1):
            delays = sorted(role.says()["delays_ms"])
            rows[f"hop {hop}"] = {
                "p50_ms": round(delays[len(delays) // 2], 2),
                "p99_ms": round(delays[len(delays) * 99 // 100], 2),
            }
        return rows
    finally:
        for role in roles:
            role.__exit__()


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


# -- processes --


async def hausd_serve(options: argparse.Namespace) -> None:
    done = trio.Event()

    async def give(stream: Any) -> None:
        chunk, left = os.urandom(CHUNK_BYTES), options.megabytes * 1_000_000
        cpu_s = time.process_time()
        while left > 0:
            await stream.send_all(chunk[:left])
            left -= CHUNK_BYTES
        await stream.send_eof()
        await stream.receive_some()
        say(cpu_s=time.process_time() - cpu_s)
        done.set()

    async with _ours() as host:
        host.handle(PROTOCOL, give)
        say(address=host.addresses[0])
        await done.wait()


async def hausd_fetch(options: argparse.Namespace) -> None:
    async with _ours() as host:
        peer = await host.connect(options.address)
        stream = await host.open_stream(peer, PROTOCOL)
        began, cpu_s, got = time.perf_counter(), time.process_time(), 0
        while received := await stream.receive_some(CHUNK_BYTES):
            got += len(received)
        assert got == options.megabytes * 1_000_000
        took = {"s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_s}
        await stream.send_eof()
        await trio.sleep(0.2)  # who has said it is ended, and the other end is to hear of it
        say(**took)


async def stock_serve(options: argparse.Namespace) -> None:
    done = trio.Event()

    async def give(stream: Any) -> None:
        chunk, left = os.urandom(CHUNK_BYTES), options.megabytes * 1_000_000
        cpu_s = time.process_time()
        while left > 0:
            await stream.write(chunk[:left])
            left -= CHUNK_BYTES
        say(cpu_s=time.process_time() - cpu_s)
        await done.wait()

    listen = _stock_address()
    async with _stock(listen) as host:
        host.set_stream_handler(PROTOCOL, give)
        say(address=f"{listen}/p2p/{host.get_id()}")
        await done.wait()


async def stock_fetch(options: argparse.Namespace) -> None:
    from libp2p.peer.peerinfo import info_from_p2p_addr
    from multiaddr import Multiaddr

    async with _stock(_stock_address()) as host:
        info = info_from_p2p_addr(Multiaddr(options.address))
        await host.connect(info)
        stream = await host.new_stream(info.peer_id, [PROTOCOL])
        began, cpu_s, got = time.perf_counter(), time.process_time(), 0
        while got < options.megabytes * 1_000_000:
            got += len(await stream.read(CHUNK_BYTES))
        say(s=time.perf_counter() - began, cpu_s=time.process_time() - cpu_s)
        os._exit(0)


async def chain(options: argparse.Namespace) -> None:
    from hausd.core.peers import Verdict

    async with _ours() as host, host.topic("bench", lambda *_: Verdict.ACCEPT) as topic:
        if options.address:
            await host.connect(options.address)
        say(address=host.addresses[0])
        if options.address:
            delays: list[float] = []
            async for heard in topic:
                delays.append((time.perf_counter_ns() - int(heard.data[:20])) / 1e6)
                if len(delays) == options.messages:
                    break
            say(delays_ms=delays)
        else:
            await trio.to_thread.run_sync(sys.stdin.readline)
            for _ in range(options.messages):
                # a tick's size, as often as ticks of eight rooms come
                topic.publish(b"%20d" % time.perf_counter_ns() + bytes(400))
                await trio.sleep(0.05)
        await trio.sleep_forever()


def _ours() -> Any:
    from hausd.core.keys import SigningKey
    from hausd.core.peers import HostSettings, parse_multiaddr
    from hausd.p2p import PeerBook, open_host

    listen = (parse_multiaddr("/ip4/127.0.0.1/tcp/0"),)
    return open_host(HostSettings(listen=listen), SigningKey(os.urandom(32)), PeerBook())


def _stock_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"/ip4/127.0.0.1/tcp/{probe.getsockname()[1]}"


def _stock(listen: str) -> Any:
    from contextlib import asynccontextmanager

    from libp2p import new_host
    from libp2p.crypto.ed25519 import create_new_key_pair
    from multiaddr import Multiaddr

    @asynccontextmanager
    async def running() -> Any:
        address = Multiaddr(listen)
        host = new_host(key_pair=create_new_key_pair(), listen_addrs=[address])
        async with host.run([address]):
            yield host

    return running()


ROLES = {
    "hausd-serve": hausd_serve,
    "hausd-fetch": hausd_fetch,
    "stock-serve": stock_serve,
    "stock-fetch": stock_fetch,
    "chain": chain,
    "blocks-serve": partial(blocks.serve, say=say),
    "blocks-haus": partial(blocks.fetch, say=say, protocol="haus"),
    "blocks-bitswap": partial(blocks.fetch, say=say, protocol="bitswap"),
}

if __name__ == "__main__":
    main()
