"""What was published is what is played: frames, times, spans and discontinuities."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.media import (
    AVCC,
    Collected,
    Track,
    audio_grid_ms,
    grid_ms,
    shifted,
    synthetic,
    through_pipeline,
)

from hausd.media.pipeline import Pipeline
from hausd.wire.flv import Tag
from hausd.wire.worker import WorkerConfig

PASS = WorkerConfig(images=False, reencode_long_gops=False)
RATES = [
    Fraction(24000, 1001),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(50),
    Fraction(60),
]


SILENT = [bytes.fromhex("01182007"), bytes.fromhex("211004608c1c")]


def indices(track: Track) -> list[int]:
    """Which of the synthetic frames are in a rendition, in its order; silence is none of them."""
    if track.started.rendition == "audio":
        sent = (sample.data for sample in track.samples if sample.data not in SILENT)
        return [int.from_bytes(data[:4]) for data in sent]
    return [int.from_bytes(sample.data[-4:]) for sample in track.samples]


def both(rate: Fraction, seconds: int, *, gop: int, sample_rate: int = 48_000,
         start_ms: int = 0) -> list[Tag]:  # fmt: skip
    frames = round(seconds * rate)
    sounds = seconds * sample_rate // 1024
    return synthetic(
        grid_ms(rate, frames, start_ms),
        every=gop,
        rate=float(rate),
        audio_stamps_ms=audio_grid_ms(sample_rate, sounds, start_ms),
        sample_rate=sample_rate,
    )


def check_same_spans(made: Collected) -> None:
    """GOP n of the audio covers GOP n of the video, to one audio frame."""
    for run in made.runs:
        video, audio = run.tracks["source"], run.tracks["audio"]
        begins: dict[str, dict[int, Fraction]] = {}
        for track in (video, audio):
            scale = track.started.timescale
            starts: dict[int, Fraction] = {}
            for part, _ in track.parts:
                starts.setdefault(part.gop, Fraction(part.start, scale))
            begins[track.started.rendition] = starts
        frame = Fraction(1024, audio.started.timescale)
        for gop, start in begins["audio"].items():
            assert 0 <= start - begins["source"][gop] < frame
        segments = {part.gop: part.segment for part, _ in video.parts}
        assert all(segments[part.gop] == part.segment for part, _ in audio.parts)


@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
@pytest.mark.parametrize("rate", RATES)
def test_steady_sources_come_out_frame_for_frame_with_exact_times(
    rate: Fraction, sample_rate: int
) -> None:
    made = through_pipeline(both(rate, 25, gop=round(2 * rate), sample_rate=sample_rate), PASS)
    made.check()
    check_same_spans(made)
    video, audio = made.only["source"], made.only["audio"]
    assert indices(video) == list(range(round(25 * rate)))
    assert indices(audio) == list(range(25 * sample_rate // 1024))
    for place, pts in enumerate(video.pts_s()):
        assert abs(pts - place / rate) < Fraction(1, 90_000)
    for place, pts in enumerate(audio.pts_s()):
        assert pts == Fraction(place * 1024, sample_rate)
    assert video.started.frame_rate == (rate.numerator, rate.denominator)


@pytest.mark.parametrize("gop_s", [Fraction(1, 2), Fraction(1), Fraction(2)])
@pytest.mark.parametrize("rate", RATES)
def test_any_keyframe_interval_up_to_the_target_gives_live_gops_of_about_the_target(
    rate: Fraction, gop_s: Fraction
) -> None:
    made = through_pipeline(both(rate, 30, gop=round(gop_s * rate)), PASS)
    made.check()
    check_same_spans(made)
    video = made.only["source"]
    assert all(
        part.independent
        for (part, _), before in zip(video.parts[1:], video.parts, strict=False)
        # A session's first segment comes early, so the second need not begin with a keyframe.
        if part.gop != before[0].gop and (part.gop != 1 or gop_s <= 1)
    )
    assert 14 <= video.parts[-1][0].gop <= 17


@pytest.mark.parametrize("reencodes", [False, True])
@pytest.mark.parametrize("gop_s", [1, 2, 4, 1000])
def test_the_first_segment_is_whole_after_a_second_whatever_the_keyframe_interval(
    gop_s: int, reencodes: bool
) -> None:
    collected = Collected()
    pipeline = Pipeline(replace(PASS, reencode_long_gops=reencodes), collected.take)
    for tag in both(Fraction(30), 2, gop=30 * gop_s):
        pipeline.push(tag)
        tracks = collected.runs[0].tracks.values() if collected.runs else ()
        if len(tracks) == 2 and all(
            track.parts and track.parts[-1][0].ends_gop for track in tracks
        ):
            break
    assert tag.timestamp_ms <= 1100
    # A node that starts anew goes on in the session: nobody waits for its first segment.
    again = through_pipeline(both(Fraction(30), 8, gop=60), replace(PASS, part_target_ms=434))
    assert [part.gop for part, _ in again.only["source"].parts].count(0) == 5


@pytest.mark.parametrize("gop_s", [4, 8, 10])
def test_long_gops_may_pass_through_cut_without_keyframes(gop_s: int) -> None:
    made = through_pipeline(both(Fraction(30), 24, gop=30 * gop_s), PASS)
    made.check()
    check_same_spans(made)
    assert indices(made.only["source"]) == list(range(720))


@pytest.mark.parametrize("start_ms", [0, 5, 3_600_000, (1 << 32) - 5000, (1 << 31) - 3000])
def test_timestamps_may_start_high_and_wrap(start_ms: int) -> None:
    made = through_pipeline(shifted(both(Fraction(30), 12, gop=60), start_ms), PASS)
    made.check()
    video, audio = made.only["source"], made.only["audio"]
    assert len(video.samples) == 360
    assert [sample.dts for sample in video.samples] == [n * 3000 for n in range(360)]
    assert audio.samples[0].dts == 0


@pytest.mark.parametrize("audio_late_ms", [0, 10, 15, 40, 333])
def test_sound_keeps_its_offset_to_the_picture(audio_late_ms: int) -> None:
    tags = synthetic(
        grid_ms(25, 200),
        every=50,
        rate=25.0,
        audio_stamps_ms=audio_grid_ms(48_000, 300, audio_late_ms),
    )
    audio = through_pipeline(tags, PASS).only["audio"]
    assert abs(audio.pts_s()[0] - Fraction(audio_late_ms, 1000)) <= Fraction(1, 1000)


def test_reordered_frames_keep_their_presentation_times() -> None:
    # One B frame between each two: decoded 0 2 1 4 3…, shown a frame later than decoded.
    rate = Fraction(30000, 1001)
    decode = grid_ms(rate, 300)
    shown = grid_ms(rate, 302)
    order = [0] + [n + 1 if n % 2 else n - 1 for n in range(1, 300)]
    offsets = [shown[order[n] + 1] - decode[n] for n in range(300)]
    tags = synthetic(decode, every=60, offsets_ms=offsets, rate=29.97)
    made = through_pipeline(tags, PASS)
    made.check()
    for place, pts in enumerate(made.only["source"].pts_s()):
        assert abs(pts - (order[place] + 1) / rate) <= Fraction(2, 90_000)


def test_a_part_leaves_with_its_last_frame() -> None:
    collected = Collected()
    pipeline = Pipeline(PASS, collected.take)
    sent = []
    for tag in both(Fraction(30), 8, gop=60):
        pipeline.push(tag)
        parts = [
            data
            for run in collected.runs
            for name, track in run.tracks.items()
            if name == "source"
            for _, data in track.parts
        ]
        if tag.type == 9:
            sent.append((tag, len(parts)))
    frame_of_part: dict[int, int] = {}
    for frame, (_, parts_sent) in enumerate(sent[1:]):
        frame_of_part.setdefault(parts_sent, frame)
    # Parts of 13 frames; the third of each half of the first GOP has 4, the fifth of a whole one 8.
    assert frame_of_part[1] == 12
    assert frame_of_part[2] == 25
    assert frame_of_part[3] == 30
    # The end of a GOP is known by the next keyframe at first, then by regularity.
    assert frame_of_part[6] == 60
    assert frame_of_part[21] == 239


def test_other_parameters_in_mid_stream_begin_a_run_with_their_own_init() -> None:
    tags = both(Fraction(30), 6, gop=60)
    other = bytearray(AVCC)
    other[3] = 30  # another level
    at = next(i for i, tag in enumerate(tags) if tag.type == 9 and tag.timestamp_ms >= 4000)
    tags[at:at] = [Tag(9, 4000, b"\x17\0\0\0\0" + bytes(other))]
    made = through_pipeline(tags, PASS)
    made.check()
    first, second = made.runs
    assert second.started.reason == "video-parameters"
    assert first.tracks["source"].init != second.tracks["source"].init
    played = indices(first.tracks["source"]) + indices(second.tracks["source"])
    assert played == list(range(180))
    began = second.tracks["source"].samples[0].dts
    assert 4 * 90_000 <= began < 4.1 * 90_000, "times go on from run to run"


def test_a_repeated_sequence_header_changes_nothing() -> None:
    tags = both(Fraction(30), 4, gop=60)
    again = [tag for tag in tags if tag.type == 18 or tag.data[1] == 0]
    made = through_pipeline(tags[:100] + again + tags[100:], PASS)
    assert indices(made.only["source"]) == list(range(120))


@pytest.mark.parametrize("jump_ms", [-100_000, -1500, 2500, 100_000, 1 << 30])
def test_a_jump_in_time_is_a_discontinuity_and_never_a_stretched_part(jump_ms: int) -> None:
    tags = both(Fraction(30), 8, gop=60)
    at = next(i for i, tag in enumerate(tags) if tag.timestamp_ms >= 4000)
    made = through_pipeline(tags[:at] + shifted(tags[at:], jump_ms), PASS)
    made.check()
    assert [run.started.run for run in made.runs] == [0, 1]
    assert made.runs[1].started.reason == "jump"
    began = made.runs[1].tracks["source"].samples[0].dts
    assert 4 * 90_000 <= began < 4.1 * 90_000, "times go on from run to run"
    total = sum(len(run.tracks["source"].samples) for run in made.runs)
    assert total == 240


def test_a_few_lost_frames_cost_no_discontinuity() -> None:
    stamps = [ms for n, ms in enumerate(grid_ms(30, 300)) if n % 60 not in (20, 21, 22, 40)]
    tags = synthetic(stamps, keyframes=[n for n in range(300) if n % 56 == 0], rate=30.0)
    made = through_pipeline(tags, PASS)
    made.check(full_parts=False)
    samples = made.only["source"].samples
    assert [sample.pts for sample in samples] == [round(ms * 90 / 3000) * 3000 for ms in stamps]


def test_a_hole_of_most_of_a_second_is_not_played_as_a_frozen_part() -> None:
    stamps = [ms for n, ms in enumerate(grid_ms(30, 300)) if not 100 <= n < 124]
    tags = synthetic(stamps, keyframes=range(0, 300, 20), rate=30.0)
    made = through_pipeline(tags, PASS)
    made.check(full_parts=False, holes=True)


def test_frames_before_the_first_keyframe_are_left_out_and_counted() -> None:
    from hausd.media.pipeline import Pipeline

    collected = Collected()
    pipeline = Pipeline(PASS, collected.take)
    for tag in synthetic(grid_ms(30, 120), keyframes=[20, 80], rate=30.0):
        pipeline.push(tag)
    pipeline.finish()
    collected.check()
    assert indices(collected.only["source"]) == list(range(20, 120))
    assert pipeline.frames_dropped == 20


@pytest.mark.parametrize(("kind", "left"), [("video", {"audio"}), ("audio", {"source"})])
def test_frames_without_their_sequence_header_are_told_of_and_the_rest_plays(
    kind: str, left: set[str]
) -> None:
    def is_header(tag: Tag) -> bool:
        return tag.type == {"audio": 8, "video": 9}[kind] and tag.data[1] == 0

    tags = [tag for tag in both(Fraction(30), 8, gop=60) if not is_header(tag)]
    made = through_pipeline(tags, PASS)
    assert set(made.only) == left
    assert [notice.code for notice in made.notices] == ["no-header"]
    assert kind in made.notices[0].text


def test_frames_of_varying_rate_keep_their_own_times() -> None:
    stamp, stamps = 0, []
    for n in range(400):
        stamps.append(stamp)
        stamp += 17 + (n * 29) % 50
    tags = synthetic(stamps, keyframes=[n for n in range(400) if n % 40 == 0], rate=0.0)
    made = through_pipeline(tags, PASS)
    made.check(full_parts=False)
    for sample, ms in zip(made.only["source"].samples, stamps, strict=True):
        assert abs(sample.pts - ms * 90) <= 180


def test_sound_alone_gives_gops_by_the_clock() -> None:
    sounds = audio_grid_ms(44_100, 1000)
    tags = synthetic([], audio_stamps_ms=sounds, sample_rate=44_100, rate=30.0)
    made = through_pipeline([tag for tag in tags if tag.type == 8], PASS)
    made.check()
    audio = made.only["audio"]
    assert list(made.only) == ["audio"]
    assert indices(audio) == list(range(1000))
    assert audio.parts[-1][0].gop == 12
    first = [part for part, _ in audio.parts if part.gop == 0]
    assert sum(part.duration for part in first) == 43 * 1024


def test_picture_alone_starts_without_waiting_for_sound_that_is_not_announced() -> None:
    from hausd.media.pipeline import Pipeline

    collected = Collected()
    pipeline = Pipeline(PASS, collected.take)
    for tag in synthetic(grid_ms(30, 13), every=60, rate=30.0):
        pipeline.push(tag)
    assert len(collected.only["source"].parts) == 1


def test_sound_that_comes_late_begins_a_run_of_its_own() -> None:
    video = synthetic(grid_ms(30, 300), every=60, rate=30.0)
    late = synthetic([], audio_stamps_ms=audio_grid_ms(48_000, 200, 5000), rate=30.0)
    late = [replace(t, timestamp_ms=max(t.timestamp_ms, 5000)) for t in late if t.type == 8]
    tags = sorted(video + late, key=lambda tag: tag.timestamp_ms)
    made = through_pipeline(tags, PASS)
    made.check()
    assert [sorted(run.tracks) for run in made.runs] == [["source"], ["audio", "source"]]
    assert made.runs[1].started.reason == "audio-started"
    played = [n for run in made.runs for n in indices(run.tracks["source"])]
    assert played == list(range(300))


def test_sound_that_is_lost_does_not_stop_the_picture() -> None:
    tags = synthetic(
        grid_ms(30, 450), every=60, rate=30.0, audio_stamps_ms=audio_grid_ms(48_000, 150)
    )
    made = through_pipeline(tags, PASS)
    made.check()
    assert [sorted(run.tracks) for run in made.runs] == [["audio", "source"], ["source"]]
    played = [n for run in made.runs for n in indices(run.tracks["source"])]
    assert played == list(range(450))


def test_a_picture_that_is_lost_leaves_the_sound_and_comes_back() -> None:
    stamps = [ms for n, ms in enumerate(grid_ms(30, 900)) if not 120 <= n < 540]
    tags = synthetic(
        stamps,
        keyframes=range(0, 900, 60),
        rate=30.0,
        audio_stamps_ms=audio_grid_ms(48_000, 1400),
    )
    made = through_pipeline(tags, PASS)
    made.check()
    assert [sorted(run.tracks) for run in made.runs] == [
        ["audio", "source"],
        ["audio"],
        ["audio", "source"],
    ]


def test_what_was_sent_last_is_played_to_its_last_frame() -> None:
    for frames in range(1, 40, 3):
        tags = synthetic(
            grid_ms(30, frames),
            every=60,
            rate=30.0,
            audio_stamps_ms=audio_grid_ms(48_000, 1 + frames * 3 // 2),
        )
        made = through_pipeline(tags, PASS)
        made.check()
        assert indices(made.only["source"]) == list(range(frames))
        assert indices(made.only["audio"]) == list(range(1 + frames * 3 // 2))


@pytest.mark.parametrize("short_ms", [0, 1, 15, 30, 60, 400, 1900])
@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
def test_sound_that_ends_before_the_picture_goes_on_in_silence_to_its_end(
    short_ms: int, sample_rate: int
) -> None:
    sounds = (5000 - short_ms) * sample_rate // 1000 // 1024
    tags = synthetic(
        grid_ms(30, 150),
        every=60,
        rate=30.0,
        audio_stamps_ms=audio_grid_ms(sample_rate, sounds),
        sample_rate=sample_rate,
    )
    made = through_pipeline(tags, PASS)
    made.check()
    check_same_spans(made)
    audio = made.only["audio"]
    assert indices(audio) == list(range(sounds))
    assert [sample.data for sample in audio.samples][sounds:] == SILENT[1:] * (
        len(audio.samples) - sounds
    )
    end = audio.samples[-1].dts + audio.samples[-1].duration
    assert 5 * sample_rate <= end < 5 * sample_rate + 1024, "its end is the picture's"


def test_sound_that_was_lost_is_not_made_up_for() -> None:
    tags = synthetic(
        grid_ms(30, 450), every=60, rate=30.0, audio_stamps_ms=audio_grid_ms(48_000, 150)
    )
    made = through_pipeline(tags, PASS)
    assert indices(made.runs[0].tracks["audio"]) == list(range(150))
    assert len(made.runs[0].tracks["audio"].samples) == 150


def test_a_replaced_worker_goes_on_counting_and_keeps_the_part_target() -> None:
    config = WorkerConfig(first_run=7, part_target_ms=417, images=False, reencode_long_gops=False)
    made = through_pipeline(both(Fraction(30), 4, gop=60), config)
    made.check()
    assert made.runs[0].started.run == 7
    assert made.runs[0].started.part_target_ms == 417


@settings(max_examples=40)
@given(
    rate=st.sampled_from(RATES),
    gop=st.integers(1, 70),
    interleave_ms=st.integers(-300, 300),
    lost=st.sets(st.integers(0, 399), max_size=30),
    jitter=st.lists(st.integers(-1, 1), min_size=8, max_size=8),
)
def test_every_run_keeps_the_rules_whatever_the_source_does(
    rate: Fraction, gop: int, interleave_ms: int, lost: set[int], jitter: list[int]
) -> None:
    stamps = [ms + jitter[n % 8] + 1 for n, ms in enumerate(grid_ms(rate, 400)) if n not in lost]
    sounds = audio_grid_ms(48_000, int(400 / rate * 48_000 / 1024))
    tags = synthetic(
        stamps,
        keyframes=[n for n in range(400) if n % gop == 0],
        rate=float(rate),
        audio_stamps_ms=sounds,
    )
    tags[3:] = sorted(
        tags[3:], key=lambda tag: tag.timestamp_ms + (interleave_ms if tag.type == 8 else 0)
    )
    made = through_pipeline(tags, PASS)
    made.check(full_parts=False, holes=True)
    for run in made.runs:
        if "audio" in run.tracks:
            spans = [(part.start, part.gop) for part, _ in run.tracks["audio"].parts]
            assert spans == sorted(spans)
