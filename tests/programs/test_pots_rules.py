"""What a sale and a vault allow, and until when."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.core.programs.addresses import SYSTEM, TOKEN
from hausd.core.programs.logs import events_of
from tests.support.pots import (
    BUILD,
    NOW,
    PROGRAMS,
    TIER,
    Pots,
    Refused,
    payouts_data,
    tier_data,
)


def _why(pots: Pots, act: object, *args: object) -> int | str:
    try:
        act(*args)  # type: ignore[operator]
    except Refused as refused:
        return refused.why
    raise AssertionError("it was not refused")


# -- tips --


def test_the_first_to_reach_the_most_leads_and_an_equal_does_not() -> None:
    pots = Pots.opened()
    a, b = pots.person(), pots.person()
    pots.tip(a, 5_000)
    pots.tip(b, 5_000)
    assert pots.vault.leader == a.pubkey()
    pots.tip(b, 1_000)
    assert (pots.vault.leader, pots.vault.leader_total) == (b.pubkey(), 6_000)
    assert pots.vault.leader_slot == pots.slot


def test_a_tip_is_at_least_a_thousand_and_its_message_is_short_text() -> None:
    pots = Pots.opened()
    a = pots.person()
    assert _why(pots, pots.tip, a, 999) == 6000
    pots.tip(a, 1_000, "é" * 70)
    assert _why(pots, pots.tip, a, 1_000, "x" * 141) == 6102
    made = BUILD.tip(a.pubkey(), pots.event.address, 1_000, "ab")
    broken = type(made)(made.program_id, bytes(made.data)[:-2] + b"\xff\xfe", made.accounts)
    assert pots.why_not(broken, by=a) == 6102
    assert pots.record(a).count == 1


def test_a_tip_of_more_than_there_is_moves_nothing() -> None:
    pots = Pots.opened()
    a = pots.person()
    pots.record_opened(a)
    for amount in (2**64 - 1, 2**63, 10**18):
        assert _why(pots, pots.tip, a, amount) == 1
    assert pots.vault.total == 0


def test_what_a_tip_says_is_in_the_log() -> None:
    pots = Pots.opened()
    a = pots.person()
    done = pots.tip(a, 5_000, "encore!")
    [event] = events_of(PROGRAMS, done.logs())
    told = event.fields
    assert (told["tipper"], told["amount"], told["total"]) == (a.pubkey(), 5_000, 5_000)
    assert (told["leader"], told["message"]) == (True, "encore!")


def test_who_takes_the_lead_late_gives_the_others_time() -> None:
    pots = Pots.opened(extension=300)
    close = NOW + 3_600
    a, b = pots.person(), pots.person()
    pots.tip(a, 5_000)
    assert not pots.vault.extended
    pots.at(close - 10)
    pots.tip(a, 5_000)  # the leader goes on leading: nothing to answer
    assert pots.vault.tips_close_at == close
    pots.tip(b, 20_000)
    assert (pots.vault.tips_close_at, pots.vault.extended) == (close + 290, True)
    assert _why(pots, pots.vault_told, "close_vault") == 6003
    pots.at(close + 280)
    pots.tip(a, 50_000)
    assert pots.vault.tips_close_at == close + 300, "never past the latest"
    pots.at(close + 299)
    assert _why(pots, pots.vault_told, "close_vault") == 6003
    pots.at(close + 300)
    assert _why(pots, pots.tip, b, 90_000) == 6001
    pots.vault_told("close_vault")
    assert pots.vault.leader == a.pubkey()


def test_a_close_that_was_put_off_is_not_brought_forward() -> None:
    pots = Pots.opened(extension=300)
    pots.at(NOW + 3_590)
    pots.tip(pots.person(), 5_000)
    assert pots.vault.extended
    sooner = struct.pack("<qq", NOW + 3_595, NOW + 9_000)
    assert _why(pots, pots.vault_told, "set_close", sooner) == 6002
    backwards = struct.pack("<qq", NOW + 9_000, NOW + 8_000)
    assert _why(pots, pots.vault_told, "set_close", backwards) == 6002


def test_a_close_is_told_as_long_before_as_an_answer_takes() -> None:
    """Though nobody has put it off; and what has closed stays closed."""
    pots = Pots.opened(extension=300)
    assert _why(pots, pots.vault_told, "close_vault") == 6003
    nearer = struct.pack("<qq", NOW + 299, NOW + 9_000)
    assert _why(pots, pots.vault_told, "set_close", nearer) == 6002
    pots.vault_told("set_close", struct.pack("<qq", NOW + 300, NOW + 9_000))
    pots.at(NOW + 10)
    nearer = struct.pack("<qq", NOW + 299, NOW + 9_000)
    assert _why(pots, pots.vault_told, "set_close", nearer) == 6002
    pots.at(NOW + 300)
    again = struct.pack("<qq", NOW + 8_000, NOW + 9_000)
    assert _why(pots, pots.vault_told, "set_close", again) == 6002
    pots.vault_told("close_vault")


def test_a_close_that_was_put_off_and_moved_on_is_not_brought_back() -> None:
    pots = Pots.opened(extension=300)
    pots.at(NOW + 3_590)
    pots.tip(pots.person(), 5_000)
    pots.vault_told("set_close", struct.pack("<qq", NOW + 8_000, NOW + 9_000))
    back = struct.pack("<qq", NOW + 7_000, NOW + 9_000)
    assert _why(pots, pots.vault_told, "set_close", back) == 6002


def test_without_an_extension_a_show_may_run_over() -> None:
    pots = Pots.opened()
    pots.at(NOW + 3_700)
    pots.vault_told("set_close", struct.pack("<qq", NOW + 3_800, NOW + 3_800))
    pots.tip(pots.person(), 5_000)


@pytest.mark.parametrize("told", [[], ["close_vault"], ["close_vault", "settle"]])
def test_tips_are_given_back_where_it_is_called_off_alone(told: list[str]) -> None:
    pots = Pots.opened()
    a = pots.person()
    pots.tip(a, 5_000)
    for name in told:
        data = payouts_data([(a.pubkey(), 5_000)]) if name == "settle" else b""
        pots.vault_told(name, data)
    refund = BUILD.refund_tips(a.pubkey(), pots.event.address, a.pubkey())
    assert pots.why_not(refund, by=a) == 6103


def test_a_draft_has_no_tips_and_closes_when_it_will() -> None:
    pots = Pots.of(extension=300)
    pots.vault_told("set_close", struct.pack("<qq", NOW + 1, NOW + 9_000))
    assert pots.vault.tips_close_at == NOW + 1


@pytest.mark.parametrize("name", ["close_vault", "cancel_vault"])
def test_no_tip_once_it_is_over(name: str) -> None:
    pots = Pots.opened()
    a = pots.person()
    pots.record_opened(a)
    pots.vault_told(name)
    assert _why(pots, pots.tip, a, 5_000) == 6001
    assert _why(pots, pots.record_opened, pots.person()) == 6001


def test_a_record_with_money_in_it_is_not_closed_where_it_can_be_refunded() -> None:
    pots = Pots.opened()
    a = pots.person()
    pots.tip(a, 5_000)
    closing = pots.close_record(a.pubkey(), a.pubkey())
    assert pots.why_not(closing, by=a) == 6103
    pots.vault_told("cancel_vault")
    assert pots.why_not(closing, by=a) == 6004


# -- payouts --


def _settled(*payouts: tuple[Pubkey, int]) -> Pots:
    pots = Pots.opened()
    pots.tip(pots.person(), 5_000)
    pots.vault_told("close_vault")
    pots.vault_told("settle", payouts_data(payouts))
    return pots


def test_payouts_make_up_the_pot_to_the_unit() -> None:
    who = Keypair().pubkey()
    wrong = [[(who, 4_999)], [(who, 5_001)], [], [(who, 2**64 - 1), (who, 5_001)]]
    for payouts in wrong:
        with pytest.raises(Refused, match="6104"):
            _settled(*payouts)
    with pytest.raises(Refused, match="6104"):
        _settled(*[(who, 500)] * 10, (who, 0))
    assert len(_settled(*[(who, 500)] * 10).vault.payouts) == 10


def test_nothing_is_paid_before_it_is_settled() -> None:
    pots = Pots.opened()
    a, payee = pots.person(), pots.person().pubkey()
    pots.buy(a)
    pots.tip(a, 5_000)
    event = pots.event.address
    for claim in (BUILD.claim_sale(event, payee, 0), BUILD.claim_tips(event, payee, 0)):
        assert pots.why_not(claim, by=a) == 6103


def test_a_payout_is_made_once_to_its_payee_and_asked_for_by_anyone() -> None:
    a, b = Keypair().pubkey(), Keypair().pubkey()
    pots = _settled((a, 2_000), (b, 3_000))
    stranger = pots.person()
    for each in (a, b):
        pots.svm.airdrop(each, 10**9)
    event = pots.event.address
    assert pots.why_not(BUILD.claim_tips(event, b, 0), by=stranger) == 6105
    assert pots.why_not(BUILD.claim_tips(event, a, 2), by=stranger) == 6105
    pots.send(BUILD.claim_tips(event, a, 0), by=stranger)
    assert pots.balance(a) == 10**9 + 2_000
    assert pots.why_not(BUILD.claim_tips(event, a, 0), by=stranger) == 6106


def test_a_payee_too_poor_to_be_kept_waits_and_loses_nothing() -> None:
    poor = Keypair().pubkey()
    pots = _settled((poor, 5_000))
    claim = BUILD.claim_tips(pots.event.address, poor, 0)
    stranger = pots.person()
    assert pots.why_not(claim, by=stranger) == 6107
    pots.svm.set_account(poor, Account(pots.rent(0) - 5_000, b"", SYSTEM))
    pots.send(claim, by=stranger)
    assert pots.balance(poor) == pots.rent(0)
    assert pots.holds(pots.places.vault.address) == 0


# -- tickets --


def test_no_more_tickets_than_there_are() -> None:
    pots = Pots.opened(replace(TIER, supply=3))
    a, b = pots.person(), pots.person()
    pots.buy(a, 2)
    assert _why(pots, pots.buy, b, 2) == 6000
    gift = BUILD.gift(pots.artist.pubkey(), pots.event.address, b.pubkey(), 0, 2)
    assert pots.why_not(gift, by=pots.artist) == 6000
    pots.buy(b, 1)
    assert _why(pots, pots.buy, a, 1) == 6000
    pots.refund(b)
    pots.buy(a, 1)
    assert (pots.sale.tickets, pots.sale.tiers[0].sold) == (3, 3)


@pytest.mark.parametrize("told", ["", "close_sale", "cancel_sale"])
def test_tickets_come_of_an_open_sale_alone(told: str) -> None:
    pots = Pots.opened() if told else Pots.of()
    if told:
        pots.sale_told(told)
    else:
        pots.sale_told("add_tier", tier_data(TIER))
    a = pots.person()
    assert _why(pots, pots.buy, a) == 6002
    gift = BUILD.gift(pots.artist.pubkey(), pots.event.address, a.pubkey(), 0, 1)
    assert pots.why_not(gift, by=pots.artist) == 6103


@pytest.mark.parametrize("token_program", [None, TOKEN])
def test_who_buys_signs_though_it_costs_nothing(token_program: Pubkey | None) -> None:
    pots = Pots.opened(replace(TIER, price=0), token_program=token_program)
    a, stranger = pots.person(), pots.person()
    pots.buy(a)
    made = pots.buying(a)
    unsigned = [AccountMeta(a.pubkey(), False, True), *made.accounts[1:]]
    theirs = Instruction(made.program_id, bytes(made.data), unsigned)
    assert pots.why_not(theirs, by=stranger) == "MissingRequiredSignature"


def test_a_wallets_limit_counts_what_it_bought_and_not_what_it_was_given() -> None:
    pots = Pots.opened(replace(TIER, per_wallet=2))
    a, b = pots.person(), pots.person()
    assert _why(pots, pots.buy, a, 3) == 6004
    pots.buy(a, 2)
    assert _why(pots, pots.buy, b, 1, 0, a) == 6004, "another's payment counts too"
    gift = BUILD.gift(pots.artist.pubkey(), pots.event.address, a.pubkey(), 0, 3)
    pots.send(gift, by=pots.artist)
    assert pots.ticket(a).count == 5


def test_tickets_are_sold_in_their_time_at_no_more_than_the_buyer_said() -> None:
    pots = Pots.opened(replace(TIER, sale_start=NOW + 100, sale_end=NOW + 200))
    a = pots.person()
    for time, sold in ((NOW + 99, False), (NOW + 100, True), (NOW + 199, True), (NOW + 200, False)):
        pots.at(time)
        if sold:
            pots.buy(a)
        else:
            assert _why(pots, pots.buy, a) == 6002
    pots.at(NOW + 150)
    who, event = a.pubkey(), pots.event.address
    cheap = BUILD.buy(who, event, who, tier=0, count=1, max_price=TIER.price - 1)
    assert pots.why_not(cheap, by=a) == 6003
    assert _why(pots, pots.buy, a, 1, 1) == 6001
    assert _why(pots, pots.buy, a, 0) == 6102


def test_tickets_are_given_back_until_their_time_and_never_once_settled() -> None:
    pots = Pots.opened()
    a = pots.person()
    pots.buy(a, 4)
    pots.at(TIER.refundable_until - 1)
    pots.refund(a)
    pots.at(TIER.refundable_until)
    assert _why(pots, pots.refund, a) == 6006
    pots.at(TIER.refundable_until - 1)
    pots.sale_told("close_sale")
    pots.refund(a)
    pots.sale_told("settle", payouts_data([(pots.artist.pubkey(), 2 * TIER.price)]))
    assert _why(pots, pots.refund, a) == 6006


def test_more_than_one_has_is_neither_passed_on_nor_given_back() -> None:
    pots = Pots.opened(TIER, replace(TIER, name="Fixed", transferable=False))
    a, b = pots.person(), pots.person()
    pots.buy(a, 2)
    pots.buy(a, 2, 1)
    assert _why(pots, pots.refund, a, 3) == 6007
    event = pots.event.address
    more = BUILD.transfer(a.pubkey(), event, b.pubkey(), 0, 3)
    assert pots.why_not(more, by=a) == 6007
    fixed = BUILD.transfer(a.pubkey(), event, b.pubkey(), 1, 1)
    assert pots.why_not(fixed, by=a) == 6005
    self_ = BUILD.transfer(a.pubkey(), event, a.pubkey(), 0, 1)
    assert pots.why_not(self_, by=a) == 6100


def test_a_tier_that_is_wrong_is_refused() -> None:
    pots = Pots.of()
    bad = [
        replace(TIER, price=2**46 + 1),
        replace(TIER, supply=0),
        replace(TIER, sale_start=200, sale_end=200),
    ]
    for tier in bad:
        assert _why(pots, pots.sale_told, "add_tier", tier_data(tier)) == 6008
    for _ in range(8):
        pots.sale_told("add_tier", tier_data(replace(TIER, price=2**46, supply=2**32 - 1)))
    assert _why(pots, pots.sale_told, "add_tier", tier_data(TIER)) == 6008
    pots.sale_told("open_sale")
    assert _why(pots, pots.sale_told, "add_tier", tier_data(TIER)) == 6103
    assert _why(pots, pots.buy, pots.person(), 2**16 - 1) == 1, "too dear, and not too large"


def test_a_ticket_is_proved_by_one_account() -> None:
    pots = Pots.opened(TIER, replace(TIER, name="Balcony"))
    a, nobody = pots.person(), pots.person()
    pots.buy(a, 3, 1)

    def verified(holder: Pubkey, mask: int, of: Pubkey | None = None) -> tuple[int, int, int]:
        made = pots.verifying(holder, mask)
        if of is not None:
            first = type(made.accounts[0])(of, False, False)
            made = type(made)(made.program_id, bytes(made.data), [first, made.accounts[1]])
        data = bytes(pots.send(made, by=nobody).return_data().data)
        return struct.unpack("<BBH", data.ljust(4, b"\0"))

    assert verified(a.pubkey(), 0) == (1, 2, 3)
    assert verified(a.pubkey(), 0b10) == (1, 2, 3)
    assert verified(a.pubkey(), 0b01) == (0, 2, 0)
    assert verified(nobody.pubkey(), 0) == (0, 0, 0)
    place = pots.verifying(a.pubkey(), 0).accounts[0].pubkey
    assert verified(nobody.pubkey(), 0, of=place) == (0, 0, 0)


def test_an_empty_account_is_closed_at_anyones_wish_and_a_ticket_at_its_holders_alone() -> None:
    pots = Pots.opened()
    a, b = pots.person(), pots.person()
    pots.buy(a, 1)
    closing = pots.close_ticket(a.pubkey(), a.pubkey(), signed=False)
    assert pots.why_not(closing, by=b) == 6009
    pots.send(BUILD.transfer(a.pubkey(), pots.event.address, b.pubkey(), 0, 1), by=a)
    before = pots.balance(a.pubkey())
    pots.send(closing, by=b)
    assert pots.balance(a.pubkey()) - before == pots.rent(154)
    theirs = pots.close_ticket(b.pubkey(), a.pubkey(), signed=True)
    assert pots.why_not(theirs, by=b) == 6009, "not settled yet"
    pots.sale_told("close_sale")
    pots.sale_told("settle", payouts_data([(pots.artist.pubkey(), TIER.price)]))
    pots.send(theirs, by=b)
