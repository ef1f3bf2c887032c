"""The states of a pot: which of the event's words are heard in which, and none of another event."""

from __future__ import annotations

import struct

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import NOBODY
from hausd.core.programs.addresses import TOKEN, TOKEN_2022, EventPlaces, Pda
from tests.support.pots import BUILD, NOW, PROGRAMS, TIER, Pots, Refused, payouts_data, tier_data

_WRONG_ACCOUNT, _BAD_DATA, _WRONG_STATE, _BAD_CLOSE = 6100, 6102, 6103, 6002
_PAID_IN_SOL, _PAID_IN_TOKENS = 6122, 6123
_EMPTY = payouts_data([])
_LATER = struct.pack("<qq", NOW + 9_000, NOW + 9_000)
_REACHED = {
    "draft": (),
    "open": ("open",),
    "closed": ("open", "close"),
    "settled": ("open", "close", "settle"),
    "refunding": ("open", "cancel"),
}
_HEARD = {
    "open": {"draft"},
    "close": {"open"},
    "settle": {"closed"},
    "cancel": {"draft", "open"},
    "add_tier": {"draft"},
    "set_close": {"draft", "open"},
}
_DATA = {"settle": _EMPTY, "add_tier": tier_data(TIER), "set_close": _LATER}


def _tell(pots: Pots, kind: str, word: str, more: bytes = b"") -> None:
    plain = word in ("settle", "add_tier", "set_close")
    name = word if plain else f"{word}_{kind}"
    told = pots.sale_told if kind == "sale" else pots.vault_told
    told(name, _DATA.get(word, b"") + more)


@pytest.mark.parametrize("kind", ["sale", "vault"])
@pytest.mark.parametrize("state", _REACHED)
def test_each_word_is_heard_in_its_states_alone(kind: str, state: str) -> None:
    for word, states in _HEARD.items():
        if word == ("set_close" if kind == "sale" else "add_tier"):
            continue
        pots = Pots.of()
        for step in _REACHED[state]:
            _tell(pots, kind, step)
        if state in states:
            _tell(pots, kind, word)
        else:
            with pytest.raises(Refused, match=f"^{_WRONG_STATE}: "):
                _tell(pots, kind, word)


@pytest.mark.parametrize("kind", ["sale", "vault"])
@pytest.mark.parametrize("word", _HEARD)
def test_each_word_is_heard_to_its_end(kind: str, word: str) -> None:
    if word == ("set_close" if kind == "sale" else "add_tier"):
        return
    pots = Pots.of()
    for step in _REACHED[min(_HEARD[word])]:
        _tell(pots, kind, step)
    with pytest.raises(Refused, match=f"^{_BAD_DATA}: "):
        _tell(pots, kind, word, b"\0")
    _tell(pots, kind, word)


def test_what_is_over_in_one_event_closes_nothing_in_another() -> None:
    """A record that can still be refunded, with the vault of an event that is settled."""
    pots = Pots.opened()
    over = Pots.opened(beside=pots)
    for kind in ("sale", "vault"):
        _tell(over, kind, "close")
        _tell(over, kind, "settle")
    a = pots.person()
    pots.buy(a)
    pots.tip(a, 5_000)
    record = pots.close_record(a.pubkey(), a.pubkey())
    ticket = pots.close_ticket(a.pubkey(), a.pubkey(), signed=True)
    for made, index, pot in (
        (record, 0, over.places.vault.address),
        (ticket, 1, over.places.sale.address),
    ):
        accounts = list(made.accounts)
        accounts[index] = AccountMeta(pot, False, False)
        theirs = Instruction(made.program_id, bytes(made.data), accounts)
        assert pots.why_not(theirs, by=a) == _WRONG_ACCOUNT


