"""Ed25519 identities: stream authorities and node keys. No file is read or written here.

Source: RFC 8032. A key made of a seed is secret: nothing here prints it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hausd.core.ids import RoomId, open_room_id

SEED_BYTES = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64

_OPEN_ROOM_PREFIX = "k51"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key, by its 32 bytes."""

    raw: bytes
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_BYTES:
            raise ValueError(f"an Ed25519 public key has 32 bytes, this one {len(self.raw)}")
        object.__setattr__(self, "_key", Ed25519PublicKey.from_public_bytes(self.raw))

    def verifies(self, untrusted_signature: bytes, message: bytes) -> bool:
        """Whether this key's holder signed exactly these bytes."""
        try:
            self._key.verify(untrusted_signature, message)
        except InvalidSignature:
            return False
        return True

    @property
    def open_room(self) -> RoomId:
        """The open room that this key is the stream authority of."""
        return open_room_id(self.raw)


class SigningKey:
    """An Ed25519 key pair from its 32-byte seed; shows its public half only."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 seed has 32 bytes, this one {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes; the same message always gets the same one."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.raw.hex()})"


@lru_cache(1024)
def open_room_authority(room: RoomId) -> PublicKey | None:
    """The key that an open room's id names; None where the id is an event's account."""
    if not room.startswith(_OPEN_ROOM_PREFIX):
        return None
    # Base36 of 40 bytes, of which the last 32 are the key: see open_room_id.
    number = int(room.removeprefix("k"), 36)
    key = PublicKey((number % (1 << 8 * PUBLIC_BYTES)).to_bytes(PUBLIC_BYTES, "big"))
    return key if key.open_room == room else None
