"""The two programs that keep money, with an event that a hostile program owns.

TicketFactory and LiveTipping take any program's events: whose an event is, is written down when
its pot is made. The puppet program signs as its event whatever a test wants.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from solders.clock import Clock
from solders.instruction import AccountMeta, Instruction
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

from hausd.core.programs.accounts import (
    Programs,
    SaleAccount,
    TicketAccount,
    TicketTier,
    TipRecordAccount,
    VaultAccount,
    program_of,
    read_account,
)
from hausd.core.programs.addresses import (
    SYSTEM,
    EventPlaces,
    Pda,
    pot_tokens_place,
    ticket_place,
    tip_place,
)
from hausd.core.programs.idl import idl
from hausd.core.programs.instructions import Builder
from hausd.core.programs.payments import SOL, Payment
from tests.support.programs import ARTIFACTS, SBPF
from tests.support.tokens import Coin

PUPPET = Path(__file__).parent / "artifacts"
NOW = 1_800_000_000
FEE = 5_000
LOTS = 10**12
"""Base units of a token that somebody has to spend."""
PROGRAMS = Programs(*(Pubkey(bytes([9, n]) + bytes(30)) for n in (1, 2, 3)))
_ARTIFACTS = dict(
    zip(("puppet", "ticket_factory", "live_tipping"), PROGRAMS, strict=True),
)
_T = TypeVar("_T")


class Refused(Exception):
    """A transaction failed. ``why`` is a program's error number, or the runtime's word."""

    def __init__(self, why: int | str, logs: Sequence[str]) -> None:
        super().__init__(f"{why}: {' | '.join(logs)}")
        self.why = why


def marked(name: str, data: bytes = b"") -> bytes:
    """An instruction's data as Anchor makes it."""
    return hashlib.sha256(b"global:" + name.encode()).digest()[:8] + data


def tier_data(tier: TicketTier) -> bytes:
    """A tier as ``add_tier`` takes it."""
    return struct.pack(
        "<QIHqq?q24s",
        tier.price,
        tier.supply,
        tier.per_wallet,
        tier.sale_start,
        tier.sale_end,
        tier.transferable,
        tier.refundable_until,
        tier.name.encode(),
    )


def payouts_data(payouts: Sequence[tuple[Pubkey, int]]) -> bytes:
    """A payout table as ``settle`` takes it."""
    parts = [bytes(who) + amount.to_bytes(8, "little") for who, amount in payouts]
    return len(parts).to_bytes(4, "little") + b"".join(parts)


