"""Whatever happens in whatever order, the programs do as a plain model does, and all money comes
out in the end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import PotState, TicketAccount, TicketTier, TipRecordAccount
from hausd.core.programs.addresses import (
    EMBEDDED,
    TOKEN,
    TOKEN_2022,
    pot_tokens_place,
    ticket_place,
    tip_place,
)
from hausd.core.programs.idl import idl
from hausd.core.programs.payments import SOL
from tests.support.potmodel import GRACE_S, Model, ModelTier, Phase
from tests.support.programs import BUILT, FEE, NOW, ProgramChain, Refused, Show
from tests.support.tokens import Coin

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")

_TIERS = (
    TicketTier("Standing", 10_000_000, 6, 0, 3, 0, 0, True, NOW + 5_000),
    TicketTier("Guest", 0, 4, 0, 0, 0, 0, False, 0),
)
_PEOPLE = 4
_TOKENS = 10**9
_FEE_BPS = 333
_PERSON = st.integers(0, _PEOPLE - 1)
_TIER = st.integers(0, 1)
_COUNT = st.integers(1, 4)
_STATES = {
    Phase.OPEN: PotState.OPEN,
    Phase.ENDED: PotState.CLOSED,
    Phase.FINALIZED: PotState.SETTLED,
    Phase.CANCELLED: PotState.REFUNDING,
}


class Life(RuleBasedStateMachine):
    """One event from its opening on, paid in SOL."""

    token_program: Pubkey | None = None

    @initialize(extension=st.sampled_from([0, 300, 3_600]))
    def begin(self, extension: int) -> None:
        self.chain = ProgramChain(fee_bps=_FEE_BPS)
        self.people = [self.chain.person() for _ in range(_PEOPLE)]
        self.coin = self.token_program and Coin.made(self.chain, self.token_program)
        self.payment = self.coin.payment if self.coin else SOL
        self.show = Show.opened(self.chain, *_TIERS, tip_extension=extension, payment=self.payment)
        for each in self.people if self.coin else ():
            self.coin.give(each.pubkey(), _TOKENS)
        for each in (self.show.artist, self.chain.treasury) if self.coin else ():
            self.coin.opened(each.pubkey())
        close = self.show.vault.tips_close_at
        tiers = [
            ModelTier(a.price, a.supply, a.per_wallet, a.transferable, a.refundable_until)
            for a in _TIERS
        ]
        self.model = Model(tiers, self.chain.now, close, extension)
        self.fees = 0
        self.had = self._all_money()

    # -- what people do --

    def _tried(self, may: bool, made: Instruction | Sequence[Instruction], by: Keypair) -> None:
        each = [made] if isinstance(made, Instruction) else list(made)
        before = self.chain.balance(by.pubkey())
        refused: Refused | None = None
        try:
            self.chain.send(*each, by=by)
            self.fees += FEE
        except Refused as why:
            refused = why
            self.fees += before - self.chain.balance(by.pubkey())
        allowed = refused is None
        assert allowed == may, f"the model differs: {refused or each[-1]}"

    @rule(seconds=st.sampled_from([1, 200, 3_000, 4_000, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.chain.at(self.chain.now + seconds)
        self.model.now = self.chain.now

    @rule(who=_PERSON, to=_PERSON, tier=_TIER, count=_COUNT)
    def buy(self, who: int, to: int, tier: int, count: int) -> None:
        buyer, holder = self.people[who], self.people[to].pubkey()
        price = _TIERS[tier].price
        made = self.chain.build.buy(
            buyer.pubkey(),
            self.show.address,
            holder,
            tier=tier,
            count=count,
            max_price=price,
            payment=self.payment,
        )
        self._tried(self.model.buy(to, tier, count), made, buyer)

    @rule(to=_PERSON, tier=_TIER, count=_COUNT)
    def gift(self, to: int, tier: int, count: int) -> None:
        artist, holder = self.show.artist, self.people[to].pubkey()
        made = self.chain.build.gift(artist.pubkey(), self.show.address, holder, tier, count)
        self._tried(self.model.gift(to, tier, count), made, artist)

    @rule(who=_PERSON, to=_PERSON, tier=_TIER, count=_COUNT)
    def transfer(self, who: int, to: int, tier: int, count: int) -> None:
        holder, other = self.people[who], self.people[to].pubkey()
        made = self.chain.build.transfer(holder.pubkey(), self.show.address, other, tier, count)
        self._tried(self.model.transfer(who, to, tier, count), made, holder)

    @rule(who=_PERSON, tier=_TIER, count=_COUNT)
    def refund(self, who: int, tier: int, count: int) -> None:
        holder = self.people[who]
        made = self.chain.build.refund_ticket(
            holder.pubkey(),
            self.show.address,
            self._ticket_payer(holder),
            tier,
            count,
            self.payment,
        )
        self._tried(self.model.refund(who, tier, count), made, holder)

    @rule(who=_PERSON, amount=st.sampled_from([999, 1_000, 1_001, 5_000, 777_777]))
    def tip(self, who: int, amount: int) -> None:
        tipper = self.people[who]
        key = tipper.pubkey()
        made = [self.chain.build.tip(key, self.show.address, amount, "", self.payment)]
        if who not in self.model.records:
            made.insert(0, self.chain.build.open_record(key, self.show.address, key))
        self._tried(self.model.tip(who, amount), made, tipper)

    @rule(who=_PERSON)
    def refund_tips(self, who: int) -> None:
        tipper = self.people[who]
        key = tipper.pubkey()
        made = self.chain.build.refund_tips(key, self.show.address, key, self.payment)
        self._tried(self.model.refund_tips(who), made, tipper)

    @rule(stream=st.booleans())
    def go_live(self, stream: bool) -> None:
        by = self.show.stream if stream else self.show.artist
        made = self.chain.build.go_live(by.pubkey(), self.show.address)
        self._tried(self.model.go_live(), made, by)

    @rule(seconds=st.sampled_from([-1, 1, 299, 300, 7_200, 31 * 24 * 3_600]))
    def move_the_end(self, seconds: int) -> None:
        artist, ends = self.show.artist, self.chain.now + seconds
        made = self.chain.build.set_schedule(
            artist.pubkey(), self.show.address, min(NOW, ends) - 1, ends
        )
        self._tried(self.model.move(ends), made, artist)

    @rule(own=st.booleans())
    def end(self, own: bool) -> None:
        by = self.show.artist if own else self.people[0]
        made = self.chain.build.end_event(by.pubkey(), self.show.address)
        self._tried(self.model.end(own=own), made, by)

    @rule(own=st.booleans())
    def finalize(self, own: bool) -> None:
        by = self.show.artist if own else self.people[0]
        made = self.chain.build.finalize(by.pubkey(), self.show.address)
        self._tried(self.model.finalize(own=own), made, by)

    @rule(sure=st.integers(0, 4))
    def cancel(self, sure: int) -> None:
        if sure == 0:
            made = self.chain.build.cancel(self.show.artist.pubkey(), self.show.address)
            self._tried(self.model.cancel(), made, self.show.artist)

    # -- what always holds --

    @invariant()
    def the_accounts_are_what_the_model_has(self) -> None:
        sale, vault, model = self.show.sale, self.show.vault, self.model
        assert sale.state == vault.state == _STATES[model.phase]
        assert sale.proceeds == model.proceeds == self._held(self.show.places.sale.address)
        assert vault.total == model.tips == self._held(self.show.places.vault.address)
        assert [tier.sold for tier in sale.tiers] == [tier.sold for tier in model.tiers]
        assert all(tier.sold <= tier.supply for tier in sale.tiers)
        assert sale.tickets == sum(tier.sold for tier in sale.tiers)
        assert (vault.tips_close_at, bool(vault.extended)) == (model.close_at, model.extended)

    @invariant()
    def the_leader_gave_the_most(self) -> None:
        vault, model = self.show.vault, self.model
        leader = None if model.leader is None else self.people[model.leader].pubkey()
        assert (vault.leader, vault.leader_total) == (leader, model.leader_total)
        if model.phase is not Phase.CANCELLED:
            assert model.leader_total == max(model.records.values(), default=0)

    @invariant()
    def no_lamport_is_made_or_lost(self) -> None:
        assert self._all_money() == self.had - self.fees

    @invariant()
    def no_token_is_made_or_lost(self) -> None:
        if self.coin:
            assert self._all_tokens() == _PEOPLE * _TOKENS
            places = self.show.places
            assert self._lamports(places.sale.address) == self._lamports(places.vault.address) == 0

    # -- the end --

    def teardown(self) -> None:
        if not hasattr(self, "chain"):
            return
        self._come_to_an_end()
        for who in range(_PEOPLE):
            if self.model.phase is Phase.CANCELLED:
                self._refund_all(who)
            else:
                self._close_all(who)
        if self.model.phase is Phase.FINALIZED:
            self._claim_all()
        assert self._held(self.show.places.sale.address) == 0
        assert self._held(self.show.places.vault.address) == 0
        for person in self.people:
            assert self.chain.balance(self._ticket(person)) == 0
            assert self.chain.balance(self._record(person)) == 0
        assert self._all_money() == self.had - self.fees

    def _come_to_an_end(self) -> None:
        """Without the artist: nothing waits for somebody who is gone."""
        anyone = self.people[0]
        key, event = anyone.pubkey(), self.show.address
        self.chain.at(max(self.chain.now, self.model.latest + GRACE_S) + GRACE_S)
        self.model.now = self.chain.now
        if self.model.phase is Phase.OPEN:
            may = self.model.end(own=False)
            self._tried(may, self.chain.build.end_event(key, event), anyone)
        self.chain.at(self.chain.now + GRACE_S + 1)
        self.model.now = self.chain.now
        if self.model.phase is Phase.ENDED:
            may = self.model.finalize(own=False)
            self._tried(may, self.chain.build.finalize(key, event), anyone)
        assert self.model.phase in (Phase.FINALIZED, Phase.CANCELLED)

    def _refund_all(self, who: int) -> None:
        if who in self.model.records:
            self.refund_tips(who)
        for tier in range(len(_TIERS)):
            count = self.model.paid[who, tier] + self.model.comp[who, tier]
            if count:
                self.refund(who, tier, count)
        if self.chain.data(self._ticket(self.people[who])):
            self._close_ticket(self.people[who])

    def _close_all(self, who: int) -> None:
        person = self.people[who]
        if self.chain.data(self._ticket(person)):
            self._close_ticket(person)
        if self.chain.data(self._record(person)):
            vault, record = self.show.places.vault.address, self._record(person)
            payer = self.chain.read(TipRecordAccount, record).rent_payer
            accounts = {"vault": vault, "record": record, "rent_payer": payer}
            form = idl("live_tipping")
            made = form.build(EMBEDDED.live_tipping, "close_record", accounts, {})
            self._tried(True, made, self.people[0])

    def _close_ticket(self, person: Keypair) -> None:
        accounts = {
            "holder": person.pubkey(),
            "sale": self.show.places.sale.address,
            "ticket": self._ticket(person),
            "rent_payer": self._ticket_payer(person),
        }
        made = idl("ticket_factory").build(EMBEDDED.ticket_factory, "close_ticket", accounts, {})
        signed = [AccountMeta(person.pubkey(), True, False), *made.accounts[1:]]
        self._tried(True, Instruction(made.program_id, bytes(made.data), signed), person)

    def _claim_all(self) -> None:
        anyone = self.people[0]
        for pot, claim in (
            (self.show.sale, self.chain.build.claim_sale),
            (self.show.vault, self.chain.build.claim_tips),
        ):
            for index, payout in enumerate(pot.payouts):
                made = claim(self.show.address, payout.payee, index, self.payment)
                self._tried(True, made, anyone)

    # -- the details --

    def _ticket(self, holder: Keypair) -> Pubkey:
        return ticket_place(EMBEDDED, self.show.address, holder.pubkey()).address

    def _record(self, tipper: Keypair) -> Pubkey:
        return tip_place(EMBEDDED, self.show.places.vault.address, tipper.pubkey()).address

    def _ticket_payer(self, holder: Keypair) -> Pubkey:
        place = self._ticket(holder)
        if not self.chain.data(place):
            return holder.pubkey()
        return self.chain.read(TicketAccount, place).rent_payer

    def _held(self, pot: Pubkey) -> int:
        """What a pot has of what it is paid in."""
        if self.coin:
            return self.coin.balance(self._tokens(pot))
        return self._lamports(pot)

    def _tokens(self, pot: Pubkey) -> Pubkey:
        assert self.coin
        return pot_tokens_place(pot, self.coin.token_program)

    def _lamports(self, pot: Pubkey) -> int:
        """What it has beyond its rent."""
        rent = self.chain.svm.minimum_balance_for_rent_exemption(len(self.chain.data(pot)))
        return self.chain.balance(pot) - rent

    def _everybody(self) -> list[Pubkey]:
        each = [self.show.artist, self.show.stream, self.chain.treasury, *self.people]
        return [keypair.pubkey() for keypair in each]

    def _all_tokens(self) -> int:
        assert self.coin
        places = self.show.places
        pots = self._held(places.sale.address) + self._held(places.vault.address)
        return pots + sum(self.coin.has(each) for each in self._everybody())

    def _all_money(self) -> int:
        """In lamports."""
        places = self.show.places
        where = self._everybody()
        where += [places.sale.address, places.vault.address, self.show.address]
        where += [self._ticket(person) for person in self.people]
        where += [self._record(person) for person in self.people]
        return sum(self.chain.balance(address) for address in where)


class TokenLife(Life):
    token_program = TOKEN


class Token2022Life(Life):
    token_program = TOKEN_2022


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestTokenLife = TokenLife.TestCase
TestTokenLife.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
TestToken2022Life = Token2022Life.TestCase
TestToken2022Life.settings = TestTokenLife.settings
