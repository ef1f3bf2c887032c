"""Bitswap's bytes: the same values on both sides, and older peers are told what they understand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.content import content
from support.peers import pieces

from hausd.core.cid import CID, Codec
from hausd.wire import bitswap
from hausd.wire.bitswap import (
    MAX_BLOCK_BYTES,
    MAX_MESSAGE_BYTES,
    BitswapFault,
    Entry,
    Kind,
    Message,
    MessageReader,
    Payload,
    Presence,
    Version,
)

cids = st.builds(CID, st.sampled_from(Codec), st.binary(min_size=32, max_size=32))
v0 = st.binary(min_size=32, max_size=32).map(
    lambda digest: (b"\x12\x20" + digest, CID(Codec.DAG_PB, digest))
)
strange = st.sampled_from([b"\x01\x55\x13\x40" + bytes(64), b"\x01\x71\x00\x02hi", b"?"]).map(
    lambda name: (name, None)
)
named = cids.map(lambda cid: (bytes(cid), cid)) | v0 | strange
entries = st.builds(
    lambda name, kind, priority, cancel, tells: Entry(*name, kind, priority, cancel, tells),
    named,
    st.sampled_from(Kind),
    st.integers(-(2**31), 2**31 - 1),
    st.booleans(),
    st.booleans(),
)
payloads = st.builds(
    lambda name, data: bitswap.payload(name[0], data),
    cids.map(lambda c: (bytes(c), c)) | v0,
    st.binary(max_size=300),
)
presences = st.builds(lambda name, have: Presence(*name, have), named, st.booleans())
messages = st.builds(
    Message,
    st.lists(entries, max_size=5).map(tuple),
    st.booleans(),
    st.lists(payloads, max_size=3).map(tuple),
    st.lists(presences, max_size=5).map(tuple),
)


def encoded(message: Message, version: Version = Version.V1_2) -> bytes:
    return b"".join(bitswap.encode(message, version))


@given(st.lists(messages, max_size=4), st.integers(1, 500))
def test_messages_come_out_as_they_went_in_however_they_are_cut(
    sent: list[Message], size: int
) -> None:
    reader = MessageReader()
    data = b"".join(map(encoded, sent))
    assert [each for piece in pieces(data, size) for each in reader.feed(piece)] == sent
    reader.finish()
    assert reader.announced_bytes is None


@given(cids | v0.map(lambda name: name[1]), st.binary(max_size=200))
def test_a_block_says_itself_which_it_is(cid: CID, data: bytes) -> None:
    expected = CID.of(data, cid.codec)
    assert bitswap.payload(bytes(expected), data).cid() == expected
    v0_name = b"\x12\x20" + expected.digest
    assert bitswap.payload(v0_name, data).cid() == CID(Codec.DAG_PB, expected.digest)
    assert bitswap.payload(v0_name, data).prefix == bytes.fromhex("00701220")


def test_a_block_under_another_hash_is_none_of_ours() -> None:
    assert Payload(bytes.fromhex("01551340"), b"data").cid() is None


@pytest.mark.parametrize("version", [Version.V1_0, Version.V1_1])
def test_older_peers_are_asked_for_blocks_and_not_told_of_presences(version: Version) -> None:
    cid = CID.of(b"data")
    said = Message(
        entries=(bitswap.want(cid, Kind.HAVE),),
        payload=(bitswap.payload(b"\x12\x20" + cid.digest, b"data"),),
        presences=(Presence(bytes(cid), cid, True),),
    )
    (heard,) = MessageReader().feed(encoded(said, version))
    assert heard.entries == (Entry(bytes(cid), cid, Kind.BLOCK),)
    assert heard.presences == ()
    assert [each.data for each in heard.payload] == [b"data"]


def test_the_bytes_are_the_specifications() -> None:
    """A want-have and a cancel in the protobuf of the specification, counted by hand."""
    cid = CID.of(b"data")
    asked = Message(entries=(bitswap.want(cid, Kind.HAVE), bitswap.cancel(cid)))
    first = b"\x0a\x24" + bytes(cid) + b"\x10\x01\x18\x00\x20\x01\x28\x01"
    second = b"\x0a\x24" + bytes(cid) + b"\x10\x01\x18\x01\x20\x00\x28\x00"
    wantlist = b"".join(b"\x0a" + bytes([len(one)]) + one for one in (first, second)) + b"\x10\x00"
    body = b"\x0a" + bytes([len(wantlist)]) + wantlist
    assert encoded(asked) == bytes([len(body)]) + body


def test_what_is_too_large_is_refused_before_it_is_held() -> None:
    with pytest.raises(BitswapFault, match="4194305 bytes"):
        list(MessageReader().feed(b"\x81\x80\x80\x02"))
    with pytest.raises(BitswapFault, match="length"):
        list(MessageReader().feed(b"\xff\xff\xff\xff"))


def test_a_block_beyond_two_megabytes_is_refused() -> None:
    largest = bitswap.payload(bytes(CID.of(b"")), bytes(MAX_BLOCK_BYTES))
    data = encoded(Message(payload=(largest,)))
    assert [each.payload for each in MessageReader().feed(data)] == [(largest,)]
    data = encoded(Message(payload=(Payload(largest.prefix, largest.data + b"!"),)))
    with pytest.raises(BitswapFault, match="2 MiB"):
        list(MessageReader().feed(data))


def test_more_than_a_message_holds_is_not_written() -> None:
    block = bitswap.payload(bytes(CID.of(b"")), bytes(MAX_MESSAGE_BYTES))
    with pytest.raises(ValueError, match="4 MiB"):
        bitswap.encode(Message(payload=(block,)))


def test_a_begun_message_is_announced_with_its_length() -> None:
    reader = MessageReader()
    data = encoded(Message(payload=(bitswap.payload(bytes(CID.of(b"")), content(1, 9000)),)))
    assert list(reader.feed(data[:100])) == []
    assert reader.announced_bytes == len(data) - 2
    with pytest.raises(BitswapFault, match="middle"):
        reader.finish()
    assert len(list(reader.feed(data[100:]))) == 1


@pytest.mark.parametrize(
    "entry", [b"\x0a\x01?\x20\x02", b"\x0a\x00", b"\x0a" + b"\xa9\x01" + bytes(169)]
)
def test_entries_beyond_the_rules_are_refused(entry: bytes) -> None:
    wantlist = b"\x0a" + _varint(len(entry)) + entry
    with pytest.raises(BitswapFault):
        bitswap.decode(b"\x0a" + _varint(len(wantlist)) + wantlist)


def _varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80, number >> 7])
