"""A chain for tests: LiteSVM behind as much JSON-RPC as the client asks, and no more.

Blockhashes, heights and forks are the test's to move.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from solders.account import Account
from solders.clock import Clock
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata

from hausd.core.programs.addresses import config_place
from tests.support.chain_data import PROGRAMS, raw_account
from tests.support.jsonserver import Reply, serve_json
from tests.support.standin import StandIn

VALID_BLOCKS = 150


class Refusal(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": data}


@dataclass
class Done:
    transaction: VersionedTransaction
    slot: int
    err: object
    logs: list[str]
    units: int


@dataclass
class LiteChain:
    """One chain. ``calls`` counts what was asked."""

    genesis: str = field(default_factory=lambda: str(Hash(os.urandom(32))))
    slot: int = 100
    finalized_behind: int = 0
    height_behind: int = 0
    done: dict[str, Done] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    drops: int = 0
    """So many sent transactions are lost on their way."""
    bids: list[int] = field(default_factory=list)
    programs: StandIn | None = None

    def __post_init__(self) -> None:
        self._base: list[tuple[Pubkey, Account]] = []
        self._programs: list[tuple[Pubkey, str]] = []
        self._hashes: dict[str, int] = {}
        self._owned: dict[Pubkey, set[Pubkey]] = {}
        self._svm = self._fresh()

    def _fresh(self) -> LiteSVM:
        svm = LiteSVM().with_blockhash_check(False).with_transaction_history(0)
        for address, path in self._programs:
            svm.add_program_from_file(address, path)
        for address, account in self._base:
            svm.set_account(address, account)
        self._set_clock(svm)
        return svm

    def _set_clock(self, svm: LiteSVM) -> None:
        clock = svm.get_clock()
        svm.set_clock(Clock(self.slot, 0, clock.epoch, 0, 1_800_000_000 + self.slot * 2 // 5))

    # -- what a test does --

    def put(self, address: Pubkey, account: Account) -> None:
        """An account from the beginning on."""
        self._base.append((address, account))
        self._svm.set_account(address, account)
        self._owned.setdefault(account.owner, set()).add(address)

    def fund(self, address: Pubkey, lamports: int = 10**10) -> None:
        self.put(address, Account(lamports, b"", Pubkey.default()))

    def advance(self, slots: int = 1) -> None:
        self.slot += slots
        self._set_clock(self._svm)

    def fork_without(self, signature: str) -> None:
        """Another fork won, in which one transaction never was."""
        kept = [each for name, each in self.done.items() if name != signature]
        self.done = {}
        self._svm = self._fresh()
        for each in kept:
            self.run(each.transaction)

    # -- running --

    def run(self, transaction: VersionedTransaction) -> str:
        name = str(transaction.signatures[0])
        if name in self.done:
            return name
        if self.programs is not None and self.programs.concerns(transaction.message):
            error, logs, units = self.programs.run(
                self._svm, transaction.message, self.slot, keep=True
            )
            self.done[name] = Done(transaction, self.slot, error, logs, units)
            self._note(transaction)
            return name
        result = self._svm.send_transaction(transaction)
        failed = isinstance(result, FailedTransactionMetadata)
        meta = result.meta() if failed else result
        err = _error(result.err()) if failed else None
        self.done[name] = Done(
            transaction, self.slot, err, meta.logs(), meta.compute_units_consumed()
        )
        self._note(transaction)
        return name

    def _note(self, transaction: VersionedTransaction) -> None:
        for key in transaction.message.account_keys:
            account = self._svm.get_account(key)
            if account is not None:
                self._owned.setdefault(account.owner, set()).add(key)

    # -- JSON-RPC --

    async def handle(self, body: bytes) -> Reply:
        asked = json.loads(body)
        told: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        self.calls[asked["method"]] = self.calls.get(asked["method"], 0) + 1
        try:
            told["result"] = getattr(self, "_" + asked["method"])(*asked.get("params", []))
        except Refusal as refusal:
            told["error"] = refusal.error
        return Reply(json.dumps(told).encode())

    def _context(self, value: object, options: dict[str, Any] | None = None) -> dict[str, Any]:
        if options and options.get("minContextSlot", 0) > self.slot:
            raise Refusal(-32016, "Minimum context slot has not been reached")
        return {"context": {"slot": self.slot}, "value": value}

    def _getGenesisHash(self) -> str:
        return self.genesis

    def _getSlot(self, options: dict[str, Any] | None = None) -> int:
        return self.slot - self._behind(options)

    def _behind(self, options: dict[str, Any] | None) -> int:
        return self.finalized_behind if (options or {}).get("commitment") == "finalized" else 0

    def _getBlockHeight(self, options: dict[str, Any]) -> int:
        return self.slot - self.height_behind - self._behind(options)

    def _getLatestBlockhash(self, options: dict[str, Any]) -> object:
        made = str(Hash(os.urandom(32)))
        last = self.slot - self.height_behind + VALID_BLOCKS
        self._hashes[made] = last
        return self._context({"blockhash": made, "lastValidBlockHeight": last}, options)

    def _account(self, address: Pubkey) -> object:
        account = self._svm.get_account(address)
        if account is None or account.lamports == 0:
            return None
        return {
            "lamports": account.lamports,
            "owner": str(account.owner),
            "data": [base64.b64encode(account.data).decode(), "base64"],
            "executable": account.executable,
            "rentEpoch": 0,
        }

    def _getMultipleAccounts(self, names: list[str], options: dict[str, Any]) -> object:
        found = [self._account(Pubkey.from_string(name)) for name in names]
        return self._context(found, options)

    def _getProgramAccounts(self, program: str, options: dict[str, Any]) -> object:
        found = []
        for address in self._owned.get(Pubkey.from_string(program), ()):
            account = self._svm.get_account(address)
            if account is None or str(account.owner) != program:
                continue
            if all(_passes(account, each) for each in options.get("filters", [])):
                found.append({"pubkey": str(address), "account": self._account(address)})
        return self._context(found, options)

    def _getBalance(self, name: str, options: dict[str, Any]) -> object:
        return self._context(self._svm.get_balance(Pubkey.from_string(name)) or 0, options)

    def _getMinimumBalanceForRentExemption(self, size: int) -> int:
        return self._svm.minimum_balance_for_rent_exemption(size)

    def _getRecentPrioritizationFees(self, names: list[str]) -> object:
        return [{"slot": self.slot, "prioritizationFee": bid} for bid in self.bids]

    def _simulateTransaction(self, text: str, options: dict[str, Any]) -> object:
        transaction = VersionedTransaction.from_bytes(base64.b64decode(text))
        if self.programs is not None and self.programs.concerns(transaction.message):
            error, logs, units = self.programs.run(
                self._svm, transaction.message, self.slot, keep=False
            )
            return self._context({"err": error, "logs": logs, "unitsConsumed": units}, options)
        svm = self._svm.with_sigverify(False)
        result = svm.simulate_transaction(transaction)
        self._svm.with_sigverify(True)
        failed = isinstance(result, FailedTransactionMetadata)
        meta = result.meta()
        err = _error(result.err()) if failed else None
        value = {"err": err, "logs": meta.logs(), "unitsConsumed": meta.compute_units_consumed()}
        return self._context(value, options)

    def _sendTransaction(self, text: str, options: dict[str, Any]) -> str:
        transaction = VersionedTransaction.from_bytes(base64.b64decode(text))
        name = str(transaction.signatures[0])
        last = self._hashes.get(str(transaction.message.recent_blockhash), -1)
        if self.drops > 0:
            self.drops -= 1
        elif self.slot - self.height_behind <= last:
            self.run(transaction)
        return name

    def _getSignatureStatuses(self, names: list[str], options: dict[str, Any]) -> object:
        return self._context([self._status(name) for name in names])

    def _status(self, name: str) -> object:
        done = self.done.get(name)
        if done is None:
            return None
        final = done.slot <= self.slot - self.finalized_behind
        return {
            "slot": done.slot,
            "confirmations": None if final else 1,
            "err": done.err,
            "confirmationStatus": "finalized" if final else "confirmed",
        }

    def _getSignaturesForAddress(self, address: str, options: dict[str, Any]) -> object:
        key = Pubkey.from_string(address)
        found = []
        for name, done in reversed(self.done.items()):
            if key in done.transaction.message.account_keys:
                found.append({"signature": name, **self._status(name), "blockTime": None})  # type: ignore[dict-item]
        names = [each["signature"] for each in found]
        if options.get("before") in names:
            found = found[names.index(options["before"]) + 1 :]
            names = [each["signature"] for each in found]
        if options.get("until") in names:
            found = found[: names.index(options["until"])]
        return found[: options.get("limit", 1000)]

    def _getTransaction(self, name: str, options: dict[str, Any]) -> object:
        done = self.done.get(name)
        if done is None:
            return None
        return {
            "slot": done.slot,
            "blockTime": 1_800_000_000,
            "transaction": [base64.b64encode(bytes(done.transaction)).decode(), "base64"],
            "meta": {
                "err": done.err,
                "fee": 5000 * len(done.transaction.signatures),
                "logMessages": done.logs,
                "computeUnitsConsumed": done.units,
            },
        }


def _passes(account: Account, wanted: dict[str, Any]) -> bool:
    if "dataSize" in wanted:
        return len(account.data) == wanted["dataSize"]
    data = base64.b64decode(wanted["memcmp"]["bytes"])
    at = wanted["memcmp"]["offset"]
    return account.data[at : at + len(data)] == data


def _error(err: Any) -> object:
    inner = getattr(err, "err", None)
    if inner is None:
        return str(err).rpartition(".")[2]
    code = getattr(inner, "code", None)
    return {"InstructionError": [err.index, {"Custom": code} if code is not None else str(inner)]}


@asynccontextmanager
async def serve_chain(chain: LiteChain) -> AsyncIterator[str]:
    """Serves a chain; gives its URL."""
    async with serve_json(chain.handle) as url:
        yield url


def with_programs() -> LiteChain:
    """A chain that has the stand-in programs set up."""
    chain = LiteChain(programs=StandIn(PROGRAMS))
    config = raw_account(
        "event_factory",
        "Config",
        ticket_program=PROGRAMS.ticket_factory,
        tipping_program=PROGRAMS.live_tipping,
    )
    chain.put(config_place(PROGRAMS).address, Account(10**9, config, PROGRAMS.event_factory))
    return chain
