"""What ``scripts/bench chain`` measures of the client: tips sent and confirmed, by it and by
solana-py, and its index made from nothing."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

import trio
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solders.clock import Clock
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from hausd.chain.client import ChainClient
from hausd.chain.embedded.disk import Disk, Held
from hausd.chain.embedded.ledger import Ledger, account_of
from hausd.chain.index import Index
from hausd.chain.indexer import Indexer
from hausd.chain.pool import open_pool
from hausd.chain.sending import Sender
from hausd.core.cid import CID
from hausd.core.clock import SystemClock
from hausd.core.programs.accounts import TicketTier
from hausd.core.programs.addresses import EMBEDDED, event_place
from hausd.core.programs.instructions import Builder, NewEvent
from hausd.core.programs.messages import Budget, message_of
from hausd.ownchain import platform, programs_code

SOL = 10**9
TX_MS = 10
"""So long a transaction of the history takes: 40 a slot."""
BATCH = 500
BUILD = Builder(EMBEDDED)
ARTIST = Keypair.from_seed(b"\x11" * 32)
FANS = [Keypair.from_seed(bytes([number]) * 32) for number in range(100, 164)]
NONCE = bytes(16)
EVENT = event_place(EMBEDDED, ARTIST.pubkey(), NONCE).address
TIER = TicketTier("Standing", SOL // 10, 100, 0, 10, 0, 0, True, 0)


@dataclass
class HandClock:
    ms: int

    def now_ms(self) -> int:
        return self.ms


# -- a chain with a history --


def make_history(path: Path, tips: int) -> float:
    """Writes a chain with an event and so many tips, through its own ledger; gives seconds."""
    clock = HandClock(SystemClock().now_ms() - (tips + 200) * TX_MS)
    people = [
        Held(bytes(each.pubkey()), bytes(32), 10**6 * SOL, b"", False) for each in (ARTIST, *FANS)
    ]
    disk, began = Disk(path), time.perf_counter()
    genesis = [platform(EMBEDDED, ARTIST.pubkey()), *people]
    ledger = Ledger(disk, clock, os.urandom, programs_code(), genesis)

    def run(signer: Keypair, instruction: Instruction) -> None:
        raw = signed(signer, instruction, ledger.time.blockhash()[0])
        if ledger.execute(VersionedTransaction.from_bytes(raw), raw).failed:
            raise RuntimeError("a transaction of the history failed")
        clock.ms += TX_MS

    now_s = SystemClock().now_ms() // 1000
    artist = ARTIST.pubkey()
    cid = CID.of(b"metadata")
    run(ARTIST, BUILD.create_event(artist, NONCE, NewEvent("Tips", now_s + 60, now_s + 86_400,
                                                           0, artist, cid)))  # fmt: skip
    run(ARTIST, BUILD.add_tier(artist, EVENT, TIER))
    run(ARTIST, BUILD.open_event(artist, EVENT))
    for fan in FANS:
        run(fan, BUILD.open_record(fan.pubkey(), EVENT, fan.pubkey()))
    for number in range(tips):
        fan = FANS[number % len(FANS)]
        run(fan, BUILD.tip(fan.pubkey(), EVENT, 10_000 + number, "bravo"))
        if not number % BATCH:
            ledger.take()()
            ledger.wrote()
    ledger.take()()
    ledger.wrote()
    disk.close()
    return time.perf_counter() - began


def signed(signer: Keypair, instruction: Instruction, blockhash: Hash) -> bytes:
    message = message_of(signer.pubkey(), [instruction], blockhash, Budget(200_000, 0))
    return bytes(VersionedTransaction(message, [signer]))


def bare_machine(path: Path) -> LiteSVM:
    """LiteSVM alone, with the accounts of a chain: it keeps nothing and has no RPC."""
    svm = LiteSVM().with_blockhash_check(False).with_transaction_history(0)
    for address, code in programs_code().items():
        svm.add_program(address, code)
    disk = Disk(path)
    for held in disk.accounts():
        if Pubkey(held.address) not in EMBEDDED:
            svm.set_account(Pubkey(held.address), account_of(held))
    disk.close()
    clock = svm.get_clock()
    now_s = SystemClock().now_ms() // 1000
    svm.set_clock(Clock(1, 0, clock.epoch, 0, now_s))
    return svm


# -- tips by our client, and by solana-py --


@dataclass
class Measured:
    """How long each took, and what this process used."""

    what: str
    took_s: list[float] = field(default_factory=list)

    def __enter__(self) -> Measured:
        self._began, self._used = time.perf_counter(), _cpu_s()
        return self

    def __exit__(self, *_: object) -> None:
        self.passed_s, self.cpu_s = time.perf_counter() - self._began, _cpu_s() - self._used

    def row(self) -> dict[str, object]:
        took = sorted(self.took_s)
        return {
            "what": self.what,
            "per_s": len(took) / self.passed_s,
            "p50_ms": took[len(took) // 2] * 1000,
            "p99_ms": took[len(took) * 99 // 100] * 1000,
            "cpu_ms": self.cpu_s / len(took) * 1000,
        }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def tip_of(fan: Keypair, number: int) -> Instruction:
    return BUILD.tip(fan.pubkey(), EVENT, 10_000 + number, "bravo")


async def tips_by_hausd(url: str, tips: int, at_once: int) -> dict[str, object]:
    """Each is rehearsed, priced, signed, sent, and confirmed with its fee."""
    async with open_pool([url], SystemClock(), 60.0) as pool, trio.open_nursery() as nursery:
        sender = Sender(ChainClient(pool, EMBEDDED), 0)
        with Measured(f"tips by hausd's client, {at_once} at once") as measured:

            async def send(fan: Keypair, first: int) -> None:
                for number in range(first, first + tips // at_once):
                    began = time.perf_counter()
                    tip = tip_of(fan, number)
                    draft = message_of(fan.pubkey(), [tip], Hash.default(), Budget(200_000, 0))
                    plan = await sender.plan(draft)
                    message = message_of(fan.pubkey(), [tip], plan.blockhash, plan.budget)
                    raw = bytes(VersionedTransaction(message, [fan]))
                    last = plan.last_valid_block_height
                    await sender.deliver(raw, last, rehearsed=True)
                    measured.took_s.append(time.perf_counter() - began)

            async with trio.open_nursery() as senders:
                for number in range(at_once):
                    senders.start_soon(send, FANS[number], number * tips)
        nursery.cancel_scope.cancel()
    return measured.row()


def tips_by_solana_py(url: str, tips: int, at_once: int) -> dict[str, object]:
    """Each is signed, sent with its rehearsal, and confirmed."""
    measured = Measured(f"tips by solana-py, {at_once} at once")

    async def send(client: AsyncClient, fan: Keypair, first: int) -> None:
        for number in range(first, first + tips // at_once):
            began = time.perf_counter()
            blockhash = (await client.get_latest_blockhash()).value.blockhash
            raw = signed(fan, tip_of(fan, number), blockhash)
            name = (await client.send_raw_transaction(raw)).value
            await client.confirm_transaction(name, Confirmed, sleep_seconds=0.4)
            measured.took_s.append(time.perf_counter() - began)

    async def run() -> None:
        async with AsyncClient(url, commitment=Confirmed, timeout=60) as client:
            sending: list[Awaitable[None]] = [
                send(client, FANS[number], (at_once + number) * tips) for number in range(at_once)
            ]
            await asyncio.gather(*sending)

    with measured:
        asyncio.run(run())
    return measured.row()


# -- the index from nothing --


async def rebuild(url: str, path: Path) -> dict[str, object]:
    """One round of a fresh index, in a process of its own."""
    before = _memory("VmRSS")
    async with open_pool([url], SystemClock(), 60.0) as pool, trio.open_nursery() as nursery:
        client = ChainClient(pool, EMBEDDED)
        index = Index(path, await client.genesis())
        began, used = time.perf_counter(), _cpu_s()
        await Indexer(client, index).round()
        passed_s, cpu_s = time.perf_counter() - began, _cpu_s() - used
        count = index.count()
        index.close()
        nursery.cancel_scope.cancel()
    return {
        "what": f"index of {count:,} transactions from nothing",
        "per_s": count / passed_s,
        "seconds": passed_s,
        "cpu_ms": cpu_s / count * 1000,
        "memory_mb": _memory("VmHWM") - before,
    }


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(name))
    return int(line.split()[1]) / 1000
