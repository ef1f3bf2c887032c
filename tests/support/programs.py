"""The committed programs on LiteSVM, set up as an embedded chain is: no RPC, no node."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from solders.account import Account
from solders.clock import Clock
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata
from solders.transaction_status import (
    InstructionErrorCustom,
    TransactionErrorInstructionError,
)

from hausd.core.cid import CID
from hausd.core.programs.accounts import (
    NOBODY,
    CheckpointAccount,
    EventAccount,
    EventStatus,
    SaleAccount,
    TicketTier,
    VaultAccount,
    program_of,
    read_account,
)
from hausd.core.programs.addresses import EMBEDDED, EventPlaces, config_place, event_place
from hausd.core.programs.idl import idl
from hausd.core.programs.instructions import Builder, NewEvent
from hausd.core.programs.payments import SOL, Payment

SBPF = os.environ.get("HAUSD_SBPF", "v0")
"""The instruction set that is tried; v3 needs a newer runtime: ``scripts/programs test``."""
ARTIFACTS = Path(
    os.environ.get("HAUSD_ARTIFACTS", Path(__file__).parents[2] / "programs" / "artifacts")
)
"""Other builds of the programs are tried by that: ``scripts/programs mutate``."""
MANIFEST = CID.of(b"a manifest")
NOW = 1_800_000_000
UPGRADEABLE_LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
FEE = 5_000
"""Lamports of a transaction with one signature."""
BUILT = all(
    (ARTIFACTS / f"{name}_{SBPF}.so").is_file()
    for name in ("event_factory", "ticket_factory", "live_tipping")
)
_NAMES = ("event_factory", "ticket_factory", "live_tipping")
_T = TypeVar("_T")


class Refused(Exception):
    """A transaction failed. ``why`` is a program's error number, or the runtime's word."""

    def __init__(self, why: int | str, logs: Sequence[str]) -> None:
        super().__init__(f"{why}: {' | '.join(logs)}")
        self.why, self.logs = why, logs


class ProgramChain:
    """A chain with the three programs and EventFactory's Config, as ``initialize`` leaves it."""

    def __init__(self, fee_bps: int = 0) -> None:
        self._people = 0
        self.svm = LiteSVM().with_transaction_history(0)
        for name, address in zip(_NAMES, EMBEDDED, strict=True):
            self.svm.add_program_from_file(address, ARTIFACTS / f"{name}_{SBPF}.so")
        self.build = Builder(EMBEDDED)
        self.authority = self.person()
        self.treasury = self.person()
        self.slot, self.now = 100, NOW
        self.at(NOW)
        self._configure(fee_bps)

    def _configure(self, fee_bps: int) -> None:
        form, place = idl("event_factory").accounts["Config"], config_place(EMBEDDED)
        data = form.discriminator + form.fields.write(
            {
                "version": 1,
                "bump": place.bump,
                "authority": self.authority.pubkey(),
                "pending_authority": NOBODY,
                "treasury": self.treasury.pubkey(),
                "fee_bps": fee_bps,
                "ticket_program": EMBEDDED.ticket_factory,
                "tipping_program": EMBEDDED.live_tipping,
            }
        )
        self.put(place.address, EMBEDDED.event_factory, data)

    # -- the world --

    def at(self, time: int) -> None:
        """It is so late; some slots pass."""
        self.slot, self.now = self.slot + 10, time
        clock = self.svm.get_clock()
        self.svm.set_clock(Clock(self.slot, 0, clock.epoch, 0, time))

    def person(self, lamports: int = 100 * 10**9) -> Keypair:
        """Somebody new, the same in every run."""
        self._people += 1
        made = Keypair.from_seed(hashlib.sha256(b"person %d" % self._people).digest())
        if lamports:
            self.svm.airdrop(made.pubkey(), lamports)
        return made

    def put(self, address: Pubkey, owner: Pubkey, data: bytes, lamports: int = 0) -> None:
        """An account from nowhere, rent-exempt unless ``lamports`` says how much it has."""
        rent = self.svm.minimum_balance_for_rent_exemption(len(data))
        self.svm.set_account(address, Account(lamports or rent, data, owner))

    def balance(self, address: Pubkey) -> int:
        return self.svm.get_balance(address) or 0

    def data(self, address: Pubkey) -> bytes:
        account = self.svm.get_account(address)
        return b"" if account is None else bytes(account.data)

    def read(self, kind: type[_T], address: Pubkey) -> _T:
        account = self.svm.get_account(address)
        assert account is not None, f"there is no account {address}"
        program = program_of(kind, EMBEDDED)
        return read_account(kind, address, program, account.owner, bytes(account.data))

    def deploy(self, name: str, address: Pubkey, upgrader: Pubkey) -> Pubkey:
        """Puts a program there as the upgradeable loader does. Gives the address of its data."""
        place = Pubkey.find_program_address([bytes(address)], UPGRADEABLE_LOADER)[0]
        code = (ARTIFACTS / f"{name}_{SBPF}.so").read_bytes()
        head = (3).to_bytes(4, "little") + bytes(8) + b"\1" + bytes(upgrader)
        self.put(place, UPGRADEABLE_LOADER, head + code)
        data = (2).to_bytes(4, "little") + bytes(place)
        rent = self.svm.minimum_balance_for_rent_exemption(len(data))
        self.svm.set_account(address, Account(rent, data, UPGRADEABLE_LOADER, True))
        return place

    # -- transactions --

    def send(self, *instructions: Instruction, by: Keypair | Sequence[Keypair]) -> Done:
        """Runs one transaction; the first signer pays. Raises Refused."""
        signers = [by] if isinstance(by, Keypair) else list(by)
        self.svm.expire_blockhash()
        message = Message(instructions, signers[0].pubkey())
        transaction = Transaction(signers, message, self.svm.latest_blockhash())
        result = self.svm.send_transaction(transaction)
        if isinstance(result, FailedTransactionMetadata):
            raise Refused(_reason(result.err()), result.meta().logs())
        return Done(result, len(bytes(transaction)))

    def why_not(self, *instructions: Instruction, by: Keypair | Sequence[Keypair]) -> int | str:
        """Why a transaction is refused; an AssertionError where it is not."""
        try:
            self.send(*instructions, by=by)
        except Refused as refused:
            return refused.why
        raise AssertionError("it was not refused")


