"""Keys of other peers: every kind that libp2p has, as py-libp2p makes them."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.hosts import seed_of

from hausd.core.keys import SigningKey
from hausd.core.peers import peer_id_of
from hausd.wire import libp2p_pb2 as pb
from hausd.wire import peer_keys


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "secp256k1"])
def test_a_key_of_any_kind_verifies_and_names_its_peer(kind: str) -> None:
    import importlib

    from libp2p.peer.id import ID

    library: Any = importlib.import_module(f"libp2p.crypto.{kind}")
    pair = library.create_new_key_pair()
    key = peer_keys.decode(pair.public_key.serialize())
    assert key.peer == str(ID.from_pubkey(pair.public_key))
    signature = pair.private_key.sign(b"text")
    assert key.verifies(signature, b"text")
    assert not key.verifies(signature, b"another")
    assert not key.verifies(b"", b"text")


def test_an_ecdsa_key_verifies_and_names_its_peer() -> None:
    """py-libp2p keeps these in a form of its own; the specification's is PKIX."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = peer_keys.decode(pb.PublicKey(type=3, data=der).SerializeToString())
    assert key.peer.startswith("Qm")
    signature = private.sign(b"text", ec.ECDSA(hashes.SHA256()))
    assert key.verifies(signature, b"text")
    assert not key.verifies(signature, b"another")


def test_what_is_written_is_read() -> None:
    ours = SigningKey(seed_of("ours"))
    key = peer_keys.decode(peer_keys.encode(ours.public))
    assert key.peer == peer_id_of(ours.public)
    assert key.verifies(ours.sign(b"text"), b"text")


def test_a_key_has_one_id_however_it_is_written() -> None:
    ours = SigningKey(seed_of("ours")).public
    padded = peer_keys.encode(ours) + b"\x1a\x01x"
    assert peer_keys.decode(padded).peer == peer_id_of(ours)


@pytest.mark.parametrize("bits", [1024, 9216])
def test_rsa_keys_that_are_weak_or_dear_are_refused(bits: int) -> None:
    numbers = rsa.RSAPublicNumbers(65537, (1 << bits - 1) + 1)
    der = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(peer_keys.PeerKeyFault):
        peer_keys.decode(pb.PublicKey(type=0, data=der).SerializeToString())
