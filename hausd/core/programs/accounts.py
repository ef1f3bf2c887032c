"""What the chain holds of events, as frozen types, read at one door: ``read_account``.

Source: the IDLs, ``docs/programs.md``. Amounts are in base units (lamports where the mint is SOL),
times seconds since 1970 UTC, 0 where they are not set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from solders.pubkey import Pubkey

from hausd.core.cid import CID, CIDError
from hausd.core.programs.borsh import BorshError
from hausd.core.programs.idl import idl

NOBODY = Pubkey.default()
"""The address of nobody: 32 zero bytes. As a mint it means SOL."""
VERSION = 1
MAX_TITLE_BYTES = 64
MAX_MESSAGE_BYTES = 140
MAX_TIERS = 8
MAX_PAYEES = 8
CID_BYTES = 36


class AccountError(ValueError):
    """An account is not what it was taken for; the message says why."""


class EventStatus(IntEnum):
    """How far an event is."""

    DRAFT = 0
    OPEN = 1
    LIVE = 2
    ENDED = 3
    FINALIZED = 4
    CANCELLED = 5


class PotState(IntEnum):
    """How far a sale of tickets or a vault of tips is."""

    CLOSED_YET = 0
    OPEN = 1
    CLOSED = 2
    SETTLED = 3
    REFUNDING = 4


@dataclass(frozen=True, slots=True)
class Programs:
    """The addresses of the three programs on one chain."""

    event_factory: Pubkey
    ticket_factory: Pubkey
    live_tipping: Pubkey

    def __iter__(self) -> Any:
        return iter((self.event_factory, self.ticket_factory, self.live_tipping))


@dataclass(frozen=True, slots=True)
class PlatformConfig:
    """EventFactory's configuration."""

    authority: Pubkey
    pending_authority: Pubkey
    """Who may become the authority; NOBODY where nobody was proposed."""
    treasury: Pubkey
    fee_bps: int
    ticket_program: Pubkey
    tipping_program: Pubkey


@dataclass(frozen=True, slots=True)
class Share:
    """What part of the pots a payee gets, in ten thousandths."""

    payee: Pubkey
    bps: int


@dataclass(frozen=True, slots=True)
class EventAccount:
    """An event. ``title`` is untrusted text; CIDs are None until they are told."""

    address: Pubkey
    status: EventStatus
    premium: bool
    artist: Pubkey
    nonce: bytes
    mint: Pubkey
    token_program: Pubkey
    rta_mint: Pubkey
    stream_authority: Pubkey
    authority_since: int
    """Slot since which the stream authority is this one."""
    ticket_program: Pubkey
    tipping_program: Pubkey
    treasury: Pubkey
    fee_bps: int
    created_at: int
    starts_at: int
    scheduled_end: int
    latest_end: int
    started_at: int
    ended_at: int
    finalized_at: int
    tip_extension: int
    split: tuple[Share, ...]
    winner: Pubkey | None
    rta_recipient: Pubkey | None
    rta_delivered: bool
    metadata: CID | None
    recording: CID | None
    title: str


@dataclass(frozen=True, slots=True)
class CheckpointAccount:
    """The newest manifest that the stream authority wrote down on chain."""

    address: Pubkey
    event: Pubkey
    authority: Pubkey
    manifest: CID | None
    session_counter: int
    session_random: int
    sequence: int
    slot: int
    count: int


@dataclass(frozen=True, slots=True)
class TicketTier:
    """One kind of ticket. ``sale_end`` and ``refundable_until`` are 0 where there is none."""

    name: str
    price: int
    supply: int
    sold: int
    per_wallet: int
    sale_start: int
    sale_end: int
    transferable: bool
    refundable_until: int


@dataclass(frozen=True, slots=True)
class Payout:
    """What a payee is owed of a settled pot."""

    payee: Pubkey
    amount: int
    claimed: bool


@dataclass(frozen=True, slots=True)
class SaleAccount:
    """The sale of an event's tickets."""

    address: Pubkey
    state: PotState
    event: Pubkey
    artist: Pubkey
    mint: Pubkey
    token_program: Pubkey
    proceeds: int
    tickets: int
    tiers: tuple[TicketTier, ...]
    payouts: tuple[Payout, ...]


