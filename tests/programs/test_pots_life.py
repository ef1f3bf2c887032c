"""A pot's life to the lamport: what goes in comes out, to whom it is due, and nobody else."""

from __future__ import annotations

from tests.support.pots import BUILD, FEE, TIER, Pots, payouts_data


def test_tips_reach_those_who_are_owed_them() -> None:
    pots = Pots.opened()
    a, b, payee = pots.person(), pots.person(), pots.person()
    pots.tip(a, 5_000_000, "encore!")
    pots.tip(b, 3_000_000)
    cost = pots.tip(b, 3_000_000).compute_units_consumed()
    assert cost < 4_000, f"a tip takes {cost} compute units"
    vault = pots.vault
    assert (vault.leader, vault.leader_total, vault.total, vault.tips) == (
        b.pubkey(),
        6_000_000,
        11_000_000,
        3,
    )

    pots.vault_told("close_vault")
    owed = [(payee.pubkey(), 1_000_000), (pots.artist.pubkey(), 10_000_000)]
    pots.vault_told("settle", payouts_data(owed))
    before = pots.balance(payee.pubkey())
    pots.send(BUILD.claim_tips(pots.event.address, payee.pubkey(), 0), by=a)
    assert pots.balance(payee.pubkey()) - before == 1_000_000
    pots.send(BUILD.claim_tips(pots.event.address, pots.artist.pubkey(), 1), by=a)
    assert pots.holds(pots.places.vault.address) == 0


def test_tickets_are_bought_passed_on_given_back_and_paid_out() -> None:
    pots = Pots.opened()
    a, b = pots.person(), pots.person()
    pots.buy(a, 4)
    sent = BUILD.transfer(a.pubkey(), pots.event.address, b.pubkey(), 0, 1)
    pots.send(sent, by=a)
    before = pots.balance(b.pubkey())
    pots.refund(b)
    assert pots.balance(b.pubkey()) - before == TIER.price - FEE
    assert pots.balance(sent.accounts[3].pubkey) == 0
    assert pots.sale.proceeds == 3 * TIER.price
    assert pots.holds(pots.places.sale.address) == 3 * TIER.price
    assert pots.ticket(a).paid[0] == 3

    pots.sale_told("close_sale")
    pots.sale_told("settle", payouts_data([(pots.artist.pubkey(), 3 * TIER.price)]))
    pots.send(BUILD.claim_sale(pots.event.address, pots.artist.pubkey(), 0), by=a)
    assert pots.holds(pots.places.sale.address) == 0


def test_a_show_that_is_called_off_gives_all_back() -> None:
    pots = Pots.opened()
    a, guest = pots.person(), pots.person()
    had = pots.balance(a.pubkey())
    pots.buy(a, 2)
    pots.tip(a, 700_000)
    event = pots.event.address
    pots.send(BUILD.gift(pots.artist.pubkey(), event, guest.pubkey(), 0, 1), by=pots.artist)
    pots.sale_told("cancel_sale")
    pots.vault_told("cancel_vault")
    pots.refund(a, 2)
    pots.refund(guest)
    pots.send(BUILD.refund_tips(a.pubkey(), event, a.pubkey()), by=a)
    assert pots.balance(a.pubkey()) == had - 5 * FEE
    assert pots.holds(pots.places.sale.address) == pots.holds(pots.places.vault.address) == 0
