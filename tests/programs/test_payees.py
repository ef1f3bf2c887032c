"""Money goes to somebody who can have it; what was laid out for an event comes back to who did."""

from __future__ import annotations

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import Share
from hausd.core.programs.addresses import (
    EMBEDDED,
    SYSTEM,
    TOKEN,
    config_place,
    ticket_place,
    tip_place,
    token_place,
)
from hausd.core.programs.idl import idl
from hausd.core.programs.payments import Payment
from tests.support.programs import BUILT, FEE, TIER, UPGRADEABLE_LOADER, ProgramChain, Show
from tests.support.tokens import Coin

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")
CODES = {fault.name: number for number, fault in idl("event_factory").errors.items()}
CLOCK = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
SOL = 10**9


def split(show: Show, *shares: Share) -> Instruction:
    return show.chain.build.set_split(show.artist.pubkey(), show.address, shares)


@pytest.mark.parametrize("name", ["event", "sale", "vault", "checkpoint", "rta_mint", "escrow"])
def test_share_that_an_account_of_the_event_would_keep_is_refused(name: str) -> None:
    show = Show.draft(ProgramChain())
    stuck = show.address if name == "event" else getattr(show.places, name).address
    assert show.chain.why_not(split(show, Share(stuck, 100)), by=show.artist) == CODES["BadPayee"]


def test_share_of_a_program_or_one_of_its_accounts_is_refused() -> None:
    chain = ProgramChain()
    show = Show.draft(chain)
    tokens = token_place(show.artist.pubkey(), Pubkey.new_unique(), TOKEN)
    chain.put(tokens, TOKEN, bytes(165))
    deployed = Pubkey.new_unique()
    data = chain.deploy("live_tipping", deployed, show.artist.pubkey())
    config = config_place(EMBEDDED).address
    nonce = Pubkey.new_unique()
    chain.put(nonce, SYSTEM, bytes(80))
    stuck = [*EMBEDDED, SYSTEM, TOKEN, UPGRADEABLE_LOADER, CLOCK, config, tokens, deployed, data]
    for payee in [*stuck, nonce]:
        refused = split(show, Share(payee, 100))
        assert chain.why_not(refused, by=show.artist) == CODES["BadPayee"], payee


def test_payee_is_shown_as_the_account_that_the_share_names() -> None:
    """Else a wallet would stand in for an account that can't be a payee."""
    chain = ProgramChain()
    show = Show.draft(chain)
    made = split(show, Share(show.places.vault.address, 100))
    wallet = AccountMeta(chain.person().pubkey(), False, False)
    feigned = Instruction(made.program_id, bytes(made.data), [*made.accounts[:2], wallet])
    assert chain.why_not(feigned, by=show.artist) == CODES["WrongAccount"]
    without = Instruction(made.program_id, bytes(made.data), list(made.accounts[:2]))
    assert chain.why_not(without, by=show.artist) == "NotEnoughAccountKeys"


def test_payee_is_named_once() -> None:
    chain = ProgramChain()
    show = Show.draft(chain)
    one, two = chain.person().pubkey(), chain.person().pubkey()
    twice = split(show, Share(one, 100), Share(two, 100), Share(one, 200))
    assert chain.why_not(twice, by=show.artist) == CODES["PayeeTwice"]


def test_wallets_are_payees_and_the_artist_and_who_has_no_account_yet() -> None:
    chain = ProgramChain()
    show = Show.draft(chain)
    new = chain.person(0).pubkey()
    show.artists("set_split", split(show, Share(show.artist.pubkey(), 1_000), Share(new, 1_000)))
    show.artists("open", chain.build.open_event(show.artist.pubkey(), show.address))
    show.tip(chain.person(), SOL)
    show.end()
    show.finalize()
    artist, tenth = show.artist.pubkey(), SOL // 10
    owed = [(payout.payee, payout.amount) for payout in show.vault.payouts]
    assert owed == [(artist, tenth), (new, tenth), (artist, 8 * tenth)]
    before = chain.balance(artist)
    for index, (payee, _) in enumerate(owed):
        claim = chain.build.claim_tips(show.address, payee, index)
        chain.send(claim, by=chain.person())
    assert (chain.balance(artist) - before, chain.balance(new)) == (9 * tenth, tenth)


def finished() -> Show:
    show = Show.opened(ProgramChain())
    show.end()
    show.finalize()
    return show


def test_rent_of_the_escrow_is_the_artists_whoever_delivers() -> None:
    show = finished()
    chain, artist, helper = show.chain, show.artist.pubkey(), show.chain.person()
    rent, before = chain.balance(show.places.escrow.address), chain.balance(artist)
    deliver = chain.build.deliver_rta(helper.pubkey(), show.address, artist, artist)
    chain.send(deliver, by=helper)
    assert rent > 0
    assert chain.balance(artist) - before == rent


def test_rent_of_the_escrow_is_nobody_elses() -> None:
    show = finished()
    chain, artist, thief = show.chain, show.artist.pubkey(), show.chain.person()
    to_thief = chain.build.deliver_rta(thief.pubkey(), show.address, artist, thief.pubkey())
    assert chain.why_not(to_thief, by=thief) == CODES["WrongAccount"]


