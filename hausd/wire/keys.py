"""``/haus/keys/1``: epochs' keys, asked of a key holder; sans-IO, both sides.

The asker opens the stream and asks, one question at a time. It shows the delegation of a wallet
whose ticket lets it watch; a node that the room's head names as a key holder shows none. The
answer says for each epoch why its key is refused, and has the keys that are given, sealed (see
``core.sealing``) to the asker, for this question only: its room, epochs, node and nonce are what
opens them. The bytes are in ``schema.cddl``.

Nothing is believed because a peer said it: delegations are verified by ``core.delegation``, keys
against the commitments that the room's authority announced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hausd.core.dagcbor import Value, encode
from hausd.core.delegation import MAX_TEXT_BYTES
from hausd.core.ids import RoomId, parse_room_id
from hausd.core.keys import SIGNATURE_BYTES
from hausd.core.peers import PeerAddress, PeerId
from hausd.core.release import Refusal
from hausd.core.sealing import KEY_BYTES, OVERHEAD_BYTES, SealError, SealingKey, seal
from hausd.wire.frames import FrameReader, ProtocolError, frame
from hausd.wire.naming import peers_form, read_peers

PROTOCOL = "/haus/keys/1"
MAX_EPOCHS = 64
EPOCH_BYTES = 16
EPOCH_KEY_BYTES = 32
NONCE_BYTES = 16
MAX_QUESTION_BYTES = 4 * 1024
MAX_ANSWER_BYTES = 12 * 1024
_MAX_SEALED_BYTES = MAX_EPOCHS * EPOCH_KEY_BYTES + OVERHEAD_BYTES
_NAME = "hausd/1/keys"


@dataclass(frozen=True, slots=True)
class Shown:
    """A delegation as it was shown: nothing of it is verified."""

    untrusted_text: str
    untrusted_signature: bytes


@dataclass(frozen=True, slots=True)
class KeyQuestion:
    """What is asked: the keys of ``epochs`` (ids of 16 bytes, each once) of a room.

    ``nonce``: fresh for each question. ``by``: a delegation to the asker, to whose key the answer
    is sealed; or the sealing key of a node that claims to be a key holder of the room.
    """

    room: RoomId
    epochs: tuple[bytes, ...]
    nonce: bytes
    by: Shown | bytes


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """Why each epoch's key is refused, in the question's order; None where it is given.

    ``untrusted_sealed`` has those that are given, see ``open_keys``. ``holders``: who else may
    have the room's keys.
    """

    outcome: tuple[Refusal | None, ...]
    untrusted_sealed: bytes
    holders: tuple[PeerAddress, ...] = ()


def seal_keys(
    question: KeyQuestion,
    peer: PeerId,
    to: bytes,
    outcome: Mapping[bytes, bytes | Refusal],
    holders: Sequence[PeerAddress] = (),
) -> KeyAnswer:
    """The answer to a question of ``peer``: for each epoch its key, sealed to the X25519 key
    ``to``, or why it is refused. Raises SealError where ``to`` is no such key."""
    keys = {epoch: key for epoch, key in outcome.items() if isinstance(key, bytes)}
    given = [epoch for epoch in question.epochs if epoch in keys]
    clear = b"".join(keys[epoch] for epoch in given)
    told = [outcome[epoch] for epoch in question.epochs]
    return KeyAnswer(
        tuple(one if isinstance(one, Refusal) else None for one in told),
        seal(clear, to, _info(question, peer, given)) if given else b"",
        tuple(holders),
    )


def open_keys(
    question: KeyQuestion, answer: KeyAnswer, me: PeerId, key: SealingKey
) -> dict[bytes, bytes]:
    """The keys that an answer gives, by epoch: each still to be checked against its commitment.

    Raises SealError.
    """
    paired = zip(question.epochs, answer.outcome, strict=True)
    given = [epoch for epoch, refusal in paired if refusal is None]
    if not given:
        return {}
    clear = key.open(answer.untrusted_sealed, _info(question, me, given))
    if len(clear) != len(given) * EPOCH_KEY_BYTES:
        raise SealError("another number of keys than the answer says")
    return {
        epoch: clear[n * EPOCH_KEY_BYTES : (n + 1) * EPOCH_KEY_BYTES]
        for n, epoch in enumerate(given)
    }


class KeyAsker:
    """The side that opened the stream."""

    def __init__(self) -> None:
        self._frames = FrameReader(MAX_ANSWER_BYTES, _MAX_SEALED_BYTES)
        self._asked: KeyQuestion | None = None

    def ask(self, question: KeyQuestion) -> bytes:
        """The bytes of a question; raises ValueError while another is open."""
        if self._asked is not None:
            raise ValueError("one question at a time")
        by = question.by
        said: list[object] = [
            "ask",
            question.room,
            b"".join(question.epochs),
            question.nonce,
            [by.untrusted_text, by.untrusted_signature] if isinstance(by, Shown) else by,
        ]
        if _read_question(said[1:]) != question:
            raise ValueError("the question does not survive its own encoding")
        self._asked = question
        return frame(said)

    def feed(self, untrusted: bytes | bytearray | memoryview) -> Iterator[KeyAnswer]:
        """Takes bytes, gives the answer; raises ProtocolError."""
        for head, body in self._frames.feed(untrusted):
            if self._asked is None:
                raise ProtocolError("an answer to what was not asked")
            match head:
                case ["keys", list(outcome), holders]:
                    made = _read_answer(outcome, len(self._asked.epochs), holders, body)
                case _:
                    raise ProtocolError("not an answer of a kind that is known here")
            self._asked = None
            yield made

    def finish(self) -> None:
        """The peer closed its side; raises ProtocolError where an answer is missing."""
        self._frames.finish()
        if self._asked is not None:
            raise ProtocolError("the stream stopped before the answer")


class KeyAnswerer:
    """The side that the stream was opened to."""

    def __init__(self) -> None:
        self._frames = FrameReader(MAX_QUESTION_BYTES)
        self._asked: KeyQuestion | None = None

    def feed(self, untrusted: bytes | bytearray | memoryview) -> Iterator[KeyQuestion]:
        """Takes bytes, gives the question; raises ProtocolError."""
        for head, _ in self._frames.feed(untrusted):
            if self._asked is not None:
                raise ProtocolError("one question at a time")
            match head:
                case ["ask", *said]:
                    self._asked = _read_question(said)
                case _:
                    raise ProtocolError("not a question of a kind that is known here")
            yield self._asked

    def answer(self, answer: KeyAnswer) -> bytes:
        """The bytes of the answer to the question that is open."""
        if self._asked is None or len(answer.outcome) != len(self._asked.epochs):
            raise ValueError("not an answer to what was asked")
        self._asked = None
        outcome = [None if one is None else one.value for one in answer.outcome]
        sealed = answer.untrusted_sealed
        return frame(["keys", outcome, peers_form(answer.holders)], len(sealed)) + sealed

    def finish(self) -> None:
        """The peer closed its side; raises ProtocolError in the middle of a frame."""
        self._frames.finish()


def _info(question: KeyQuestion, peer: PeerId, given: Sequence[bytes]) -> bytes:
    return encode([_NAME, question.room, b"".join(given), peer, question.nonce])


def _read_question(said: Sequence[Value | object]) -> KeyQuestion:
    match said:
        case [str(room), bytes(epochs), bytes(nonce), by] if len(nonce) == NONCE_BYTES:
            pass
        case _:
            raise ProtocolError("a question is about a room's epochs, with a nonce")
    ids = tuple(epochs[at : at + EPOCH_BYTES] for at in range(0, len(epochs), EPOCH_BYTES))
    if not 1 <= len(ids) <= MAX_EPOCHS or len(epochs) % EPOCH_BYTES or len(set(ids)) != len(ids):
        raise ProtocolError(f"1 to {MAX_EPOCHS} different epochs are asked for at once")
    try:
        return KeyQuestion(parse_room_id(room), ids, nonce, _read_by(by))
    except ValueError as fault:
        raise ProtocolError(str(fault)) from None


def _read_by(untrusted: object) -> Shown | bytes:
    match untrusted:
        case [str(text), bytes(signature)] if (
            len(text) <= MAX_TEXT_BYTES and len(signature) == SIGNATURE_BYTES
        ):
            return Shown(text, signature)
        case bytes(key) if len(key) == KEY_BYTES:
            return key
    raise ProtocolError("neither a delegation with its signature, nor a sealing key")


_REFUSALS = {refusal.value: refusal for refusal in Refusal}


def _read_answer(outcome: list[Value], asked: int, holders: Value, sealed: bytes) -> KeyAnswer:
    if len(outcome) != asked:
        raise ProtocolError("an answer says something of each epoch that was asked for")
    told: list[Refusal | None] = []
    for one in outcome:
        if one is not None and not (isinstance(one, str) and one in _REFUSALS):
            raise ProtocolError("not a refusal of a kind that is known here")
        told.append(None if one is None else _REFUSALS[one])
    given = told.count(None)
    if len(sealed) != (given * EPOCH_KEY_BYTES + OVERHEAD_BYTES if given else 0):
        raise ProtocolError("another number of keys than the answer says")
    return KeyAnswer(tuple(told), sealed, read_peers(holders))