@dataclass
class Pots:
    """A chain with one event of the puppet's, its sale and its vault."""

    svm: LiteSVM
    artist: Keypair
    seed: bytes
    event: Pda
    places: EventPlaces
    coin: Coin | None = None
    now: int = NOW
    slot: int = 100

    @classmethod
    def of(
        cls,
        *,
        seed: bytes = b"an event",
        extension: int = 0,
        close_in: int = 3_600,
        beside: Pots | None = None,
        token_program: Pubkey | None = None,
    ) -> Pots:
        """Both pots in their drafts; ``beside`` another event's, on its chain and paid likewise."""
        svm = _chain() if beside is None else beside.svm
        event = Pda.of(PROGRAMS.event_factory, seed)
        artist = Keypair()
        svm.airdrop(artist.pubkey(), 10**12)
        pots = cls(svm, artist, seed, event, EventPlaces.of(PROGRAMS, event.address))
        pots.at(NOW)
        if token_program is not None:
            pots.coin = Coin.made(pots, token_program)
        elif beside is not None:
            pots.coin = beside.coin
        if pots.coin is not None:
            pots.coin.opened(artist.pubkey())
        pots.send(pots.made_event(), by=artist)
        pots.send(pots.init_sale(), pots.init_vault(extension, close_in), by=artist)
        return pots

    @classmethod
    def opened(
        cls,
        *tiers: TicketTier,
        extension: int = 0,
        beside: Pots | None = None,
        token_program: Pubkey | None = None,
    ) -> Pots:
        seed = b"an event" if beside is None else b"another!"
        pots = cls.of(extension=extension, seed=seed, beside=beside, token_program=token_program)
        for tier in tiers or (TIER,):
            pots.sale_told("add_tier", tier_data(tier))
        pots.sale_told("open_sale")
        pots.vault_told("open_vault")
        return pots

    # -- the world --

    def at(self, time: int) -> None:
        """It is so late; some slots pass."""
        self.slot, self.now = self.slot + 10, time
        self.svm.set_clock(Clock(self.slot, 0, self.svm.get_clock().epoch, 0, time))

    def person(self, lamports: int = 100 * 10**9) -> Keypair:
        made = Keypair()
        self.svm.airdrop(made.pubkey(), lamports)
        return made

    def fan(self) -> Keypair:
        """Somebody who can pay."""
        made = self.person()
        if self.coin is not None:
            self.coin.give(made.pubkey(), LOTS)
        return made

    @property
    def payment(self) -> Payment:
        return SOL if self.coin is None else self.coin.payment

    def balance(self, address: Pubkey) -> int:
        return self.svm.get_balance(address) or 0

    def rent(self, size: int) -> int:
        return self.svm.minimum_balance_for_rent_exemption(size)

    def holds(self, pot: Pubkey) -> int:
        """What a pot has beyond its rent."""
        account = self.svm.get_account(pot)
        return 0 if account is None else account.lamports - self.rent(len(account.data))

    def read(self, kind: type[_T], address: Pubkey) -> _T:
        account = self.svm.get_account(address)
        assert account is not None, f"there is no account {address}"
        program = program_of(kind, PROGRAMS)
        return read_account(kind, address, program, account.owner, bytes(account.data))

    @property
    def sale(self) -> SaleAccount:
        return self.read(SaleAccount, self.places.sale.address)

    @property
    def vault(self) -> VaultAccount:
        return self.read(VaultAccount, self.places.vault.address)

    def ticket(self, holder: Keypair) -> TicketAccount:
        place = ticket_place(PROGRAMS, self.event.address, holder.pubkey())
        return self.read(TicketAccount, place.address)

    def record(self, tipper: Keypair) -> TipRecordAccount:
        place = tip_place(PROGRAMS, self.places.vault.address, tipper.pubkey())
        return self.read(TipRecordAccount, place.address)

    def send(
        self, *instructions: Instruction, by: Keypair | Sequence[Keypair]
    ) -> TransactionMetadata:
        """Runs one transaction; the first signer pays. Raises Refused."""
        signers = [by] if isinstance(by, Keypair) else list(by)
        self.svm.expire_blockhash()
        message = Message(instructions, signers[0].pubkey())
        made = Transaction(signers, message, self.svm.latest_blockhash())
        result = self.svm.send_transaction(made)
        if isinstance(result, FailedTransactionMetadata):
            raise Refused(_reason(result.err()), result.meta().logs())
        return result

    def why_not(self, *instructions: Instruction, by: Keypair | Sequence[Keypair]) -> int | str:
        """Why a transaction is refused; an AssertionError where it is not."""
        try:
            self.send(*instructions, by=by)
        except Refused as refused:
            return refused.why
        raise AssertionError("it was not refused")

    # -- as the event --

    @property
    def _head(self) -> bytes:
        return bytes([self.event.bump]) + self.seed

    def made_event(self) -> Instruction:
        accounts = [
            AccountMeta(self.artist.pubkey(), True, True),
            AccountMeta(self.event.address, False, True),
            AccountMeta(SYSTEM, False, False),
        ]
        return Instruction(PROGRAMS.event_factory, bytes([0]) + self._head, accounts)

    def relayed(self, called: Instruction, *signing: Pubkey) -> Instruction:
        """What calls ``called`` from the puppet: its event and ``signing`` sign."""
        signs = {self.event.address, *signing}
        flags = bytes((each.pubkey in signs) + 2 * each.is_writable for each in called.accounts)
        outer = [
            AccountMeta(each.pubkey, each.pubkey in signing, each.is_writable)
            for each in called.accounts
        ]
        program = AccountMeta(called.program_id, False, False)
        data = bytes([1]) + self._head + bytes([len(flags)]) + flags + bytes(called.data)
        return Instruction(PROGRAMS.event_factory, data, [program, *outer])

    def init_sale(self) -> Instruction:
        place = self.places.sale
        data = bytes([place.bump]) + bytes(self.artist.pubkey()) + self._paid
        return self._made(PROGRAMS.ticket_factory, place, marked("init_sale", data))

    def init_vault(self, extension: int = 0, close_in: int = 3_600) -> Instruction:
        place = self.places.vault
        times = struct.pack("<qqI", NOW + close_in, NOW + close_in + extension, extension)
        data = bytes([place.bump]) + bytes(self.artist.pubkey()) + self._paid + times
        return self._made(PROGRAMS.live_tipping, place, marked("init_vault", data))

    @property
    def _paid(self) -> bytes:
        return bytes(self.payment.mint) + bytes(self.payment.token_program)

    def _made(self, program: Pubkey, place: Pda, data: bytes) -> Instruction:
        payer = self.artist.pubkey()
        accounts = [
            AccountMeta(payer, True, True),
            AccountMeta(place.address, False, True),
            AccountMeta(self.event.address, True, False),
            AccountMeta(SYSTEM, False, False),
        ]
        if self.coin is not None:
            tokens = pot_tokens_place(place.address, self.coin.token_program)
            accounts += [
                AccountMeta(self.coin.mint, False, False),
                AccountMeta(self.coin.token_program, False, False),
                AccountMeta(tokens, False, True),
            ]
        return self.relayed(Instruction(program, data, accounts), payer)

    def told(self, program: Pubkey, pot: Pubkey, name: str, data: bytes = b"") -> Instruction:
        """A privileged instruction, unsigned as yet."""
        accounts = [AccountMeta(pot, False, True), AccountMeta(self.event.address, True, False)]
        return Instruction(program, marked(name, data), accounts)

    def sale_told(self, name: str, data: bytes = b"") -> None:
        told = self.told(PROGRAMS.ticket_factory, self.places.sale.address, name, data)
        self.send(self.relayed(told), by=self.artist)

    def vault_told(self, name: str, data: bytes = b"") -> None:
        told = self.told(PROGRAMS.live_tipping, self.places.vault.address, name, data)
        self.send(self.relayed(told), by=self.artist)

    # -- as people --

    def buy(
        self, buyer: Keypair, count: int = 1, tier: int = 0, holder: Keypair | None = None
    ) -> TransactionMetadata:
        return self.send(self.buying(buyer, count, tier, holder), by=buyer)

    def buying(
        self, buyer: Keypair, count: int = 1, tier: int = 0, holder: Keypair | None = None
    ) -> Instruction:
        whose = (holder or buyer).pubkey()
        most = 2**64 - 1
        return BUILD.buy(
            buyer.pubkey(),
            self.event.address,
            whose,
            tier=tier,
            count=count,
            max_price=most,
            payment=self.payment,
        )

    def tip(self, tipper: Keypair, amount: int, message: str = "") -> TransactionMetadata:
        """Tips, opening the tipper's record where there is none."""
        who, event = tipper.pubkey(), self.event.address
        tip = BUILD.tip(who, event, amount, message, self.payment)
        if self.svm.get_account(tip.accounts[2].pubkey) is None:
            self.send(BUILD.open_record(who, event, who), by=tipper)
        return self.send(tip, by=tipper)

    def record_opened(self, tipper: Keypair) -> None:
        who = tipper.pubkey()
        self.send(BUILD.open_record(who, self.event.address, who), by=tipper)

    def close_record(self, tipper: Pubkey, rent_payer: Pubkey) -> Instruction:
        vault = self.places.vault.address
        accounts = {
            "vault": vault,
            "record": tip_place(PROGRAMS, vault, tipper).address,
            "rent_payer": rent_payer,
        }
        return idl("live_tipping").build(PROGRAMS.live_tipping, "close_record", accounts, {})

    def close_ticket(self, holder: Pubkey, rent_payer: Pubkey, *, signed: bool) -> Instruction:
        accounts = {
            "holder": holder,
            "sale": self.places.sale.address,
            "ticket": ticket_place(PROGRAMS, self.event.address, holder).address,
            "rent_payer": rent_payer,
        }
        made = idl("ticket_factory").build(PROGRAMS.ticket_factory, "close_ticket", accounts, {})
        first = AccountMeta(holder, signed, False)
        return Instruction(made.program_id, bytes(made.data), [first, *made.accounts[1:]])

    def verifying(self, holder: Pubkey, mask: int) -> Instruction:
        place = ticket_place(PROGRAMS, self.event.address, holder)
        accounts = {"ticket": place.address, "holder": holder}
        form = idl("ticket_factory")
        return form.build(PROGRAMS.ticket_factory, "verify", accounts, {"mask": mask})

    def refund(self, holder: Keypair, count: int = 1, tier: int = 0) -> TransactionMetadata:
        payer = self.ticket(holder).rent_payer
        who, event = holder.pubkey(), self.event.address
        made = BUILD.refund_ticket(who, event, payer, tier, count, self.payment)
        return self.send(made, by=holder)


def _chain() -> LiteSVM:
    svm = LiteSVM().with_transaction_history(0)
    for name, address in _ARTIFACTS.items():
        folder = PUPPET if name == "puppet" else ARTIFACTS
        svm.add_program_from_file(address, folder / f"{name}_{SBPF}.so")
    return svm


BUILD = Builder(PROGRAMS)
TIER = TicketTier("Standing", 10_000_000, 100, 0, 10, 0, 0, True, NOW + 1_800)


def _reason(error: object) -> int | str:
    if isinstance(error, TransactionErrorInstructionError):
        inner = error.err
        return (
            inner.code if isinstance(inner, InstructionErrorCustom) else str(inner).split(".")[-1]
        )
    return str(error)
