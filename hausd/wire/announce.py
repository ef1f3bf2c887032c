"""Signed announcements: sealing, verifying, and the message that carries ticks by gossip.

A signed statement is the DAG-CBOR list ``["hausd/1/<kind>", body, signature]``. The body is a
byte string, the DAG-CBOR of the statement; the signature (Ed25519, RFC 8032) is over the first
text, a zero byte and the body, so that nothing signed as one kind passes for another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hausd.core.dagcbor import DagCborError, Value, decode, encode
from hausd.core.forms import FormError
from hausd.core.ids import RoomId, SessionId
from hausd.core.keys import SIGNATURE_BYTES, PublicKey, SigningKey
from hausd.core.live import RoomState
from hausd.wire.statements import End, Head, Statement, Tick, Track, body, read_body

MAX_STATEMENT_BYTES = 32 * 1024
MAX_MESSAGE_BYTES = 64 * 1024
REPEATED_TICKS = 2
"""How many ticks before it a tick's message repeats."""
_MESSAGE_ITEMS = 1 + 1 + REPEATED_TICKS
_STATEMENT_ITEMS = 1 + 3
"""Values that are read before it is known what they are: a list, and what it lists."""

S = TypeVar("S", bound=Statement)
S_co = TypeVar("S_co", bound=Statement, covariant=True)


class AnnounceError(ValueError):
    """What came is no statement that this authority signed; the message says why."""


@dataclass(frozen=True, slots=True)
class Signed(Generic[S_co]):
    """A statement with the bytes that its authority signed. ``digest`` is their SHA-256."""

    statement: S_co
    encoded: bytes
    digest: bytes


def sign(statement: S, key: SigningKey, *, check: bool = True) -> Signed[S]:
    """Seals a statement; raises ValueError where it is not one that others would take.

    ``check=False`` leaves out reading it back, which is half of the work: for ticks, whose every
    field is in bounds by how they are made.
    """
    kind = _kind(statement)
    name = _NAMES[kind]
    said = encode(body(statement))
    encoded = encode([name, said, key.sign(_signed_bytes(name, said))])
    if len(encoded) > MAX_STATEMENT_BYTES:
        raise ValueError(f"a statement of {len(encoded)} bytes is too large to be announced")
    if check and read_body(kind, decode(said)) != statement:
        raise ValueError("the statement does not survive its own encoding")
    return Signed(statement, encoded, hashlib.sha256(encoded).digest())


def verify(untrusted: bytes, authority: PublicKey, room: RoomId) -> Signed[Statement]:
    """Checks size, form, room and signature, in that order; raises AnnounceError."""
    try:
        match decode(untrusted, MAX_STATEMENT_BYTES, _STATEMENT_ITEMS):
            case [str(name), bytes(said), bytes(signature)] if name in _KINDS:
                statement = read_body(_KINDS[name], decode(said))
            case _:
                raise AnnounceError("not a signed statement of a kind that is known here")
    except (DagCborError, FormError) as fault:
        raise AnnounceError(str(fault)) from None
    if statement.room != room:
        raise AnnounceError("the statement is about another room")
    if len(signature) != SIGNATURE_BYTES or not authority.verifies(
        signature, _signed_bytes(name, said)
    ):
        raise AnnounceError("the signature is not the room's stream authority's")
    return Signed(statement, untrusted, hashlib.sha256(untrusted).digest())


def untrusted_kind(untrusted: bytes) -> str:
    """What a statement says it is: track, tick, head, end; empty where it says nothing known.

    Nothing of it is checked: only who sorts statements before they are verified asks.
    """
    try:
        match decode(untrusted, MAX_STATEMENT_BYTES, _STATEMENT_ITEMS):
            case [str(name), *_] if name in _KINDS:
                return name.rpartition("/")[2]
    except DagCborError:
        pass
    return ""


