"""The embedded chain's machine: executes transactions, one after the other, and keeps the time.

A slot lasts 400 ms of wall time. LiteSVM executes; blockhashes, expiry, duplicates and signatures
are ours, since its own are the same on every chain. What was executed is *processed* at once, and
*confirmed* (and *finalized*: there is no fork here) once it is on disk.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec
from solders.account import Account
from solders.clock import Clock as ClockSysvar
from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction, VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata

from hausd.chain.embedded.disk import Disk, Entry, Held
from hausd.chain.embedded.machine import machine
from hausd.chain.embedded.records import meta_of, token_of
from hausd.chain.embedded.slots import BLOCKHASH_SLOTS, SLOTS_PER_EPOCH, Time
from hausd.core.clock import Clock

LAMPORTS_PER_SIGNATURE = 5_000
_FAUCET_LAMPORTS = 500_000_000 * 10**9
_SYSTEM = bytes(32)


class Refused(Exception):
    """A transaction was not executed, and costs nothing. ``error`` as a cluster's RPC gives it."""

    def __init__(
        self, error: object, logs: Sequence[str] = (), units: int = 0, words: str = ""
    ) -> None:
        super().__init__(words or str(error))
        self.error = error
        self.logs = list(logs)
        self.units = units


class Broken(Exception):
    """The chain can't be written to disk and takes nothing more until it is started again."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a batch of transactions did, told once it is on disk."""

    entries: tuple[Entry, ...]
    accounts: tuple[Held, ...]
    gone: tuple[bytes, ...]


@dataclass(slots=True)
class _Pending:
    entries: list[Entry] = field(default_factory=list)
    accounts: dict[bytes, Held | None] = field(default_factory=dict)


