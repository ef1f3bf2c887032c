"""Who joins late or missed ticks gets the signed bytes themselves, and knows where the edge is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.authority import Authority
from support.content import KEY, NOW_MS, ROOM, SESSION
from support.peers import address, pieces

from hausd.core.ids import SessionId
from hausd.core.live import RoomState
from hausd.wire.announce import verify
from hausd.wire.frames import PREFIX, ProtocolError, frame
from hausd.wire.room_protocol import (
    MAX_RANGES,
    MAX_STATEMENTS,
    MAX_TICKS,
    Done,
    Edge,
    Question,
    RoomAnswerer,
    RoomAsker,
    Told,
    ToldCard,
)

NEWEST = Question(ROOM)
EDGE = Edge(RoomState.LIVE, SESSION, 3, 40, 2, (address(1), address(2)))


def asked(question: Question = NEWEST) -> tuple[RoomAsker, RoomAnswerer]:
    """Two sides between which a question is open."""
    asker, answerer = RoomAsker(), RoomAnswerer()
    assert list(answerer.feed(asker.ask(question))) == [question]
    return asker, answerer


@pytest.mark.parametrize("piece", [1, 13, 1 << 20])
def test_a_late_joiner_gets_what_the_authority_signed(piece: int) -> None:
    authority = Authority(ROOM, SESSION, KEY)
    ticks = [authority.tick(NOW_MS + n * 400) for n in range(5)]
    asker, answerer = asked(Question(ROOM, recent=5))
    data = answerer.answer(EDGE, [one.encoded for one in ticks], b"a card")
    got = [one for some in pieces(data, piece) for one in asker.feed(some)]
    assert got[:2] == [EDGE, ToldCard(b"a card")]
    assert got[-1] == Done(True)
    told = [one.untrusted_statement for one in got if isinstance(one, Told)]
    assert [verify(one, KEY.public, ROOM) for one in told] == ticks
    asker.finish()
    answerer.finish()


def test_a_room_that_is_not_known_is_said_to_be_so_and_the_next_question_may_come() -> None:
    asker, answerer = asked()
    with pytest.raises(ValueError, match="one question"):
        asker.ask(Question(ROOM))
    assert list(asker.feed(answerer.answer(None))) == [Done(False)]
    assert not asker.open
    again = Question(ROOM, SESSION, (range(3, 5),))
    assert list(answerer.feed(asker.ask(again))) == [again]
    assert list(asker.feed(answerer.answer(Edge(RoomState.ENDED)))) == [
        Edge(RoomState.ENDED),
        Done(True),
    ]
    with pytest.raises(ValueError, match="nothing was asked"):
        answerer.answer(None)


def test_an_answer_is_bounded_on_both_sides() -> None:
    asker, answerer = asked()
    got = list(asker.feed(answerer.answer(EDGE, (b"x" for _ in range(10_000)))))
    assert len(got) == MAX_STATEMENTS + 1
    assert got[-1] == Done(True)
    asker, _ = asked()
    endless = (frame(["signed"], 1) + b"x") * (MAX_STATEMENTS + 3)
    with pytest.raises(ProtocolError, match="more than it may"):
        list(asker.feed(endless))
    asker, _ = asked()
    with pytest.raises(ProtocolError, match="over the limit"):
        list(asker.feed(PREFIX.pack(10, 1 << 16)))


def test_questions_come_one_at_a_time() -> None:
    _, answerer = asked()
    with pytest.raises(ProtocolError, match="one question"):
        list(answerer.feed(RoomAsker().ask(Question(ROOM))))
    with pytest.raises(ProtocolError, match="not asked"):
        list(RoomAsker().feed(frame(["done", True])))


@pytest.mark.parametrize(
    "question",
    [
        Question(ROOM, missing=(range(MAX_TICKS + 1),)),
        Question(ROOM, missing=(range(MAX_TICKS),), recent=1),
        Question(ROOM, missing=(range(1),) * (MAX_RANGES + 1)),
        Question(ROOM, missing=(range(4, 4),)),
        Question(ROOM, missing=(range(0, 9, 2),)),
        Question(ROOM, recent=-1),
    ],
)
def test_no_question_is_too_large_to_be_answered(question: Question) -> None:
    with pytest.raises(ValueError):
        RoomAsker().ask(question)


@pytest.mark.parametrize(
    "head",
    [
        ["ask", "a/b", None, [], 0],
        ["ask", None, None, [], 0],
        ["ask", ROOM, [1], [], 0],
        ["ask", ROOM, None, 3, 0],
        ["ask", ROOM, None, [[3, 2]], 0],
        ["ask", ROOM, None, [[0, 1 << 52]], 0],
        ["ask", ROOM, None, [[0, 100]], 100],
        ["ask", ROOM, None, [], True],
        ["ask", ROOM, None, []],
        ["tell", ROOM],
    ],
)
def test_a_malformed_question_is_refused(head: list[object]) -> None:
    with pytest.raises(ProtocolError):
        list(RoomAnswerer().feed(frame(head)))


@pytest.mark.parametrize(
    "head",
    [
        ["edge", "asleep", None, 0, 0, 0, []],
        ["edge", "live", [0], 0, 0, 0, []],
        ["edge", "live", None, 2, 1, 0, []],
        ["edge", "live", None, 0, 1, 65, []],
        ["edge", "live", None, 0, 1, 0, [[]]],
        ["done", 1],
        ["done"],
        ["signed", 1],
    ],
)
def test_a_malformed_answer_is_refused(head: list[object]) -> None:
    with pytest.raises(ProtocolError):
        list(asked()[0].feed(frame(head)))


def test_only_what_has_a_body_has_one() -> None:
    with pytest.raises(ProtocolError, match="body"):
        list(asked()[0].feed(frame(["done", True], 1) + b"x"))


def test_a_stream_that_stops_in_an_answer_is_told_from_one_that_ends() -> None:
    asker, answerer = asked()
    list(asker.feed(answerer.answer(EDGE)[:-9]))
    with pytest.raises(ProtocolError, match="middle"):
        asker.finish()
    asker, answerer = asked()
    with pytest.raises(ProtocolError, match="middle of an answer"):
        asker.finish()


@given(
    st.builds(
        Question,
        st.just(ROOM),
        st.none() | st.builds(SessionId, st.integers(0, 2**53 - 1), st.integers(0, 2**64 - 1)),
        st.lists(
            st.builds(lambda at, n: range(at, at + n), st.integers(0, 2**50), st.integers(1, 8)),
            max_size=MAX_RANGES,
        ).map(tuple),
        st.just(0),
    )
)
def test_a_question_is_read_as_it_was_written(question: Question) -> None:
    asked(question)
