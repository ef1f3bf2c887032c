"""What strangers send, before and after the handshake: values within bounds, or one error."""

from __future__ import annotations

import struct

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection
from support.hosts import seed_of

from hausd.core.keys import SigningKey
from hausd.core.peers import Multiaddr, parse_endpoint, parse_peer_id, peer_id_of
from hausd.p2p.mdns import endpoints
from hausd.p2p.noise import Noise
from hausd.p2p.pubsub import _rpcs
from hausd.p2p.upgrade import UpgradeFailed, upgrade
from hausd.wire import gossip_rpc as codec
from hausd.wire import identify, multiaddr, multistream, peer_keys, yamux
from hausd.wire import libp2p_pb2 as pb
from hausd.wire.gossip_rpc import RpcFault
from hausd.wire.noise import Credentials, Handshake, HandshakeFault

frames = st.builds(
    lambda kind, flags, stream, length, body: (
        struct.pack("!BBHII", 0, kind, flags, stream, length if kind else len(body))
        + (b"" if kind else body)
    ),
    st.integers(0, 4),
    st.integers(0, 15),
    st.integers(0, 5),
    st.integers(0, 2**32 - 1) | st.integers(0, 10),
    st.binary(max_size=40),
)
AUTHOR = SigningKey(seed_of("author"))
RSA = rsa.generate_private_key(65537, 2048).public_key()
SECP256K1 = ec.derive_private_key(7, ec.SECP256K1()).public_key()
P256 = ec.derive_private_key(7, ec.SECP256R1()).public_key()
signed = codec.signed(AUTHOR, "t", b"data", b"12345678")


def flipped(good: bytes) -> st.SearchStrategy[bytes]:
    """Some bytes of a good input changed, cut or doubled."""

    def change(places: list[tuple[int, int]], cut: int) -> bytes:
        data = bytearray(good)
        for at, value in places:
            data[at % len(data)] = value
        return bytes(data[: cut % (len(data) + 1)] or data)

    place = st.tuples(st.integers(0, 2**16), st.integers(0, 255))
    return st.builds(change, st.lists(place, max_size=6), st.integers(0, 2**16))


@given(st.lists(frames, max_size=30).map(b"".join) | st.binary(max_size=200), st.booleans())
def test_any_frames_are_events_within_bounds_or_an_error(untrusted: bytes, dialled: bool) -> None:
    machine = yamux.Yamux(initiator=dialled, max_streams=3)
    own = {machine.open(), machine.open()}
    held: dict[int, int] = {}
    try:
        for event in machine.receive(untrusted):
            if isinstance(event, yamux.Opened):
                held[event.stream] = 0
            if isinstance(event, yamux.Received):
                assert event.stream in held or event.stream in own
                held[event.stream] = held.get(event.stream, 0) + len(event.data)
                assert held[event.stream] <= yamux.INITIAL_WINDOW_BYTES
    except yamux.YamuxError:
        return
    assert machine.streams <= 5


@given(st.binary(max_size=60) | flipped(multistream.token("/haus/blocks/1")))
def test_any_bytes_are_a_token_or_an_error(untrusted: bytes) -> None:
    try:
        missing = multistream.missing(untrusted)
        assert 0 <= missing <= multistream.MAX_TOKEN_BYTES
        if not missing:
            assert len(multistream.text(untrusted)) < multistream.MAX_TOKEN_BYTES
    except multistream.MultistreamError:
        return


@given(st.binary(max_size=300) | flipped(codec.encode(codec.Rpc(messages=[signed], graft=["t"]))))
@example(b"\x1a\x05\n\x03\n\x01\x80")
@example(b"\n\x05\x08\x01\x12\x01\xff")
def test_any_bytes_are_an_rpc_or_a_fault(untrusted: bytes) -> None:
    try:
        said = codec.decode(untrusted)
    except RpcFault:
        return
    for message in said.messages:
        if message.is_authors():
            assert message.data == signed.data
            assert message.topic == signed.topic
    codec.encode(said)


@given(
    st.binary(max_size=200)
    | flipped(
        identify.encode(
            AUTHOR.public,
            [Multiaddr("/ip4/127.0.0.1/tcp/4001"), Multiaddr("/dns4/example.org/tcp/1")],
            ["/a"],
            parse_endpoint("/ip6/::1/tcp/2"),
            "x",
        )
    )
)
def test_any_bytes_are_an_identify_or_a_fault(untrusted: bytes) -> None:
    try:
        told = identify.decode(untrusted)
    except identify.IdentifyFault:
        return
    assert len(told.addresses) <= identify.MAX_ADDRESSES
    for end in told.addresses:
        assert parse_endpoint(str(end)) == end


addresses = [
    multiaddr.encode(parse_endpoint(text))
    for text in (
        f"/ip4/192.0.2.1/tcp/4001/p2p/{peer_id_of(AUTHOR.public)}",
        "/ip6/2001:db8::1/tcp/1",
        "/dns/example.org/tcp/65535",
    )
]


