"""A room's keys in one piece, sealed to a node that its owner chose. Pure.

``core.sealing`` seals it: epoch ids and keys, 16 and 32 bytes each, end to end; the room is in what
opens it.
"""

from __future__ import annotations

from collections.abc import Mapping

from hausd.core.dagcbor import encode
from hausd.core.gating import EPOCH_ID_BYTES, EPOCH_KEY_BYTES, EpochId, EpochKey
from hausd.core.ids import RoomId
from hausd.core.sealing import SealError, SealingKey, seal

MAX_KEYS = 50_000
_ENTRY = EPOCH_ID_BYTES + EPOCH_KEY_BYTES


def seal_bundle(room: RoomId, keys: Mapping[EpochId, EpochKey], untrusted_to: bytes) -> bytes:
    """``keys``: MAX_KEYS at most. Raises SealError where ``untrusted_to`` is no X25519 key."""
    if len(keys) > MAX_KEYS:
        raise ValueError(f"{len(keys)} keys are too many for one bundle")
    clear = b"".join(id_ + key.raw for id_, key in keys.items())
    return seal(clear, untrusted_to, _info(room))


def open_bundle(room: RoomId, untrusted: bytes, key: SealingKey) -> dict[EpochId, EpochKey]:
    """Raises SealError."""
    clear = key.open(untrusted, _info(room))
    if len(clear) % _ENTRY or len(clear) > MAX_KEYS * _ENTRY:
        raise SealError("what was sealed is no bundle of keys")
    return {
        EpochId(clear[at : at + EPOCH_ID_BYTES]): EpochKey(clear[at + EPOCH_ID_BYTES : at + _ENTRY])
        for at in range(0, len(clear), _ENTRY)
    }


def _info(room: RoomId) -> bytes:
    return encode(["hausd/1/key-bundle", room])