class Ledger:
    """Every method but ``write`` belongs to the event loop's thread, and is quick."""

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        programs: Mapping[Pubkey, bytes],
        genesis: Sequence[Held] = (),
    ) -> None:
        """``programs``: code by address; ``genesis``: accounts that a new chain begins with."""
        self._disk = disk
        if disk.word("genesis") is None:
            _begin(disk, clock.now_ms(), random_bytes, genesis)
        self.genesis = Hash(_word(disk, "genesis"))
        self._faucet = Keypair.from_seed(_word(disk, "faucet"))
        self._number, newest_slot, newest_s = disk.newest()
        began_ms = int.from_bytes(_word(disk, "began"), "big")
        self.time = Time(clock, began_ms, _word(disk, "secret"), newest_slot, newest_s)
        self._set_slot = -1
        self.written = self._number
        """The newest transaction that is on disk."""
        self._pending = _Pending()
        self._writing: _Pending | None = None
        self.broken = ""
        self._svm = machine()
        for address, code in programs.items():
            self._svm.add_program(address, code)
        self._programs = frozenset(bytes(address) for address in programs)
        for held in disk.accounts():
            if held.address not in self._programs:
                self._svm.set_account(Pubkey(held.address), account_of(held))
        self._messages: OrderedDict[bytes, int] = OrderedDict()
        for slot, raw in disk.raw_since(self.slot - BLOCKHASH_SLOTS):
            self._messages[_message_hash(VersionedTransaction.from_bytes(raw))] = slot

    @property
    def slot(self) -> int:
        """The slot of now."""
        return self.time.slot

    # -- accounts --

    def account(self, address: Pubkey) -> Account | None:
        """An account as it is after the newest transaction."""
        found = self._svm.get_account(address)
        return found if found is not None and found.lamports else None

    def owned(self, owner: Pubkey) -> Iterator[tuple[Pubkey, Account]]:
        """A program's accounts, read one after the other."""
        return self._current(self._disk.owned(bytes(owner)), lambda held: held.owner, bytes(owner))

    def tokens_of(self, wallet: Pubkey) -> Iterator[tuple[Pubkey, Account]]:
        """A wallet's token accounts."""
        found = self._disk.tokens_of(bytes(wallet))
        return self._current(found, lambda held: held.token_owner, bytes(wallet))

    def _current(
        self, on_disk: Iterator[Held], key: Callable[[Held], bytes | None], value: bytes
    ) -> Iterator[tuple[Pubkey, Account]]:
        """What is on disk with what waits to be written laid over it."""
        laid: dict[bytes, Held | None] = {}
        for pending in (self._writing, self._pending):
            laid |= pending.accounts if pending is not None else {}
        beneath = (held for held in on_disk if held.address not in laid)
        over = (held for held in laid.values() if held is not None and key(held) == value)
        for held in chain(beneath, over):
            yield Pubkey(held.address), account_of(held)

    def rent(self, size: int) -> int:
        """Lamports that an account of this size needs."""
        return self._svm.minimum_balance_for_rent_exemption(size)

    # -- transactions --

    def execute(self, tx: VersionedTransaction, raw: bytes) -> Entry:
        """Executes a transaction; it may fail, and is paid for then as well.

        Raises Refused, Broken.
        """
        if self.broken:
            raise Broken(self.broken)
        if not self.time.knows(bytes(tx.message.recent_blockhash)):
            raise Refused("BlockhashNotFound", words="Blockhash not found")
        if not all(tx.verify_with_results()):
            raise Refused(
                "SignatureFailure", words="Transaction did not pass signature verification"
            )
        if self.processed(tx):
            raise Refused("AlreadyProcessed", words="This transaction has already been processed")
        slot, time_s = self._set_time()
        keys = self.keys_of(tx)
        before = [self._svm.get_account(key) for key in keys]
        outcome = self._svm.send_transaction(tx)
        after = [self._svm.get_account(key) for key in keys]
        failed = isinstance(outcome, FailedTransactionMetadata)
        told = outcome.meta() if isinstance(outcome, FailedTransactionMetadata) else outcome
        error = _error(outcome) if isinstance(outcome, FailedTransactionMetadata) else None
        # lamports are moved but for the fee, which is burned
        fee = sum(map(_lamports, before)) - sum(map(_lamports, after))
        if failed and fee <= 0:
            raise Refused(error, told.logs(), told.compute_units_consumed())
        meta = meta_of(tx, keys, before, after, told, error, fee)
        self._number += 1
        self._messages[_message_hash(tx)] = slot
        entry = Entry(
            self._number,
            bytes(tx.signatures[0]),
            slot,
            time_s,
            raw,
            msgspec.json.encode(meta),
            failed,
            tuple(bytes(key) for key in keys),
        )
        self._note(entry, keys, before, after)
        return entry

    def simulate(self, tx: VersionedTransaction) -> tuple[object, list[str], int, Any]:
        """What a transaction would do: error (None: none), log, units, and LiteSVM's result."""
        self._set_time()
        outcome = self._svm.simulate_transaction(tx)
        told = outcome.meta()
        error = _error(outcome) if isinstance(outcome, FailedTransactionMetadata) else None
        return error, told.logs(), told.compute_units_consumed(), outcome

    def airdrop(self, to: Pubkey, lamports: int, random_bytes: Callable[[int], bytes]) -> Entry:
        """Gives from the faucet. Raises Refused, Broken."""
        # the limit is drawn, so that two alike are two transactions
        limit = 10_000 + int.from_bytes(random_bytes(2), "big")
        give = transfer(
            TransferParams(from_pubkey=self._faucet.pubkey(), to_pubkey=to, lamports=lamports)
        )
        message = Message([set_compute_unit_limit(limit), give], self._faucet.pubkey())
        signed = Transaction([self._faucet], message, self.time.blockhash()[0])
        raw = bytes(signed)
        return self.execute(VersionedTransaction.from_bytes(raw), raw)

    def processed(self, tx: VersionedTransaction) -> bool:
        """Whether it was executed, be it with other signatures of the same message.

        Who pays can sign a message in many ways that are all valid, and must not have what another
        signed with them executed again.
        """
        oldest = self.slot - BLOCKHASH_SLOTS
        while self._messages and next(iter(self._messages.values())) < oldest:
            self._messages.popitem(last=False)
        if _message_hash(tx) in self._messages:
            return True
        return self.status(bytes(tx.signatures[0])) is not None

    def status(self, signature: bytes) -> tuple[Entry, bool] | None:
        """A transaction, and whether it is on disk."""
        for pending in (self._writing, self._pending):
            for entry in pending.entries if pending is not None else ():
                if entry.signature == signature:
                    return entry, False
        found = self._disk.entry(signature)
        return (found, True) if found is not None else None

    @property
    def count(self) -> int:
        """Transactions since the chain began."""
        return self._number

    def history(
        self, address: bytes, before: int | None, until: int | None, limit: int
    ) -> list[Entry]:
        """An address' transactions that are on disk, newest first."""
        return self._disk.entries_of(address, before, until, limit)

    def in_slot(self, slot: int) -> list[Entry]:
        """A slot's transactions that are on disk."""
        return self._disk.in_slot(slot)

    def slots(self, first: int, last: int, limit: int) -> list[int]:
        """Slots with transactions."""
        return self._disk.slots(first, last, limit)

    def time_of(self, slot: int) -> int | None:
        """When a slot was, in seconds since 1970; None where it is yet to come."""
        if slot > self.slot:
            return None
        entries = self._disk.in_slot(slot)
        return entries[0].time if entries else self.time.began_s(slot)

    def keys_of(self, tx: VersionedTransaction) -> list[Pubkey]:
        """All accounts of a transaction: its own, then those that it looks up (writable first)."""
        message = tx.message
        keys = list(message.account_keys)
        looked_up: tuple[list[Pubkey], list[Pubkey]] = ([], [])
        for lookup in getattr(message, "address_table_lookups", None) or ():
            table = self._svm.get_account(lookup.account_key)
            data = bytes(table.data) if table is not None else b""
            indexes = (lookup.writable_indexes, lookup.readonly_indexes)
            for into, places in zip(looked_up, indexes, strict=True):
                for place in places:
                    at = _TABLE_HEAD + 32 * place
                    if len(data) >= at + 32:
                        into.append(Pubkey(data[at : at + 32]))
        return [*keys, *looked_up[0], *looked_up[1]]

    def _set_time(self) -> tuple[int, int]:
        slot, time_s = self.slot, self.time.seconds
        epoch = slot // SLOTS_PER_EPOCH
        began_s = self.time.began_s(epoch * SLOTS_PER_EPOCH)
        self._svm.set_clock(ClockSysvar(slot, began_s, epoch, epoch + 1, time_s))
        if slot != self._set_slot:
            self._svm.set_slot_hashes(self.time.recent())
            self._set_slot = slot
        return slot, time_s

    def _note(
        self,
        entry: Entry,
        keys: Sequence[Pubkey],
        before: Sequence[Account | None],
        after: Sequence[Account | None],
    ) -> None:
        self._pending.entries.append(entry)
        for key, old, new in zip(keys, before, after, strict=True):
            if bytes(key) in self._programs or old == new:
                continue
            self._pending.accounts[bytes(key)] = _held(key, new)

    # -- the disk --

    @property
    def waits(self) -> bool:
        """Whether something is to be written."""
        return bool(self._pending.entries)

    def take(self) -> Callable[[], None]:
        """What ``write`` in a thread is to write; then call ``wrote`` or ``failed``."""
        batch = self._writing = self._pending
        self._pending = _Pending()
        accounts = [held for held in batch.accounts.values() if held is not None]
        gone = [address for address, held in batch.accounts.items() if held is None]
        return lambda: self._disk.write(batch.entries, accounts, gone, {})

    def wrote(self) -> Changed:
        """The batch is on disk."""
        batch, self._writing = self._writing, None
        assert batch is not None  # take() comes first
        self.written = max([self.written, *(entry.number for entry in batch.entries)])
        return Changed(
            tuple(batch.entries),
            tuple(held for held in batch.accounts.values() if held is not None),
            tuple(address for address, held in batch.accounts.items() if held is None),
        )

    def failed(self, because: str) -> None:
        """The batch is not on disk: what is in memory is ahead of it, for good."""
        self.broken = because