@dataclass(frozen=True, slots=True)
class TicketAccount:
    """The tickets that one holder has for one event, counted by tier."""

    address: Pubkey
    event: Pubkey
    holder: Pubkey
    rent_payer: Pubkey
    paid: tuple[int, ...]
    gifts: tuple[int, ...]
    paid_amount: int
    acquired_slot: int

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(bought + given for bought, given in zip(self.paid, self.gifts, strict=True))

    @property
    def count(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class VaultAccount:
    """The vault of an event's tips; ``leader`` is who tipped most."""

    address: Pubkey
    state: PotState
    event: Pubkey
    artist: Pubkey
    mint: Pubkey
    token_program: Pubkey
    total: int
    tips: int
    leader: Pubkey | None
    leader_total: int
    leader_slot: int
    tips_close_at: int
    extended: bool
    payouts: tuple[Payout, ...]


@dataclass(frozen=True, slots=True)
class TipRecordAccount:
    """What one tipper gave to one vault."""

    address: Pubkey
    vault: Pubkey
    tipper: Pubkey
    rent_payer: Pubkey
    total: int
    count: int
    last_slot: int


_T = TypeVar("_T")
_Fields = Mapping[str, Any]


def read_account(
    kind: type[_T], address: Pubkey, program: Pubkey, untrusted_owner: Pubkey, untrusted: bytes
) -> _T:
    """The one door for accounts: owner, discriminator, length, version, then the fields.

    Raises AccountError.
    """
    of, name, make = _KINDS[kind]
    if untrusted_owner != program:
        raise AccountError(f"{address} belongs to another program ({untrusted_owner})")
    try:
        fields = idl(of).accounts[name].read(untrusted)
        if fields["version"] != VERSION:
            raise AccountError(f"{address} has version {fields['version']}, this hausd knows 1")
        made: _T = make(address, fields)
    except (BorshError, CIDError, ValueError) as fault:
        raise AccountError(f"{address} is no {name}: {fault}") from None
    return made


def account_size(kind: type) -> int:
    """Bytes of an account of this kind."""
    of, name, _ = _KINDS[kind]
    return idl(of).accounts[name].size


def account_mark(kind: type) -> bytes:
    """The discriminator that an account of this kind begins with."""
    of, name, _ = _KINDS[kind]
    return idl(of).accounts[name].discriminator


def program_of(kind: type, programs: Programs) -> Pubkey:
    """The program that accounts of this kind belong to."""
    found: Pubkey = getattr(programs, _KINDS[kind][0])
    return found


def padded_text(raw: bytes) -> str:
    """UTF-8 padded with zeros. What is none is replaced: a name keeps nobody from their money."""
    return raw.rstrip(b"\0").decode(errors="replace")


def _somebody(address: Pubkey) -> Pubkey | None:
    return None if address == NOBODY else address


def _cid(raw: bytes) -> CID | None:
    return CID.from_bytes(raw) if any(raw) else None


def _listed(each: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    if count > len(each):
        raise AccountError(f"{count} entries where {len(each)} have room")
    return each[:count]


def _picked(kind: type[_T], address: Pubkey, fields: _Fields, **changed: Any) -> _T:
    """Takes the fields that have the same name and meaning as they are."""
    names = kind.__dataclass_fields__  # type: ignore[attr-defined] # every kind is a dataclass
    same = {name: fields[name] for name in names if name in fields and name not in changed}
    return kind(**{"address": address} | same | changed)


def _config(address: Pubkey, fields: _Fields) -> PlatformConfig:
    names = PlatformConfig.__dataclass_fields__
    return PlatformConfig(**{name: fields[name] for name in names})


def _event(address: Pubkey, fields: _Fields) -> EventAccount:
    return _picked(
        EventAccount,
        address,
        fields,
        status=EventStatus(fields["status"]),
        split=tuple(Share(**each) for each in _listed(fields["split"], fields["split_len"])),
        winner=_somebody(fields["winner"]),
        rta_recipient=_somebody(fields["rta_recipient"]),
        metadata=_cid(fields["metadata"]),
        recording=_cid(fields["recording"]),
        title=padded_text(fields["title"]),
    )


def _checkpoint(address: Pubkey, fields: _Fields) -> CheckpointAccount:
    return _picked(CheckpointAccount, address, fields, manifest=_cid(fields["manifest"]))


def _payouts(fields: _Fields) -> tuple[Payout, ...]:
    return tuple(
        Payout(each["payee"], each["amount"], each["claimed"])
        for each in _listed(fields["payees"], fields["payee_len"])
    )


def _sale(address: Pubkey, fields: _Fields) -> SaleAccount:
    tiers = _listed(fields["tiers"], fields["tier_len"])
    return _picked(
        SaleAccount,
        address,
        fields,
        state=PotState(fields["state"]),
        tiers=tuple(TicketTier(**each | {"name": padded_text(each["name"])}) for each in tiers),
        payouts=_payouts(fields),
    )


def _ticket(address: Pubkey, fields: _Fields) -> TicketAccount:
    return _picked(TicketAccount, address, fields, gifts=fields["comp"])


def _vault(address: Pubkey, fields: _Fields) -> VaultAccount:
    return _picked(
        VaultAccount,
        address,
        fields,
        state=PotState(fields["state"]),
        leader=_somebody(fields["leader"]),
        payouts=_payouts(fields),
    )


def _tip_record(address: Pubkey, fields: _Fields) -> TipRecordAccount:
    return _picked(TipRecordAccount, address, fields)


_KINDS: dict[type, tuple[str, str, Callable[[Pubkey, _Fields], Any]]] = {
    PlatformConfig: ("event_factory", "Config", _config),
    EventAccount: ("event_factory", "Event", _event),
    CheckpointAccount: ("event_factory", "Checkpoint", _checkpoint),
    SaleAccount: ("ticket_factory", "Sale", _sale),
    TicketAccount: ("ticket_factory", "Ticket", _ticket),
    VaultAccount: ("live_tipping", "Vault", _vault),
    TipRecordAccount: ("live_tipping", "TipRecord", _tip_record),
}
