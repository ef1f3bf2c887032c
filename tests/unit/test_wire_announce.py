"""Announcements: only the stream authority can make one, and nobody can bend it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.authority import Authority
from support.content import (
    AUDIO,
    KEY,
    NOW_MS,
    OTHER_KEY,
    OTHER_ROOM,
    ROOM,
    SESSION,
    VIDEO,
    leaf,
    part,
    statements,
)
from support.peers import address

from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import decode, encode
from hausd.core.ids import SessionId
from hausd.core.keys import PublicKey
from hausd.core.live import RoomState
from hausd.wire import announce
from hausd.wire.announce import (
    AnnounceError,
    Signed,
    advances,
    contradict,
    pack,
    sign,
    unpack,
    verify,
)
from hausd.wire.statements import End, Head, Statement, Tick, TickGap, TickGop, Track, body

MANIFEST = CID.of(b"manifest", Codec.DAG_CBOR)


def gop(*parts: object, msn: int = 1000) -> TickGop:
    return TickGop(msn, 2, 200, tuple(parts))  # type: ignore[arg-type] # TickParts


def four_renditions() -> TickGop:
    """0.4 s of a usual ladder with its audio: 6, 3, 1.2 and 0.6 Mbit/s, 128 kbit/s."""
    rates = {"source": 6_000, "720p": 3_000, "480p": 1_200, "360p": 600, "audio": 128}
    return gop(*(part(name, 3, rate * 50, independent=True) for name, rate in rates.items()))


def chain(count: int, authority: Authority | None = None) -> list[Signed[Tick]]:
    authority = authority or Authority(ROOM, SESSION, KEY)
    return [authority.tick(NOW_MS + n * 400, [gop(part("720p", n, 150_000))]) for n in range(count)]


@given(statements)
def test_what_is_signed_verifies_as_the_same_statement(statement: Statement) -> None:
    signed = sign(statement, KEY)
    assert verify(signed.encoded, KEY.public, statement.room) == signed


@given(statements, st.data())
def test_any_flipped_bit_fails_verification(statement: Statement, data: st.DataObject) -> None:
    flipped = bytearray(sign(statement, KEY).encoded)
    at = data.draw(st.integers(0, len(flipped) * 8 - 1), label="bit")
    flipped[at // 8] ^= 1 << at % 8
    with pytest.raises(AnnounceError):
        verify(bytes(flipped), KEY.public, statement.room)


def test_every_single_bit_of_a_tick_counts() -> None:
    encoded = chain(1)[0].encoded
    for at in range(len(encoded) * 8):
        flipped = bytearray(encoded)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(AnnounceError):
            verify(bytes(flipped), KEY.public, ROOM)


def test_another_key_or_room_is_refused() -> None:
    signed = chain(1)[0]
    with pytest.raises(AnnounceError, match="stream authority"):
        verify(signed.encoded, OTHER_KEY.public, ROOM)
    with pytest.raises(AnnounceError, match="another room"):
        verify(signed.encoded, KEY.public, OTHER_ROOM)
    with pytest.raises(AnnounceError):
        verify(signed.encoded, PublicKey(bytes(32)), ROOM)


def test_what_was_signed_as_one_kind_does_not_pass_for_another() -> None:
    """An end's body is also a tick's but for its fields, so the name is signed with it."""
    end = sign(End(ROOM, SESSION, 0, None, NOW_MS, RoomState.ENDED), KEY)
    match decode(end.encoded):
        case [str(), bytes(said), bytes(signature)]:
            pass
    for name in ("hausd/1/tick", "hausd/1/head", "hausd/2/end", "", "hausd/1/end\0"):
        with pytest.raises(AnnounceError):
            verify(encode([name, said, signature]), KEY.public, ROOM)
    assert KEY.public.verifies(signature, b"hausd/1/end\0" + said)


def resigned(changed: dict[str, object], name: str = "hausd/1/tick") -> bytes:
    said = encode(changed)
    return encode([name, said, KEY.sign(name.encode() + b"\0" + said)])


TICK = body(Tick(ROOM, SESSION, 1, bytes(32), NOW_MS, (gop(part("720p", 0, 150_000)),)))
PART = body(Tick(ROOM, SESSION, 0, None, 0, (gop(part("720p", 0, 9)),)))["gops"][0]["parts"][0]  # type: ignore[index] # a list of maps
HEAD = body(Head(ROOM, SESSION, 1, MANIFEST, RoomState.LIVE, NOW_MS))


def in_part(**changes: object) -> list[dict[str, object]]:
    return [{"msn": 1, "run": 0, "segment": 0, "parts": [PART | changes]}]


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": True},
        {"room": "../etc"},
        {"room": b"bytes"},
        {"session": [1]},
        {"session": [2**53, 0]},
        {"session": [1, -1]},
        {"session": [-1, 0]},
        {"session": [True, 0]},
        {"n": -1},
        {"n": 2**53},
        {"n": True},
        {"n": 0},
        {"before": None},
        {"before": b"short"},
        {"time": "now"},
        {"gops": None},
        {"gops": [{}]},
        {"gops": [{"msn": 1, "run": 0, "segment": 0, "parts": []}]},
        {"gops": in_part() * 2},
        {"gops": [*in_part(), {"msn": 0, "run": 0, "segment": 0, "parts": [PART]}]},
        {"gops": [{"msn": 1, "run": 0, "segment": 0, "parts": [PART, PART]}]},
        {"gops": in_part(size=0)},
        {"gops": in_part(size=131073)},
        {"gops": in_part(size=2**40, leaves=b"")},
        {"gops": in_part(leaves=bytes(31))},
        {"gops": in_part(leaves=bytes(64))},
        {"gops": in_part(duration=0)},
        {"gops": in_part(rendition="..")},
        {"gops": in_part(rendition="a/b")},
        {"gops": in_part(rendition="a\nb")},
        {"gops": in_part(rendition="x" * 33)},
        {"gops": in_part(independent=False)},
        {"gops": in_part(more=1)},
        {"gaps": []},
        {"gaps": [{"rendition": "720p"}]},
        {"endsRun": False},
        {"more": None},
    ],
)
def test_even_the_authority_cannot_sign_nonsense(changes: dict[str, object]) -> None:
    assert verify(resigned(TICK), KEY.public, ROOM)
    with pytest.raises(AnnounceError):
        verify(resigned(TICK | changes), KEY.public, ROOM)


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest": leaf(0)},
        {"manifest": bytes(36)},
        {"state": "asleep"},
        {"time": -1},
        {"holders": []},
        {"holders": [["nobody", []]]},
        {"holders": [[address(1).peer, []]] * 2},
        {"holders": [[address(n).peer, []] for n in range(9)]},
    ],
)
def test_a_head_names_a_manifest(changes: dict[str, object]) -> None:
    assert verify(resigned(HEAD, "hausd/1/head"), KEY.public, ROOM)
    named = {"holders": [[address(1).peer, ["/ip4/192.0.2.1/tcp/4001"]]]}
    assert verify(resigned(HEAD | named, "hausd/1/head"), KEY.public, ROOM)
    with pytest.raises(AnnounceError):
        verify(resigned(HEAD | changes, "hausd/1/head"), KEY.public, ROOM)


@pytest.mark.parametrize("codecs", ['avc1"', "a\nb", "a b", "x" * 65])
def test_nothing_that_could_break_a_playlist_is_a_codec(codecs: str) -> None:
    authority = Authority(ROOM, SESSION, KEY)
    with pytest.raises(ValueError):
        track(authority, codecs=codecs)


@pytest.mark.parametrize("untrusted", [b"", b"\x80", b"\x83\x60\x40\x40", b"\xff" * 100, bytes(99)])
def test_what_is_no_statement_is_refused(untrusted: bytes) -> None:
    with pytest.raises(AnnounceError):
        verify(untrusted, KEY.public, ROOM)
    with pytest.raises(AnnounceError):
        unpack(untrusted, KEY.public, ROOM)


def test_too_much_is_neither_signed_nor_read() -> None:
    many = [gop(*(part(f"r{n}", 0, 32 * 2**20) for n in range(8)))]
    with pytest.raises(ValueError, match="too large"):
        Authority(ROOM, SESSION, KEY).tick(NOW_MS, many)
    with pytest.raises(AnnounceError, match="more than the"):
        verify(bytes(announce.MAX_STATEMENT_BYTES + 1), KEY.public, ROOM)
    with pytest.raises(AnnounceError, match="more than the"):
        unpack(bytes(announce.MAX_MESSAGE_BYTES + 1), KEY.public, ROOM)
    many_values = encode([{}] * 20_000)
    for read in (verify, unpack):
        with pytest.raises(AnnounceError, match=r"more than the \d values"):
            read(many_values, KEY.public, ROOM)
    assert announce.untrusted_kind(many_values) == ""


# -- messages --


def test_a_tick_of_four_renditions_and_audio_is_about_a_kilobyte_and_its_message_three() -> None:
    authority = Authority(ROOM, SESSION, KEY)
    for n in range(3):
        signed = authority.tick(NOW_MS + n, [four_renditions()])
    assert len(signed.encoded) < 1100
    assert len(authority.message(signed)) < 3300


def test_a_message_repeats_the_two_ticks_before() -> None:
    authority = Authority(ROOM, SESSION, KEY)
    made = []
    for one in range(5):
        made.append(authority.tick(NOW_MS + one))
        message = authority.message(made[-1])
        assert unpack(message, KEY.public, ROOM) == tuple(made[-3:][::-1])
    end = authority.end(NOW_MS, RoomState.ENDED)
    assert unpack(authority.message(end), KEY.public, ROOM) == (end, made[4], made[3])
    head = authority.head(MANIFEST, RoomState.ENDED, NOW_MS)
    assert unpack(authority.message(head), KEY.public, ROOM) == (head,)


def test_what_is_known_is_not_verified_again() -> None:
    ticks = chain(3)
    message = pack(ticks[2], ticks[1::-1])
    assert unpack(message, KEY.public, ROOM, {ticks[1].digest}) == (ticks[2],)
    assert unpack(message, KEY.public, ROOM, {ticks[0].digest}) == (ticks[2], ticks[1])


def test_nothing_can_be_slipped_in_beside_a_good_statement() -> None:
    ticks = chain(4)
    head = sign(Head(ROOM, SESSION, 0, MANIFEST, RoomState.LIVE, NOW_MS), KEY)
    for wrong in (
        [ticks[3], ticks[1]],
        [ticks[3], ticks[2], ticks[0]],
        [ticks[2], ticks[3]],
        [ticks[3], ticks[3]],
        [ticks[3], head],
        [head, ticks[3]],
        [ticks[0], head],
        ticks[::-1],
        [],
    ):
        with pytest.raises(AnnounceError):
            unpack(encode([one.encoded for one in wrong]), KEY.public, ROOM)
    with pytest.raises(AnnounceError, match="byte strings"):
        unpack(encode(["text"]), KEY.public, ROOM)


def test_ticks_too_large_to_be_repeated_are_left_out() -> None:
    parts = [part(f"r{n}", 0, 7 * 2**20) for n in range(16)]
    authority = Authority(ROOM, SESSION, KEY)
    for _ in range(3):
        signed = authority.tick(NOW_MS, [gop(*parts)])
    message = authority.message(signed)
    assert len(message) <= announce.MAX_MESSAGE_BYTES
    assert len(unpack(message, KEY.public, ROOM)) == 2


# -- the signing side --


def track(authority: Authority, **changes: object) -> Signed[Track]:
    return authority.track(
        replace(VIDEO, **changes),  # type: ignore[arg-type] # by name
        run=1,
        init=leaf(0),
        init_size=900,
        target_s=2,
        part_target_ms=434,
        window_ms=60_000,
        peak_bps=3_100_000,
        average_bps=2_900_000,
    )


def test_every_sequence_counts_from_nought_and_ticks_are_chained() -> None:
    authority = Authority(ROOM, SESSION, KEY)
    first = track(authority)
    ticks = [authority.tick(NOW_MS), authority.tick(NOW_MS + 400, ends_run=True)]
    second = track(authority)
    heads = [authority.head(MANIFEST, RoomState.LIVE, NOW_MS) for _ in range(2)]
    end = authority.end(NOW_MS, RoomState.ENDED)
    assert [first.statement.n, second.statement.n] == [0, 1]
    assert [first.statement.tick, second.statement.tick] == [0, 2]
    assert [one.statement.n for one in [*ticks, end]] == [0, 1, 2]
    assert [one.statement.before for one in [*ticks, end]] == [
        None,
        ticks[0].digest,
        ticks[1].digest,
    ]
    assert [one.statement.n for one in heads] == [0, 1]
    with pytest.raises(ValueError, match="ended"):
        authority.tick(NOW_MS)
    with pytest.raises(ValueError, match="ended"):
        authority.end(NOW_MS, RoomState.CLOSED)


def test_a_statement_that_others_would_refuse_is_not_signed() -> None:
    with pytest.raises(ValueError):
        sign(Head(ROOM, SESSION, 0, leaf(0), RoomState.LIVE, NOW_MS), KEY)
    with pytest.raises(ValueError):
        Authority(ROOM, SESSION, KEY).tick(-1)
    wrong_gap = TickGap(AUDIO.name, 1, 1, NOW_MS, 0)
    with pytest.raises(ValueError):
        Authority(ROOM, SESSION, KEY).tick(NOW_MS, gaps=[wrong_gap])


# -- forward only, and never against oneself --


def head(counter: int, nonce: int, n: int, time_ms: int = NOW_MS, **more: object) -> Head:
    made = Head(ROOM, SessionId(counter, nonce), n, MANIFEST, RoomState.LIVE, time_ms)
    return replace(made, **more)  # type: ignore[arg-type] # by name


@pytest.mark.parametrize(
    ("old", "new", "moves"),
    [
        (None, head(0, 0, 0), True),
        (head(1, 5, 3), head(1, 5, 4), True),
        (head(1, 5, 3), head(1, 5, 3), False),
        (head(1, 5, 3), head(1, 5, 2, NOW_MS + 9), False),
        (head(1, 5, 3), head(2, 1, 0, NOW_MS - 9), True),
        (head(2, 1, 0), head(1, 5, 9, NOW_MS + 9), False),
        (head(1, 5, 3), head(1, 6, 0, NOW_MS + 9), True),
        (head(1, 6, 3), head(1, 5, 0, NOW_MS + 9), True),
        (head(1, 5, 3), head(1, 6, 0, NOW_MS - 9), False),
        (head(1, 5, 3, state=RoomState.CLOSED), head(1, 5, 4), False),
        (head(1, 5, 3, state=RoomState.CLOSED), head(2, 0, 0), False),
        (head(1, 5, 3, state=RoomState.CLOSED), head(1, 5, 4, state=RoomState.CLOSED), True),
        (head(1, 5, 3, state=RoomState.ENDED), head(2, 5, 0), True),
        (head(1, 5, 3), head(1, 5, 4, room=OTHER_ROOM), False),
    ],
)
def test_a_head_only_moves_forward(old: Head | None, new: Head, moves: bool) -> None:
    assert advances(old, new) is moves
    assert not (moves and old is not None and advances(new, old))


def test_contradictions_are_told_from_a_life_honestly_led() -> None:
    authority = Authority(ROOM, SESSION, KEY)
    honest: list[Signed[Statement]] = [*chain(4, authority)]
    honest += [track(authority), track(authority)]
    honest += [authority.head(MANIFEST, RoomState.LIVE, NOW_MS) for _ in range(2)]
    honest += [authority.end(NOW_MS, RoomState.ENDED)]
    honest += [*chain(2, Authority(ROOM, replace(SESSION, nonce=1), KEY))]
    assert not any(contradict(a, b) for a in honest for b in honest)

    ticks = honest[:4]
    two_ways: list[tuple[Signed[Statement], Statement]] = [
        (ticks[2], replace(ticks[2].statement, time_ms=1)),
        (ticks[2], replace(ticks[3].statement, before=bytes(32))),
        (ticks[2], replace(ticks[1].statement, time_ms=1)),
        (ticks[2], End(ROOM, SESSION, 2, ticks[1].digest, NOW_MS, RoomState.ENDED)),
        (honest[4], replace(honest[4].statement, active=False)),
        (honest[6], replace(honest[6].statement, time_ms=1)),
        (honest[8], Tick(ROOM, SESSION, 5, honest[8].digest, NOW_MS)),
        (honest[8], Tick(ROOM, SESSION, 9, bytes(32), NOW_MS)),
    ]
    for first, other in two_ways:
        second = sign(other, KEY)
        assert contradict(first, second)
        assert contradict(second, first)
