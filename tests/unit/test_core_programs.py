"""What a node reads of the chain is what the programs wrote, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path

import pytest
from anchorpy import Idl as AnchorIdl
from anchorpy.coder.accounts import AccountsCoder
from anchorpy.coder.instruction import InstructionCoder
from hypothesis import given
from hypothesis import strategies as st
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.programs.accounts import (
    AccountError,
    CheckpointAccount,
    EventAccount,
    EventStatus,
    PlatformConfig,
    SaleAccount,
    TicketAccount,
    TicketTier,
    TipRecordAccount,
    VaultAccount,
    account_size,
    read_account,
)
from hausd.core.programs.addresses import SYSTEM, EventPlaces, event_place, ticket_place
from hausd.core.programs.borsh import BorshError, Reader
from hausd.core.programs.faults import explain
from hausd.core.programs.idl import PROGRAMS as NAMES
from hausd.core.programs.idl import idl
from hausd.core.programs.instructions import Builder, NewEvent
from hausd.core.programs.logs import events_of
from hausd.core.programs.messages import Budget, message_of, shown, transfer
from tests.support.chain_data import (
    ARTIST,
    EVENT,
    MANIFEST,
    PROGRAMS,
    TIPPER,
    raw_account,
    raw_event,
)

_IDLS = Path(__file__).parents[2] / "programs" / "idl"
_NONCE = bytes(range(16))
_NEW = NewEvent("Sundown", 100, 200, 60, TIPPER, MANIFEST)


def _read(
    raw: bytes, kind: type = EventAccount, program: Pubkey = PROGRAMS.event_factory
) -> object:
    return read_account(kind, EVENT, program, program, raw)


def test_an_event_is_read_as_it_was_written() -> None:
    event = _read(raw_event(split_len=1, split=({"payee": TIPPER, "bps": 250},) * 8))
    assert isinstance(event, EventAccount)
    assert (event.title, event.status, event.artist) == ("Grüße", EventStatus.OPEN, ARTIST)
    assert (event.metadata, event.recording, event.winner) == (MANIFEST, None, None)
    assert [(share.payee, share.bps) for share in event.split] == [(TIPPER, 250)]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (raw_event()[:-1], "too few"),
        (raw_event() + b"\0", "too many"),
        (b"\0" * 8 + raw_event()[8:], "no Event"),
        (raw_event(version=2), "version 2"),
        (raw_event(status=9), "9"),
        (raw_event(split_len=9), "9 entries"),
        (raw_event(metadata=b"\1" * 36), "CID"),
    ],
)
def test_an_account_that_is_not_what_it_should_be_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(AccountError, match=said):
        _read(raw)


def test_names_that_are_no_text_keep_nothing_from_being_read() -> None:
    event = _read(raw_event(title=b"A\xff".ljust(64, b"\0")))
    assert isinstance(event, EventAccount)
    assert event.title == "A\ufffd"
    whole = idl("ticket_factory").accounts["Sale"]
    tier = whole.fields.read(Reader(bytes(whole.size - 8)))["tiers"][0]
    tiers = (tier | {"name": b"\xfe".ljust(len(tier["name"]), b"\0")},) * 8
    raw = raw_account("ticket_factory", "Sale", tier_len=1, tiers=tiers)
    sale = _read(raw, SaleAccount, PROGRAMS.ticket_factory)
    assert isinstance(sale, SaleAccount)
    assert [each.name for each in sale.tiers] == ["\ufffd"]


def test_an_account_of_another_program_is_refused() -> None:
    with pytest.raises(AccountError, match="another program"):
        read_account(EventAccount, EVENT, PROGRAMS.event_factory, SYSTEM, raw_event())


_KINDS = {
    PlatformConfig: ("event_factory", "Config"),
    EventAccount: ("event_factory", "Event"),
    CheckpointAccount: ("event_factory", "Checkpoint"),
    SaleAccount: ("ticket_factory", "Sale"),
    TicketAccount: ("ticket_factory", "Ticket"),
    VaultAccount: ("live_tipping", "Vault"),
    TipRecordAccount: ("live_tipping", "TipRecord"),
}


@pytest.mark.parametrize("kind", _KINDS)
def test_every_account_is_read_from_its_size_alone(kind: type) -> None:
    raw = raw_account(*_KINDS[kind])
    assert len(raw) == account_size(kind)
    _read(raw, kind)


@given(st.sampled_from(sorted(_KINDS, key=str)), st.data())
def test_no_bytes_make_the_door_fail_in_another_way(kind: type, data: st.DataObject) -> None:
    raw = bytearray(raw_account(*_KINDS[kind]))
    raw[9:] = data.draw(st.binary(min_size=len(raw) - 9, max_size=len(raw) - 9))
    with contextlib.suppress(AccountError):
        _read(bytes(raw), kind)


@pytest.mark.parametrize("name", NAMES)
def test_anchorpy_reads_the_same_accounts(name: str) -> None:
    theirs = AccountsCoder(AnchorIdl.from_json((_IDLS / f"{name}.json").read_text()))
    for form in idl(name).accounts.values():
        raw = raw_account(name, form.name)
        assert theirs.parse(raw).data.version == 1


def test_anchorpy_writes_the_same_instruction() -> None:
    theirs = InstructionCoder(AnchorIdl.from_json((_IDLS / "event_factory.json").read_text()))
    ours = Builder(PROGRAMS).checkpoint(TIPPER, EVENT, MANIFEST, SessionId(3, 2**63), 7)
    arguments = {
        "manifest": list(bytes(MANIFEST)),
        "session_counter": 3,
        "session_random": 2**63,
        "sequence": 7,
    }
    assert bytes(ours.data) == theirs.encode("checkpoint", arguments)


def test_creating_an_event_fits_into_a_transaction_and_names_its_own_places() -> None:
    made = Builder(PROGRAMS).create_event(ARTIST, _NONCE, _NEW)
    event = event_place(PROGRAMS, ARTIST, _NONCE).address
    places = EventPlaces.of(PROGRAMS, event)
    keys = [meta.pubkey for meta in made.accounts]
    assert event in keys
    assert {places.sale.address, places.vault.address, places.escrow.address} <= set(keys)
    assert [meta.pubkey for meta in made.accounts if meta.is_signer] == [ARTIST]
    message_of(ARTIST, [made], Hash.default(), Budget(200_000, 1000))


def test_what_is_signed_is_shown_from_its_bytes() -> None:
    builder = Builder(PROGRAMS)
    tip = builder.tip(TIPPER, EVENT, 1_000_000, "encore")
    pay = transfer(TIPPER, ARTIST, 5)
    message = message_of(TIPPER, [tip, pay], Hash.default(), Budget(4000, 7))
    read = list(shown(Message.from_bytes(bytes(message)), PROGRAMS))
    assert [(each.program, each.name) for each in read] == [
        ("compute_budget", "limit"),
        ("compute_budget", "price"),
        ("live_tipping", "tip"),
        ("system", "transfer"),
    ]
    assert read[2].arguments == {"amount": 1_000_000, "message": "encore"}
    assert read[2].accounts["tipper"] == str(TIPPER)
    assert read[3].arguments == {"lamports": 5}


def test_a_message_that_is_too_large_is_refused_with_its_size() -> None:
    transfers = [transfer(ARTIST, Keypair().pubkey(), 1) for _ in range(40)]
    with pytest.raises(ValueError, match="1232 are possible"):
        message_of(ARTIST, transfers, Hash.default(), Budget(1, 0))


def test_an_argument_that_does_not_fit_is_refused_by_its_name() -> None:
    with pytest.raises(BorshError, match="amount"):
        Builder(PROGRAMS).tip(TIPPER, EVENT, 2**64, "")


def _tipped(message: str = "encore") -> str:
    form = idl("live_tipping").events["Tipped"]
    fields = {
        "vault": EVENT,
        "tipper": TIPPER,
        "amount": 5,
        "total": 6,
        "leader": True,
        "message": message,
    }
    return (
        "Program data: " + base64.b64encode(form.discriminator + form.fields.write(fields)).decode()
    )


def test_only_what_our_program_wrote_itself_is_an_event() -> None:
    ours, other = str(PROGRAMS.live_tipping), str(SYSTEM)
    logs = [
        f"Program {other} invoke [1]",
        _tipped("a forgery"),
        f"Program {ours} invoke [2]",
        _tipped("the tip"),
        f"Program {ours} success",
        _tipped("another forgery"),
        f"Program {other} success",
        _tipped("at no time"),
    ]
    found = list(events_of(PROGRAMS, logs))
    assert [event.fields["message"] for event in found] == ["the tip"]


@given(
    st.lists(
        st.text() | st.just(_tipped()) | st.just(f"Program {PROGRAMS.live_tipping} invoke [1]")
    )
)
def test_no_log_makes_reading_it_fail(logs: list[str]) -> None:
    list(events_of(PROGRAMS, logs))


def test_the_innermost_program_is_the_one_that_explains_a_failure() -> None:
    outer, inner = str(PROGRAMS.event_factory), str(PROGRAMS.ticket_factory)
    logs = [
        f"Program {inner} failed: custom program error: 0x1770",
        f"Program {outer} failed: custom program error: 0x1770",
    ]
    fault = explain(PROGRAMS, {"InstructionError": [1, {"Custom": 6000}]}, logs)
    known = idl("ticket_factory").errors[6000]
    assert (fault.code, fault.sentence, fault.number) == (known.name, known.sentence, 6000)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("BlockhashNotFound", "BlockhashNotFound"),
        ({"InsufficientFundsForRent": {"account_index": 2}}, "InsufficientFundsForRent"),
        ({"InstructionError": [0, "MissingRequiredSignature"]}, "MissingRequiredSignature"),
        ({"InstructionError": [0, {"BorshIoError": "x"}]}, "InstructionError"),
        ("<script>", "unknown"),
        (7, "unknown"),
        (None, "unknown"),
    ],
)
def test_every_failure_gets_a_sentence(error: object, code: str) -> None:
    fault = explain(PROGRAMS, error, [])
    assert fault.code == code
    assert fault.sentence


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda e: st.lists(e) | st.dictionaries(st.text(), e)
    )
)
def test_no_error_of_a_chain_makes_explaining_it_fail(error: object) -> None:
    assert explain(PROGRAMS, error, []).sentence


def test_tickets_are_counted_by_tier_and_tiers_are_named() -> None:
    raw = raw_account("ticket_factory", "Ticket", paid=(2,) + (0,) * 7, comp=(1, 1) + (0,) * 6)
    ticket = _read(raw, TicketAccount)
    assert isinstance(ticket, TicketAccount)
    assert (ticket.counts[:2], ticket.count) == ((3, 1), 4)
    tier = TicketTier("Early bird", 5, 100, 0, 4, 0, 0, True, 0)
    made = Builder(PROGRAMS).add_tier(ARTIST, EVENT, tier)
    form, arguments = idl("event_factory").read_instruction(bytes(made.data))
    assert form.name == "add_tier"
    assert arguments["tier"]["name"] == b"Early bird".ljust(24, b"\0")


def test_every_instruction_of_the_idls_is_described_whole() -> None:
    for name in NAMES:
        described = json.loads((_IDLS / f"{name}.json").read_text())
        assert len(idl(name).instructions) == len(described["instructions"])
    assert ticket_place(PROGRAMS, EVENT, TIPPER).address.is_on_curve() is False
    assert CID.from_bytes(bytes(MANIFEST)) == MANIFEST