def test_what_is_called_off_elsewhere_gives_nothing_back_here() -> None:
    pots = Pots.opened()
    off = Pots.opened(beside=pots)
    a, b = pots.person(), pots.person()
    pots.buy(a)
    pots.tip(a, 5_000)
    off.buy(b)
    off.tip(b, 5_000)
    off.sale_told("cancel_sale")
    off.vault_told("cancel_vault")
    who, event = a.pubkey(), pots.event.address
    for made, pot in (
        (BUILD.refund_ticket(who, event, who, 0, 1), off.places.sale.address),
        (BUILD.refund_tips(who, event, who), off.places.vault.address),
    ):
        accounts = list(made.accounts)
        accounts[1] = AccountMeta(pot, False, True)
        theirs = Instruction(made.program_id, bytes(made.data), accounts)
        assert pots.why_not(theirs, by=a) == _WRONG_ACCOUNT


@pytest.mark.parametrize(("field", "why"), [(0, _PAID_IN_TOKENS), (1, _PAID_IN_SOL)])
def test_a_pot_is_of_sol_or_has_token_accounts(field: int, why: int) -> None:
    """``field``: the mint, the token program."""
    pots = Pots.opened()
    fresh = Pots(pots.svm, pots.artist, b"a fresh!", *_places(b"a fresh!"))
    fresh.send(fresh.made_event(), by=fresh.artist)
    for made in (fresh.init_sale(), fresh.init_vault()):
        data = bytes(made.data)
        start = data.index(bytes(NOBODY) * 2) + 32 * field
        token = data[:start] + bytes(Pubkey.new_unique()) + data[start + 32 :]
        changed = Instruction(made.program_id, token, made.accounts)
        assert fresh.why_not(changed, by=fresh.artist) == why
        fresh.send(made, by=fresh.artist)


@pytest.mark.parametrize("field", [0, 1])
def test_a_pot_is_of_the_token_whose_accounts_it_is_shown(field: int) -> None:
    """``field``: the mint, the token program."""
    pots = Pots.opened(token_program=TOKEN)
    fresh = Pots(pots.svm, pots.artist, b"a fresh!", *_places(b"a fresh!"), pots.coin)
    fresh.send(fresh.made_event(), by=fresh.artist)
    for made in (fresh.init_sale(), fresh.init_vault()):
        data = bytes(made.data)
        start = data.index(bytes(fresh.payment.mint)) + 32 * field
        other = (Pubkey.new_unique(), TOKEN_2022)[field]
        token = data[:start] + bytes(other) + data[start + 32 :]
        changed = Instruction(made.program_id, token, made.accounts)
        assert fresh.why_not(changed, by=fresh.artist) == _WRONG_ACCOUNT


def test_a_pot_is_made_of_just_what_is_told() -> None:
    pots = Pots.opened()
    fresh = Pots(pots.svm, pots.artist, b"a fresh!", *_places(b"a fresh!"))
    fresh.send(fresh.made_event(), by=fresh.artist)
    for made in (fresh.init_sale(), fresh.init_vault()):
        more = Instruction(made.program_id, bytes(made.data) + b"\0", made.accounts)
        assert fresh.why_not(more, by=fresh.artist) == _BAD_DATA
        fresh.send(made, by=fresh.artist)


def test_a_vault_that_would_close_after_its_latest_is_not_made() -> None:
    pots = Pots.opened()
    fresh = Pots(pots.svm, pots.artist, b"a fresh!", *_places(b"a fresh!"))
    fresh.send(fresh.made_event(), by=fresh.artist)
    made = fresh.init_vault()
    times = struct.pack("<qqI", NOW + 2, NOW + 1, 0)
    changed = Instruction(made.program_id, bytes(made.data)[: -len(times)] + times, made.accounts)
    assert fresh.why_not(changed, by=fresh.artist) == _BAD_CLOSE


def _places(seed: bytes) -> tuple[Pda, EventPlaces]:
    event = Pda.of(PROGRAMS.event_factory, seed)
    return event, EventPlaces.of(PROGRAMS, event.address)
