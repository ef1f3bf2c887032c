"""The noise handshake of libp2p: bytes in, bytes out, and at its end a peer and a cipher.

Source: libp2p's noise specification: Noise_XX_25519_ChaChaPoly_SHA256, in whose second and third
message each end sends its identity key and that key's signature over its noise key. The noise
protocol itself is the library noiseprotocol's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from google.protobuf.message import DecodeError
from noise.backends.default.keypairs import KeyPair25519
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseHandshakeError, NoiseValueError

from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId
from hausd.wire import libp2p_pb2 as pb
from hausd.wire import peer_keys

Data = bytes | memoryview
PROTOCOL = "/noise"
TAG_BYTES = 16
SECRET_BYTES = 32
_NONCE = struct.Struct("<4xQ")
_MAX_MESSAGES = 2**64 - 1
_NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"
_SIGNED_PREFIX = b"noise-libp2p-static-key:"


class HandshakeFault(Exception):
    """The other end could not show who it is; ``args[0]`` says how it failed."""


class SealFault(Exception):
    """A message that the peer did not seal, or as many as a key may ever be used for."""


class Cipher(Protocol):
    """Both directions' keys; each message counts up a nonce."""

    def seal_into(self, plain: Data, into: memoryview) -> None:
        """Seals the next message; ``into`` has TAG_BYTES more than it. Raises SealFault."""

    def open(self, untrusted: Data) -> bytes:
        """The peer's next message. Raises SealFault."""


class Transport:
    """What the noise protocol (revision 34, section 5.1) calls a pair of CipherStates, with the
    keys of a handshake that is done. Written out here because the library's takes and gives whole
    ``bytes`` only: bulk would be copied twice more at each end."""

    __slots__ = ("_receive", "_received", "_send", "_sent")

    def __init__(self, send: bytes, receive: bytes) -> None:
        self._send, self._receive = ChaCha20Poly1305(send), ChaCha20Poly1305(receive)
        self._sent = self._received = 0

    def seal_into(self, plain: Data, into: memoryview) -> None:
        """See ``Cipher.seal_into``. What fails has used its nonce up all the same."""
        nonce = _nonce(self._sent)
        self._sent += 1
        self._send.encrypt_into(nonce, plain, None, into)

    def open(self, untrusted: Data) -> bytes:
        """See ``Cipher.open``."""
        nonce = _nonce(self._received)
        self._received += 1
        try:
            return self._receive.decrypt(nonce, untrusted, None)
        except InvalidTag:
            raise SealFault("a message that the peer did not seal") from None


def _nonce(count: int) -> bytes:
    if count >= _MAX_MESSAGES:
        raise SealFault("the key was used for all the messages that it may be used for")
    return _NONCE.pack(count)


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
        self._transport: Transport | None = None
        self.peer: PeerId | None = None
        """Who the other end is, as soon as it has proven it."""

    @property
    def done(self) -> bool:
        """Whether both ends have shown who they are."""
        return self.peer is not None and bool(self._noise.handshake_finished)

    @property
    def cipher(self) -> Cipher:
        """For what follows the handshake, once it is done."""
        if self._transport is None:  # one and no other: it counts the nonces
            states = self._noise.noise_protocol
            keys = states.cipher_state_encrypt.k, states.cipher_state_decrypt.k
            self._transport = Transport(*keys)
        return self._transport

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
