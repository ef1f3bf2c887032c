"""``/haus/room/1``: what a room is doing, for who joins late or missed ticks; sans-IO, both sides.

The asker opens the stream and asks, one question at a time. The answer is a row of frames: where
the live edge is, then signed statements as their authority signed them (newest tracks, heads,
ticks), then *done*. Of heads the newest comes last, before it the one whose manifest the answerer
has read, where that is another. Nothing is believed because this peer said it: statements are
verified by ``wire.announce``, cards by ``wire.cards``, and the edge is a hint of what to ask next.
The bytes are in ``schema.cddl``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hausd.core.dagcbor import Value
from hausd.core.forms import FormError, is_uint, read_session, session_form
from hausd.core.ids import RoomId, SessionId, parse_room_id
from hausd.core.live import RoomState
from hausd.core.peers import MAX_HOPS, PeerAddress
from hausd.wire.announce import MAX_STATEMENT_BYTES
from hausd.wire.frames import FrameReader, ProtocolError, frame
from hausd.wire.naming import peers_form, read_peers

PROTOCOL = "/haus/room/1"
MAX_RANGES = 16
MAX_TICKS = 128
"""Most ticks of one question, in its ranges and as ``recent`` together."""
MAX_STATEMENTS = 256
"""Most statements of one answer."""
MAX_QUESTION_BYTES = 1024
MAX_ANSWER_BYTES = 12 * 1024


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a room.

    ``missing``: numbers of ticks of ``session``; nothing is told of them where the session is
    not the answerer's. ``recent``: how many of the newest ticks are wanted, whatever the session.
    """

    room: RoomId
    session: SessionId | None = None
    missing: tuple[range, ...] = ()
    recent: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """Where the answerer is: the session it follows, which tick is next, and its room's state.

    ``first``: the oldest tick that it can tell. ``hops``: its distance from the origin.
    ``peers``: others that may be asked for leaves.
    """

    state: RoomState
    session: SessionId | None = None
    first: int = 0
    next: int = 0
    hops: int = MAX_HOPS
    peers: tuple[PeerAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A statement of the room's authority, if ``announce.verify`` finds it to be one."""

    untrusted_statement: bytes


@dataclass(frozen=True, slots=True)
class ToldCard:
    """The room's card, if ``cards.verify_card`` finds it to be one."""

    untrusted_card: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is over. ``known``: the answerer takes part in this room."""

    known: bool


Answer = Edge | Told | ToldCard | Done


class RoomAsker:
    """The side that opened the stream."""

    def __init__(self) -> None:
        self._frames = FrameReader(MAX_ANSWER_BYTES, MAX_STATEMENT_BYTES)
        self._asked = False
        self._told = 0

    @property
    def open(self) -> bool:
        """Whether a question is not answered in full."""
        return self._asked

    def ask(self, question: Question) -> bytes:
        """The bytes of a question; raises ValueError while another is open."""
        if self._asked or not _within(question.missing, question.recent):
            raise ValueError("one question at a time, of a bounded number of ticks")
        self._asked = True
        self._told = 0
        session = None if question.session is None else session_form(question.session)
        ranges = [[one.start, one.stop - 1] for one in question.missing]
        return frame(["ask", question.room, session, ranges, question.recent])

    def feed(self, untrusted: bytes | bytearray | memoryview) -> Iterator[Answer]:
        """Takes bytes, gives every whole piece of an answer; raises ProtocolError."""
        for head, body in self._frames.feed(untrusted):
            if not self._asked:
                raise ProtocolError("an answer to what was not asked")
            self._told += 1
            if self._told > MAX_STATEMENTS + 2:
                raise ProtocolError("an answer tells more than it may")
            match head:
                case ["signed"]:
                    yield Told(body)
                    continue
                case ["card"]:
                    yield ToldCard(body)
                    continue
                case ["edge", state, session, first, upcoming, hops, peers]:
                    yield _read_edge(state, session, first, upcoming, hops, peers)
                case ["done", bool(known)]:
                    self._asked = False
                    yield Done(known)
                case _:
                    raise ProtocolError("not an answer of a kind that is known here")
            if body:
                raise ProtocolError("only a statement or a card has a body")

    def finish(self) -> None:
        """The peer closed its side; raises ProtocolError in the middle of an answer."""
        self._frames.finish()
        if self._asked:
            raise ProtocolError("the stream stopped in the middle of an answer")


class RoomAnswerer:
    """The side that the stream was opened to."""

    def __init__(self) -> None:
        self._frames = FrameReader(MAX_QUESTION_BYTES)
        self._asked = False

    def feed(self, untrusted: bytes | bytearray | memoryview) -> Iterator[Question]:
        """Takes bytes, gives the question; raises ProtocolError."""
        for head, _ in self._frames.feed(untrusted):
            if self._asked:
                raise ProtocolError("one question at a time")
            match head:
                case ["ask", room, session, missing, recent]:
                    question = _read_question(room, session, missing, recent)
                case _:
                    raise ProtocolError("not a question of a kind that is known here")
            self._asked = True
            yield question

    def finish(self) -> None:
        """The peer closed its side; raises ProtocolError in the middle of a frame."""
        self._frames.finish()

    def answer(
        self, edge: Edge | None, statements: Iterable[bytes] = (), card: bytes | None = None
    ) -> bytes:
        """The whole answer, bounded by MAX_STATEMENTS; ``edge`` None: no such room here.

        ``statements`` in the order in which the asker is to take them: tracks first, and ticks
        from the oldest on.
        """
        if not self._asked:
            raise ValueError("nothing was asked")
        self._asked = False
        if edge is None:
            return frame(["done", False])
        session = None if edge.session is None else session_form(edge.session)
        told = [
            frame(
                [
                    "edge",
                    edge.state.value,
                    session,
                    edge.first,
                    edge.next,
                    min(edge.hops, MAX_HOPS),
                    peers_form(edge.peers),
                ]
            )
        ]
        if card is not None:
            told += [frame(["card"], len(card)), card]
        for count, encoded in enumerate(statements):
            if count == MAX_STATEMENTS - 1:
                break
            told += [frame(["signed"], len(encoded)), encoded]
        told.append(frame(["done", True]))
        return b"".join(told)


_STATE = re.compile("|".join(state.value for state in RoomState))


def _within(missing: Sequence[range], recent: int) -> bool:
    return (
        len(missing) <= MAX_RANGES
        and all(len(one) > 0 and one.step == 1 for one in missing)
        and recent >= 0
        and sum(map(len, missing)) + recent <= MAX_TICKS
    )


def _read_question(room: Value, session: Value, missing: Value, recent: Value) -> Question:
    try:
        named = parse_room_id(room if isinstance(room, str) else "")
        told = None if session is None else read_session(session, "ask.session")
    except (ValueError, FormError) as fault:
        raise ProtocolError(str(fault)) from None
    ranges: list[range] = []
    for one in missing if isinstance(missing, list) else [missing]:
        match one:
            case [first, last] if is_uint(first) and is_uint(last, first):
                ranges.append(range(first, last + 1))
            case _:
                raise ProtocolError("missing ticks are [first, last]")
    if not is_uint(recent, most=MAX_TICKS) or not _within(ranges, recent):
        raise ProtocolError("a question is about too many ticks")
    return Question(named, told, tuple(ranges), recent)


def _read_edge(
    state: Value, session: Value, first: Value, upcoming: Value, hops: Value, peers: Value
) -> Edge:
    if not isinstance(state, str) or not _STATE.fullmatch(state):
        raise ProtocolError("not a state that a room has")
    if not is_uint(first) or not is_uint(upcoming, first) or not is_uint(hops, most=MAX_HOPS):
        raise ProtocolError("an edge is out of bounds")
    try:
        told = None if session is None else read_session(session, "edge.session")
    except FormError as fault:
        raise ProtocolError(str(fault)) from None
    return Edge(RoomState(state), told, first, upcoming, hops, read_peers(peers))
