"""A worker that a hostile stream took over can tell the node nothing that breaks it."""

from __future__ import annotations

import contextlib
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from hausd.core.media import Kind
from hausd.wire.flv import Tag
from hausd.wire.worker import (
    HEADER,
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    End,
    FromWorkerDecoder,
    ImageMade,
    Notice,
    PartMade,
    RunStarted,
    ToWorkerDecoder,
    TrackStarted,
    WorkerConfig,
    WorkerProtocolError,
    encode_config,
    encode_end,
    encode_message,
    encode_tag_header,
)

MESSAGES = [
    (RunStarted(0, "start", 434), b""),
    (TrackStarted("source", 0, Kind.VIDEO, "avc1.42C00D", 90_000, frame_rate=(30, 1)), b"init"),
    (PartMade("source", 0, 0, 0, 0, 3000, True), b"moof"),
    (Notice("gap", "words"), b""),
    (ImageMade("poster", 0, 0, 0, 1, 1, 1, 640, 360), b"jpeg"),
]
GOOD = b"".join(encode_message(message, len(body)) + body for message, body in MESSAGES)


@given(st.lists(st.integers(1, len(GOOD)), max_size=20))
def test_messages_arrive_however_they_are_cut(cuts: list[int]) -> None:
    decoder = FromWorkerDecoder()
    found = []
    edges = [0, *sorted(cuts), len(GOOD)]
    for start, end in pairwise(edges):
        found += decoder.feed(GOOD[start:end])
    decoder.finish()
    assert found == MESSAGES


@given(st.binary(max_size=300))
@example(HEADER.pack(3, 0, MAX_HEAD_BYTES + 1, 0))
@example(HEADER.pack(3, 0, 0, MAX_BODY_BYTES + 1))
@example(HEADER.pack(3, 0, 2, 0) + b"{}")
@example(HEADER.pack(3, 0, 4, 0) + b"\xff\xff\xff\xff")
@example(HEADER.pack(3, 0, 15, 0) + b'{"type":"part"}')
@example(encode_message(PartMade("../x", 0, 0, 0, 0, 1, True), 0))
@example(encode_message(PartMade("source", -1, 0, 0, 0, 1, True), 0))
@example(encode_message(PartMade("source", 0, 0, 0, 0, 0, True), 0))
@example(encode_message(TrackStarted("source", 0, Kind.VIDEO, "x", 0), 0))
@example(encode_message(TrackStarted("a", 0, Kind.VIDEO, "x", 1, frame_rate=(1, 0)), 0))
@example(encode_message(ImageMade("poster", 0, 0, 0, 1, 1, 2, 1, 1), 0))
def test_any_bytes_from_a_worker(untrusted: bytes) -> None:
    decoder = FromWorkerDecoder()
    with contextlib.suppress(WorkerProtocolError):
        for message, _ in decoder.feed(untrusted):
            if isinstance(message, PartMade):
                assert message.duration > 0
                assert message.rendition.isalnum()
        decoder.finish()


@example([(115, 128)])
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4))
def test_messages_with_changed_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    with contextlib.suppress(WorkerProtocolError):
        list(FromWorkerDecoder().feed(data))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([8, 9, 18]), st.integers(0, (1 << 32) - 1), st.binary(max_size=60)
        )
    ),
    st.integers(1, 50),
)
def test_tags_reach_the_worker_as_they_were(rows: list[tuple[int, int, bytes]], step: int) -> None:
    tags = [Tag(*row) for row in rows]
    config = WorkerConfig(ladder=((360, 800_000),), first_run=3)
    sent = encode_config(config)
    sent += b"".join(encode_tag_header(tag) + tag.data for tag in tags) + encode_end()
    decoder = ToWorkerDecoder()
    found = []
    buffer = bytearray(step)
    for at in range(0, len(sent), step):
        got = sent[at : at + step]
        buffer[: len(got)] = got
        found += decoder.feed(memoryview(buffer)[: len(got)])
    # The buffer is filled again and again: nothing may be left in it.
    assert found == [config, *tags, End()]
