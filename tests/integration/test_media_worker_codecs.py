"""What a worker makes is read by ffmpeg: each codec, every frame, each at its time."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import pytest
from msgspec.structs import replace
from support.media import Collected, Made, Track, decode, flv_stream, shifted, through_pipeline

from hausd.media.encoder import Encoder
from hausd.media.pipeline import Pipeline
from hausd.wire.fmp4 import parse_fragment
from hausd.wire.worker import ImageMade, WorkerConfig

PASS = WorkerConfig(images=False, reencode_long_gops=False)
ENCODE = WorkerConfig(images=False, preset="ultrafast", threads=1)
SMALL = (160, 90)


@cache
def stream(**properties: Any) -> Made:
    return flv_stream(**properties)


def check_pictures(track: Track, made: Made, folder: Path, rate: Fraction) -> None:
    """Every frame that went in is shown, in order, evenly."""
    shown = decode(track.file, folder)
    assert len(shown) == len(made.video_pts_s)
    for place, pts in enumerate(shown):
        assert abs(pts - shown[0] - place / rate) <= Fraction(2, 90_000)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(60)])
def test_h264_passes_through_and_decodes_frame_for_frame(
    rate: Fraction, b_frames: int, tmp_path: Path
) -> None:
    made = stream(seconds=5, rate=rate, b_frames=b_frames, size=SMALL)
    collected = through_pipeline(made.tags, PASS)
    collected.check()
    check_pictures(collected.only["source"], made, tmp_path, rate)
    assert collected.only["source"].started.codecs.startswith("avc1.")
    assert (
        collected.only["source"].started.width,
        collected.only["source"].started.height,
    ) == SMALL


@pytest.mark.parametrize(
    ("audio", "sample_rate"), [("aac", 44_100), ("aac", 48_000), ("opus", 48_000)]
)
def test_sound_passes_through_and_decodes_frame_for_frame(
    audio: str, sample_rate: int, tmp_path: Path
) -> None:
    made = stream(seconds=5, codec=None, audio=audio, sample_rate=sample_rate)
    collected = through_pipeline(made.tags, PASS)
    collected.check()
    track = collected.only["audio"]
    assert len(track.samples) == made.audio_frames
    # A decoder may keep the first frame to itself (priming).
    assert made.audio_frames - len(decode(track.file, tmp_path)) in (0, 1)
    assert track.started.codecs == {"aac": "mp4a.40.2", "opus": "opus"}[audio]


def test_av1_with_opus_passes_through(tmp_path: Path) -> None:
    made = stream(seconds=4, rate=30, codec="av1", audio="opus", size=(128, 72))
    collected = through_pipeline(made.tags, PASS)
    collected.check()
    check_pictures(collected.only["source"], made, tmp_path, Fraction(30))
    started = collected.only["source"].started
    assert started.codecs.startswith("av01.0.")
    assert (started.width, started.height) == (128, 72)


def test_hevc_is_encoded_so_that_browsers_play_it(tmp_path: Path) -> None:
    made = stream(seconds=5, rate=25, codec="hevc", size=SMALL)
    collected = through_pipeline(made.tags, ENCODE)
    collected.check()
    track = collected.only["source"]
    assert track.started.codecs.startswith("avc1.")
    assert (track.started.width, track.started.height) == SMALL
    check_pictures(track, made, tmp_path, Fraction(25))
    assert [notice.code for notice in collected.notices] == ["transcoding"]


def test_h264_of_a_kind_that_browsers_refuse_is_encoded(tmp_path: Path) -> None:
    made = stream(seconds=3, rate=25, pixels="yuv444p", size=SMALL, audio=None)
    collected = through_pipeline(made.tags, ENCODE)
    collected.check()
    check_pictures(collected.only["source"], made, tmp_path, Fraction(25))


def test_mp3_becomes_aac_in_step_with_the_picture(tmp_path: Path) -> None:
    made = stream(seconds=5, rate=25, audio="mp3", sample_rate=44_100, size=SMALL)
    collected = through_pipeline(made.tags, PASS)
    collected.check()
    audio, video = collected.only["audio"], collected.only["source"]
    assert audio.started.codecs == "mp4a.40.2"
    heard = decode(audio.file, tmp_path)
    assert abs(heard[-1] - video.pts_s()[-1]) < Fraction(1, 5)
    assert abs(audio.pts_s()[0] - video.pts_s()[0]) < Fraction(1, 20)


def test_an_encoder_of_the_source_that_fails_once_costs_a_moment_and_not_the_stream(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = stream(seconds=8, rate=30, gop_s=1, size=SMALL, codec="hevc", audio=None)
    encode, failed = Encoder.encode, []

    def fails_once(self: Encoder, frame: av.VideoFrame, pts: int, *rest: int) -> object:
        if pts > 2 * 90_000 and not failed:
            failed.append(pts)
            raise av.FFmpegError(12, "Cannot allocate memory")
        return encode(self, frame, pts, *rest)  # type: ignore[arg-type] # as they came

    monkeypatch.setattr(Encoder, "encode", fails_once)
    collected = through_pipeline(made.tags, replace(PASS, ladder=()))
    collected.check(full_parts=False)
    assert failed
    assert [run.started.reason for run in collected.runs] == ["start", "ladder-failed"]
    told = [notice.code for notice in collected.notices]
    assert told == ["transcoding", "encoder-failed", "ladder-failed"]
    frames = [len(decode(run.tracks["source"].file, tmp_path)) for run in collected.runs]
    assert sum(frames) > 120, frames
    assert frames[1] > 60


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_long_gop_is_encoded_from_a_discontinuity_on_without_losing_a_frame(
    b_frames: int, tmp_path: Path
) -> None:
    made = stream(seconds=9, rate=30, gop_s=8, size=SMALL, b_frames=b_frames)
    collected = through_pipeline(made.tags, ENCODE)
    collected.check()
    assert [run.started.reason for run in collected.runs] == ["start", "long-gop"]
    assert [notice.code for notice in collected.notices] == ["long-gop"]
    assert "2 s" in collected.notices[0].text
    first = decode(collected.runs[0].tracks["source"].file, tmp_path)
    later = decode(collected.runs[1].tracks["source"].file, tmp_path)
    assert 2 < len(first) / 30 <= 2.5
    assert len(first) + len(later) == len(made.video_pts_s)
    track = collected.runs[1].tracks["source"]
    gops = {part.gop: part.independent for part, _ in reversed(track.parts)}
    assert len(gops) >= 3
    assert all(gops.values())


def test_ladder_renditions_are_cut_where_the_source_is(tmp_path: Path) -> None:
    made = stream(seconds=7, rate=Fraction(30000, 1001), gop_s=1, size=(320, 180), b_frames=2)
    config = WorkerConfig(
        images=False, ladder=((90, 100_000),), preset="ultrafast", reencode_long_gops=False
    )
    collected = through_pipeline(made.tags, config)
    collected.check()
    source, rung = collected.only["source"], collected.only["90p"]
    check_pictures(rung, made, tmp_path, Fraction(30000, 1001))

    def first_pts(track: Track) -> dict[int, Fraction]:
        found: dict[int, Fraction] = {}
        for part, data in track.parts:
            pts = min(sample.pts for sample in parse_fragment(data)[1])
            found.setdefault(part.gop, Fraction(pts, track.started.timescale))
        return found

    ours, theirs = first_pts(source), first_pts(rung)
    assert ours.keys() == theirs.keys()
    assert all(abs(ours[gop] - theirs[gop]) <= Fraction(1, 90_000) for gop in ours)
    segments = {part.gop: part.segment for part, _ in source.parts}
    assert all(segments[part.gop] == part.segment for part, _ in rung.parts)


def test_a_new_resolution_in_mid_stream_decodes_on_both_sides(tmp_path: Path) -> None:
    before = stream(seconds=3, rate=30, size=SMALL)
    after = stream(seconds=3, rate=30, size=(192, 108))
    collected = through_pipeline(before.tags + shifted(after.tags, 3000), PASS)
    collected.check()
    sizes = [(r.tracks["source"].started.width, r.tracks["source"].started.height)
             for r in collected.runs]  # fmt: skip
    assert sizes == [SMALL, (192, 108)]
    for run, made in zip(collected.runs, (before, after), strict=True):
        check_pictures(run.tracks["source"], made, tmp_path, Fraction(30))


def test_sound_and_picture_stay_together_across_a_stream(tmp_path: Path) -> None:
    made = stream(seconds=8, rate=Fraction(24000, 1001), sample_rate=44_100, size=SMALL)
    collected = through_pipeline(made.tags, PASS)
    video, audio = collected.only["source"], collected.only["audio"]
    stamps = {kind: [t.timestamp_ms for t in made.tags if t.type == kind and t.data[1] == 1]
              for kind in (8, 9)}  # fmt: skip
    origin_ms = stamps[9][0]
    for sample, ms in zip(video.samples, stamps[9], strict=True):
        assert abs(Fraction(sample.dts, 90_000) - Fraction(ms - origin_ms, 1000)) <= Fraction(
            1, 1000
        )
    skipped = len(stamps[8]) - len(audio.samples)
    for sample, ms in zip(audio.samples, stamps[8][skipped:], strict=True):
        off = Fraction(sample.dts, 44_100) - Fraction(ms - origin_ms, 1000)
        assert abs(off) <= Fraction(1, 1000)


def test_frames_of_varying_rate_decode_at_their_times(tmp_path: Path) -> None:
    times, at = [], Fraction(0)
    for index in range(120):
        times.append(at)
        at += Fraction(20 + (index * 13) % 45, 1000)
    made = flv_stream(
        float(at), rate=30, frame_times_s=tuple(times), size=SMALL, gop_s=1, audio=None
    )
    collected = through_pipeline(made.tags, PASS)
    collected.check(full_parts=False)
    shown = decode(collected.only["source"].file, tmp_path)
    for pts, time in zip(shown, times, strict=True):
        assert abs(pts - time) <= Fraction(3, 1000)


def test_a_poster_and_a_storyboard_come_with_a_stream_that_passes_through() -> None:
    made = stream(seconds=4, rate=30, gop_s=1, size=SMALL)
    collected = through_pipeline(made.tags, WorkerConfig(reencode_long_gops=False))
    images = [other for other in collected.others if isinstance(other, ImageMade)]
    assert {image.use for image in images} == {"poster", "storyboard"}
    assert all(image.run == 0 for image in images)


def test_parts_are_the_same_bytes_every_time() -> None:
    made = stream(seconds=5, rate=25, b_frames=2, size=SMALL)
    one, other = (through_pipeline(made.tags, PASS).only for _ in range(2))
    for name, track in one.items():
        assert track.file == other[name].file


def test_a_stream_that_cannot_be_decoded_does_not_stop_what_passes_through() -> None:
    made = stream(seconds=4, rate=30, gop_s=1, size=SMALL)
    broken = [
        replace(tag, data=tag.data[:9] + bytes(max(len(tag.data) - 9, 0)))
        if tag.type == 9 and tag.data[1] == 1
        else tag
        for tag in made.tags
    ]
    collected = Collected()
    config = WorkerConfig(images=False, ladder=((60, 50_000),), preset="ultrafast")
    pipeline = Pipeline(config, collected.take)
    for tag in broken:
        pipeline.push(tag)
    pipeline.finish()
    collected.check()
    assert len(collected.only["source"].samples) == 120
