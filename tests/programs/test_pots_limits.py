"""What a sale refuses by its own word, where something else would refuse it later or otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.support.pots import BUILD, TIER, Pots, payouts_data

_WRONG_ACCOUNT, _BAD_DATA, _WRONG_STATE, _PAYEE_BELOW_RENT = 6100, 6102, 6103, 6107
_SOLD_OUT, _NO_SUCH_TIER, _WALLET_LIMIT = 6000, 6001, 6004
_TICKETS_AT, _PAID_AT, _COMP_AT = 179, 106, 122


def _written(pots: Pots, address: Pubkey, at: int, data: bytes) -> None:
    """An account as it is after more than a test can wait for."""
    found = pots.svm.get_account(address)
    assert found is not None
    whole = bytes(found.data)
    whole = whole[:at] + data + whole[at + len(data) :]
    pots.svm.set_account(address, Account(found.lamports, whole, found.owner))


def _with(made: Instruction, index: int, meta: AccountMeta) -> Instruction:
    accounts = list(made.accounts)
    accounts[index] = meta
    return Instruction(made.program_id, bytes(made.data), accounts)


def test_a_payee_of_a_sale_too_poor_to_be_kept_waits() -> None:
    pots = Pots.opened(replace(TIER, price=5_000))
    pots.buy(pots.person())
    poor = Keypair().pubkey()
    pots.sale_told("close_sale")
    pots.sale_told("settle", payouts_data([(poor, 5_000)]))
    claim = BUILD.claim_sale(pots.event.address, poor, 0)
    assert pots.why_not(claim, by=pots.person()) == _PAYEE_BELOW_RENT


def test_nobody_else_gives_the_artists_guests_more_tickets() -> None:
    pots = Pots.opened()
    guest, stranger = pots.person(), pots.person()
    pots.buy(guest)
    gift = BUILD.gift(pots.artist.pubkey(), pots.event.address, guest.pubkey(), 0, 1)
    unsigned = _with(gift, 0, AccountMeta(pots.artist.pubkey(), False, True))
    assert pots.why_not(unsigned, by=stranger) == "MissingRequiredSignature"


def test_who_is_paid_back_is_told_that_their_account_is_to_be_writable() -> None:
    pots = Pots.opened()
    giver, holder = pots.person(), pots.person()
    who = holder.pubkey()
    pots.send(pots.buying(giver, holder=holder), by=giver)
    refund = BUILD.refund_ticket(who, pots.event.address, giver.pubkey(), 0, 1)
    fixed = _with(refund, 0, AccountMeta(who, True, False))
    assert pots.why_not(fixed, by=[giver, holder]) == _WRONG_ACCOUNT


def test_tickets_are_not_passed_on_once_it_is_called_off() -> None:
    """What is paid back goes to who paid or had them by then."""
    pots = Pots.opened()
    a, b = pots.person(), pots.person()
    pots.buy(a)
    transfer = BUILD.transfer(a.pubkey(), pots.event.address, b.pubkey(), 0, 1)
    pots.sale_told("cancel_sale")
    assert pots.why_not(transfer, by=a) == _WRONG_STATE


def test_a_tier_that_there_is_not_is_not_passed_on() -> None:
    pots = Pots.opened()
    a, b = pots.person(), pots.person()
    pots.buy(a)
    for tier in (1, 8, 255):
        transfer = BUILD.transfer(a.pubkey(), pots.event.address, b.pubkey(), tier, 1)
        assert pots.why_not(transfer, by=a) == _NO_SUCH_TIER


def test_a_ticket_of_another_event_is_not_passed_on_as_one_of_this() -> None:
    pots = Pots.opened()
    other = Pots.opened(beside=pots)
    a, b = pots.person(), pots.person()
    other.buy(a)
    theirs = BUILD.transfer(a.pubkey(), other.event.address, b.pubkey(), 0, 1).accounts[2]
    transfer = BUILD.transfer(a.pubkey(), pots.event.address, b.pubkey(), 0, 1)
    assert pots.why_not(_with(transfer, 2, theirs), by=a) == _WRONG_ACCOUNT


@pytest.mark.parametrize("name", ["transfer", "refund"])
def test_no_tickets_are_neither_passed_on_nor_given_back(name: str) -> None:
    pots = Pots.opened()
    a, b = pots.person(), pots.person()
    who, event = a.pubkey(), pots.event.address
    pots.buy(a)
    none = {
        "transfer": BUILD.transfer(who, event, b.pubkey(), 0, 0),
        "refund": BUILD.refund_ticket(who, event, who, 0, 0),
    }
    assert pots.why_not(none[name], by=a) == _BAD_DATA


def test_what_is_asked_of_a_ticket_ends_where_it_should() -> None:
    pots = Pots.opened()
    a = pots.person()
    pots.buy(a)
    made = pots.verifying(a.pubkey(), 0)
    more = Instruction(made.program_id, bytes(made.data) + b"\0", made.accounts)
    assert pots.why_not(more, by=a) == _BAD_DATA


def test_counts_end_where_their_fields_do() -> None:
    pots = Pots.opened(replace(TIER, per_wallet=0))
    a = pots.person()
    pots.buy(a)
    ticket, sale = pots.buying(a).accounts[2].pubkey, pots.places.sale.address
    gift = BUILD.gift(pots.artist.pubkey(), pots.event.address, a.pubkey(), 0, 1)
    _written(pots, ticket, _PAID_AT, b"\xff\xff")
    assert pots.why_not(pots.buying(a), by=a) == _WALLET_LIMIT
    _written(pots, ticket, _COMP_AT, b"\xff\xff")
    assert pots.why_not(gift, by=pots.artist) == _WALLET_LIMIT
    _written(pots, ticket, _PAID_AT, bytes(2))
    _written(pots, sale, _TICKETS_AT, b"\xff" * 4)
    assert pots.why_not(pots.buying(a), by=a) == _SOLD_OUT
