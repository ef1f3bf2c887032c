"""The noise handshake of libp2p: bytes in, bytes out, and at its end a peer and a cipher.

Source: libp2p's noise specification: Noise_XX_25519_ChaChaPoly_SHA256, in whose second and third
message each end sends its identity key and that key's signature over its noise key. The noise
protocol itself is the library noiseprotocol's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.message import DecodeError
from noise.backends.default.keypairs import KeyPair25519
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseHandshakeError, NoiseValueError

from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId
from hausd.wire import libp2p_pb2 as pb
from hausd.wire import peer_keys

PROTOCOL = "/noise"
SECRET_BYTES = 32
_NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"
_SIGNED_PREFIX = b"noise-libp2p-static-key:"


class HandshakeFault(Exception):
    """The other end could not show who it is; ``args[0]`` says how it failed."""


class Cipher(Protocol):
    """Both directions' keys; each message counts up a nonce."""

    def encrypt(self, data: bytes) -> bytes: ...

    def decrypt(self, data: bytes) -> bytes:
        """Raises NoiseInvalidMessage where the peer did not seal it, NoiseMaxNonceError."""


class Credentials:
    """What a node shows in handshakes: one noise key for its life, signed by its own key."""

    __slots__ = ("payload", "secret")

    def __init__(self, key: SigningKey, secret: bytes) -> None:
        """``secret``: SECRET_BYTES of fresh randomness."""
        self.secret = secret
        static = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        self.payload = pb.NoisePayload(
            identity_key=peer_keys.encode(key.public),
            identity_sig=key.sign(_SIGNED_PREFIX + static),
        ).SerializeToString()


class Handshake:
    """One end of one handshake. Of no use after a fault."""

    def __init__(
        self, credentials: Credentials, ephemeral: bytes, expected: PeerId | None = None
    ) -> None:
        """``expected`` is whom we dial, None where we were dialled.

        ``ephemeral``: SECRET_BYTES of fresh randomness, never used twice.
        """
        self._payload = credentials.payload
        self._expected = expected
        self._noise = NoiseConnection.from_name(_NAME)
        if expected is None:
            self._noise.set_as_responder()
        else:
            self._noise.set_as_initiator()
        self._noise.set_keypair_from_private_bytes(Keypair.STATIC, credentials.secret)
        self._noise.start_handshake()
        # kept, since the library lets go of it at the end
        self._state = self._noise.noise_protocol.handshake_state
        # so, rather than by the library's setter, which warns of any that it did not make itself
        self._state.e = KeyPair25519.from_private_bytes(ephemeral)
        self._first = True
        self.peer: PeerId | None = None
        """Who the other end is, as soon as it has proven it."""

    @property
    def done(self) -> bool:
        """Whether both ends have shown who they are."""
        return self.peer is not None and bool(self._noise.handshake_finished)

    @property
    def cipher(self) -> Cipher:
        """For what follows the handshake, once it is done."""
        cipher: Cipher = self._noise
        return cipher

    def opening(self) -> bytes:
        """The first message, of the end that dials."""
        self._first = False
        return bytes(self._noise.write_message(b""))

    def receive(self, untrusted: bytes) -> bytes:
        """Takes the other end's next message and gives the answer; empty: there is none.

        Raises HandshakeFault.
        """
        with _faults():
            payload = bytes(self._noise.read_message(untrusted))
        if self._first:
            self._first = False  # what an opening carries is nobody's word
        else:
            self.peer = self._proven(payload)
        if self._noise.handshake_finished:
            return b""
        with _faults():
            return bytes(self._noise.write_message(self._payload))

    def _proven(self, untrusted: bytes) -> PeerId:
        try:
            packed = pb.NoisePayload.FromString(untrusted)
            key = peer_keys.decode(packed.identity_key)
        except (DecodeError, peer_keys.PeerKeyFault) as error:
            raise HandshakeFault("its identity can't be read") from error
        static = self._state.rs.public_bytes
        if not key.verifies(packed.identity_sig, _SIGNED_PREFIX + static):
            raise HandshakeFault("its identity did not sign its noise key")
        if self._expected not in (None, key.peer):
            raise HandshakeFault("it is another peer")
        return key.peer


@contextmanager
def _faults() -> Iterator[None]:
    """Around what the library does with bytes of the other end: writing exchanges its keys too."""
    try:
        yield
    # ValueError: a public key with which every exchange gives zero
    except (InvalidTag, NoiseHandshakeError, NoiseValueError, ValueError) as error:
        raise HandshakeFault("a message that is no noise handshake's") from error