@pytest.mark.parametrize("writable", [True, False])
def test_artist_who_becomes_a_program_keeps_no_rta_from_its_winner(writable: bool) -> None:
    """A program can't be given lamports: then who delivers has the rent."""
    chain = ProgramChain()
    show = Show.opened(chain)
    fan, helper = chain.person(), chain.person()
    show.tip(fan, SOL)
    show.end()
    show.finalize()
    artist = show.artist.pubkey()
    chain.deploy("live_tipping", artist, artist)
    kept = chain.balance(artist)
    made = chain.build.deliver_rta(helper.pubkey(), show.address, fan.pubkey(), artist)
    metas = [*made.accounts[:-1], AccountMeta(artist, False, writable)]
    rent, before = chain.balance(show.places.escrow.address), chain.balance(helper.pubkey())
    chain.send(Instruction(made.program_id, bytes(made.data), metas), by=helper)
    assert show.event.rta_delivered
    assert chain.balance(artist) == kept
    winners = chain.balance(made.accounts[5].pubkey)
    assert chain.balance(helper.pubkey()) == before + rent - winners - FEE


@pytest.mark.parametrize("in_token", [False, True])
def test_stranger_who_paid_the_rent_and_becomes_a_program_keeps_no_refund(in_token: bool) -> None:
    """Else a gift of a ticket or of an empty record would take whatever is paid after it."""
    chain = ProgramChain()
    coin = Coin.made(chain, TOKEN) if in_token else None
    payment = coin.payment if coin is not None else Payment()
    show = Show.opened(chain, payment=payment)
    build, stranger, fan = chain.build, chain.person(), chain.person()
    foe, who = stranger.pubkey(), fan.pubkey()
    if coin is not None:
        coin.give(foe, SOL)
        coin.give(who, SOL)
    gift = build.buy(foe, show.address, who, tier=0, count=1, max_price=SOL, payment=payment)
    chain.send(gift, build.open_record(foe, show.address, who), by=stranger)
    show.buy(fan)
    show.tip(fan, 5_000)
    show.artists("cancel", build.cancel(show.artist.pubkey(), show.address))
    chain.deploy("live_tipping", foe, foe)
    kept, before = chain.balance(foe), chain.balance(who)
    vault = show.places.vault.address
    places = ticket_place(EMBEDDED, show.address, who), tip_place(EMBEDDED, vault, who)
    rents = sum(chain.balance(place.address) for place in places)
    chain.send(
        build.refund_ticket(who, show.address, foe, 0, 2, payment),
        build.refund_tips(who, show.address, foe, payment),
        by=fan,
    )
    assert not any(chain.data(place.address) for place in places)
    back = 0 if in_token else 2 * TIER.price + 5_000
    assert chain.balance(who) == before + rents + back - FEE
    assert chain.balance(foe) == kept
    if coin is not None:
        assert coin.has(who) == SOL + TIER.price
    assert (show.sale.proceeds, show.vault.total) == (0, 0)


def test_holder_has_one_account_at_an_event_so_that_limits_hold() -> None:
    """A derived address has several bumps; only the one that everybody derives is taken."""
    chain = ProgramChain()
    show = Show.opened(chain)
    for _ in range(8):
        fan = chain.person()
        who = fan.pubkey()
        seeds = [b"ticket", bytes(show.address), bytes(who)]
        canonical = ticket_place(EMBEDDED, show.address, who)
        place, bump = lower(seeds, EMBEDDED.ticket_factory, canonical.bump)
        buy = chain.build.buy(who, show.address, who, tier=0, count=1, max_price=SOL)
        metas = list(buy.accounts)
        metas[2] = AccountMeta(place, False, True)
        second = Instruction(buy.program_id, bytes(buy.data)[:-1] + bytes([bump]), metas)
        assert chain.why_not(second, by=fan) == "InvalidSeeds"
        chain.send(buy, by=fan)


def test_tipper_has_one_record_at_an_event_so_that_all_tips_count() -> None:
    chain = ProgramChain()
    show = Show.opened(chain)
    vault = show.places.vault.address
    for _ in range(8):
        fan = chain.person()
        who = fan.pubkey()
        opened = chain.build.open_record(who, show.address, who)
        canonical = bytes(opened.data)[-1]
        seeds = [b"tip", bytes(vault), bytes(who)]
        place, bump = lower(seeds, EMBEDDED.live_tipping, canonical)
        metas = list(opened.accounts)
        metas[2] = AccountMeta(place, False, True)
        data = bytes(opened.data)[:-1] + bytes([bump])
        second = Instruction(opened.program_id, data, metas)
        assert chain.why_not(second, by=fan) == "InvalidSeeds"
        chain.send(opened, by=fan)


def lower(seeds: list[bytes], program: Pubkey, bump: int) -> tuple[Pubkey, int]:
    """The next address that the same seeds give."""
    while True:
        bump -= 1
        try:
            return Pubkey.create_program_address([*seeds, bytes([bump])], program), bump
        except Exception as none_there:  # solders does not export its PubkeyError
            if "valid address" not in str(none_there):
                raise
