"""The noise handshake: two ends joined in memory, and who is not let in."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from noise.connection import Keypair, NoiseConnection
from support.hosts import seed_of

from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, peer_id_of
from hausd.wire import libp2p_pb2 as pb
from hausd.wire import peer_keys
from hausd.wire.noise import (
    TAG_BYTES,
    Cipher,
    Credentials,
    Handshake,
    HandshakeFault,
    SealFault,
    Transport,
)

ALICE, BOB, EVE = (SigningKey(seed_of(name)) for name in ("alice", "bob", "eve"))


def credentials(key: SigningKey) -> Credentials:
    return Credentials(key, seed_of(f"noise {key}"))


def ends(expected: PeerId) -> tuple[Handshake, Handshake]:
    one = Handshake(credentials(ALICE), seed_of("one"), expected)
    return one, Handshake(credentials(BOB), seed_of("other"))


def test_both_ends_learn_who_the_other_is_and_share_a_cipher() -> None:
    one, other = ends(peer_id_of(BOB.public))
    last = one.receive(other.receive(one.opening()))
    assert one.done
    assert not other.done
    assert other.receive(last) == b""
    assert other.done
    assert (one.peer, other.peer) == (peer_id_of(BOB.public), peer_id_of(ALICE.public))
    mine, theirs = one.cipher, other.cipher
    for sender, receiver in ((mine, theirs), (theirs, mine)):
        for text in (b"first", b"second"):
            assert receiver.open(sealed(sender, text)) == text


def sealed(cipher: Cipher, text: bytes) -> bytes:
    into = bytearray(len(text) + TAG_BYTES)
    cipher.seal_into(text, memoryview(into))
    return bytes(into)


def test_what_follows_a_handshake_is_what_the_noise_library_makes_and_reads() -> None:
    one, other = ends(peer_id_of(BOB.public))
    other.receive(one.receive(other.receive(one.opening())))
    for size in (0, 1, 65519, 5):
        text = bytes([size % 251]) * size
        assert other._noise.decrypt(sealed(one.cipher, text)) == text
        assert one.cipher.open(memoryview(other._noise.encrypt(text))) == text


def test_a_message_opens_once_in_its_order_and_unchanged() -> None:
    one, other = ends(peer_id_of(BOB.public))
    other.receive(one.receive(other.receive(one.opening())))
    first, second = (sealed(one.cipher, text) for text in (b"one", b"one"))
    assert first != second
    assert other.cipher.open(first) == b"one"
    with pytest.raises(SealFault):
        other.cipher.open(first)
    for untrusted in (b"", second[:-1], bytes([second[0] ^ 1]) + second[1:]):
        again, peer = ends(peer_id_of(BOB.public))
        peer.receive(again.receive(peer.receive(again.opening())))
        with pytest.raises(SealFault):
            peer.cipher.open(untrusted)


def test_no_key_is_used_beyond_its_last_nonce() -> None:
    cipher = Transport(bytes(32), bytes(32))
    cipher._sent = cipher._received = 2**64 - 1
    with pytest.raises(SealFault, match="all the messages"):
        sealed(cipher, b"text")
    with pytest.raises(SealFault, match="all the messages"):
        cipher.open(bytes(20))


def test_another_peer_than_was_dialled_is_refused() -> None:
    one, other = ends(peer_id_of(EVE.public))
    with pytest.raises(HandshakeFault, match="another peer"):
        one.receive(other.receive(one.opening()))
    assert not one.done


@pytest.mark.parametrize("message", [0, 1, 2])
def test_no_changed_byte_of_a_handshake_goes_unseen(message: int) -> None:
    """Of the first message a change shows at the other end, once the second comes."""
    for at in range(0, (32, 200, 168)[message], 7):
        one, other = ends(peer_id_of(BOB.public))
        with pytest.raises(HandshakeFault):
            shake(one, other, message, at)


def shake(one: Handshake, other: Handshake, changed: int, at: int) -> None:
    """A whole handshake, in one message of which a bit arrives changed."""
    said = one.opening()
    for number, end in enumerate((other, one, other)):
        if number == changed:
            said = said[:at] + bytes((said[at] ^ 1,)) + said[at + 1 :]
        said = end.receive(said)


def eves_answer(payload: bytes) -> HandshakeFault:
    """What becomes of a handshake in which the dialled end shows this."""
    eve = NoiseConnection.from_name(b"Noise_XX_25519_ChaChaPoly_SHA256")
    eve.set_as_responder()
    eve.set_keypair_from_private_bytes(Keypair.STATIC, seed_of("eve's noise key"))
    eve.start_handshake()
    one, _ = ends(peer_id_of(BOB.public))
    eve.read_message(one.opening())
    with pytest.raises(HandshakeFault) as fault:
        one.receive(bytes(eve.write_message(payload)))
    assert not one.done
    return fault.value


def test_nobody_passes_with_anothers_identity() -> None:
    """Bob's key and signature, seen by Eve in a handshake with him, are worth nothing to her."""
    assert "did not sign" in str(eves_answer(credentials(BOB).payload))
    own = X25519PrivateKey.from_private_bytes(seed_of("eve's noise key"))
    signature = EVE.sign(b"noise-libp2p-static-key:" + own.public_key().public_bytes_raw())
    mixed = pb.NoisePayload(identity_key=peer_keys.encode(BOB.public), identity_sig=signature)
    assert "did not sign" in str(eves_answer(mixed.SerializeToString()))


@pytest.mark.parametrize("payload", [b"", b"\xff\xff", b"\x0a\x03abc", b"\x12\x40" + bytes(64)])
def test_who_shows_no_identity_is_refused(payload: bytes) -> None:
    assert "can't be read" in str(eves_answer(payload))


def test_a_key_that_forces_a_known_secret_is_refused() -> None:
    _, other = ends(peer_id_of(BOB.public))
    with pytest.raises(HandshakeFault):
        other.receive(bytes(32))