@given(st.binary(max_size=80) | st.sampled_from(addresses).flatmap(flipped))
def test_any_bytes_are_an_address_or_a_fault(untrusted: bytes) -> None:
    try:
        endpoint = multiaddr.decode(untrusted)
    except ValueError:
        return
    assert multiaddr.decode(multiaddr.encode(endpoint)) == endpoint


keys = [
    peer_keys.encode(AUTHOR.public),
    *(
        pb.PublicKey(type=kind, data=key.public_bytes(encoding, form)).SerializeToString()
        for kind, key, encoding, form in (
            (0, RSA, Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            (2, SECP256K1, Encoding.X962, PublicFormat.CompressedPoint),
            (3, P256, Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        )
    ),
]


@given(
    st.binary(max_size=120)
    | st.builds(
        lambda kind, data: pb.PublicKey(type=kind, data=data).SerializeToString(),
        st.integers(0, 5),
        st.binary(max_size=100),
    )
    | st.sampled_from(keys).flatmap(flipped),
    st.binary(max_size=80),
)
def test_any_bytes_are_a_key_that_nobody_signed_with_or_a_fault(
    untrusted: bytes, signature: bytes
) -> None:
    try:
        key = peer_keys.decode(untrusted)
    except peer_keys.PeerKeyFault:
        return
    assert parse_peer_id(key.peer) == key.peer
    assert not key.verifies(signature, b"text")


def ours(*, dialled: bool) -> Handshake:
    expected = peer_id_of(AUTHOR.public) if dialled else None
    return Handshake(Credentials(AUTHOR, seed_of("static")), seed_of("ephemeral"), expected)


def strangers() -> NoiseConnection:
    noise = NoiseConnection.from_name(b"Noise_XX_25519_ChaChaPoly_SHA256")
    noise.set_keypair_from_private_bytes(Keypair.STATIC, seed_of("stranger"))
    return noise


@given(st.lists(st.binary(max_size=200), min_size=2, max_size=2), st.booleans())
@example([bytes(32), b""], False)
def test_any_messages_are_no_handshake(untrusted: list[bytes], dialled: bool) -> None:
    end = ours(dialled=dialled)
    if dialled:
        end.opening()
    try:
        for message in untrusted:
            end.receive(message)
    except HandshakeFault:
        return
    raise AssertionError("a stranger without a key was let in")


payloads = st.binary(max_size=200) | flipped(Credentials(AUTHOR, seed_of("static")).payload)


@given(payloads)
def test_any_payload_of_who_dials_is_refused_unless_signed(untrusted: bytes) -> None:
    end, noise = ours(dialled=False), strangers()
    noise.set_as_initiator()
    noise.start_handshake()
    noise.read_message(end.receive(bytes(noise.write_message(untrusted))))
    with pytest.raises(HandshakeFault):
        end.receive(bytes(noise.write_message(untrusted)))
    assert not end.done


@given(payloads)
def test_any_payload_of_who_was_dialled_is_refused_unless_signed(untrusted: bytes) -> None:
    end, noise = ours(dialled=True), strangers()
    noise.set_as_responder()
    noise.start_handshake()
    noise.read_message(end.opening())
    with pytest.raises(HandshakeFault):
        end.receive(bytes(noise.write_message(untrusted)))
    assert not end.done


@given(st.binary(max_size=300))
def test_any_txt_record_is_addresses(untrusted: bytes) -> None:
    assert all(end.peer for end in endpoints(untrusted))


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_any_stream_is_cut_into_rpcs_or_a_fault(pieces: list[bytes]) -> None:
    class Stream:
        def __init__(self) -> None:
            self.left = [piece for piece in pieces if piece]

        async def receive_some(self, max_bytes: int = 65536) -> bytes:
            return self.left.pop(0) if self.left else b""

    async def read() -> None:
        total = 0
        try:
            async for rpc in _rpcs(Stream()):  # type: ignore[arg-type]
                total += len(rpc)
        except RpcFault:
            return
        assert total <= sum(map(len, pieces))

    trio.run(read)


hello = multistream.token(multistream.HEADER) + multistream.token("/noise")
noise_message = st.binary(max_size=120).map(lambda body: struct.pack("!H", len(body)) + body)


@given(
    st.binary(max_size=200) | st.lists(noise_message, max_size=4).map(b"".join).map(hello.__add__)
)
def test_any_handshake_fails_as_one_thing(untrusted: bytes) -> None:
    async def shake() -> None:
        stranger, ours = trio.testing.memory_stream_pair()
        await stranger.send_all(untrusted)
        await stranger.send_eof()
        try:
            await upgrade(ours, Noise(SigningKey(seed_of("node"))), None)
        except UpgradeFailed:
            return
        raise AssertionError("a stranger without a key was let in")

    trio.run(shake)
