"""How an event ends: nobody snipes its RTA, from either side; a show that never was is not paid."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from hausd.core.programs.accounts import EventStatus, PotState
from hausd.core.programs.idl import idl
from tests.support.programs import BUILT, NOW, ProgramChain, Show

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")
CODES = {fault.name: number for number, fault in idl("event_factory").errors.items()}
TIP_CODES = {fault.name: number for number, fault in idl("live_tipping").errors.items()}
SOL = 10**9
DAY = 24 * 3_600
EXTENSION = 60


def playing(tip_extension: int = EXTENSION) -> Show:
    """A show that is on."""
    show = Show.opened(ProgramChain(), tip_extension=tip_extension)
    show.artists("go_live", show.chain.build.go_live(show.artist.pubkey(), show.address))
    return show


def ending(show: Show, by: Keypair) -> Instruction:
    return show.chain.build.end_event(by.pubkey(), show.address)


def moving(show: Show, ends: int) -> Instruction:
    return show.chain.build.set_schedule(show.artist.pubkey(), show.address, NOW, ends)


# -- the artist's side --


@pytest.mark.parametrize("who", ["artist", "stream"])
def test_nobody_takes_the_lead_and_ends_at_once(who: str) -> None:
    """Long before the end, where no late tip has moved anything."""
    show = playing()
    chain, by = show.chain, getattr(show, who)
    fan = chain.person()
    show.tip(fan, SOL // 10)
    chain.at(show.event.scheduled_end - 3_600)
    show.tip(by, SOL // 2)
    assert chain.why_not(ending(show, by), by=by) == CODES["TipsOpen"]
    show.tip(fan, SOL)
    chain.at(show.event.scheduled_end - 1)
    assert chain.why_not(ending(show, by), by=by) == CODES["TipsOpen"]
    chain.at(show.event.scheduled_end + EXTENSION)
    chain.send(ending(show, by), by=by)
    assert show.vault.leader == fan.pubkey()


def test_earlier_end_is_told_as_long_before_as_an_answer_takes() -> None:
    show = playing()
    chain, artist, fan = show.chain, show.artist, show.chain.person()
    for sooner in (1, EXTENSION - 1):
        refused = moving(show, chain.now + sooner)
        assert chain.why_not(refused, by=artist) == TIP_CODES["BadClose"]
    ends = chain.now + EXTENSION
    chain.send(moving(show, ends), by=artist)
    show.tip(artist, SOL)
    chain.at(ends - 1)
    assert chain.why_not(ending(show, artist), by=artist) == CODES["TipsOpen"]
    show.tip(fan, 2 * SOL)
    assert show.vault.tips_close_at == ends - 1 + EXTENSION
    chain.at(show.vault.tips_close_at)
    show.end()
    assert show.vault.leader == fan.pubkey()


def test_end_that_is_near_comes_no_nearer_but_can_be_moved_away() -> None:
    show = playing()
    chain, artist = show.chain, show.artist
    chain.at(show.event.scheduled_end - 10)
    refused = moving(show, show.event.scheduled_end - 1)
    assert chain.why_not(refused, by=artist) == TIP_CODES["BadClose"]
    later = show.event.scheduled_end + 3_600
    chain.send(moving(show, later), by=artist)
    assert show.vault.tips_close_at == later


def test_tips_that_have_closed_are_not_opened_again() -> None:
    """Else the artist would move the end, and take from the winner what was won."""
    show = playing()
    chain, artist = show.chain, show.artist
    chain.at(show.event.scheduled_end)
    again = moving(show, chain.now + 3_600)
    assert chain.why_not(again, by=artist) == TIP_CODES["BadClose"]
    assert show.event.scheduled_end == show.vault.tips_close_at


def test_without_an_extension_the_artist_ends_when_it_is_over() -> None:
    show = playing(0)
    show.chain.send(moving(show, show.chain.now + 1), by=show.artist)
    show.end()
    assert show.event.status is EventStatus.ENDED


# -- the tippers' side --


def test_late_lead_gives_everybody_time_to_answer() -> None:
    show = playing()
    chain = show.chain
    fan, sniper = chain.person(), chain.person()
    show.tip(fan, SOL)
    chain.at(show.event.scheduled_end - 10)
    show.tip(sniper, 2 * SOL)
    closes = show.vault.tips_close_at
    assert show.vault.extended
    assert closes == show.event.scheduled_end + 50
    chain.at(closes - 1)
    assert chain.why_not(ending(show, show.artist), by=show.artist) == CODES["TipsOpen"]
    show.tip(fan, 2 * SOL)
    assert show.vault.leader == fan.pubkey()
    # the same once more: whoever comes last, the other has as long
    assert show.vault.tips_close_at == closes - 1 + EXTENSION
    chain.at(show.vault.tips_close_at)
    late = chain.build.tip(sniper.pubkey(), show.address, 5 * SOL, "")
    assert chain.why_not(late, by=sniper) == TIP_CODES["TipsClosed"]
    show.end()


def test_leader_who_gives_more_and_who_stays_behind_put_nothing_off() -> None:
    show = playing()
    chain, fan, other = show.chain, show.chain.person(), show.chain.person()
    show.tip(fan, SOL)
    chain.at(show.event.scheduled_end - 1)
    show.tip(fan, SOL)
    show.tip(other, SOL)
    assert not show.vault.extended
    assert show.vault.tips_close_at == show.event.scheduled_end


def test_close_is_put_off_eight_times_as_long_and_no_more() -> None:
    show = playing()
    chain, fans = show.chain, [show.chain.person(), show.chain.person()]
    latest = show.event.scheduled_end + 8 * EXTENSION
    for turn in range(20):
        closes = show.vault.tips_close_at
        chain.at(closes - 1)
        show.tip(fans[turn % 2], (turn + 1) * 1_000_000)
        assert show.vault.tips_close_at == min(closes - 1 + EXTENSION, latest)
        if closes == latest:
            break
    assert show.vault.tips_close_at == latest
    chain.at(latest)
    show.end()


# -- a show that never was --


@pytest.mark.parametrize("who", ["artist", "stream"])
def test_show_that_never_went_live_is_not_ended(who: str) -> None:
    show = Show.opened(ProgramChain())
    by = getattr(show, who)
    show.chain.at(show.event.scheduled_end + DAY)
    assert show.chain.why_not(ending(show, by), by=by) == CODES["NeverLive"]


@pytest.mark.parametrize(
    "whose", [lambda show: show.chain.person(), lambda show: show.artist], ids=["anyone", "artist"]
)
def test_show_that_never_was_gives_all_back(whose: Callable[[Show], Keypair]) -> None:
    chain = ProgramChain(fee_bps=250)
    show = Show.opened(chain, tip_extension=EXTENSION)
    fan = chain.person()
    who = fan.pubkey()
    before = chain.balance(who)
    show.buy(fan, 2)
    show.tip(fan, SOL)
    by, abandoned = whose(show), show.event.scheduled_end + 8 * EXTENSION + DAY
    chain.at(abandoned)
    assert chain.why_not(ending(show, by), by=by) in (CODES["Unauthorized"], CODES["NeverLive"])
    chain.at(abandoned + 1)
    chain.send(ending(show, by), by=by)
    assert show.event.status is EventStatus.CANCELLED
    assert (show.sale.state, show.vault.state) == (PotState.REFUNDING, PotState.REFUNDING)
    finalize = chain.build.finalize(by.pubkey(), show.address)
    assert chain.why_not(finalize, by=by) == CODES["WrongStatus"]
    chain.send(chain.build.refund_ticket(who, show.address, who, 0, 2), by=fan)
    chain.send(chain.build.refund_tips(who, show.address, who), by=fan)
    record = chain.build.tip(who, show.address, SOL, "").accounts[2].pubkey
    assert before - chain.balance(who) == 5 * 5_000 + chain.balance(record)
    assert (show.sale.proceeds, show.vault.total) == (0, 0)
