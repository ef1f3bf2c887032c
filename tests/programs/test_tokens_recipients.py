"""Who is paid may have any token account, none, or a frozen one: a claim waits for them, and holds
nobody else up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from hausd.core.programs.accounts import Share
from hausd.core.programs.addresses import EMBEDDED, TOKEN, TOKEN_2022, pot_tokens_place
from hausd.core.programs.faults import explain
from hausd.core.programs.idl import idl
from hausd.core.programs.payments import SOL, Payment
from tests.support.programs import BUILT, TIER, ProgramChain, Refused, Show
from tests.support.tokens import TOKEN_PROGRAMS, Coin

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")
CODES = {fault.name: number for number, fault in idl("live_tipping").errors.items()}
USDC = Pubkey.from_string("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
FREEZE, THAW = 10, 11
_FROZEN, _NO_MEMO, _CPI_GUARD = 17, 36, 42


class Scene:
    """A finalized event: its tips are shared by a band and the artist, who gets the tickets'."""

    def __init__(self, token_program: Pubkey) -> None:
        self.chain = ProgramChain()
        self.freezer = self.chain.person()
        made = Coin.made(self.chain, token_program, freezer=self.freezer.pubkey())
        self.coin = made.moved(USDC)
        self.payment = self.coin.payment
        self.show = Show.draft(self.chain, payment=self.payment)
        self.build = self.chain.build
        self.band = [self.chain.person(), self.chain.person()]
        self.fan = self.chain.person()
        self.coin.give(self.fan.pubkey(), 10**9)

    def finalized(self) -> Scene:
        artist, event = self.show.artist.pubkey(), self.show.address
        shares = [Share(each.pubkey(), 4_000) for each in self.band]
        self.show.artists("set_split", self.build.set_split(artist, event, shares))
        self.opened()
        self.show.tip(self.fan, 100_000)
        self.show.buy(self.fan)
        self.show.end()
        self.show.finalize()
        return self

    def opened(self) -> Scene:
        artist, event = self.show.artist.pubkey(), self.show.address
        self.show.artists("add_tier", self.build.add_tier(artist, event, TIER))
        self.show.artists("open", self.build.open_event(artist, event))
        return self

    def claim(self, index: int, account: Pubkey | None = None) -> int | str:
        """Claims the tips of a payee. Gives why not; 0: it was paid."""
        payee = self.show.vault.payouts[index].payee
        payment = Payment(self.coin.mint, self.coin.token_program, account)
        made = self.build.claim_tips(self.show.address, payee, index, payment)
        try:
            self.chain.send(made, by=self.fan)
        except Refused as refused:
            return refused.why
        return 0

    def others_go_on(self) -> None:
        self.coin.opened(self.band[1].pubkey())
        self.coin.opened(self.show.artist.pubkey())
        assert self.claim(1) == self.claim(2) == 0
        assert self.coin.has(self.band[1].pubkey()) == 40_000
        assert self.coin.has(self.show.artist.pubkey()) == 20_000

    def left(self) -> int:
        vault = self.show.places.vault.address
        return self.coin.balance(pot_tokens_place(vault, self.coin.token_program))


@pytest.fixture(params=TOKEN_PROGRAMS.values(), ids=TOKEN_PROGRAMS.keys())
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param).finalized()


def _nothing(scene: Scene, who: Keypair) -> Callable[[], object]:
    return lambda: scene.coin.opened(who.pubkey())


def _closed(scene: Scene, who: Keypair) -> Callable[[], object]:
    scene.coin.close(scene.coin.opened(who.pubkey()), who)
    return lambda: scene.coin.opened(who.pubkey())


def _frozen(scene: Scene, who: Keypair) -> Callable[[], object]:
    account = scene.coin.opened(who.pubkey())
    scene.coin.told(account, FREEZE, scene.freezer)
    return lambda: scene.coin.told(account, THAW, scene.freezer)


