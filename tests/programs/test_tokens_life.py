"""An event that is paid in a token: what comes in, where it is, and how it gets out again."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import Share
from hausd.core.programs.addresses import pot_tokens_place
from tests.support.programs import BUILT, TIER, ProgramChain, Show
from tests.support.tokens import HARMLESS, TOKEN_PROGRAMS, Coin

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")
LOTS = 10**12


class Scene:
    """An opened event that is paid in a token, and people who have some."""

    def __init__(self, token_program: Pubkey, **more: int) -> None:
        self.chain = ProgramChain(fee_bps=250)
        self.coin = Coin.made(self.chain, token_program)
        self.show = Show.opened(self.chain, payment=self.coin.payment, **more)
        self.build = self.chain.build

    def fan(self) -> Keypair:
        made = self.chain.person()
        self.coin.give(made.pubkey(), LOTS)
        return made

    def of_pot(self, name: str) -> int:
        pot = getattr(self.show.places, name).address
        return self.coin.balance(pot_tokens_place(pot, self.coin.token_program))

    def claim_all(self) -> None:
        anyone = self.chain.person()
        for pot, claim in (
            (self.show.sale, self.build.claim_sale),
            (self.show.vault, self.build.claim_tips),
        ):
            for index, payout in enumerate(pot.payouts):
                self.coin.opened(payout.payee)
                made = claim(self.show.address, payout.payee, index, self.coin.payment)
                self.chain.send(made, by=anyone)


@pytest.fixture(params=TOKEN_PROGRAMS.values(), ids=TOKEN_PROGRAMS.keys())
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param)


def test_a_whole_event_is_paid_in_a_token_to_the_last_unit(scene: Scene) -> None:
    show, coin = scene.show, scene.coin
    one, other = scene.fan(), scene.fan()
    show.buy(one, 3)
    show.buy(other, 1)
    show.tip(one, 1_000_003, "bravo")
    show.tip(other, 77_777)
    assert scene.of_pot("sale") == show.sale.proceeds == 4 * TIER.price
    assert scene.of_pot("vault") == show.vault.total == 1_077_780
    assert coin.has(one.pubkey()) == LOTS - 3 * TIER.price - 1_000_003
    assert (show.event.mint, show.event.token_program) == (coin.mint, coin.token_program)
    show.end()
    show.finalize()
    scene.claim_all()
    assert scene.of_pot("sale") == scene.of_pot("vault") == 0
    fees = 4 * TIER.price * 250 // 10_000 + 1_077_780 * 250 // 10_000
    assert coin.has(scene.chain.treasury.pubkey()) == fees
    assert coin.has(show.artist.pubkey()) == 4 * TIER.price + 1_077_780 - fees
    assert show.event.winner == one.pubkey()


def test_what_a_called_off_event_was_paid_goes_back(scene: Scene) -> None:
    show, coin, build = scene.show, scene.coin, scene.build
    fan = scene.fan()
    who = fan.pubkey()
    show.buy(fan, 2)
    show.tip(fan, 5_000)
    show.artists("cancel", build.cancel(show.artist.pubkey(), show.address))
    scene.chain.send(
        build.refund_ticket(who, show.address, who, 0, 2, coin.payment),
        build.refund_tips(who, show.address, who, coin.payment),
        by=fan,
    )
    assert coin.has(who) == LOTS
    assert scene.of_pot("sale") == scene.of_pot("vault") == 0


def test_shares_are_paid_in_the_token() -> None:
    chain = ProgramChain()
    coin = Coin.made(chain, TOKEN_PROGRAMS["SPL Token"])
    show = Show.draft(chain, payment=coin.payment)
    artist, band = show.artist.pubkey(), [chain.person().pubkey() for _ in range(3)]
    shares = [Share(each, 3_333) for each in band]
    show.artists("set_split", chain.build.set_split(artist, show.address, shares))
    show.artists("open", chain.build.open_event(artist, show.address))
    fan = chain.person()
    coin.give(fan.pubkey(), 100_001)
    show.tip(fan, 100_001)
    show.end()
    show.finalize()
    for index, payout in enumerate(show.vault.payouts):
        coin.opened(payout.payee)
        claim = chain.build.claim_tips(show.address, payout.payee, index, coin.payment)
        chain.send(claim, by=fan)
    assert [coin.has(each) for each in band] == [33_330] * 3
    assert coin.has(artist) == 11


def test_a_mint_may_say_what_it_is_called() -> None:
    chain = ProgramChain()
    coin = Coin.made(chain, TOKEN_PROGRAMS["Token-2022"], *HARMLESS.values())
    show = Show.opened(chain, payment=coin.payment)
    fan = chain.person()
    coin.give(fan.pubkey(), LOTS)
    show.buy(fan)
    show.tip(fan, 5_000)
    assert show.sale.proceeds == TIER.price
