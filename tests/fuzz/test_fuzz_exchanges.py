"""What a peer says in any protocol is understood in one way, or is a ProtocolError; never else."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from support.content import ROOM, content
from support.mangle import mangled, seeds
from support.peers import pieces

from hausd.core.cid import CID
from hausd.core.dagcbor import encode
from hausd.core.media import LEAF_BYTES
from hausd.wire.blocks_protocol import (
    MAX_OPEN_BLOCKS,
    Block,
    BlocksAnswerer,
    BlocksAsker,
    Want,
    Wanted,
)
from hausd.wire.cards import CardError, verify_card
from hausd.wire.frames import PREFIX, ProtocolError
from hausd.wire.room_protocol import Question, RoomAnswerer, RoomAsker

CIDS = tuple(CID.of(content(n, size)) for n, size in ((1, LEAF_BYTES), (2, 77), (3, 5)))
BLOCKS, ROOMS, CARDS = seeds("blocks"), seeds("room"), seeds("cards")
HEADS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2**33)
    | st.sampled_from(["want", "cancel", "block", "none", "busy", "gone", "ask", "edge", "live"])
    | st.sampled_from([ROOM, bytes(CIDS[0]), b"".join(map(bytes, CIDS))]),
    lambda below: st.lists(below, max_size=8),
    max_leaves=12,
)
FRAMES = HEADS.map(encode).map(lambda head: PREFIX.pack(len(head), 0) + head)


def said(good: list[bytes]) -> st.SearchStrategy[bytes]:
    """Frames as they should be, damaged, or of any heads, one after the other."""
    return st.lists(mangled(good) | st.sampled_from(good) | FRAMES, max_size=6).map(b"".join)


@given(said(BLOCKS), st.integers(1, 5000))
def test_any_request_for_blocks_is_understood_or_refused(untrusted: bytes, piece: int) -> None:
    answerer = BlocksAnswerer()
    try:
        for some in pieces(untrusted, piece):
            for event in answerer.feed(some):
                if isinstance(event, Wanted):
                    assert 1 <= len(event.want.cids) <= 64
                assert answerer.open_blocks <= MAX_OPEN_BLOCKS
        answerer.finish()
    except ProtocolError:
        pass


@given(said(BLOCKS), st.integers(1, 5000))
def test_any_answer_is_about_what_was_asked_or_refused(untrusted: bytes, piece: int) -> None:
    asker = BlocksAsker()
    number, _ = asker.want(Want(ROOM, CIDS))
    asker.cancel(number, CIDS[:1])
    try:
        for some in pieces(untrusted, piece):
            for answer in asker.feed(some):
                if isinstance(answer, Block):
                    assert answer.cid in CIDS
                    assert answer.cid.matches(answer.data)
        asker.finish()
    except ProtocolError:
        pass


@given(said(ROOMS), st.integers(1, 5000), st.sampled_from([RoomAsker, RoomAnswerer]))
def test_anything_about_a_room_is_understood_or_refused(
    untrusted: bytes, piece: int, side: Callable[[], RoomAsker | RoomAnswerer]
) -> None:
    one = side()
    if isinstance(one, RoomAsker):
        one.ask(Question(ROOM))
    try:
        for some in pieces(untrusted, piece):
            list(one.feed(some))
        one.finish()
    except ProtocolError:
        pass


@given(mangled(CARDS))
def test_any_card_is_what_was_signed_or_refused(untrusted: bytes) -> None:
    try:
        signed = verify_card(untrusted)
    except CardError:
        return
    assert signed.encoded in CARDS, "nothing else was ever signed"
