"""A card says what its room's authority says, or is refused; lists of rooms rely on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.content import AUDIO, KEY, NOW_MS, OTHER_KEY, ROOM, VIDEO

from hausd.core.dagcbor import decode, encode
from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.wire.cards import (
    MAX_CARD_BYTES,
    MAX_TEXT_CHARS,
    Card,
    CardError,
    UnknownAuthority,
    replaces,
    sign_card,
    verify_card,
)

CARD = Card(
    ROOM, 4, NOW_MS, "Late set – 2 a.m.", "DJ Ö", RoomState.LIVE, (VIDEO, AUDIO), starts_ms=NOW_MS
)
EVENT = replace(CARD, room=RoomId("4Nd1mYQtzFVpVd6mVvAeKQ1yQXcoVPz2VyMUG4CtPMxb"), chain=bytes(32))


def test_a_card_survives_the_way() -> None:
    signed = sign_card(CARD, KEY)
    assert verify_card(signed.encoded) == signed
    assert signed.card == CARD


def test_only_the_rooms_own_key_signs_for_an_open_room() -> None:
    forged = sign_card(CARD, OTHER_KEY).encoded
    with pytest.raises(CardError, match="signature"):
        verify_card(forged)


def test_an_events_card_waits_for_who_knows_its_authority() -> None:
    signed = sign_card(EVENT, OTHER_KEY)
    with pytest.raises(UnknownAuthority):
        verify_card(signed.encoded)
    assert verify_card(signed.encoded, lambda _: OTHER_KEY.public) == signed
    with pytest.raises(CardError, match="signature"):
        verify_card(signed.encoded, lambda _: KEY.public)


@pytest.mark.parametrize(
    "changes",
    [
        {"title": ""},
        {"title": "x" * (MAX_TEXT_CHARS + 1)},
        {"title": "two\nlines"},
        {"title": "turned \u202eround"},
        {"artist": "\x1b[31m"},
        {"chain": bytes(32)},
        {"renditions": (VIDEO, VIDEO)},
        {"renditions": (VIDEO,) * 17},
        {"n": -1},
        {"starts_ms": -1},
    ],
)
def test_what_others_would_refuse_is_not_signed(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        sign_card(replace(CARD, **changes), KEY)  # type: ignore[arg-type]


def test_an_event_has_a_chain() -> None:
    with pytest.raises(ValueError, match="chain"):
        sign_card(replace(EVENT, chain=None), KEY)


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"more": 1},
        {"chain": b"short"},
        {"gated": 0},
        {"state": "asleep"},
        {"room": "a/b"},
        {"title": 5},
        {"renditions": {}},
        {"rate": 0},
        {"rate": 1 << 41},
        {"copies": None},
        {"copies": [1]},
        {"copies": [1, 1 << 16]},
        {"copies": [True, 1]},
    ],
)
def test_a_malformed_card_is_refused_even_if_it_is_signed(changes: dict[str, object]) -> None:
    match decode(sign_card(CARD, KEY).encoded):
        case [str(name), bytes(said), bytes()]:
            body = decode(said)
    assert isinstance(body, dict)
    changed = encode(body | changes)
    with pytest.raises(CardError):
        verify_card(encode([name, changed, KEY.sign(name.encode() + b"\0" + changed)]))


def test_a_card_is_small_and_nothing_else_is_one() -> None:
    signed = sign_card(CARD, KEY).encoded
    for untrusted in (b"", signed[:-1], signed + b"\0", encode(["hausd/1/tick", b"", b""])):
        with pytest.raises(CardError):
            verify_card(untrusted)
    with pytest.raises(CardError, match="more than"):
        verify_card(signed + bytes(MAX_CARD_BYTES))


def test_the_newer_card_stays() -> None:
    assert replaces(None, CARD)
    assert replaces(CARD, replace(CARD, n=5, time_ms=0))
    assert replaces(CARD, replace(CARD, time_ms=NOW_MS + 1)), "a restored backup"
    assert not replaces(CARD, CARD)
    assert not replaces(CARD, replace(CARD, n=3, time_ms=NOW_MS + 9))
    assert not replaces(CARD, replace(EVENT, n=9))


@given(st.text(max_size=MAX_TEXT_CHARS), st.text(max_size=MAX_TEXT_CHARS))
def test_any_text_is_signed_and_read_alike_or_not_signed(title: str, artist: str) -> None:
    try:
        signed = sign_card(replace(CARD, title=title, artist=artist), KEY)
    except ValueError:
        return
    assert verify_card(signed.encoded).card.title == title
