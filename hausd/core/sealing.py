"""Sealing few bytes to a key's holder: HPKE with X25519, HKDF-SHA256, AES-256-GCM. No I/O.

Source: RFC 9180, base mode, single shot: the encapsulated key (32 bytes), then the ciphertext with
its tag. Every sealing has a key of its own, so that no key and nonce pair is used twice. ``info``
says what the bytes are and for whom; only the same opens them.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
OVERHEAD_BYTES = 32 + 16
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_NODES = b"hausd/1/sealing-key"


class SealError(ValueError):
    """What was sealed does not open: it was changed, is another's, or about something else."""


class SealingKey:
    """An X25519 key pair; shows its public half only."""

    __slots__ = ("_key", "public")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise ValueError(f"an X25519 key has 32 bytes, this one {len(raw)}")
        self._key = X25519PrivateKey.from_private_bytes(raw)
        self.public = self._key.public_key().public_bytes_raw()

    @classmethod
    def of_node(cls, seed: bytes) -> SealingKey:
        """A node's, derived from the seed of its Ed25519 key."""
        return cls(HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=_NODES).derive(seed))

    def open(self, untrusted_sealed: bytes, info: bytes) -> bytes:
        """What was sealed to this key. Raises SealError."""
        if len(untrusted_sealed) < OVERHEAD_BYTES:
            raise SealError("too short to be sealed")
        try:
            return _SUITE.decrypt(untrusted_sealed, self._key, info=info)
        except (InvalidTag, ValueError):
            raise SealError("it is not sealed to this key, or about something else") from None

    def __repr__(self) -> str:
        return f"SealingKey(public={self.public.hex()})"


def seal(clear: bytes, untrusted_to: bytes, info: bytes) -> bytes:
    """Seals to an X25519 public key. Raises SealError where that is none."""
    try:
        return _SUITE.encrypt(clear, X25519PublicKey.from_public_bytes(untrusted_to), info=info)
    except (ValueError, InvalidTag):
        raise SealError("that is no key that anything can be sealed to") from None
