"""The keys of libp2p peers: what a peer signs with, and the id that follows from it.

Source: libp2p's peer id specification. Nodes of ours have Ed25519 keys; others may have RSA,
secp256k1 or ECDSA ones. All but Ed25519 sign SHA-256, RSA with the padding of PKCS #1 v1.5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from google.protobuf.message import DecodeError

from hausd.core.keys import PublicKey
from hausd.core.peers import PeerId, peer_id_from_bytes
from hausd.wire import libp2p_pb2 as pb

_RSA, _ED25519, _SECP256K1, _ECDSA = range(4)
_MAX_INLINE_BYTES = 42
"""Keys up to this length are their own id; of longer ones it is the SHA-256."""
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
"""As go-libp2p takes them: below is weak, above costs too much to check."""
_MAX_KEY_BYTES = 2048


class PeerKeyFault(Exception):
    """The bytes are no public key of a peer; ``args[0]`` says how."""


@dataclass(frozen=True, slots=True)
class PeerKey:
    """A peer's public key, of whatever kind."""

    peer: PeerId
    _check: Callable[[bytes, bytes], bool] = field(repr=False)

    def verifies(self, untrusted_signature: bytes, message: bytes) -> bool:
        """Whether this key's holder signed exactly these bytes."""
        return self._check(untrusted_signature, message)


def encode(key: PublicKey) -> bytes:
    """An Ed25519 key as peers send it."""
    return _packed(_ED25519, key.raw)


def decode(untrusted: bytes) -> PeerKey:
    """Reads a public key; raises PeerKeyFault. A key has one id, however it was written."""
    if len(untrusted) > _MAX_KEY_BYTES:
        raise PeerKeyFault("a public key is too long")
    try:
        packed = pb.PublicKey.FromString(untrusted)
        return _key(packed.type, packed.data)
    except (DecodeError, ValueError, UnsupportedAlgorithm) as error:
        raise PeerKeyFault("it is no public key") from error


def _key(kind: int, untrusted: bytes) -> PeerKey:
    if kind == _ED25519:
        ed25519 = PublicKey(untrusted)
        return PeerKey(_id(_ED25519, ed25519.raw), ed25519.verifies)
    if kind == _SECP256K1:
        curve = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), untrusted)
        point = curve.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        return PeerKey(_id(_SECP256K1, point), _ecdsa(curve))
    if kind not in (_RSA, _ECDSA):
        raise ValueError("a kind of key that libp2p does not have")
    key = load_der_public_key(untrusted)
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if kind == _ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
        return PeerKey(_id(_ECDSA, der), _ecdsa(key))
    if isinstance(key, rsa.RSAPublicKey) and _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        return PeerKey(_id(_RSA, der), _rsa(key))
    raise ValueError("another kind of key than it says, or an RSA key of an odd size")


def _ecdsa(key: ec.EllipticCurvePublicKey) -> Callable[[bytes, bytes], bool]:
    def check(untrusted_signature: bytes, message: bytes) -> bool:
        try:
            key.verify(untrusted_signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    return check


def _rsa(key: rsa.RSAPublicKey) -> Callable[[bytes, bytes], bool]:
    def check(untrusted_signature: bytes, message: bytes) -> bool:
        try:
            key.verify(untrusted_signature, message, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    return check


def _id(kind: int, data: bytes) -> PeerId:
    packed = _packed(kind, data)
    if len(packed) <= _MAX_INLINE_BYTES:
        return peer_id_from_bytes(bytes((0x00, len(packed))) + packed)
    return peer_id_from_bytes(b"\x12\x20" + hashlib.sha256(packed).digest())


def _packed(kind: int, data: bytes) -> bytes:
    return pb.PublicKey(type=kind, data=data).SerializeToString()
