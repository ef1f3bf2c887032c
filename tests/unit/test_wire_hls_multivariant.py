"""Players choose rightly from what the multivariant playlist says."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from support.hls_validator import check_multivariant

from hausd.core.live import Variant
from hausd.core.media import Kind, Rendition
from hausd.wire.hls import multivariant_playlist


def video(
    name: str,
    height: int,
    peak: int,
    *,
    declared: int = 0,
    average: int = 0,
    rate: Fraction | None = Fraction(30),
    captions: bool = False,
    codecs: str = "avc1.64001f",
) -> Variant:
    width = height * 16 // 9
    made = Rendition(
        name, Kind.VIDEO, codecs, 90_000, declared, width, height, rate, closed_captions=captions
    )
    return Variant(made, peak, average or peak * 9 // 10)


AUDIO = Variant(Rendition("audio", Kind.AUDIO, "mp4a.40.2", 48_000, channels=2), 130_000, 128_000)


def test_each_variant_says_what_is_in_it() -> None:
    ntsc = Fraction(30000, 1001)
    text = multivariant_playlist(
        [video("source", 1080, 6_000_000, rate=ntsc, codecs="hvc1.1.6.L120.90"), AUDIO]
    )
    assert text.splitlines()[-2:] == [
        "#EXT-X-STREAM-INF:BANDWIDTH=6130000,AVERAGE-BANDWIDTH=5528000,"
        'CODECS="hvc1.1.6.L120.90,mp4a.40.2",RESOLUTION=1920x1080,FRAME-RATE=29.970,'
        'AUDIO="audio",CLOSED-CAPTIONS=NONE',
        "source/index.m3u8",
    ]
    assert (
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="audio",DEFAULT=YES,AUTOSELECT=YES,'
        'CHANNELS="2",URI="audio/index.m3u8"' in text
    )
    assert check_multivariant(text)[1] == []


def test_the_first_one_starts_on_an_ordinary_line_and_the_rest_go_down() -> None:
    ladder = [
        video("source", 1080, 8_000_000),
        video("720p", 720, 3_000_000),
        video("480p", 480, 1_500_000),
        AUDIO,
    ]
    found, _ = check_multivariant(multivariant_playlist(ladder))
    assert [stream.uri.partition("/")[0] for stream in found.streams] == ["720p", "source", "480p"]
    only_big, _ = check_multivariant(multivariant_playlist([video("source", 2160, 30_000_000)]))
    assert len(only_big.streams) == 1


def test_a_peak_is_never_said_to_be_less_than_what_the_encoder_may_make() -> None:
    text = multivariant_playlist([video("720p", 720, 900_000, declared=2_800_000, average=800_000)])
    assert "BANDWIDTH=2800000,AVERAGE-BANDWIDTH=800000," in text


def test_before_anything_is_measured_there_is_a_guess_and_never_zero() -> None:
    unknown = Variant(Rendition("source", Kind.VIDEO, "avc1.64001f", 90_000), 0, 0)
    for variants in ([unknown], [Variant(AUDIO.rendition, 0, 0)], [video("source", 720, 0), AUDIO]):
        faults = check_multivariant(multivariant_playlist(variants))[1]
        assert not [fault for fault in faults if fault.rule != "resolution"]


def test_captions_are_offered_by_the_qualities_that_carry_them() -> None:
    text = multivariant_playlist(
        [video("source", 720, 2_000_000, captions=True), video("480p", 480, 1_000_000), AUDIO]
    )
    found, faults = check_multivariant(text)
    assert not faults
    stated = [stream.attributes.get("CLOSED-CAPTIONS") for stream in found.streams]
    assert stated == ["cc", None]
    assert any(media.get("INSTREAM-ID") == "CC1" for media in found.media)


def test_what_a_worker_says_of_codecs_cannot_break_out_of_its_quotes() -> None:
    text = multivariant_playlist([video("source", 720, 1, codecs='avc1"\n#EXT-X-ENDLIST\r')])
    assert len(text.splitlines()) == 4


@given(
    st.lists(
        st.tuples(st.integers(90, 2160), st.integers(0, 40_000_000), st.booleans()),
        max_size=5,
    ),
    st.booleans(),
)
def test_it_is_always_valid(videos: list[tuple[int, int, bool]], sound: bool) -> None:
    variants = [
        video(f"r{place}", height, peak, captions=captions)
        for place, (height, peak, captions) in enumerate(videos)
    ]
    if sound or not variants:
        variants.append(AUDIO)
    found, faults = check_multivariant(multivariant_playlist(variants, independent_segments=True))
    assert not faults
    assert found.independent
    assert len(found.streams) == (len(videos) or 1)


def test_formats_of_earlier_runs_are_said_too() -> None:
    """CODECS is every format, FRAME-RATE the highest one (RFC 8216bis, 4.4.6.2)."""
    now = video("source", 720, 3_000_000, rate=Fraction(30), codecs="avc1.64001f")
    was = video("source", 1080, 3_000_000, rate=Fraction(60), codecs="av01.0.08M.08", captions=True)
    opus = Rendition("audio", Kind.AUDIO, "opus", 48_000, channels=6)
    text = multivariant_playlist(
        [replace(now, earlier=(was.rendition,)), replace(AUDIO, earlier=(opus,))]
    )
    assert 'CODECS="avc1.64001f,av01.0.08M.08,mp4a.40.2,opus"' in text
    assert "RESOLUTION=1280x720,FRAME-RATE=60.000," in text
    assert 'CLOSED-CAPTIONS="cc"' in text
    assert 'CHANNELS="6"' in text
    assert check_multivariant(text)[1] == []
    alone = multivariant_playlist([replace(AUDIO, earlier=(opus,))])
    assert 'CODECS="mp4a.40.2,opus"' in alone
