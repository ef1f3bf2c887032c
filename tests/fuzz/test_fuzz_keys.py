"""Whatever is shown as a delegation, or said in /haus/keys/1: read in one way, or refused."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support.delegations import DELEGATION, EVENT, NODE, SEALING, signed
from support.exchange_vectors import KEY_GIVEN, KEY_QUESTION
from support.mangle import mangled, seeds
from support.peers import pieces

from hausd.core.dagcbor import encode
from hausd.core.delegation import DelegationError, parse, verify
from hausd.core.sealing import SealError
from hausd.wire.frames import PREFIX, ProtocolError
from hausd.wire.keys import MAX_EPOCHS, KeyAnswerer, KeyAsker, Shown, open_keys

TEXT, SIGNATURE = signed(DELEGATION)
FRAMES = seeds("keys")
HEADS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2**33)
    | st.sampled_from(["ask", "keys", "no-ticket", "refunded", EVENT, TEXT, SIGNATURE])
    | st.sampled_from([bytes(16), bytes(32), bytes(48), KEY_QUESTION.nonce]),
    lambda below: st.lists(below, max_size=8),
    max_leaves=12,
)
SAID = st.lists(
    mangled(FRAMES)
    | st.sampled_from(FRAMES)
    | HEADS.map(encode).map(lambda head: PREFIX.pack(len(head), 0) + head),
    max_size=4,
).map(b"".join)


@given(mangled([TEXT.encode()]))
@example(TEXT.encode().replace(b"hausd wants", b"\xff wants"))
@example(TEXT.encode() + b"\n")
@example(TEXT.encode() * 2)
@example(b"")
def test_any_text_is_the_one_form_or_refused(untrusted: bytes) -> None:
    text = untrusted.decode("utf-8", "surrogateescape")
    try:
        delegation = parse(text)
    except DelegationError:
        return
    assert delegation.text == text
    if text != TEXT:
        try:
            verify(text, SIGNATURE)
        except DelegationError:
            return
        raise AssertionError("nothing else was ever signed")


@given(SAID, st.integers(1, 5000))
def test_any_question_for_keys_is_understood_or_refused(untrusted: bytes, piece: int) -> None:
    answerer = KeyAnswerer()
    try:
        for some in pieces(untrusted, piece):
            for question in answerer.feed(some):
                assert 1 <= len(question.epochs) <= MAX_EPOCHS
                assert isinstance(question.by, Shown) or len(question.by) == 32
                KeyAsker().ask(question)
        answerer.finish()
    except ProtocolError:
        pass


@given(SAID, st.integers(1, 5000))
def test_any_answer_gives_the_key_that_was_sealed_or_none(untrusted: bytes, piece: int) -> None:
    asker = KeyAsker()
    asker.ask(KEY_QUESTION)
    try:
        for some in pieces(untrusted, piece):
            for answer in asker.feed(some):
                assert len(answer.outcome) == len(KEY_QUESTION.epochs)
                opened = open_keys(KEY_QUESTION, answer, NODE, SEALING)
                assert opened in ({}, {KEY_QUESTION.epochs[1]: KEY_GIVEN})
        asker.finish()
    except (ProtocolError, SealError):
        pass