@dataclass(frozen=True)
class Done:
    meta: TransactionMetadata
    size: int

    @property
    def units(self) -> int:
        return self.meta.compute_units_consumed()


def _reason(error: object) -> int | str:
    if isinstance(error, TransactionErrorInstructionError):
        inner = error.err
        return (
            inner.code if isinstance(inner, InstructionErrorCustom) else str(inner).split(".")[-1]
        )
    return str(error)


TIER = TicketTier("Standing", 10_000_000, 100, 0, 10, 0, 0, True, NOW + 3_600)


@dataclass
class Show:
    """One event on a chain, from its draft on."""

    chain: ProgramChain
    artist: Keypair
    stream: Keypair
    address: Pubkey
    places: EventPlaces
    payment: Payment = SOL
    done: dict[str, Done] = field(default_factory=dict)
    """What each step cost."""

    @classmethod
    def draft(
        cls,
        chain: ProgramChain,
        *,
        tip_extension: int = 0,
        title: str = "A night at the house",
        nonce: bytes = bytes(range(16)),
        payment: Payment = SOL,
    ) -> Show:
        artist, stream = chain.person(), chain.person(10**9)
        address = event_place(EMBEDDED, artist.pubkey(), nonce).address
        starts, ends, who = chain.now + 60, chain.now + 7_200, stream.pubkey()
        new = NewEvent(title, starts, ends, tip_extension, who, MANIFEST, payment)
        show = cls(chain, artist, stream, address, EventPlaces.of(EMBEDDED, address), payment)
        show.artists("create_event", chain.build.create_event(artist.pubkey(), nonce, new))
        return show

    @classmethod
    def opened(
        cls,
        chain: ProgramChain,
        *tiers: TicketTier,
        tip_extension: int = 0,
        payment: Payment = SOL,
    ) -> Show:
        show = cls.draft(chain, tip_extension=tip_extension, payment=payment)
        for tier in tiers or (TIER,):
            show.artists("add_tier", chain.build.add_tier(show.artist.pubkey(), show.address, tier))
        show.artists("open", chain.build.open_event(show.artist.pubkey(), show.address))
        return show

    def artists(self, name: str, instruction: Instruction) -> None:
        self.done[name] = self.chain.send(instruction, by=self.artist)

    @property
    def event(self) -> EventAccount:
        return self.chain.read(EventAccount, self.address)

    @property
    def sale(self) -> SaleAccount:
        return self.chain.read(SaleAccount, self.places.sale.address)

    @property
    def vault(self) -> VaultAccount:
        return self.chain.read(VaultAccount, self.places.vault.address)

    @property
    def checkpoint(self) -> CheckpointAccount:
        return self.chain.read(CheckpointAccount, self.places.checkpoint.address)

    def tip(self, tipper: Keypair, amount: int, message: str = "") -> Done:
        """Tips, opening the tipper's record where it is not there."""
        build, who = self.chain.build, tipper.pubkey()
        tip = build.tip(who, self.address, amount, message, self.payment)
        if not self.chain.data(tip.accounts[2].pubkey):
            self.chain.send(build.open_record(who, self.address, who), by=tipper)
        return self.chain.send(tip, by=tipper)

    def buy(self, buyer: Keypair, count: int = 1, tier: int = 0, price: int = TIER.price) -> Done:
        who = buyer.pubkey()
        buy = self.chain.build.buy(
            who,
            self.address,
            who,
            tier=tier,
            count=count,
            max_price=price,
            payment=self.payment,
        )
        return self.chain.send(buy, by=buyer)

    def end(self) -> None:
        """The show took place, and is over."""
        if self.event.status is EventStatus.OPEN:
            go = self.chain.build.go_live(self.artist.pubkey(), self.address)
            self.artists("go_live", go)
        self.artists("end_event", self.chain.build.end_event(self.artist.pubkey(), self.address))

    def finalize(self) -> None:
        self.artists("finalize", self.chain.build.finalize(self.artist.pubkey(), self.address))
