"""Transactions a second of the embedded chain: over JSON-RPC, on disk, in a process of its own.

Run by ``scripts/bench chain``, or by itself: ``python scripts/bench.d/chain.py [--json]``. Every
transaction is a signed transfer between two wallets, sent with its rehearsal (``preflight``) and
without; an answer comes when the transaction is on disk. Beside it, in the same run: LiteSVM
alone, which checks signatures but keeps nothing, and ``fsync`` of 4 KiB in the same folder.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# This folder's http.py would hide the standard library's.
sys.path[0] = str(ROOT)

# ruff: noqa: E402 - what these import is found only now
import httpx
import structlog
import trio
from solders.hash import Hash
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction, VersionedTransaction

SOL = 10**9
AT_ONCE = (1, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--transactions", type=int, default=2_000, help="of each kind")
    parser.add_argument("--serve", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        logging.disable(logging.CRITICAL)
        quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
        structlog.configure(wrapper_class=quiet)
        trio.run(serve, Path(options.serve))
        return
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        rows = [litesvm(options.transactions), fsyncs(Path(folder))]
        with Served(Path(folder)) as served:
            for at_once in AT_ONCE:
                for preflight in (True, False):
                    rows.append(trio.run(measure, served, options.transactions, at_once, preflight))
    if options.json:
        print(json.dumps({"rows": rows}))
        return
    print(f"{'what':44} {'per second':>10} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms each':>12}")
    for row in rows:
        cells = [row.get(key) for key in ("p50_ms", "p99_ms", "cpu_ms")]
        told = [f"{cell:.2f}" if isinstance(cell, float) else "" for cell in cells]
        print(f"{row['what']:44} {row['per_s']:10.0f} {told[0]:>8} {told[1]:>8} {told[2]:>12}")


# -- the chain in a process of its own --


async def serve(path: Path) -> None:
    from hausd.chain.embedded import server
    from hausd.core.clock import SystemClock

    # one address may not ask as fast as this, else
    server._CALLS_A_SECOND = server._BURST = float("inf")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.setblocking(False)
        async with server.open_embedded(path, [listener], SystemClock(), os.urandom, programs={}):
            print(listener.getsockname()[1], flush=True)
            await trio.sleep_forever()


class Served:
    """Its port, and the CPU seconds that it has used."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(folder / "chain.sqlite")],
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Served:
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def cpu_s(self) -> float:
        ticks = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


# -- what is measured --


async def measure(
    served: Served, transactions: int, at_once: int, preflight: bool
) -> dict[str, object]:
    took: list[float] = []
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=64)) as http:

        async def ask(method: str, *params: object) -> object:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            answer = (await http.post(served.url, json=body)).json()
            if "error" in answer:
                raise RuntimeError(answer["error"])
            return answer["result"]

        wallets = [Keypair() for _ in range(at_once)]
        for wallet in wallets:
            await ask("requestAirdrop", str(wallet.pubkey()), 10 * SOL)

        async def send_all(wallet: Keypair) -> None:
            config = {"encoding": "base64", "skipPreflight": not preflight}
            for number in range(transactions // at_once):
                if not number % 50:
                    latest = await ask("getLatestBlockhash")
                    blockhash = Hash.from_string(latest["value"]["blockhash"])  # type: ignore[index]
                raw = base64.b64encode(bytes(paid(wallet, number, blockhash))).decode()
                began = time.perf_counter()
                await ask("sendTransaction", raw, config)
                took.append(time.perf_counter() - began)

        began, cpu_s = time.perf_counter(), served.cpu_s()
        async with trio.open_nursery() as nursery:
            for wallet in wallets:
                nursery.start_soon(send_all, wallet)
        passed_s, cpu_s = time.perf_counter() - began, served.cpu_s() - cpu_s
    took.sort()
    return {
        "what": f"embedded, {at_once} at once, {'with' if preflight else 'no'} preflight",
        "per_s": len(took) / passed_s,
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[len(took) * 99 // 100] * 1000,
        "cpu_ms": cpu_s / len(took) * 1000,
    }


def paid(wallet: Keypair, number: int, blockhash: Hash) -> Transaction:
    to = Pubkey(bytes(31) + b"\7")
    give = transfer(
        TransferParams(from_pubkey=wallet.pubkey(), to_pubkey=to, lamports=10**6 + number)
    )
    return Transaction([wallet], Message([give], wallet.pubkey()), blockhash)


def litesvm(transactions: int) -> dict[str, object]:
    svm, wallet = LiteSVM().with_blockhash_check(False), Keypair()
    svm.airdrop(wallet.pubkey(), 10 * SOL)
    made = [
        VersionedTransaction.from_legacy(paid(wallet, number, Hash.default()))
        for number in range(transactions)
    ]
    return timed("LiteSVM alone, in memory", transactions, lambda n: svm.send_transaction(made[n]))


def fsyncs(folder: Path) -> dict[str, object]:
    with (folder / "probe").open("wb", buffering=0) as file:

        def write(_: int) -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        return timed("fsync of 4 KiB", 200, write)


def timed(what: str, times: int, call: Callable[[int], object]) -> dict[str, object]:
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    for number in range(times):
        call(number)
    passed_s, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return {"what": what, "per_s": times / passed_s, "cpu_ms": cpu_s / times * 1000}


if __name__ == "__main__":
    main()
