"""A delegation has one text, which its wallet signs, and nothing else is read as one."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.delegations import DELEGATION, EVENT, WALLET, delegations, signed
from support.mangle import mangled

from hausd.core.delegation import (
    Delegation,
    DelegationError,
    ForgedDelegation,
    Scope,
    parse,
    verify,
)
from hausd.core.ids import RoomId

# The ABNF that Phantom publishes, as a regular expression; without what a delegation leaves out.
_CHARS = r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]"
_WALLETS_FORM = re.compile(
    r"[^\n ]+ wants you to sign in with your Solana account:\n"
    r"[1-9A-HJ-NP-Za-km-z]{32,44}\n"
    rf"\n(?:{_CHARS}| )+\n"
    r"\nVersion: 1"
    r"\nNonce: [A-Za-z0-9]{8,}"
    r"\nExpiration Time: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    r"\nNot Before: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    rf"\nResources:(?:\n- [a-z]+:{_CHARS}+)+"
)
_SAME = (
    ("\nResources:", "\nResources: "),
    ("Version: 1", "Version: 01"),
    ("- haus:scope/watch", "- haus:scope/watch\n- haus:scope/watch"),
    ("- haus:scope/watch", "- haus:scope/watch\n"),
    ("- haus:scope/watch", "- haus:scope/watch\n- haus:scope/everything"),
    ("- haus:scope/watch", ""),
    ("\n", "\r\n"),
    ("hausd wants", "hausd  wants"),
    ("watch in", "see"),
    (":00Z", ":60Z"),
    ("Nonce: 0", "Nonce: O"),
)


@given(delegations())
def test_what_is_signed_is_what_is_read(delegation: Delegation) -> None:
    text, signature = signed(delegation)
    assert verify(text, signature).delegation == delegation


@given(delegations())
def test_wallets_read_it_as_their_own_form_says(delegation: Delegation) -> None:
    assert _WALLETS_FORM.fullmatch(delegation.text)


@pytest.mark.parametrize(("this", "that"), _SAME)
def test_no_other_text_says_the_same(this: str, that: str) -> None:
    assert this in DELEGATION.text
    with pytest.raises(DelegationError):
        parse(DELEGATION.text.replace(this, that))


def test_the_sentence_says_what_the_fields_say() -> None:
    """Who reads the sentence only is not deceived: another sentence is refused."""
    harmless = DELEGATION.text.replace(f"the room {EVENT}", "no room at all")
    with pytest.raises(DelegationError):
        parse(harmless)
    every = replace(DELEGATION, room=None, scopes=frozenset(Scope)).text
    assert "watch and chat and moderate in every room" in every


@given(st.data())
def test_a_changed_text_or_signature_is_refused(data: st.DataObject) -> None:
    text, signature = signed(DELEGATION)
    other = data.draw(mangled([text.encode()])).decode("utf-8", "surrogateescape")
    if other != text:
        with pytest.raises(DelegationError):
            verify(other, signature)
    broken = data.draw(mangled([signature]))
    if broken != signature:
        with pytest.raises(ForgedDelegation):
            verify(text, broken)


def test_another_wallets_signature_is_forged() -> None:
    _, signature = signed(DELEGATION, seed=bytes([9]) * 32)
    with pytest.raises(ForgedDelegation):
        verify(DELEGATION.text, signature)


@pytest.mark.parametrize(
    "changed",
    [
        {"domain": "two words"},
        {"domain": "line\nbreak"},
        {"domain": ""},
        {"domain": "a" * 256},
        {"chain": b"short"},
        {"room": RoomId("no room")},
        {"room": RoomId("k51" + "0" * 59)},
        {"room": RoomId("1" * 44)},
        {"wallet": "0" * 44},
        {"wallet": WALLET + "1"},
        {"node": "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"},
        {"sealing_key": bytes(31)},
        {"scopes": frozenset()},
        {"not_before_s": DELEGATION.not_after_s},
        {"not_before_s": -1},
        {"not_after_s": DELEGATION.not_before_s + 367 * 24 * 3600},
        {"not_after_s": 10**12},
        {"nonce": bytes(15)},
    ],
)
def test_what_no_text_can_say_is_no_delegation(changed: dict[str, object]) -> None:
    with pytest.raises(DelegationError):
        replace(DELEGATION, **changed)  # type: ignore[arg-type] # by name


def test_it_covers_its_room_and_its_scopes_only() -> None:
    other = RoomId(WALLET)
    assert DELEGATION.covers(EVENT, Scope.WATCH)
    assert not DELEGATION.covers(other, Scope.WATCH)
    assert not DELEGATION.covers(EVENT, Scope.CHAT)
    assert replace(DELEGATION, room=None).covers(other, Scope.WATCH)
