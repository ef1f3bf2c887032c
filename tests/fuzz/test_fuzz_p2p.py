"""What strangers send, before and after the handshake: values within bounds, or one error."""

from __future__ import annotations

import struct

import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st
from libp2p.identity.identify.pb.identify_pb2 import Identify
from support.hosts import seed_of

from hausd.core.keys import SigningKey
from hausd.core.peers import parse_endpoint
from hausd.p2p.mdns import endpoints
from hausd.p2p.noise import Noise
from hausd.p2p.pubsub import _rpcs
from hausd.p2p.upgrade import UpgradeFailed, upgrade
from hausd.wire import gossip_rpc as codec
from hausd.wire import identify, multistream, yamux
from hausd.wire.gossip_rpc import RpcFault

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
signed = codec.signed(SigningKey(seed_of("author")), "t", b"data", b"12345678")


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
        Identify(
            agent_version="x",
            listen_addrs=[bytes.fromhex("047f000001060fa1")],
            protocols=["/a"],
        ).SerializeToString()
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