@pytest.mark.parametrize(
    ("refuse", "why"),
    [
        (_nothing, CODES["NotTheirTokens"]),
        (_closed, CODES["NotTheirTokens"]),
        (_frozen, _FROZEN),
    ],
)
def test_a_claim_waits_for_a_payee_and_holds_nobody_up(
    scene: Scene, refuse: Callable[[Scene, Keypair], Callable[[], object]], why: int
) -> None:
    who = scene.band[0]
    mend = refuse(scene, who)
    assert scene.claim(0) == why
    scene.others_go_on()
    assert scene.claim(0) == why
    assert (scene.left(), scene.show.vault.payouts[0].claimed) == (40_000, False)
    mend()
    assert scene.claim(0) == 0
    assert scene.coin.has(who.pubkey()) == 40_000
    assert scene.left() == 0
    assert scene.claim(0) == CODES["AlreadyClaimed"]


def test_a_payee_whose_account_is_frozen_takes_it_in_another(scene: Scene) -> None:
    who = scene.band[0].pubkey()
    _frozen(scene, scene.band[0])
    other = scene.coin.another(who)
    assert scene.claim(0, other) == 0
    assert scene.coin.balance(other) == 40_000


def test_no_account_is_ever_too_full(scene: Scene) -> None:
    """There are never more than 2^64 - 1 of a token, and all of them fit into one account."""
    who = scene.band[0].pubkey()
    scene.coin.give(who, 2**64 - 1 - 10**9)
    assert scene.claim(0) == 0
    assert scene.coin.has(who) == 2**64 - 1 - 10**9 + 40_000


def test_a_claim_pays_nobody_else(scene: Scene) -> None:
    theirs = scene.coin.opened(scene.fan.pubkey())
    assert scene.claim(0, theirs) == CODES["NotTheirTokens"]
    false = Coin.made(scene.chain, scene.coin.token_program)
    assert scene.claim(0, false.opened(scene.band[0].pubkey())) == CODES["NotTheirTokens"]


def test_the_pots_of_an_event_are_apart(scene: Scene) -> None:
    """What was paid for tickets pays no tips: an account of the other pot is none of this one."""
    payee = scene.show.artist.pubkey()
    scene.coin.opened(payee)
    made = scene.build.claim_tips(scene.show.address, payee, 2, scene.payment)
    metas = list(made.accounts)
    sale = pot_tokens_place(scene.show.places.sale.address, scene.coin.token_program)
    metas[-1] = AccountMeta(sale, False, True)
    wrong = Instruction(made.program_id, bytes(made.data), metas)
    assert scene.chain.why_not(wrong, by=scene.fan) == CODES["WrongAccount"]


def _with_extension(coin: Coin, who: Keypair, number: int, on: bytes) -> Pubkey:
    """Room for an extension of an account, and the extension on."""
    account = coin.opened(who.pubkey())
    owner = AccountMeta(who.pubkey(), True, True)
    grown = [
        AccountMeta(account, False, True),
        owner,
        AccountMeta(SYSTEM, False, False),
        owner,
    ]
    coin.chain.send(
        Instruction(TOKEN_2022, bytes([29]) + number.to_bytes(2, "little"), grown),
        Instruction(TOKEN_2022, on, [AccountMeta(account, False, True), owner]),
        by=who,
    )
    return account


def test_a_payee_who_wants_a_memo_waits_until_they_want_none() -> None:
    scene = Scene(TOKEN_2022).finalized()
    who = scene.band[0]
    account = _with_extension(scene.coin, who, 8, bytes([30, 0]))
    assert scene.claim(0) == _NO_MEMO
    scene.others_go_on()
    metas = [AccountMeta(account, False, True), AccountMeta(who.pubkey(), True, False)]
    scene.chain.send(Instruction(TOKEN_2022, bytes([30, 1]), metas), by=who)
    assert scene.claim(0) == 0


