"""What FLV tags mean, from legacy H.264 and AAC to Enhanced RTMP's multitrack."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.wire import amf
from hausd.wire.flv import (
    AudioConfig,
    AudioFrame,
    Metadata,
    Tag,
    Unit,
    Unsupported,
    VideoConfig,
    VideoFrame,
    is_header,
    parse,
)
from hausd.wire.unwrap import Unwrapped, Unwrapper

NANOSECONDS = b"\x02\x00\x30\x39"
"""A ModEx body: three bytes of nanosecond offset; its type and the next packet type follow."""


def video(data: bytes) -> tuple[Unit, ...]:
    return parse(Tag(9, 1000, data))


def audio(data: bytes) -> tuple[Unit, ...]:
    return parse(Tag(8, 1000, data))


@pytest.mark.parametrize(
    ("data", "unit"),
    [
        (b"\x17\x00\x00\x00\x00REC", VideoConfig("h264", b"REC")),
        (b"\x17\x01\x00\x00\x50NAL", VideoFrame(1000, 80, True, b"NAL")),
        (b"\x27\x01\xff\xff\xd8NAL", VideoFrame(1000, -40, False, b"NAL")),
        (b"\x1c\x00\x00\x00\x00REC", VideoConfig("hevc", b"REC")),
        (b"\x2c\x01\x00\x00\x00NAL", VideoFrame(1000, 0, False, b"NAL")),
        (b"\x90hvc1REC", VideoConfig("hevc", b"REC")),
        (b"\x91hvc1\xff\xff\xfeNAL", VideoFrame(1000, -2, True, b"NAL")),
        (b"\xa3hvc1NAL", VideoFrame(1000, 0, False, b"NAL")),
        (b"\x90avc1REC", VideoConfig("h264", b"REC")),
        (b"\x91avc1\x00\x00\x21NAL", VideoFrame(1000, 33, True, b"NAL")),
        (b"\x90av01REC", VideoConfig("av1", b"REC")),
        (b"\x91av01OBU", VideoFrame(1000, 0, True, b"OBU")),
        (b"\xa1av01OBU", VideoFrame(1000, 0, False, b"OBU")),
        (b"\x97" + NANOSECONDS + b"\x01av01OBU", VideoFrame(1000, 0, True, b"OBU")),
        (b"\x96\x01av01\x00OBU", VideoFrame(1000, 0, True, b"OBU")),
        (b"\x97" + NANOSECONDS + b"\x06\x00hvc1\x00REC", VideoConfig("hevc", b"REC")),
        (b"\x90vp09REC", Unsupported("VP9 video")),
        (b"\x95av01REC", Unsupported("AV1 with an MPEG-2 TS sequence header")),
        (b"\x90wxyzREC", Unsupported("'wxyz' video")),
        (b"\x12xxx", Unsupported("H.263 video")),
        (b"\x1fxxx", Unsupported("codec 15 video")),
        (b"\x17\x00\x00\x00\x00", Unsupported("an empty H.264 sequence header")),
        (b"\x17", Unsupported("a damaged video tag")),
        (b"\x90hv", Unsupported("a damaged video tag")),
        (b"\x91hvc1\x00", Unsupported("a damaged video tag")),
        (b"\x97\xff", Unsupported("a damaged video tag")),
        (b"\x96\x11hvc1\x00\x00\x01\x00RE", Unsupported("a damaged video tag")),
    ],
)
def test_a_video_tag_is_one_unit(data: bytes, unit: Unit) -> None:
    assert video(data) == (unit,)


@pytest.mark.parametrize(
    ("data", "unit"),
    [
        (b"\xaf\x00ASC", AudioConfig("aac", b"ASC")),
        (b"\xaf\x01RAW", AudioFrame(1000, b"RAW")),
        (b"\x90OpusOpusHead\x01", AudioConfig("opus", b"OpusHead\x01")),
        (b"\x91OpusRAW", AudioFrame(1000, b"RAW")),
        (b"\x90mp4aASC", AudioConfig("aac", b"ASC")),
        (b"\x91mp4aRAW", AudioFrame(1000, b"RAW")),
        (b"\x97" + NANOSECONDS + b"\x01OpusRAW", AudioFrame(1000, b"RAW")),
        (b"\x95\x01Opus\x00RAW", AudioFrame(1000, b"RAW")),
        (b"\x90fLaCREC", Unsupported("FLAC audio")),
        (b"\xb2x", Unsupported("Speex audio")),
        (b"\xaf\x00", Unsupported("an empty AAC sequence header")),
        (b"\xaf", Unsupported("a damaged audio tag")),
        (b"\x95", Unsupported("a damaged audio tag")),
    ],
)
def test_an_audio_tag_is_one_unit(data: bytes, unit: Unit) -> None:
    assert audio(data) == (unit,)


@pytest.mark.parametrize("head", [b"\x2f", b"\xef", b"\x91.mp3"])
def test_every_mp3_frame_says_that_it_is_mp3(head: bytes) -> None:
    assert audio(head + b"RAW") == (AudioConfig("mp3", b""), AudioFrame(1000, b"RAW"))


@pytest.mark.parametrize(
    "tag",
    [
        Tag(9, 0, b""),
        Tag(9, 0, b"\x17\x02\x00\x00\x00"),  # end of sequence
        Tag(9, 0, b"\x27\x01\x00\x00\x00"),  # no NAL units
        Tag(9, 0, b"\x57\x00"),  # a command to seek
        Tag(9, 0, b"\xd1\x00"),  # the same, enhanced
        Tag(9, 0, b"\x92hvc1"),
        Tag(9, 0, b"\x94hvc1"),  # metadata: HDR
        Tag(8, 0, b""),
        Tag(8, 0, b"\xaf\x01"),
        Tag(8, 0, b"\x2f"),
        Tag(8, 0, b"\x92Opus"),
        Tag(8, 0, b"\x94Opus\x01\x02\x00\x00\x00\x03"),  # speakers, which OpusHead tells too
        Tag(18, 0, b""),
        Tag(18, 0, amf.encode("onCuePoint", {})),
        Tag(18, 0, amf.encode("onMetaData")),
        Tag(77, 0, b"x"),
    ],
)
def test_tags_without_media_are_nothing(tag: Tag) -> None:
    assert parse(tag) == ()


def test_of_several_tracks_the_first_is_taken_and_the_others_are_named() -> None:
    def track(number: int, body: bytes) -> bytes:
        return bytes((number,)) + len(body).to_bytes(3, "big") + body

    many = b"\x96\x11hvc1" + track(0, b"\0\0\x07NAL") + track(1, b"\0\0\0NAL")
    assert video(many) == (
        VideoFrame(1000, 7, True, b"NAL"),
        Unsupported("a second video track (1)"),
    )
    codecs = b"\x95\x20" + b"mp4a" + track(2, b"ASC") + b"Opus" + track(0, b"HEAD")
    assert audio(codecs) == (
        Unsupported("a second audio track (2)"),
        AudioConfig("opus", b"HEAD"),
    )
    assert video(b"\x96\x01avc1\x03\0\0\0NAL") == (Unsupported("a second video track (3)"),)
    assert video(b"\x96\x31avc1\x00NAL") == (Unsupported("video tracks in arrangement 3"),)


def test_metadata_keeps_plain_values_and_drops_the_rest() -> None:
    values = {"width": 320.0, "stereo": True, "encoder": "obs", "bad": float("inf"), "list": [1]}
    tag = Tag(18, 0, amf.encode("onMetaData") + amf.encode_ecma_array(values))
    assert parse(tag) == (Metadata({"width": 320.0, "stereo": True, "encoder": "obs"}),)


def test_broken_metadata_is_named_and_not_raised() -> None:
    (unit,) = parse(Tag(18, 0, amf.encode("onMetaData") + b"\x08"))
    assert isinstance(unit, Unsupported)
    assert "cannot be read" in unit.what


@pytest.mark.parametrize(
    ("tag", "header"),
    [
        (Tag(9, 0, b"\x17\x00\x00\x00\x00REC"), True),
        (Tag(9, 0, b"\x17\x01\x00\x00\x00NAL"), False),
        (Tag(9, 0, b"\x90hvc1REC"), True),
        (Tag(9, 0, b"\x91hvc1\0\0\0NAL"), False),
        (Tag(9, 0, b"\x93hvc1NAL"), False),
        (Tag(9, 0, b"\x92hvc1"), False),
        (Tag(9, 0, b"\x97" + NANOSECONDS + b"\x00hvc1REC"), True),
        (Tag(9, 0, b"\x97" + NANOSECONDS + b"\x03hvc1NAL"), False),
        (Tag(9, 0, b"\x96\x00hvc1\x00REC"), True),
        (Tag(9, 0, b"\x96\x00hvc1\x01REC"), False),
        (Tag(9, 0, b"\x57\x00"), False),
        (Tag(8, 0, b"\xaf\x00ASC"), True),
        (Tag(8, 0, b"\xaf\x01RAW"), False),
        (Tag(8, 0, b"\x90OpusHEAD"), True),
        (Tag(8, 0, b"\x95\x01.mp3\x00RAW"), False),
        (Tag(8, 0, b"\x2fRAW"), False),
        (Tag(18, 0, amf.encode("onMetaData", {})), True),
        (Tag(18, 0, amf.encode("onCuePoint", {})), False),
        (Tag(9, 0, b""), False),
    ],
)
def test_what_latecomers_need_is_told_from_what_they_do_not(tag: Tag, header: bool) -> None:
    assert is_header(tag) is header


# -- timestamps --


def test_timestamps_that_start_high_begin_at_zero() -> None:
    line = Unwrapper()
    assert [line.unwrap(ms).ms for ms in (4_000_000_000, 4_000_000_040)] == [0, 40]


def test_timestamps_wrap_without_a_jump() -> None:
    line = Unwrapper()
    raw = [0xFFFFFFF0, 0x10, 0x30]
    assert [line.unwrap(ms) for ms in raw] == [Unwrapped(ms, 0) for ms in (0, 0x20, 0x40)]


def test_timestamps_that_wrap_at_31_bits_as_ffmpegs_do_are_no_jump() -> None:
    line = Unwrapper()
    raw = [0x7FFFFFF0, 0x10, 0x30]
    assert [line.unwrap(ms) for ms in raw] == [Unwrapped(ms, 0) for ms in (0, 0x20, 0x40)]


def test_audio_a_little_before_video_is_placed_before_it() -> None:
    line = Unwrapper()
    assert [line.unwrap(ms).ms for ms in (100, 140, 120, 180, 80)] == [0, 40, 20, 80, -20]


def test_a_jump_is_told_and_the_line_goes_on_from_its_latest_time() -> None:
    line = Unwrapper()
    line.unwrap(1000)
    line.unwrap(2000)
    assert line.unwrap(62_000) == Unwrapped(1000, 60_000)
    assert line.unwrap(62_040) == Unwrapped(1040, 0)
    assert line.unwrap(0) == Unwrapped(1040, -62_040)
    assert line.unwrap(20) == Unwrapped(1060, 0)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-3_000, 10_000), max_size=40))
def test_steps_within_bounds_are_kept_exactly(start: int, steps: list[int]) -> None:
    line = Unwrapper()
    line.unwrap(start)
    latest = 0
    for step in steps:
        found = line.unwrap((start + latest + step) % 2**32)
        assert found == Unwrapped(latest + step, 0)
        latest = max(latest, latest + step)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
def test_the_line_never_falls_back_further_than_it_may(raw: list[int]) -> None:
    line = Unwrapper()
    latest = 0
    for timestamp in raw:
        ms = line.unwrap(timestamp).ms
        assert latest - 3_000 <= ms <= latest + 10_000
        latest = max(latest, ms)