_TABLE_HEAD = 56
"""Bytes in front of a lookup table's addresses. Source: solana-address-lookup-table-interface."""


def _begin(
    disk: Disk, now_ms: int, random_bytes: Callable[[int], bytes], genesis: Sequence[Held]
) -> None:
    faucet = random_bytes(32)
    address = bytes(Keypair.from_seed(faucet).pubkey())
    words = {
        "genesis": random_bytes(32),
        "secret": random_bytes(32),
        "faucet": faucet,
        "began": now_ms.to_bytes(8, "big"),
    }
    disk.write([], [Held(address, _SYSTEM, _FAUCET_LAMPORTS, b"", False), *genesis], [], words)


def _word(disk: Disk, name: str) -> bytes:
    found = disk.word(name)
    assert found is not None  # written with the chain's first transaction
    return found


def account_of(held: Held) -> Account:
    """An account as LiteSVM takes it."""
    return Account(held.lamports, held.data, Pubkey(held.owner), held.executable, 2**64 - 1)


def _held(address: Pubkey, account: Account | None) -> Held | None:
    if account is None or not account.lamports:
        return None
    data, owner = bytes(account.data), bytes(account.owner)
    token = token_of(account.owner, data)
    return Held(
        bytes(address),
        owner,
        account.lamports,
        data,
        account.executable,
        token.owner if token is not None else None,
        token.mint if token is not None else None,
    )


def _message_hash(tx: VersionedTransaction) -> bytes:
    return hashlib.sha256(to_bytes_versioned(tx.message)).digest()


def _lamports(account: Account | None) -> int:
    return account.lamports if account is not None else 0


def _error(outcome: FailedTransactionMetadata) -> object:
    return msgspec.json.decode(outcome.to_json())["err"]
