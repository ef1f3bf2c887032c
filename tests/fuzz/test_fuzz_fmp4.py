"""Whatever bytes a fragment or codec record is made of, reading it ends, with a reason."""

from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st
from support.media import ASC, AVCC

from hausd.wire import av1, nal
from hausd.wire.audio import opus_samples, read_aac, read_mp3, read_opus
from hausd.wire.bits import BadRecord
from hausd.wire.fmp4 import BadFragment, Sample, fragment, parse_fragment
from hausd.wire.picture import MAX_SIDE

GOOD = fragment(3, [Sample(9, 12, 5, n == 0, bytes(n + 1)) for n in range(4)])


@given(st.binary(max_size=400))
@example(b"\0\0\0\0moof")
@example(b"\0\0\0\x08moof\0\0\0\x08mdat")
def test_any_bytes_as_a_fragment(untrusted: bytes) -> None:
    with contextlib.suppress(BadFragment):
        parse_fragment(untrusted)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4))
@example([(90, 0xFF), (91, 0xFF)])
def test_a_fragment_with_changed_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    with contextlib.suppress(BadFragment):
        parse_fragment(bytes(data))


@given(st.binary(max_size=200))
@example(b"")
@example(AVCC)
@example(AVCC[:9])
@example(b"\x01" * 5 + b"\xe1\x00\x04\x67\x42\x00\x1e")
@example(b"\x81\x04\x0c\x00")
@example(b"\x01" + bytes(21) + b"\x01\x21\x00\x01\x00\x02\x42\x01")
def test_any_bytes_as_a_codec_record(untrusted: bytes) -> None:
    for read in (nal.read_avcc, nal.read_hvcc, av1.read_av1c, read_aac, read_opus, read_mp3):
        with contextlib.suppress(BadRecord):
            read(untrusted)
    nal.has_captions(untrusted)
    av1.av1_sequence_obu(untrusted)
    opus_samples(untrusted)
    list(nal.nal_units(untrusted))


@given(st.lists(st.tuples(st.integers(1, len(AVCC) - 1), st.integers(0, 255)), max_size=3))
def test_an_avc_record_with_changed_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(AVCC)
    for at, value in changes:
        data[at] = value
    with contextlib.suppress(BadRecord):
        found = nal.read_avcc(bytes(data))
        assert 0 < found.width <= MAX_SIDE
        assert 0 < found.height <= MAX_SIDE


def test_the_seeds_are_good() -> None:
    assert len(parse_fragment(GOOD)[1]) == 4
    assert read_aac(ASC[48_000]).channels == 2
