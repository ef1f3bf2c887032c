"""The chunk layer: whatever way an encoder cuts its messages, they come out whole."""

from __future__ import annotations

from itertools import chain, zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rtmp import ChunkWriter, basic_header

from hausd.wire.rtmp_chunks import (
    ChunkLimits,
    ChunkReader,
    Message,
    ProtocolError,
    write_message,
)


def read(data: bytes, limits: ChunkLimits | None = None, cut: int = 0) -> list[Message]:
    reader = ChunkReader(limits or ChunkLimits())
    messages: list[Message] = []
    step = cut or len(data) or 1
    for at in range(0, len(data), step):
        reader.receive(data[at : at + step], messages)
    assert reader.buffered_bytes == 0  # all that tests read here is whole
    return messages


def payload(size: int, seed: int = 1) -> bytes:
    return bytes((i * 31 + seed) & 0xFF for i in range(size))


TIMES = [0, 40, 40, 80, 120, 121, 0xFFFFFE, 0xFFFFFF, 0x1000000, 0x2000000, 0xFFFFFFF0]


SIZES = [1, 127, 127, 128, 129, 129, 300, 1000, 1000, 5000, 513]


def messages() -> list[Message]:
    pairs = zip(TIMES, SIZES, strict=True)
    return [Message(9, time, 1, payload(size, n)) for n, (time, size) in enumerate(pairs)]


@pytest.mark.parametrize("cut", [0, 1, 7, 129])
@pytest.mark.parametrize("chunk_bytes", [1, 100, 128, 4096, 0xFFFFFF])
@pytest.mark.parametrize("repeat_extended", [True, False])
@pytest.mark.parametrize("always_type_0", [True, False])
def test_messages_come_out_as_they_went_in(
    cut: int, chunk_bytes: int, repeat_extended: bool, always_type_0: bool
) -> None:
    writer = ChunkWriter(repeat_extended=repeat_extended, always_type_0=always_type_0)
    raw = writer.set_chunk_bytes(chunk_bytes) + b"".join(writer.write(6, m) for m in messages())
    assert read(raw, cut=cut) == messages()


@pytest.mark.parametrize("csid", [3, 63, 64, 319, 320, 65_599])
@pytest.mark.parametrize("cut", [0, 1])
def test_chunk_stream_ids_of_one_two_and_three_bytes_are_read(csid: int, cut: int) -> None:
    writer = ChunkWriter()
    assert read(b"".join(writer.write(csid, m) for m in messages()), cut=cut) == messages()


def test_interleaved_chunk_streams_are_kept_apart() -> None:
    writer = ChunkWriter()
    video = Message(9, 10, 1, payload(10_000))
    audio = [Message(8, 10 + n, 1, payload(200, n)) for n in range(12)]
    sound = chain.from_iterable(list(writer.chunks(4, message)) for message in audio)
    raw = b"".join(
        chunk
        for pair in zip_longest(writer.chunks(6, video), sound, fillvalue=b"")
        for chunk in pair
    )
    got = read(raw)
    assert [m for m in got if m.type == 8] == audio
    assert [m for m in got if m.type == 9] == [video]


def test_payload_that_begins_like_the_extended_timestamp_only_in_part_is_kept() -> None:
    """An encoder that does not repeat the field, and payload that starts with half of it."""
    time = 0x01020304
    writer = ChunkWriter(repeat_extended=False)
    for start in (b"\x01\x02\x03\x05", b"\x01\x02", b"\x01"):
        message = Message(9, time, 1, payload(128) + start + b"!!!!")
        assert read(ChunkWriter(repeat_extended=False).write(6, message), cut=1) == [message]
    assert writer.write(6, Message(9, time, 1, b""))


def test_a_type_3_chunk_after_type_0_repeats_the_time_as_a_delta_as_ffmpeg_does() -> None:
    first = basic_header(0, 4) + b"\x00\x00\x17" + b"\x00\x00\x01\x08" + b"\x01\0\0\0" + b"a"
    assert [m.timestamp_ms for m in read(first + basic_header(3, 4) + b"b")] == [0x17, 0x2E]


def test_a_type_3_chunk_after_a_high_time_means_the_same_time_as_librtmp_does() -> None:
    first = basic_header(0, 4) + b"\x10\x00\x00" + b"\x00\x00\x01\x08" + b"\x01\0\0\0" + b"a"
    assert [m.timestamp_ms for m in read(first + basic_header(3, 4) + b"b")] == [0x100000] * 2


def test_timestamps_wrap() -> None:
    writer = ChunkWriter()
    raw = writer.write(4, Message(8, 0xFFFFFFF0, 1, b"a"))
    raw += basic_header(2, 4) + b"\x00\x00\x20" + b"b"
    assert [m.timestamp_ms for m in read(raw)] == [0xFFFFFFF0, 0x10]


