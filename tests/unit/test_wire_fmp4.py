"""Fragments and inits are what other programs expect, byte for byte the same each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media import ASC, AVCC

from hausd.wire import nal
from hausd.wire.audio import opus_samples, read_aac, read_mp3, read_opus
from hausd.wire.bits import BadRecord
from hausd.wire.fmp4 import BadFragment, Sample, boxes, fragment, parse_fragment
from hausd.wire.fmp4_init import audio_init, video_init

frames = st.builds(
    lambda offset, duration, sync, data: (offset, duration, sync, data),
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(1, (1 << 32) - 1),
    st.booleans(),
    st.binary(max_size=50),
)


@given(st.integers(1, (1 << 32) - 1), st.integers(0, 1 << 62), st.lists(frames, min_size=1))
def test_what_goes_into_a_fragment_comes_out_of_it(
    sequence: int, dts: int, rows: list[tuple[int, int, bool, bytes]]
) -> None:
    samples = []
    for offset, duration, sync, data in rows:
        samples.append(Sample(dts, dts + offset, duration, sync, data))
        dts += duration
    made = fragment(sequence, samples)
    assert parse_fragment(made) == (sequence, samples)
    assert fragment(sequence, samples) == made


def test_audio_parts_cost_little_more_than_their_frames() -> None:
    samples = [Sample(n * 1024, n * 1024, 1024, True, bytes(256)) for n in range(18)]
    made = fragment(1, samples)
    assert len(made) <= 18 * 256 * 1.05


def test_a_damaged_fragment_is_refused() -> None:
    made = bytearray(fragment(1, [Sample(0, 0, 10, True, b"abc")]))
    for cut in range(len(made)):
        with pytest.raises(BadFragment):
            parse_fragment(bytes(made[:cut]))


def test_the_picture_size_is_that_after_cropping() -> None:
    found = nal.read_avcc(AVCC)
    assert (found.width, found.height, found.codecs) == (320, 180, "avc1.42C00D")
    assert (found.chroma, found.bit_depth) == (1, 8)


def test_an_init_has_what_media_source_extensions_ask_for() -> None:
    made = video_init(nal.read_avcc(AVCC), AVCC, 90_000)
    top = dict(boxes(made))
    assert list(top) == [b"ftyp", b"moov"]
    moov = dict(boxes(top[b"moov"]))
    assert {b"mvhd", b"trak", b"mvex"} <= set(moov)
    assert AVCC in made
    assert b"elst" not in made


def test_aac_records_are_understood() -> None:
    found = read_aac(ASC[44_100])
    assert (found.sample_rate_hz, found.channels, found.codecs) == (44_100, 2, "mp4a.40.2")
    assert found.frame_samples == 1024
    assert b"esds" in audio_init(found)
    assert b"\x05\x80\x80\x80\x02" + ASC[44_100] in audio_init(found)


def test_he_aac_counts_the_samples_of_its_core() -> None:
    # Object type 5 (SBR), core 24 kHz, output 48 kHz, stereo, core type 2.
    bits = f"{5:05b}{6:04b}{2:04b}{3:04b}{2:05b}000"
    record = int(bits.ljust(32, "0"), 2).to_bytes(4)
    found = read_aac(record)
    assert (found.sample_rate_hz, found.codecs, found.frame_samples) == (24_000, "mp4a.40.5", 1024)


@pytest.mark.parametrize("record", [b"", b"\x11", b"\xff\xff\xff\xff", b"\x17\x80"])
def test_wrong_aac_records_are_refused(record: bytes) -> None:
    with pytest.raises(BadRecord):
        read_aac(record)


def test_opus_heads_and_packets_are_understood() -> None:
    head = b"\x01\x02" + (312).to_bytes(2, "little") + (48000).to_bytes(4, "little") + b"\0\0\0"
    found = read_opus(b"OpusHead" + head)
    assert found == read_opus(head)
    assert (found.channels, found.sample_rate_hz) == (2, 48_000)
    assert b"dOps\0\x02" + (312).to_bytes(2) + (48000).to_bytes(4) + b"\0\0\0" in audio_init(found)
    assert opus_samples(bytes((0b1111_1000,))) == 960
    assert opus_samples(bytes((0b1111_1001,))) == 1920
    assert opus_samples(bytes((0b1111_1011, 3))) == 2880
    assert opus_samples(b"") == 0


def test_mp3_heads_are_understood() -> None:
    found = read_mp3(bytes.fromhex("fffb9064"))
    assert (found.sample_rate_hz, found.channels, found.frame_samples) == (44_100, 2, 1152)
    with pytest.raises(BadRecord):
        read_mp3(b"ID3\x03")


def test_captions_are_seen_only_where_they_are() -> None:
    sei = b"\x06\x04\x20\xb5\x00\x31GA94\x03\xc1\xff\xfc\x94\x20\xff\x80"
    slice_ = b"\x65" + b"\0" * 30
    unit = len(sei).to_bytes(4) + sei + len(slice_).to_bytes(4) + slice_
    assert nal.has_captions(unit)
    slice_ = b"\x65GA94\x03"
    assert not nal.has_captions(len(slice_).to_bytes(4) + slice_)