def test_what_a_token_program_refuses_is_explained() -> None:
    scene = Scene(TOKEN_2022).opened()
    show, fan = scene.show, scene.fan

    def explained(number: int) -> str:
        with pytest.raises(Refused) as refused:
            show.tip(fan, 1_000)
        assert refused.value.why == number
        error = {"InstructionError": [0, {"Custom": number}]}
        return explain(EMBEDDED, error, refused.value.logs).sentence

    account = scene.coin.place(fan.pubkey())
    scene.coin.told(account, FREEZE, scene.freezer)
    assert explained(_FROZEN) == "the token account is frozen: its mint's issuer has to free it"
    scene.coin.told(account, THAW, scene.freezer)
    _with_extension(scene.coin, fan, 11, bytes([34, 0]))
    assert "turn its CPI guard off" in explained(_CPI_GUARD)


def test_who_has_too_little_pays_nothing() -> None:
    scene = Scene(TOKEN).opened()
    poor = scene.chain.person()
    scene.coin.give(poor.pubkey(), TIER.price - 1)
    with pytest.raises(Refused) as refused:
        scene.show.buy(poor)
    assert refused.value.why == 1
    assert scene.show.sale.tickets == 0


def test_a_payment_of_the_other_kind_is_refused() -> None:
    scene = Scene(TOKEN).opened()
    in_sol = Show.opened(scene.chain)
    show, build, who = scene.show, scene.build, scene.fan.pubkey()
    scene.chain.send(build.open_record(who, in_sol.address, who), by=scene.fan)
    scene.chain.send(build.open_record(who, show.address, who), by=scene.fan)
    price = TIER.price
    for payment, event, why in (
        (SOL, show.address, "PaidInTokens"),
        (scene.payment, in_sol.address, "PaidInSol"),
    ):
        for made in (
            build.tip(who, event, 1_000, "", payment),
            build.buy(who, event, who, tier=0, count=1, max_price=price, payment=payment),
        ):
            assert scene.chain.why_not(made, by=scene.fan) == CODES[why]


def test_a_refund_or_claim_of_the_other_kind_is_refused() -> None:
    scene = Scene(TOKEN).opened()
    in_sol = Show.opened(scene.chain)
    build, who = scene.build, scene.fan.pubkey()
    for show, other, why in (
        (scene.show, SOL, "PaidInTokens"),
        (in_sol, scene.payment, "PaidInSol"),
    ):
        event = show.address
        show.buy(scene.fan, 2)
        show.tip(scene.fan, 1_000)
        refund = build.refund_ticket(who, event, who, 0, 1, other)
        assert scene.chain.why_not(refund, by=scene.fan) == CODES[why]
        show.end()
        show.finalize()
        payee = show.artist.pubkey()
        for claim in (build.claim_sale, build.claim_tips):
            made = claim(event, payee, 0, other)
            assert scene.chain.why_not(made, by=scene.fan) == CODES[why]


def test_tips_are_given_back_in_what_they_were_given_in() -> None:
    scene = Scene(TOKEN).opened()
    in_sol = Show.opened(scene.chain)
    build, who = scene.build, scene.fan.pubkey()
    for show, other, why in (
        (scene.show, SOL, "PaidInTokens"),
        (in_sol, scene.payment, "PaidInSol"),
    ):
        show.tip(scene.fan, 1_000)
        show.artists("cancel", build.cancel(show.artist.pubkey(), show.address))
        made = build.refund_tips(who, show.address, who, other)
        assert scene.chain.why_not(made, by=scene.fan) == CODES[why]


def test_a_ticket_for_nothing_needs_no_tokens() -> None:
    """Neither the guest who gives theirs back, nor who takes one of a tier that costs nothing."""
    scene = Scene(TOKEN).opened()
    build, event, guest = scene.build, scene.show.address, scene.chain.person()
    who = guest.pubkey()
    gift = build.gift(scene.show.artist.pubkey(), event, who, 0, 1)
    scene.chain.send(gift, by=scene.show.artist)
    scene.chain.send(build.refund_ticket(who, event, scene.show.artist.pubkey(), 0, 1), by=guest)
    assert scene.show.sale.tickets == 0