def test_abort_drops_the_unfinished_message_and_the_next_one_is_whole() -> None:
    writer = ChunkWriter()
    unfinished = next(writer.chunks(6, Message(9, 0, 1, payload(400))))
    abort = writer.write(2, Message(2, 0, 0, (6).to_bytes(4, "big")))
    after = Message(9, 40, 1, payload(300, 5))
    reader = ChunkReader(ChunkLimits())
    messages: list[Message] = []
    reader.receive(unfinished + abort, messages)
    assert reader.buffered_bytes == 0
    reader.receive(ChunkWriter().write(6, after), messages)
    assert messages == [after]


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (basic_header(3, 5), "chunk stream 5 begins without a header"),
        (basic_header(2, 5) + b"\0\0\0", "chunk stream 5 begins without a header"),
        (
            basic_header(0, 4)
            + b"\0\0\0"
            + b"\x00\x02\x00\x09"
            + bytes(4 + 128)
            + basic_header(1, 4),
            "ends early: 128 of 512",
        ),
        (basic_header(0, 4) + b"\0\0\0" + b"\x80\x00\x01\x09" + bytes(4), "8388609 bytes; 8388608"),
        (ChunkWriter().write(2, Message(1, 0, 0, bytes(4))), "chunk size of 0"),
        (ChunkWriter().write(2, Message(1, 0, 0, b"\1")), "Set Chunk Size message of 1 bytes"),
        (ChunkWriter().write(2, Message(2, 0, 0, b"\1")), "Abort message of 1 bytes"),
        (
            basic_header(0, 4) + bytes(6) + b"\x09" + bytes(4) + basic_header(3, 4) * 1000,
            "empty messages",
        ),
    ],
)
def test_broken_chunks_are_refused_in_plain_words(raw: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        read(raw)
    with pytest.raises(ProtocolError, match=complaint):
        read(raw, cut=1)


def test_empty_messages_are_refused_whatever_little_stands_between_them() -> None:
    little = basic_header(0, 5) + b"\0\0\0" + b"\x00\x00\x01\x09" + bytes(4) + b"x"
    begin = basic_header(0, 4) + bytes(6) + b"\x09" + bytes(4)
    few = basic_header(3, 4) * 90 + basic_header(3, 5) + b"x"
    with pytest.raises(ProtocolError, match="empty messages"):
        read(little + begin + few * 20)
    # who sends a stream may have some in it, for as long as it goes on
    stream = ChunkWriter(chunk_bytes=65_536).set_chunk_bytes(65_536)
    video = ChunkWriter(chunk_bytes=65_536).write(6, Message(9, 0, 1, payload(4000)))
    messages = read(stream + begin + (video + basic_header(3, 4) * 3) * 1000)
    assert len(messages) == 1 + 4 * 1000


def test_too_many_chunk_streams_are_refused() -> None:
    raw = b"".join(ChunkWriter().write(csid, Message(8, 0, 1, b"a")) for csid in range(3, 68))
    with pytest.raises(ProtocolError, match="more than 64 chunk streams"):
        read(raw)


def test_unfinished_messages_of_all_chunk_streams_together_are_bounded() -> None:
    limits = ChunkLimits(max_message_bytes=1000, max_buffered_bytes=2000)
    raw = ChunkWriter().set_chunk_bytes(500)
    for csid in range(3, 12):
        writer = ChunkWriter(chunk_bytes=500)
        raw += next(writer.chunks(csid, Message(9, 0, 1, payload(900))))
    reader = ChunkReader(limits)
    with pytest.raises(ProtocolError, match="2000 bytes of unfinished"):
        reader.receive(raw, [])
    held = sum(len(stream.partial) for stream in reader._streams.values())
    assert held <= 2000


def test_a_chunk_size_beyond_any_message_is_taken_as_the_largest() -> None:
    writer = ChunkWriter()
    raw = writer.write(2, Message(1, 0, 0, b"\x7f\xff\xff\xff"))
    writer.chunk_bytes = 0x7FFFFFFF
    message = Message(9, 0, 1, payload(70_000))
    assert read(raw + writer.write(6, message), cut=1000) == [message]


def test_what_the_server_writes_is_read_back() -> None:
    for size in (0, 1, 128, 129, 1000):
        out = bytearray()
        message = Message(20, 0, 1, payload(size))
        write_message(out, message, 3)
        assert read(bytes(out)) == [message]


@given(st.lists(st.tuples(st.integers(3, 8), st.integers(0, 700)), max_size=12), st.data())
def test_any_interleaving_gives_each_chunk_streams_messages_in_order(
    sizes: list[tuple[int, int]], data: st.DataObject
) -> None:
    writer = ChunkWriter()
    messages: dict[int, list[Message]] = {}
    for number, (csid, size) in enumerate(sizes):
        message = Message(9, number * 7, csid, payload(size + 1, number))
        messages.setdefault(csid, []).append(message)
    queues = {
        csid: list(chain.from_iterable(list(writer.chunks(csid, m)) for m in of))
        for csid, of in messages.items()
    }
    raw = b""
    while queues:
        csid = data.draw(st.sampled_from(sorted(queues)))
        raw += queues[csid].pop(0)
        if not queues[csid]:
            del queues[csid]
    got = read(raw, cut=data.draw(st.integers(1, 300)))
    for csid, expected in messages.items():
        assert [m for m in got if m.stream_id == csid] == expected
