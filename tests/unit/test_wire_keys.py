"""Keys reach the node that asked, for what it asked; everything else is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.content import OTHER_ROOM
from support.delegations import DELEGATION, EVENT, NODE, SEALING, signed
from support.peers import address, pieces

from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, peer_id_of
from hausd.core.release import Refusal
from hausd.core.sealing import SealError, SealingKey
from hausd.wire.frames import ProtocolError, frame
from hausd.wire.keys import (
    MAX_EPOCHS,
    KeyAnswer,
    KeyAnswerer,
    KeyAsker,
    KeyQuestion,
    Shown,
    open_keys,
    seal_keys,
)

SHOWN = Shown(*signed(DELEGATION))
EPOCHS = tuple(bytes([n]) * 16 for n in range(3))
KEYS = {epoch: bytes([n + 100]) * 32 for n, epoch in enumerate(EPOCHS)}
QUESTION = KeyQuestion(EVENT, EPOCHS, bytes(range(16)), SHOWN)
SOME: dict[bytes, bytes | Refusal] = {**KEYS, EPOCHS[1]: Refusal.NOT_A_HOLDER}


def conversed(question: KeyQuestion, answer: KeyAnswer, piece: int = 7) -> KeyAnswer:
    """Question and answer over the wire, in small pieces."""
    asker, answerer = KeyAsker(), KeyAnswerer()
    heard = [one for some in pieces(asker.ask(question), piece) for one in answerer.feed(some)]
    assert heard == [question]
    (told,) = [one for some in pieces(answerer.answer(answer), piece) for one in asker.feed(some)]
    asker.finish()
    answerer.finish()
    return told


@given(st.data(), st.integers(1, 300))
def test_keys_and_refusals_come_as_they_were_given(data: st.DataObject, piece: int) -> None:
    ids = data.draw(
        st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=MAX_EPOCHS, unique=True)
    )
    outcome = {
        epoch: data.draw(st.binary(min_size=32, max_size=32) | st.sampled_from(Refusal))
        for epoch in ids
    }
    by = data.draw(st.sampled_from([SHOWN, SEALING.public]))
    question = replace(QUESTION, epochs=tuple(ids), by=by)
    holders = (address(1), address(2))
    answer = conversed(question, seal_keys(question, NODE, SEALING.public, outcome, holders), piece)
    assert answer.holders == holders
    told = dict(zip(ids, answer.outcome, strict=True))
    assert {epoch: one for epoch, one in told.items() if one} == {
        epoch: one for epoch, one in outcome.items() if isinstance(one, Refusal)
    }
    assert open_keys(question, answer, NODE, SEALING) == {
        epoch: one for epoch, one in outcome.items() if isinstance(one, bytes)
    }


@pytest.mark.parametrize(
    "asked",
    [
        replace(QUESTION, room=OTHER_ROOM),
        replace(QUESTION, epochs=EPOCHS[::-1]),
        replace(QUESTION, epochs=(EPOCHS[0], EPOCHS[1], bytes([9]) * 16)),
        replace(QUESTION, nonce=bytes(16)),
    ],
)
def test_an_answer_to_another_question_does_not_open(asked: KeyQuestion) -> None:
    """So no relay, nor another key holder, can hand on what it was given itself."""
    answer = seal_keys(QUESTION, NODE, SEALING.public, SOME)
    with pytest.raises(SealError):
        open_keys(asked, answer, NODE, SEALING)


def test_only_the_delegate_opens_it() -> None:
    answer = seal_keys(QUESTION, NODE, SEALING.public, SOME)
    with pytest.raises(SealError):
        open_keys(QUESTION, answer, NODE, SealingKey.of_node(bytes(32)))
    other: PeerId = peer_id_of(SigningKey(bytes(32)).public)
    with pytest.raises(SealError):
        open_keys(QUESTION, answer, other, SEALING)


def test_no_key_is_in_what_is_sent() -> None:
    asker, answerer = KeyAsker(), KeyAnswerer()
    list(answerer.feed(asker.ask(QUESTION)))
    sent = answerer.answer(seal_keys(QUESTION, NODE, SEALING.public, SOME))
    assert not any(key in sent for key in KEYS.values())
    assert seal_keys(QUESTION, NODE, SEALING.public, SOME) != seal_keys(
        QUESTION, NODE, SEALING.public, SOME
    )


def _ask(*said: object) -> bytes:
    return frame(["ask", *said])


@pytest.mark.parametrize(
    "said",
    [
        _ask("no room", bytes(16), bytes(16), bytes(32)),
        _ask(EVENT, b"", bytes(16), bytes(32)),
        _ask(EVENT, bytes(17), bytes(16), bytes(32)),
        _ask(EVENT, bytes(32), bytes(16), bytes(32)),  # the same epoch twice
        _ask(EVENT, bytes(16), bytes(15), bytes(32)),
        _ask(EVENT, bytes(16), bytes(16), bytes(31)),
        _ask(EVENT, bytes(16), bytes(16), ["text", bytes(63)]),
        _ask(EVENT, bytes(16), bytes(16), ["x" * 2049, bytes(64)]),
        _ask(EVENT, bytes(16), bytes(16), None),
        _ask(EVENT, bytes(16), bytes(16), bytes(32), "more"),
        _ask(EVENT, b"".join(n.to_bytes(16) for n in range(65)), bytes(16), bytes(32)),
        frame(["keys", [], []]),
        frame(["ask"] * 2000),
    ],
)
def test_what_is_no_question_is_refused(said: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(KeyAnswerer().feed(said))


@pytest.mark.parametrize(
    "said",
    [
        frame(["keys", ["no-ticket"] * 2, []]),
        frame(["keys", ["no-ticket"] * 4, []]),
        frame(["keys", ["no-ticket", "no-ticket", "because"], []]),
        frame(["keys", ["no-ticket", "no-ticket", None], []]),
        frame(["keys", ["no-ticket"] * 3, []], 48) + bytes(48),
        frame(["keys", ["no-ticket"] * 3, [["nobody", []]]]),
        frame(["keys", [None] * 3, []], 48 + 64) + bytes(48 + 64),
        frame(["keys", [None] * 3, []], 1 << 20),
        frame(["given", [None] * 3, []]),
    ],
)
def test_what_is_no_answer_is_refused(said: bytes) -> None:
    asker = KeyAsker()
    asker.ask(QUESTION)
    with pytest.raises(ProtocolError):
        list(asker.feed(said))


def test_one_question_at_a_time() -> None:
    asker, answerer = KeyAsker(), KeyAnswerer()
    asked = asker.ask(QUESTION)
    with pytest.raises(ValueError):
        asker.ask(QUESTION)
    with pytest.raises(ProtocolError):
        list(answerer.feed(asked + asked))
    with pytest.raises(ProtocolError):
        asker.finish()
    with pytest.raises(ProtocolError):
        list(KeyAsker().feed(frame(["keys", [], []])))


def test_what_cant_be_asked_is_not_sent() -> None:
    for wrong in (
        replace(QUESTION, room=RoomId("none")),
        replace(QUESTION, epochs=()),
        replace(QUESTION, epochs=(bytes(15),)),
        replace(QUESTION, nonce=b""),
    ):
        with pytest.raises(ValueError):
            KeyAsker().ask(wrong)
