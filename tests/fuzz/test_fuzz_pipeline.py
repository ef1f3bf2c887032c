"""Whatever a publisher sends, what comes out keeps the rules, and the worker goes on."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support.media import AVCC, Collected, audio_grid_ms, grid_ms, synthetic

from hausd.media.pipeline import Pipeline
from hausd.wire.flv import Tag
from hausd.wire.worker import WorkerConfig

BASE = synthetic(grid_ms(30, 120), every=30, rate=30.0, audio_stamps_ms=audio_grid_ms(48_000, 180))
CONFIG = WorkerConfig(images=False, reencode_long_gops=False)
HEADERS = [
    Tag(9, 0, b"\x17\0\0\0\0" + AVCC),
    Tag(9, 0, b"\x17\0\0\0\0\x01\x42"),
    Tag(9, 0, b"\x90hvc1" + bytes(30)),
    Tag(9, 0, b"\x90av01\x81\0\0\0"),
    Tag(9, 0, b"\x91av01\x12\0\x0a\x01\0"),
    Tag(8, 0, b"\xaf\0\x11\x90"),
    Tag(8, 0, b"\xaf\0\x12\x10"),
    Tag(8, 0, b"\xaf\0"),
    Tag(8, 0, b"\x2f\xff\xfb\x90\x64" + bytes(413)),
    Tag(18, 0, b""),
]
tags = st.one_of(
    st.sampled_from(HEADERS),
    st.sampled_from(BASE),
    st.builds(Tag, st.sampled_from([8, 9, 18]), st.integers(0, (1 << 32) - 1), st.binary()),
)
edits = st.lists(
    st.tuples(st.integers(0, len(BASE)), st.integers(0, 40), st.lists(tags, max_size=4),
              st.integers(-5000, 5000)),
    max_size=6,
)  # fmt: skip


@given(edits)
@example([(213, 40, [], 217)])
@example([(81, 0, [], 166), (227, 8, [], 300)])
@example([(81, 0, [], 157), (232, 4, [], 317)])
@example([(20, 0, [Tag(9, 0, b"\x91av01\x12\0\x0a\x01\0")], 0)])
@example([(0, 1, [], 0), (3, 0, [Tag(9, 0, b"\x17\0\0\0\0\x01\x42")], 0)])
@example([(0, 0, [], 2880), (0, 3, [], 1687), (97, 40, HEADERS[:1], 0)])
def test_a_stream_with_pieces_lost_moved_and_put_in(
    changes: list[tuple[int, int, list[Tag], int]],
) -> None:
    stream = list(BASE)
    for at, lost, inserted, shift_ms in changes:
        at = min(at, len(stream))
        moved = [
            Tag(tag.type, (tag.timestamp_ms + shift_ms) % (1 << 32), tag.data)
            for tag in stream[at + lost :]
        ]
        stream[at:] = inserted + moved
    collected = Collected()
    pipeline = Pipeline(CONFIG, collected.take)
    for tag in stream:
        pipeline.push(tag)
    pipeline.finish()
    collected.check(full_parts=False, holes=True)
