"""What a gated room's content is sealed with, as others may know it: epochs, and their keys.

An epoch is a stretch of a session that one random key holds for. Everybody learns its id and a
commitment to the key; who may watch gets the key itself. What is sealed is told by its place
(``wire.leafseal``), so announcements and manifests name the epoch and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

from hausd.core.ids import RoomId

EPOCH_ID_BYTES = 16
EPOCH_KEY_BYTES = 32
COMMITMENT_BYTES = 32

EpochId = NewType("EpochId", bytes)
"""16 bytes of the operating system's randomness; never counted, never derived."""

Use = tuple[str, ...]
"""What a key of an epoch is for: ``("rendition", name)``, ``("object", class)``; empty: all."""

WHOLE: Use = ()

_COMMITMENT = b"hausd/1/epoch\0"


class _Key:
    """32 bytes. Shows nothing of them; compared in constant time."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        if len(raw) != EPOCH_KEY_BYTES:
            raise ValueError(f"an epoch's key has {EPOCH_KEY_BYTES} bytes, this one {len(raw)}")
        self.raw = raw

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and hmac.compare_digest(self.raw, other.raw)


class EpochKey(_Key):
    """An epoch's key, 32 random bytes."""


class UseKey(_Key):
    """The key of one use in an epoch, which is made of the epoch's (``wire.leafseal.use_key``). It
    opens what it is for, and tells nothing of the key that it was made of."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What everybody knows of an epoch. ``commitment``: see ``commitment``."""

    id: EpochId
    commitment: bytes

    def __post_init__(self) -> None:
        if len(self.id) != EPOCH_ID_BYTES or len(self.commitment) != COMMITMENT_BYTES:
            raise ValueError("an epoch is an id of 16 bytes and a commitment of 32")

    def is_opened_by(self, room: RoomId, key: EpochKey) -> bool:
        """Whether this is the key that the room's authority committed itself to."""
        return hmac.compare_digest(commitment(room, self.id, key), self.commitment)


@dataclass(frozen=True, slots=True)
class EpochFrom:
    """An epoch, and the archive segment that begins with it, in every rendition."""

    segment: int
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class ObjectSeal:
    """How an init segment or an image is sealed: number ``n`` of its class in an epoch."""

    epoch: Epoch
    n: int


@dataclass(frozen=True, slots=True)
class SegmentSeal:
    """How a segment and its init are sealed. The init may be of an earlier epoch."""

    epoch: Epoch
    init: ObjectSeal


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why a key is not to be had. ``code`` is one of the refusals of ``/haus/keys/1``, or says
    what is wrong at this node."""

    code: str
    message: str
    hint: str = ""


def commitment(room: RoomId, epoch: EpochId, key: EpochKey) -> bytes:
    """SHA-256 over a prefix of this use, the room's id and a zero byte, the epoch's id, the key."""
    parts = (_COMMITMENT, room.encode(), b"\0", epoch, key.raw)
    return hashlib.sha256(b"".join(parts)).digest()


def new_epoch(room: RoomId, random_bytes: Callable[[int], bytes]) -> tuple[Epoch, EpochKey]:
    """A fresh epoch with its key. ``random_bytes`` must be the operating system's."""
    id_ = EpochId(random_bytes(EPOCH_ID_BYTES))
    key = EpochKey(random_bytes(EPOCH_KEY_BYTES))
    return Epoch(id_, commitment(room, id_, key)), key
