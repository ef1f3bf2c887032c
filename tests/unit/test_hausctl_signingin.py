"""Signing in at somebody else's node signs that and nothing more, whatever the node asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.delegations import DELEGATION, EVENT, WALLET

from hausctl.client import Refused
from hausctl.signingin import Place, checked
from hausd.core.delegation import Scope

A_DAY = replace(DELEGATION, not_after_s=DELEGATION.not_before_s + 24 * 3600)


def test_the_text_of_a_sign_in_is_signed() -> None:
    assert checked(A_DAY.text, WALLET) == A_DAY


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (replace(A_DAY, room=None).text, "wrong-text"),
        (replace(A_DAY, not_after_s=A_DAY.not_after_s + 1).text, "wrong-text"),
        (replace(A_DAY, scopes=frozenset(Scope)).text, "wrong-text"),
        (f"{A_DAY.text}\nPay 5 SOL", "bad-text"),
        ("I owe you 5 SOL", "bad-text"),
    ],
)
def test_nothing_else_is(text: str, code: str) -> None:
    with pytest.raises(Refused) as found:
        checked(text, WALLET)
    assert found.value.code == code


def test_a_text_for_another_wallet_is_not() -> None:
    with pytest.raises(Refused) as found:
        checked(A_DAY.text, EVENT)
    assert found.value.code == "other-wallet"


@pytest.mark.parametrize(
    "url",
    [
        f"https://live.example:8443/?room={EVENT}",
        f"https://live.example:8443/live/{EVENT}/index.m3u8",
    ],
)
def test_a_room_is_named_by_its_page_or_its_playlist(url: str) -> None:
    place = Place.of(url)
    assert (place.base, place.room) == ("https://live.example:8443", EVENT)
    assert (place.name, place.port, place.secure) == ("live.example", 8443, True)


@pytest.mark.parametrize(
    "url", ["", "https://live.example/", f"file:///?room={EVENT}", "https://[::1"]
)
def test_what_names_no_room_is_refused_in_words(url: str) -> None:
    with pytest.raises(Refused) as found:
        Place.of(url)
    assert found.value.code == "bad-url"
