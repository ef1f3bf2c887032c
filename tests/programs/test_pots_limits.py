"""What the pots refuse by a word of their own, where something else would refuse it as well."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.rent import Rent

from hausd.core.programs.addresses import SYSTEM, TOKEN
from tests.support.pots import BUILD, PROGRAMS, TIER, Pots, payouts_data
from tests.support.tokens import Coin

_WRONG_ACCOUNT, _BAD_DATA, _WRONG_STATE, _PAYEE_BELOW_RENT = 6100, 6102, 6103, 6107
_NOT_THE_EVENT, _NO_SUCH_PAYOUT, _INSOLVENT = 6101, 6105, 6108
_PAID_IN_SOL, _NOT_THEIR_TOKENS = 6122, 6124
_SOLD_OUT, _NO_SUCH_TIER, _WALLET_LIMIT = 6000, 6001, 6004
_TICKETS_AT, _PAID_AT, _COMP_AT, _RENT_PAYER_AT = 179, 106, 122, 74


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


# -- what all programs share --


def _settled(payee: Pubkey) -> Pots:
    pots = Pots.opened()
    pots.tip(pots.person(), 5_000)
    pots.vault_told("close_vault")
    pots.vault_told("settle", payouts_data([(payee, 5_000)]))
    return pots


def test_a_pot_pays_nothing_out_of_its_rent() -> None:
    payee = Keypair().pubkey()
    pots = _settled(payee)
    pots.svm.airdrop(payee, 10**9)
    vault = pots.places.vault.address
    found = pots.svm.get_account(vault)
    assert found is not None
    claim = BUILD.claim_tips(pots.event.address, payee, 0)
    for less in (1, found.lamports - 4_999):
        left = Account(found.lamports - less, found.data, found.owner)
        pots.svm.set_account(vault, left)
        assert pots.why_not(claim, by=pots.person()) == _INSOLVENT
    pots.svm.set_account(vault, found)
    pots.send(claim, by=pots.person())


def test_a_pot_pays_nothing_to_itself() -> None:
    pots = Pots.opened()
    vault = pots.places.vault.address
    pots.tip(pots.person(), 5_000)
    pots.vault_told("close_vault")
    pots.vault_told("settle", payouts_data([(vault, 5_000)]))
    claim = BUILD.claim_tips(pots.event.address, vault, 0)
    assert pots.why_not(claim, by=pots.person()) == _WRONG_ACCOUNT


def test_there_is_no_payout_behind_the_table() -> None:
    payee = Keypair().pubkey()
    pots = _settled(payee)
    for index, who in ((1, Pubkey.default()), (10, payee), (255, payee)):
        claim = BUILD.claim_tips(pots.event.address, who, index)
        assert pots.why_not(claim, by=pots.person()) == _NO_SUCH_PAYOUT


def test_an_account_is_not_closed_into_itself() -> None:
    pots = Pots.opened()
    a = pots.person()
    pots.tip(a, 5_000)
    pots.vault_told("close_vault")
    pots.vault_told("settle", payouts_data([(a.pubkey(), 5_000)]))
    record = pots.close_record(a.pubkey(), a.pubkey()).accounts[1].pubkey
    _written(pots, record, _RENT_PAYER_AT, bytes(record))
    assert pots.why_not(pots.close_record(a.pubkey(), record), by=a) == _WRONG_ACCOUNT


@pytest.mark.parametrize(
    ("owner", "data"), [(SYSTEM, b"\0"), (TOKEN, b""), (PROGRAMS.live_tipping, b"")]
)
def test_an_account_that_is_something_already_is_not_made_over(owner: Pubkey, data: bytes) -> None:
    pots = Pots.opened()
    a = pots.person()
    opened = BUILD.open_record(a.pubkey(), pots.event.address, a.pubkey())
    pots.svm.set_account(opened.accounts[2].pubkey, Account(10**9, data, owner))
    assert pots.why_not(opened, by=a) == "AccountAlreadyInitialized"


def test_who_pays_for_an_account_signs() -> None:
    pots = Pots.opened()
    a, stranger = pots.person(), pots.person()
    opened = BUILD.open_record(a.pubkey(), pots.event.address, a.pubkey())
    unsigned = _with(opened, 0, AccountMeta(a.pubkey(), False, True))
    assert pots.why_not(unsigned, by=stranger) == "MissingRequiredSignature"


def test_a_message_is_as_long_as_it_says() -> None:
    pots = Pots.opened()
    a = pots.person()
    pots.record_opened(a)
    tip = BUILD.tip(a.pubkey(), pots.event.address, 5_000, "encore")
    short = Instruction(tip.program_id, bytes(tip.data)[:-1], tip.accounts)
    assert pots.why_not(short, by=a) == _BAD_DATA


def test_an_event_that_is_another_programs_by_now_tells_nothing() -> None:
    pots = Pots.opened()
    sale, vault = pots.places.sale.address, pots.places.vault.address
    _moved(pots, PROGRAMS.event_factory, SYSTEM)
    for told in (
        pots.told(PROGRAMS.ticket_factory, sale, "close_sale"),
        pots.told(PROGRAMS.live_tipping, vault, "close_vault"),
    ):
        assert pots.why_not(pots.relayed(told), by=pots.artist) == _NOT_THE_EVENT


def _moved(pots: Pots, old: Pubkey, new: Pubkey) -> None:
    found = pots.svm.get_account(pots.event.address)
    assert found is not None
    assert found.owner == old
    pots.svm.set_account(pots.event.address, Account(found.lamports, found.data, new))


def test_an_event_signs_for_its_pots() -> None:
    """Whoever pays: else anybody's pots would stand where an event's are looked for."""
    pots = Pots.opened()
    for made in (pots.init_sale(), pots.init_vault()):
        inner, accounts = made.accounts[0].pubkey, list(made.accounts[1:])
        data = bytes(made.data)[1 + 1 + 8 + 1 + len(accounts) :]
        direct = Instruction(inner, data, accounts)
        assert pots.why_not(direct, by=pots.artist) == _NOT_THE_EVENT


def test_a_price_of_rent_that_no_chain_has_is_not_reckoned_with() -> None:
    pots = Pots.opened()
    a = pots.person()
    opened = BUILD.open_record(a.pubkey(), pots.event.address, a.pubkey())
    pots.svm.set_rent(Rent(2**32, 1.0, 50))
    assert pots.why_not(opened, by=a) == "UnsupportedSysvar"


def test_tokens_are_of_the_events_mint_and_whose_they_should_be() -> None:
    pots = Pots.opened(token_program=TOKEN)
    assert pots.coin is not None
    a, b = pots.fan(), pots.fan()
    pots.tip(a, 5_000)
    tip = BUILD.tip(a.pubkey(), pots.event.address, 5_000, "", pots.payment)
    at = next(
        i for i, each in enumerate(tip.accounts) if each.pubkey == pots.coin.place(a.pubkey())
    )
    other = Coin.made(pots, TOKEN).opened(a.pubkey())
    for fake in (pots.coin.place(b.pubkey()), other, pots.coin.mint, Keypair().pubkey()):
        changed = _with(tip, at, AccountMeta(fake, False, True))
        assert pots.why_not(changed, by=a) == _NOT_THEIR_TOKENS
