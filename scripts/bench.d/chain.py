"""Transactions a second of the embedded chain: over JSON-RPC, on disk, in a process of its own.

Run by ``scripts/bench chain``, or by itself: ``python scripts/bench.d/chain.py [--json]``. Every
transaction is a signed transfer between two wallets, sent with its rehearsal (``preflight``) and
without; an answer comes when the transaction is on disk. Beside it, in the same run: LiteSVM
alone, which checks signatures but keeps nothing, and ``fsync`` of 4 KiB in the same folder.

Then the client, in this process: tips that are rehearsed, signed, sent and confirmed, and
solana-py doing the like; and the index of a chain with ``--history`` transactions, made from
nothing in a process of its own over JSON-RPC (CPU of that process; memory on top of its code's).
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
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# This folder's http.py would hide the standard library's.
sys.path[0] = str(ROOT)
sys.path.append(str(ROOT / "scripts" / "bench.d"))

# ruff: noqa: E402 - what these import is found only now
import httpx
import structlog
import trio
from chainclient import (
    FANS,
    bare_machine,
    make_history,
    rebuild,
    signed,
    tip_of,
    tips_by_hausd,
    tips_by_solana_py,
)
from solders.hash import Hash
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction, VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata

SOL = 10**9
AT_ONCE = (1, 16)
CLIENTS_AT_ONCE = (1, 64)
MOST_OF_ONE = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--transactions", type=int, default=2_000, help="of each kind")
    parser.add_argument("--serve", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--history", type=int, default=100_000, help="of the chain to index")
    parser.add_argument("--only", choices=["chain", "client", "index"], help="not all of it")
    parser.add_argument("--rebuild", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve or options.rebuild:
        logging.disable(logging.CRITICAL)
        quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
        structlog.configure(wrapper_class=quiet)
    if options.serve:
        trio.run(serve, Path(options.serve))
        return
    if options.rebuild:
        url, file = options.rebuild
        print(json.dumps(trio.run(rebuild, url, Path(file))))
        return
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        rows = list(measured(Path(name), options))
    if options.json:
        print(json.dumps({"rows": rows}))
        return
    columns = ("p50_ms", "p99_ms", "cpu_ms", "memory_mb")
    heads = ("p50 ms", "p99 ms", "CPU ms each", "memory MB")
    print(f"{'what':44} {'per second':>10}", *(f"{head:>11}" for head in heads))
    for row in rows:
        told = (f"{cell:11.2f}" if (cell := row.get(key)) else " " * 11 for key in columns)
        print(f"{row['what']:44} {row['per_s']:10.0f}", *told)


def measured(folder: Path, options: argparse.Namespace) -> Iterator[dict[str, object]]:
    count = options.transactions
    if options.only in (None, "chain"):
        yield litesvm(count)
        yield fsyncs(folder)
        with Served(folder / "chain.sqlite") as served:
            for at_once in AT_ONCE:
                for preflight in (True, False):
                    yield trio.run(measure, served, count, at_once, preflight)
    if options.only in (None, "client"):
        file = folder / "tips.sqlite"
        make_history(file, 0)
        yield litesvm_tips(file, count)
        with Served(file) as served:
            for at_once in CLIENTS_AT_ONCE:
                some = min(count, MOST_OF_ONE * at_once)
                yield trio.run(tips_by_hausd, served.url, some, at_once)
                yield tips_by_solana_py(served.url, some, at_once)
    if options.only in (None, "index"):
        yield from index(folder, options.history)


def index(folder: Path, history: int) -> Iterator[dict[str, object]]:
    file = folder / "history.sqlite"
    took_s = make_history(file, history)
    yield {"what": "tips into the ledger, for the index", "per_s": history / took_s}
    with Served(file) as served:
        cpu_s = served.cpu_s()
        command = [sys.executable, __file__, "--rebuild", served.url, str(folder / "index")]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        yield row
        cpu_s = served.cpu_s() - cpu_s
    yield {"what": "  by the chain's process", "per_s": row["per_s"],
           "cpu_ms": cpu_s / row["seconds"] / row["per_s"] * 1000}  # fmt: skip


# -- the chain in a process of its own --


async def serve(path: Path) -> None:
    from hausd.chain.embedded import server
    from hausd.core.clock import SystemClock
    from hausd.ownchain import programs_code

    # one address may not ask as fast as this, else
    server._CALLS_A_SECOND = server._BURST = float("inf")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.setblocking(False)
        opened = server.open_embedded(
            path, [listener], SystemClock(), os.urandom, programs=programs_code()
        )
        async with opened:
            print(listener.getsockname()[1], flush=True)
            await trio.sleep_forever()


class Served:
    """Its port, and the CPU seconds that it has used."""

    def __init__(self, file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(file)],
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
                    blockhash = Hash.from_string(latest["value"]["blockhash"])  # type: ignore[index] # as RPC says
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


def litesvm_tips(file: Path, transactions: int) -> dict[str, object]:
    svm = bare_machine(file)
    made = [
        VersionedTransaction.from_bytes(signed(fan, tip_of(fan, number), Hash.default()))
        for number in range(transactions)
        for fan in (FANS[number % len(FANS)],)
    ]

    def run(number: int) -> None:
        if isinstance(svm.send_transaction(made[number]), FailedTransactionMetadata):
            raise RuntimeError("a tip failed")

    return timed("LiteSVM alone, tips", transactions, run)


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
