"""What nodes tell of themselves, as py-libp2p reads and writes it."""

from __future__ import annotations

from libp2p.identity.identify.pb.identify_pb2 import Identify
from multiaddr import Multiaddr as TheirMultiaddr
from support.cpu import done_in_bounds
from support.hosts import seed_of

from hausd.core.keys import SigningKey
from hausd.core.peers import Multiaddr, parse_endpoint, peer_id_of
from hausd.wire import identify, peer_keys

KEY = SigningKey(seed_of("node")).public
ADDRESS = "/ip4/192.0.2.1/tcp/4001"


def test_others_read_what_we_tell() -> None:
    said = identify.encode(KEY, [Multiaddr(ADDRESS)], ["/a/1"], parse_endpoint(ADDRESS), "hausd/1")
    read = Identify.FromString(said)
    assert peer_keys.decode(read.public_key).peer == peer_id_of(KEY)
    assert [str(TheirMultiaddr(each)) for each in read.listen_addrs] == [ADDRESS]
    assert str(TheirMultiaddr(read.observed_addr)) == ADDRESS
    assert (list(read.protocols), read.agent_version) == (["/a/1"], "hausd/1")
    assert read.protocol_version == "ipfs/0.1.0"


def test_of_what_others_tell_we_keep_what_we_can_dial() -> None:
    many = [f"/ip4/192.0.2.1/tcp/{port}" for port in range(1, 30)]
    theirs = ["/ip4/192.0.2.1/udp/4001/quic-v1", *many[:1], *many]
    packed = Identify(
        agent_version="x" * 1000,
        listen_addrs=[TheirMultiaddr(each).to_bytes() for each in theirs],
    )
    told = identify.decode(packed.SerializeToString())
    assert [str(each) for each in told.addresses] == many[: identify.MAX_ADDRESSES]
    assert len(told.agent) == 128


def test_an_agent_that_is_not_text_is_left_out() -> None:
    assert identify.decode(b"\x32\x01\xff").agent == ""


def test_no_name_that_a_peer_tells_takes_long_to_read() -> None:
    looked_at = done_in_bounds("""
from hausd.wire import identify
from hausd.wire import libp2p_pb2 as pb

units = ("a", "-", "_", "a-", "a.", "aa.", "a..", "." , "a" * 63 + ".", "a" * 64 + ".", "9-.")
tails = ("", "!", ".!", "..", ".", "-!", " ", "\\n", "a" * 64)
for unit in units:
    for length in (1, 30, 63, 64, 120, 127):
        raws = []
        for tail in tails:
            name = ((unit * length)[: 127 - len(tail)] + tail).encode()
            raws.append(b"\\x36" + bytes((len(name),)) + name + b"\\x06\\x00\\x01")
        identify.decode(pb.Identify(listen_addrs=raws).SerializeToString())
        print(len(raws))
""")
    assert len(looked_at.split()) == 66
