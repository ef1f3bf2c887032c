"""Playback tokens open what they are for, to whom they were given; players are counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.delegations import EVENT, WALLET

from hausd.core.ids import RoomId
from hausd.policy.playback import (
    IDLE_S,
    MAX_GUESTS,
    TOKEN_S,
    Playback,
    PlaybackKey,
    Playbacks,
    TurnedAway,
    network_of,
    renewed,
)

KEY, OTHER_KEY = PlaybackKey(bytes(32)), PlaybackKey(bytes([1]) * 32)
OTHER_EVENT = RoomId("5" * 44)
NOW_S = 1_800_000_000
PLAYBACK = Playback(bytes(range(8)), WALLET, NOW_S + TOKEN_S, NOW_S + 24 * 3600)
HOME = "203.0.113.7"
TOKEN = KEY.mint(EVENT, HOME, PLAYBACK)


def test_a_token_says_what_it_was_made_for() -> None:
    assert KEY.read(EVENT, HOME, TOKEN, NOW_S) == (PLAYBACK, None)
    assert KEY.read(EVENT, "203.0.113.250", TOKEN, NOW_S) == (PLAYBACK, None)
    v6 = KEY.mint(EVENT, "2001:db8:0:100::1", PLAYBACK)
    assert KEY.read(EVENT, "2001:db8:0:1ff::2", v6, NOW_S) == (PLAYBACK, None)


def test_elsewhere_later_or_for_another_room_it_opens_nothing() -> None:
    for address in ("203.0.114.7", "2001:db8::1", "", "nowhere"):
        assert KEY.read(EVENT, address, TOKEN, NOW_S) == (PLAYBACK, TurnedAway.ELSEWHERE)
    late = KEY.read(EVENT, HOME, TOKEN, NOW_S + TOKEN_S)
    assert late == (PLAYBACK, TurnedAway.EXPIRED)
    assert KEY.read(OTHER_EVENT, HOME, TOKEN, NOW_S) == (None, TurnedAway.BAD_TOKEN)
    assert OTHER_KEY.read(EVENT, HOME, TOKEN, NOW_S) == (None, TurnedAway.BAD_TOKEN)


@given(st.data())
def test_whatever_is_changed_in_it_it_is_bad(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(TOKEN) - 1))
    other = data.draw(st.characters(max_codepoint=0x17F).filter(lambda one: one != TOKEN[at]))
    changed = data.draw(
        st.sampled_from((
            TOKEN[:at] + other + TOKEN[at + 1 :],
            TOKEN[:at] + other + TOKEN[at:],
            TOKEN[:at],
        ))
    )  # fmt: skip
    assert KEY.read(EVENT, HOME, changed, NOW_S) == (None, TurnedAway.BAD_TOKEN)


@given(st.text(max_size=200))
def test_what_is_no_token_is_bad(told: str) -> None:
    assert KEY.read(EVENT, HOME, told, NOW_S) == (None, TurnedAway.BAD_TOKEN)


def test_a_token_shows_neither_address_nor_key() -> None:
    assert repr(KEY) == "PlaybackKey()"
    assert len({KEY.mint(EVENT, f"203.0.{n}.1", PLAYBACK) for n in range(50)}) == 50


def test_no_renewal_goes_past_the_delegations_end() -> None:
    assert renewed(PLAYBACK, NOW_S + 100).ends_s == NOW_S + 100 + TOKEN_S
    assert renewed(PLAYBACK, PLAYBACK.last_s - 5).ends_s == PLAYBACK.last_s


def test_a_challenge_is_this_nodes_for_this_text_and_network() -> None:
    right = KEY.nonce("text", HOME, b"fresh...")
    assert right == KEY.nonce("text", "203.0.113.9", b"fresh...")
    others = (
        OTHER_KEY.nonce("text", HOME, b"fresh..."),
        KEY.nonce("texts", HOME, b"fresh..."),
        KEY.nonce("text", "198.51.100.7", b"fresh..."),
    )
    assert right not in others


def test_networks() -> None:
    assert network_of("203.0.113.7") == "203.0.113.0/24"
    assert network_of("::ffff:203.0.113.7") == network_of("::ffff:cb00:7107") == "203.0.113.0/24"
    assert network_of("2001:db8:1:2ff::1") == "2001:db8:1:200::/56"
    assert network_of("fe80::1%eth0") == "fe80::/56"


def test_a_ticket_has_so_many_players_and_a_place_is_free_when_one_stops() -> None:
    playbacks = Playbacks(each=2)
    assert playbacks.watch(EVENT, WALLET, b"1", 0) is TurnedAway.UNCHECKED
    playbacks.found(EVENT, WALLET, 1, 0)
    for at_s, player in ((0, b"1"), (0, b"3"), (10, b"1"), (10, b"3")):
        assert playbacks.watch(EVENT, WALLET, player, at_s) is None
    assert playbacks.watch(EVENT, WALLET, b"2", 10) is TurnedAway.TOO_MANY
    playbacks.found(EVENT, WALLET, 2, 10)  # another ticket
    assert playbacks.watch(EVENT, WALLET, b"2", 10) is None
    playbacks.found(EVENT, WALLET, 1, 10)
    late_s = 10 + IDLE_S
    assert playbacks.watch(EVENT, WALLET, b"2", late_s - 1) is None
    assert playbacks.watch(EVENT, WALLET, b"4", late_s) is None  # 1 and 3 stopped
    assert playbacks.watch(EVENT, WALLET, b"1", late_s) is TurnedAway.TOO_MANY
    assert len(playbacks.players(late_s)) == 2
    playbacks.found(EVENT, WALLET, 0, late_s)
    assert playbacks.watch(EVENT, WALLET, b"2", late_s) is TurnedAway.LOST


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=80), st.integers(1, 3))
def test_never_more_players_than_tickets_allow(asked: list[tuple[int, int]], each: int) -> None:
    playbacks, now_s = Playbacks(each), 0.0
    playbacks.found(EVENT, WALLET, 1, now_s)
    let_in: dict[int, float] = {}
    for player, passed_s in asked:
        now_s += passed_s
        if playbacks.watch(EVENT, WALLET, bytes([player]), now_s) is None:
            let_in[player] = now_s
        assert sum(now_s - at_s < IDLE_S for at_s in let_in.values()) <= each


def test_the_crowd_is_bounded_and_who_left_is_forgotten() -> None:
    playbacks = Playbacks()
    for number in range(MAX_GUESTS + 10):
        playbacks.found(EVENT, str(number), 1, 0)
    assert len(playbacks.inside(0)) == MAX_GUESTS
    assert playbacks.inside(TOKEN_S) == []
