"""RTMP from strangers: cut anyhow, the same events; whatever comes, bounded memory, no crash."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from support.rtmp import ChunkWriter, RtmpClient

from hausd.wire import amf
from hausd.wire.flv import Tag
from hausd.wire.rtmp import ChunkLimits, Event, PublishRequested, RtmpServer
from hausd.wire.rtmp_chunks import Message

LIMITS = ChunkLimits(max_message_bytes=5000, max_chunk_streams=8, max_buffered_bytes=9000)


def converse(pieces: list[bytes]) -> list[Event]:
    """What the server makes of the pieces; it accepts at the end of the piece that asks."""
    server = RtmpServer(bytes(1528), LIMITS)
    events: list[Event] = []
    for piece in pieces:
        found = server.receive(piece)
        if any(isinstance(event, PublishRequested) for event in found):
            server.accept_publish()
        assert server.buffered_bytes <= LIMITS.max_buffered_bytes + len(piece) + 3073
        assert len(server.data_to_send()) <= 4000 + 20 * len(piece)
        events += found
    return events


def cut(raw: bytes, at: list[int]) -> list[bytes]:
    marks = sorted({0, len(raw), *(mark % (len(raw) + 1) for mark in at)})
    return [raw[start:end] for start, end in pairwise(marks)]


messages = st.one_of(
    st.builds(
        Message,
        st.sampled_from([8, 9, 18, 15, 22]),
        st.sampled_from([0, 40, 0xFFFFFF, 0xFFFFFFFF]),
        st.integers(0, 2),
        st.binary(max_size=400),
    ),
    st.builds(
        Message,
        st.sampled_from([1, 2, 3, 4, 5, 6]),
        st.just(0),
        st.just(0),
        st.sampled_from([bytes(4), b"\0\0\0\x80", b"\0\0\0\x05", b"\0\x06\0\0\0\1", b"\x80\0\0\0"])
        | st.binary(max_size=6),
    ),
    st.builds(
        lambda name, *rest: Message(20, 0, 1, amf.encode(name, *rest)),
        st.sampled_from(
            ["connect", "publish", "play", "deleteStream", "FCPublish", "createStream", "x"]
        ),
        st.integers(0, 9),
        st.none() | st.just({"app": "live"}),
        st.sampled_from(["KEY", "", "a/b?c"]) | st.none() | st.integers(0, 2),
    ),
    st.builds(Message, st.sampled_from([17, 20]), st.just(0), st.just(1), st.binary(max_size=40)),
)


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """A well begun call, then messages that may be anything, then bytes that may be anything."""
    client = RtmpClient(
        writer=ChunkWriter(repeat_extended=draw(st.booleans()), always_type_0=draw(st.booleans()))
    )
    raw = client.opening("KEY") if draw(st.booleans()) else client.hello() + client.echo()
    for message in draw(st.lists(messages, max_size=10)):
        raw += client.writer.write(draw(st.sampled_from([3, 4, 5, 70, 400])), message)
        if message.type == 1 and len(message.data) >= 4:
            size = int.from_bytes(message.data[:4], "big")
            client.writer.chunk_bytes = min(size, 0xFFFFFF) or 128
    return raw + draw(st.binary(max_size=40))


@given(conversations(), st.lists(st.integers(0, 1 << 20), max_size=20))
def test_however_the_bytes_are_cut_the_events_are_the_same(raw: bytes, at: list[int]) -> None:
    assert converse(cut(raw, at)) == converse([raw])


@given(st.binary(max_size=300), st.lists(st.integers(0, 1 << 20), max_size=20))
@example(b"\x43\0\0\0\0\0\x05\x14\0\0\0\0\x03\0\0\0\x09", [])
@example(b"\x03" + b"\xff\xff\xff" + b"\0\0\1\x09" + bytes(4) + b"\1\2\3\4" + b"x", [12])
@example(b"\x02\0\0\0\0\0\4\1\0\0\0\0\x7f\xff\xff\xff\xc3", [])
@example(b"\x02\0\0\0\0\0\4\2\0\0\0\0\0\0\0\2", [3, 9])
def test_nonsense_after_a_handshake_does_no_harm(raw: bytes, at: list[int]) -> None:
    client = RtmpClient()
    begun = client.hello() + client.echo() + client.connect()
    assert converse([begun, *cut(raw, at)]) == converse([begun + raw])


@given(st.binary(max_size=100))
def test_nonsense_instead_of_a_handshake_does_no_harm(raw: bytes) -> None:
    assert converse([raw[:1], raw[1:]]) == converse([raw])


@given(st.integers(1, 3000), st.booleans(), st.integers(1, 700), st.integers(0, 2**32 - 1))
def test_tags_survive_any_chunk_size_cut_and_time(
    size: int, repeat: bool, chunk_bytes: int, time_ms: int
) -> None:
    client = RtmpClient(writer=ChunkWriter(repeat_extended=repeat))
    raw = client.opening("KEY") + client.writer.set_chunk_bytes(chunk_bytes)
    body = bytes(n * 7 & 0xFF for n in range(size))
    tags = [Tag(kind, time_ms, b"\x17" + body) for kind in (8, 9, 9)]
    raw += b"".join(client.tag(tag) for tag in tags)
    step = chunk_bytes + 3
    pieces = [raw[at : at + step] for at in range(0, len(raw), step)]
    assert [event for event in converse(pieces) if isinstance(event, Tag)] == tags
