"""The DHT's messages: what we write is read again, what Kubo answers is understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.peers import peer, pieces

from hausd.core.cid import CID
from hausd.core.peers import Endpoint, parse_endpoint, peer_id_bytes
from hausd.wire import kad
from hausd.wire import libp2p_pb2 as pb
from hausd.wire.kad import Contact, KadFault, Kind, Message, MessageReader, Record

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/dht.json").read_text())


def end(text: str, number: int) -> Endpoint:
    return parse_endpoint(f"{text}/p2p/{peer(number)}")


contacts = st.builds(
    lambda number, ports: Contact(
        peer(number), tuple(end(f"/ip4/192.0.2.7/tcp/{port}", number) for port in ports)
    ),
    st.integers(0, 1000),
    st.lists(st.integers(1, 65535), max_size=kad.MAX_ADDRESSES, unique=True),
)
unique = {"unique_by": lambda contact: contact.peer}
messages = st.builds(
    Message,
    st.sampled_from(Kind),
    st.binary(max_size=kad.MAX_KEY_BYTES),
    st.none() | st.builds(Record, st.binary(max_size=40), st.binary(max_size=200)),
    st.lists(contacts, max_size=kad.K, **unique).map(tuple),  # type: ignore[arg-type]
    st.lists(contacts, max_size=30, **unique).map(tuple),  # type: ignore[arg-type]
)


@given(st.lists(messages, max_size=4), st.integers(1, 50))
def test_messages_are_read_again_however_the_stream_is_cut(said: list[Message], size: int) -> None:
    reader = MessageReader(kad.MAX_ANSWER_BYTES)
    stream = b"".join(map(kad.encode, said))
    assert [one for piece in pieces(stream, size) for one in reader.feed(piece)] == said


def test_what_kubo_answers_is_understood() -> None:
    raw = bytes.fromhex(VECTORS["providers"]["answer"])
    (answer,) = MessageReader(1000).feed(raw)
    cid = CID.parse(VECTORS["providers"]["cid"])
    assert cid == CID.of(b"theirs")
    assert (answer.kind, answer.key) == (Kind.GET_PROVIDERS, kad.provider_key(cid))
    (provider,) = answer.providers
    assert [str(each) for each in provider.addresses] == [
        f"/ip4/127.0.0.1/tcp/42961/p2p/{provider.peer}"
    ]


def test_the_keys_of_one_block_are_the_same_whatever_its_codec() -> None:
    cid = CID.of(b"x")
    assert kad.provider_key(cid) == bytes(cid)[2:]
    assert kad.ipns_name(kad.ipns_key(peer(1))) == peer(1)
    for wrong in (b"", b"/pk/abc", b"/ipns/", b"/ipns/abc"):
        with pytest.raises(KadFault):
            kad.ipns_name(wrong)


def test_a_message_is_bounded_in_all_directions() -> None:
    with pytest.raises(KadFault, match="over the limit"):
        list(MessageReader(100).feed(b"\xff\x7f"))
    with pytest.raises(KadFault, match="length"):
        list(MessageReader(100).feed(b"\xff" * 10))
    with pytest.raises(KadFault, match="at most"):
        kad.decode(pb.KadMessage(type=1, key=bytes(300)).SerializeToString())
    huge = pb.KadMessage.Record(key=b"k", value=bytes(kad.MAX_VALUE_BYTES + 1))
    with pytest.raises(KadFault, match="at most"):
        kad.decode(pb.KadMessage(type=1, record=huge).SerializeToString())
    with pytest.raises(KadFault, match="type"):
        kad.decode(pb.KadMessage(type=9).SerializeToString())
    crowd = [pb.KadMessage.Peer(id=peer_id_bytes(peer(n)), addrs=[b"x"]) for n in range(1000)]
    read = kad.decode(pb.KadMessage(type=4, closer=crowd, providers=crowd).SerializeToString())
    assert (len(read.closer), len(read.providers)) == (kad.K, kad.MAX_PROVIDERS)


def test_addresses_of_another_peer_or_of_no_machine_are_left_out() -> None:
    good = end("/ip4/192.0.2.1/tcp/1", 1)
    told = [good, end("/ip4/192.0.2.2/tcp/1", 2), end("/ip4/0.0.0.0/tcp/1", 1)]
    packed = pb.KadMessage.Peer(
        id=peer_id_bytes(peer(1)), addrs=[kad.multiaddr.encode(each) for each in told]
    )
    (read,) = kad.decode(pb.KadMessage(type=4, closer=[packed]).SerializeToString()).closer
    assert read == Contact(peer(1), (good,))
