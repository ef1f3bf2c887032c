"""Live GOPs round to their target or less, and the same spans hold for every rendition."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.cut import Cut, Cutter, Grown, RegularGops, part_target_ms

MS = 90


def cuts(keyframes_ms: list[int], frame_ms: int = 40, upto_ms: int | None = None) -> list[Cut]:
    """The cuts of a source with a frame every ``frame_ms`` and keyframes at these times."""
    cutter = Cutter(2000, 10_000, 90_000)
    found = []
    keys = set(keyframes_ms)
    for ms in range(0, (upto_ms or max(keyframes_ms)) + 1, frame_ms):
        if ms in keys:
            cut = cutter.keyframe(ms * MS, frame_ms * MS)
        else:
            grown = cutter.grown(ms * MS, frame_ms * MS)
            assert grown is not Grown.KEYFRAMES_TOO_RARE, ms
            cut = cutter.force(ms * MS) if grown is Grown.MISJUDGED else None
        if cut is not None:
            found.append(cut)
    return found


@pytest.mark.parametrize(
    ("gop_ms", "live_ms"),
    [(40, 2000), (200, 2000), (480, 2400), (1000, 2000), (1240, 1240), (2000, 2000), (2360, 2360)],
)
def test_short_gops_are_grouped_to_about_the_target(gop_ms: int, live_ms: int) -> None:
    found = cuts(list(range(0, 30_000, gop_ms)))
    spans = [(b.pts - a.pts) // MS for a, b in pairwise(found)]
    assert all(span <= 2400 for span in spans)
    # The first two seconds may be shorter: nobody knows the source's GOPs yet.
    assert set(spans[5:]) == {live_ms}


@given(
    st.integers(1, 59),
    st.lists(st.integers(1, 59), min_size=20, max_size=60),
)
def test_no_live_gop_rounds_to_more_than_its_target(longest: int, frames: list[int]) -> None:
    # An encoder with keyframes at scene cuts, and at the latest every ``longest`` frames.
    at, keyframes = 0, [0]
    for gap in frames:
        at += min(gap, longest) * 40
        keyframes.append(at)
    found = cuts(keyframes)
    spans = [(b.pts - a.pts) / MS for a, b in pairwise(found)]
    assert all(span < 2500 for span in spans)


@pytest.mark.parametrize("gop_ms", [500, 1000, 1960, 2000, 2360])
def test_archive_segments_end_at_the_last_gop_before_ten_seconds(gop_ms: int) -> None:
    frame_ms = 20
    found = cuts([n * gop_ms for n in range(90_000 // gop_ms)], frame_ms)
    starts = {}
    for cut in found:
        starts.setdefault(cut.segment, cut.pts / MS)
    lengths = [starts[n + 1] - starts[n] for n in range(max(starts))]
    assert all(length <= 10_050 for length in lengths)
    assert all(length + 2400 > 10_000 for length in lengths)
    assert sorted(starts) == list(range(len(starts)))


def test_five_gops_of_ntsc_video_are_one_archive_segment() -> None:
    cutter = Cutter(2000, 10_000, 90_000)
    made = [cutter.keyframe(n * 60 * 3003, 3003) for n in range(11)]
    assert [cut.segment for cut in made if cut] == [0] * 5 + [1] * 5 + [2]


def test_a_source_without_keyframes_is_noticed_before_a_segment_is_too_long() -> None:
    cutter = Cutter(2000, 10_000, 90_000)
    cutter.keyframe(0, 3000)
    noticed = next(n for n in range(1, 300) if cutter.grown(n * 3000, 3000) is not Grown.NO)
    assert cutter.grown(noticed * 3000, 3000) is Grown.KEYFRAMES_TOO_RARE
    assert 2.0 < noticed / 30 <= 2.4


def test_a_keyframe_let_pass_in_vain_costs_one_cut_and_no_second() -> None:
    # Two seconds of keyframes every half second, then every two: not regular, but not rare.
    keyframes = [n * 500 for n in range(10)] + [4500 + n * 2000 for n in range(1, 10)]
    cutter = Cutter(2000, 10_000, 90_000)
    misjudged = 0
    for ms in range(0, keyframes[-1], 20):
        if ms in keyframes:
            cutter.keyframe(ms * MS, 20 * MS)
        elif (grown := cutter.grown(ms * MS, 20 * MS)) is not Grown.NO:
            assert grown is Grown.MISJUDGED
            misjudged += 1
            cutter.force(ms * MS)
    assert misjudged <= 1


@pytest.mark.parametrize("gop_ms", [1000, 1480, 2000, 2360, 60_000])
def test_the_first_gop_is_split_early_and_counts_as_one(gop_ms: int) -> None:
    frame = 40 * MS
    cutter, plain = Cutter(2000, 10_000, 90_000, 1000), Cutter(2000, 10_000, 90_000)
    split, whole = {}, {}
    for ms in range(0, 61_000, 40):
        for found, each in ((split, cutter), (whole, plain)):
            cut = (each.early if ms % gop_ms else each.keyframe)(ms * MS, frame)
            if cut is not None:
                found[cut.pts // MS] = cut.segment
        grown = plain.grown(ms * MS, frame)
        assert cutter.grown(ms * MS, frame) is grown, "how long a GOP is does not change by it"
        if grown is not Grown.NO:
            break
    assert split == whole | {1000: 0}
    assert max(whole) > 50_000 or gop_ms > 2400


def test_audio_alone_is_cut_by_the_clock() -> None:
    cutter = Cutter(2000, 10_000, 48_000)
    found = [cut for n in range(2000) if (cut := cutter.clock(n * 1024, 1024))]
    spans = {b.pts - a.pts for a, b in pairwise(found)}
    assert all(abs(span - 96_000) <= 512 for span in spans)


@pytest.mark.parametrize(
    ("frame_ms", "target_ms"),
    [(Fraction(1000, 30), 434), (Fraction(1001, 24), 442), (Fraction(40), 440)],
)
def test_part_target_is_one_frame_more_than_wished_for(frame_ms: Fraction, target_ms: int) -> None:
    assert part_target_ms(400, frame_ms) == target_ms


def test_the_end_of_a_regular_gop_is_known_and_of_an_irregular_one_never_claimed_again() -> None:
    gops = RegularGops()
    claims = [gops.frame(n % 10 == 0) for n in range(60)]
    assert [n for n, claim in enumerate(claims) if claim] == [39, 49, 59]
    assert (gops.left, gops.ahead) == (0, 10), "of the next one as many are to come"
    gops.frame(True)
    assert (gops.left, gops.ahead) == (9, 9)
    for _ in range(10):
        gops.frame(False)  # no keyframe where one was due
    assert gops.ahead is None
    assert not any(gops.frame(n % 10 == 0) for n in range(100))
