"""An event from its first day to its last lamport, by the committed programs."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.programs.accounts import EventStatus, PotState, Share, TicketTier
from hausd.core.programs.addresses import EMBEDDED, TOKEN_2022, tip_place, token_place
from tests.support.programs import BUILT, FEE, TIER, ProgramChain, Show

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")
SOL = 10**9
DAY = 24 * 3_600


def rta_of(chain: ProgramChain, show: Show, holder: Pubkey) -> int:
    """How many RTAs of this event somebody has."""
    place = token_place(holder, show.places.rta_mint.address, TOKEN_2022)
    return int.from_bytes(chain.data(place)[64:72], "little")


def delivered(chain: ProgramChain, show: Show, to: Pubkey) -> None:
    helper = chain.person()
    deliver = chain.build.deliver_rta(
        helper.pubkey(),
        show.address,
        to,
        show.artist.pubkey(),
    )
    chain.send(deliver, by=helper)


def test_whole_life_to_the_lamport() -> None:
    chain = ProgramChain(fee_bps=250)
    build = chain.build
    show = Show.draft(chain)
    drummer, label = chain.person(), chain.person()
    split = [Share(drummer.pubkey(), 2_500), Share(label.pubkey(), 1_000)]
    show.artists("set_split", build.set_split(show.artist.pubkey(), show.address, split))
    show.artists("add_tier", build.add_tier(show.artist.pubkey(), show.address, TIER))
    show.artists("open", build.open_event(show.artist.pubkey(), show.address))
    assert show.event.status is EventStatus.OPEN
    assert (show.sale.state, show.vault.state) == (PotState.OPEN, PotState.OPEN)

    fan, other = chain.person(), chain.person()
    show.buy(fan, 2)
    show.buy(other, 1)
    assert show.sale.proceeds == 3 * TIER.price

    chain.at(show.event.starts_at)
    chain.send(build.go_live(show.stream.pubkey(), show.address), by=show.stream)
    session, manifest = SessionId(3, 77), CID.of(b"the first segment")
    chain.send(
        build.checkpoint(show.stream.pubkey(), show.address, manifest, session, 0), by=show.stream
    )
    assert show.checkpoint.manifest == manifest

    show.tip(fan, 3 * SOL + 1, "Zugabe!")
    show.tip(other, 2 * SOL)
    show.tip(other, SOL)
    assert show.vault.leader == fan.pubkey()
    pot = 6 * SOL + 1
    assert show.vault.total == pot

    chain.at(show.event.scheduled_end)
    show.end()
    before = {each: chain.balance(each.pubkey()) for each in (show.artist, drummer, label)}
    treasury = chain.balance(chain.treasury.pubkey())
    show.finalize()
    event = show.event
    assert (event.status, event.winner) == (EventStatus.FINALIZED, fan.pubkey())
    for total, account, claim in (
        (3 * TIER.price, show.sale, build.claim_sale),
        (pot, show.vault, build.claim_tips),
    ):
        fee = total * 250 // 10_000
        rest = total - fee
        shares = [rest * 2_500 // 10_000, rest * 1_000 // 10_000]
        amounts = {payout.payee: payout.amount for payout in account.payouts}
        assert amounts == {
            chain.treasury.pubkey(): fee,
            drummer.pubkey(): shares[0],
            label.pubkey(): shares[1],
            show.artist.pubkey(): rest - sum(shares),
        }
        for index, payout in enumerate(account.payouts):
            chain.send(claim(show.address, payout.payee, index), by=other)
            before[chain.treasury] = treasury
    for pot_place, account in ((show.places.sale, show.sale), (show.places.vault, show.vault)):
        size = len(chain.data(pot_place.address))
        kept = chain.svm.minimum_balance_for_rent_exemption(size)
        assert chain.balance(pot_place.address) == kept
        assert all(payout.claimed for payout in account.payouts)
    paid = sum(chain.balance(each.pubkey()) - was for each, was in before.items())
    assert paid == pot + 3 * TIER.price - FEE  # finalize was the artist's

    delivered(chain, show, fan.pubkey())
    assert rta_of(chain, show, fan.pubkey()) == 1
    assert show.event.rta_delivered


def test_nobody_tipped_and_the_artist_keeps_the_rta() -> None:
    chain = ProgramChain()
    show = Show.opened(chain)
    show.end()
    show.finalize()
    assert show.event.winner == show.artist.pubkey()
    delivered(chain, show, show.artist.pubkey())
    assert rta_of(chain, show, show.artist.pubkey()) == 1


def test_first_to_reach_a_total_keeps_the_lead() -> None:
    chain = ProgramChain()
    show = Show.opened(chain)
    first, second = chain.person(), chain.person()
    show.tip(first, SOL)
    show.tip(second, SOL)
    assert show.vault.leader == first.pubkey()
    show.tip(second, 1_000)
    assert show.vault.leader == second.pubkey()


def test_called_off_and_everybody_has_what_they_paid() -> None:
    chain = ProgramChain(fee_bps=250)
    show = Show.opened(chain)
    fan = chain.person()
    before = chain.balance(fan.pubkey())
    show.buy(fan, 2)
    show.tip(fan, SOL)
    cancel = chain.build.cancel(show.artist.pubkey(), show.address)
    chain.send(cancel, by=show.artist)
    assert show.event.status is EventStatus.CANCELLED
    who = fan.pubkey()
    chain.send(chain.build.refund_ticket(who, show.address, who, 0, 2), by=fan)
    chain.send(chain.build.refund_tips(who, show.address, who), by=fan)
    record = tip_place(EMBEDDED, show.places.vault.address, who).address
    fees = 5 * FEE  # buy, open_record, tip and two refunds
    assert before - chain.balance(who) - fees == chain.balance(record)
    assert (show.sale.proceeds, show.vault.total) == (0, 0)
    delivered(chain, show, show.artist.pubkey())
    assert rta_of(chain, show, show.artist.pubkey()) == 1


def test_winner_names_another_account() -> None:
    chain = ProgramChain()
    show = Show.opened(chain)
    fan, cold = chain.person(), chain.person(0)
    show.tip(fan, SOL)
    show.end()
    show.finalize()
    named = chain.build.set_rta_recipient(fan.pubkey(), show.address, cold.pubkey())
    chain.send(named, by=fan)
    delivered(chain, show, cold.pubkey())
    assert rta_of(chain, show, cold.pubkey()) == 1


def test_eight_payees_and_a_fee_fit_into_the_table() -> None:
    chain = ProgramChain(fee_bps=1_000)
    show = Show.draft(chain)
    split = [Share(chain.person().pubkey(), 1_249) for _ in range(8)]
    show.artists("set_split", chain.build.set_split(show.artist.pubkey(), show.address, split))
    show.artists("open", chain.build.open_event(show.artist.pubkey(), show.address))
    fan = chain.person()
    show.tip(fan, 10_007)
    show.end()
    show.finalize()
    assert len(show.vault.payouts) == 10
    assert sum(payout.amount for payout in show.vault.payouts) == 10_007


def test_eight_tiers_each_in_one_transaction() -> None:
    chain = ProgramChain()
    tiers = [TicketTier(f"Row {n}", n, 10, 0, 10, 0, 0, False, 0) for n in range(8)]
    show = Show.opened(chain, *tiers)
    assert [tier.name for tier in show.sale.tiers] == [tier.name for tier in tiers]
    assert all(done.size <= 1_232 for done in show.done.values())


def test_longest_title_fits_into_one_transaction() -> None:
    show = Show.draft(ProgramChain(), title="ü" * 32)
    assert show.event.title == "ü" * 32
    assert show.done["create_event"].size <= 1_232


@pytest.mark.parametrize("step", ["end", "finalize"])
def test_artist_who_vanished_keeps_nobodys_money(step: str) -> None:
    """Anyone may end and finalize what its artist left, after the grace time and no earlier."""
    chain = ProgramChain()
    show = Show.opened(chain)
    fan, anyone = chain.person(), chain.person()
    show.tip(fan, SOL)
    chain.send(chain.build.go_live(show.stream.pubkey(), show.address), by=show.stream)
    end = chain.build.end_event(anyone.pubkey(), show.address)
    finalize = chain.build.finalize(anyone.pubkey(), show.address)
    if step == "end":
        chain.at(show.event.scheduled_end + DAY - 1)
        assert isinstance(chain.why_not(end, by=anyone), int)
        chain.at(show.event.scheduled_end + DAY + 1)
        chain.send(end, by=anyone)
    else:
        show.end()
    chain.at(show.event.ended_at + DAY - 1)
    assert isinstance(chain.why_not(finalize, by=anyone), int)
    chain.at(show.event.ended_at + DAY + 1)
    chain.send(finalize, by=anyone)
    assert show.event.winner == fan.pubkey()