def pack(newest: Signed[Statement], earlier: Sequence[Signed[Statement]] = ()) -> bytes:
    """The gossip message of a statement. ``earlier``: the ticks before it, newest first.

    As many of them are repeated as REPEATED_TICKS and MAX_MESSAGE_BYTES allow.
    """
    listed = [newest.encoded]
    for one in earlier[:REPEATED_TICKS]:
        if sum(map(len, listed)) + len(one.encoded) + 64 > MAX_MESSAGE_BYTES:
            break
        listed.append(one.encoded)
    return encode(listed)


def unpack(
    untrusted: bytes,
    authority: PublicKey,
    room: RoomId,
    known: Container[bytes] = (),
) -> tuple[Signed[Statement], ...]:
    """The statements of a gossip message, each verified, newest first; raises AnnounceError.

    ``known``: digests of statements that were verified before. A repeated tick among them is left
    out unread, so that in a stream without loss each signature is verified once. What is repeated
    must be what the newest builds on: nothing can be slipped in beside a good statement.
    """
    try:
        listed: Value = decode(untrusted, MAX_MESSAGE_BYTES, _MESSAGE_ITEMS)
    except DagCborError as fault:
        raise AnnounceError(str(fault)) from None
    if not isinstance(listed, list) or not 1 <= len(listed) <= 1 + REPEATED_TICKS:
        raise AnnounceError(f"a message is a list of 1 to {1 + REPEATED_TICKS} statements")
    found: list[Signed[Statement]] = []
    before: bytes | None = None
    for at, encoded in enumerate(listed):
        if not isinstance(encoded, bytes):
            raise AnnounceError("a message lists byte strings")
        digest = hashlib.sha256(encoded).digest()
        if at and digest != before:
            raise AnnounceError("a repeated tick is not the one that the message builds on")
        if at and digest in known:
            break
        one = verify(encoded, authority, room)
        found.append(one)
        before = one.statement.before if isinstance(one.statement, (Tick, End)) else None
    return tuple(found)


def newer_session(old: SessionId, old_ms: int, new: SessionId, new_ms: int) -> bool:
    """Whether a session follows another; the times are of a statement of each.

    The counter decides. An origin restored from a backup may use a counter twice, with another
    nonce: then the later one.
    """
    if old.counter != new.counter:
        return new.counter > old.counter
    return new.nonce != old.nonce and (new_ms, new.nonce) > (old_ms, old.nonce)


def advances(old: Head | None, new: Head) -> bool:
    """Whether a head takes the place of another: only ever forward, never out of CLOSED."""
    if old is None:
        return True
    if old.room != new.room or (old.state is RoomState.CLOSED and new.state != old.state):
        return False
    if old.session == new.session:
        return new.n > old.n
    return newer_session(old.session, old.time_ms, new.session, new.time_ms)


def contradict(first: Signed[Statement], second: Signed[Statement]) -> bool:
    """Whether no honest authority signs both of these (verified) statements.

    Either they are different and have one place in one sequence, or one is a tick that names
    as the tick before it another than the one that is in that place, or follows an end.
    """
    a, b = first.statement, second.statement
    if _sequence(a) != _sequence(b) or (a.room, a.session) != (b.room, b.session):
        return False
    if a.n == b.n:
        return a != b
    if a.n > b.n:
        first, second, a, b = second, first, b, a
    if isinstance(a, End):
        return True
    return b.n == a.n + 1 and isinstance(b, (Tick, End)) and b.before != first.digest


def _kind(statement: Statement) -> type[Statement]:
    return type(statement)


def _sequence(statement: Statement) -> type[Statement]:
    """Ticks and the end of their session count in one sequence, the others each in their own."""
    return Tick if isinstance(statement, End) else _kind(statement)


_NAMES: dict[type[Statement], str] = {
    Track: "hausd/1/track",
    Tick: "hausd/1/tick",
    Head: "hausd/1/head",
    End: "hausd/1/end",
}
_KINDS = {name: kind for kind, name in _NAMES.items()}


def _signed_bytes(name: str, said: bytes) -> bytes:
    return name.encode() + b"\0" + said
