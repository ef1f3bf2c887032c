"""Millisecond stamps become exact times, without drift, jitter or lost A/V sync."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.media import audio_grid_ms, grid_ms

from hausd.policy.timeline import FrameClock, SampleClock, observed_rate, standard_rate

RATES = [
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(48),
    Fraction(50),
    Fraction(60000, 1001),
    Fraction(60),
    Fraction(120),
    Fraction(15),
    Fraction(17),
]


def ticks(index: int, rate: Fraction) -> Fraction:
    return 90_000 * index / rate


@pytest.mark.parametrize("cut_off", [False, True])
@pytest.mark.parametrize("rate", RATES)
def test_every_frame_of_a_steady_source_gets_its_exact_time(rate: Fraction, cut_off: bool) -> None:
    clock = FrameClock(rate)
    due = 0
    for index, stamp in enumerate(grid_ms(rate, 6000, cut_off=cut_off)):
        at, later = clock.place(stamp)
        assert abs(at - ticks(index, rate)) < 1
        assert at == due
        assert later is not None
        due = later


@pytest.mark.parametrize("rate", RATES)
def test_a_source_that_does_not_say_its_rate_is_exact_after_a_few_frames(rate: Fraction) -> None:
    clock = FrameClock(None)
    due: int | None = None
    breaks = 0
    for index, stamp in enumerate(grid_ms(rate, 2000)):
        at, later = clock.place(stamp)
        if index >= 8:
            assert later is not None
        if due is not None and at != due:
            breaks += 1
            assert abs(at - due) <= 180
        assert abs(at - ticks(index, rate)) <= 150
        due = later
    # At most a few steps of a millisecond or two, until the neighbouring rates are told apart.
    assert breaks <= 2
    assert clock.rate == rate


@pytest.mark.parametrize(
    ("stated", "true"), [(60, Fraction(30)), (30, Fraction(60)), (30, Fraction(30000, 1001)),
                         (25, Fraction(30)), (1000, Fraction(30))]
)  # fmt: skip
def test_a_wrongly_stated_rate_is_found_out(stated: float, true: Fraction) -> None:
    clock = FrameClock(standard_rate(stated))
    for stamp in grid_ms(true, 400):
        clock.place(stamp)
    assert clock.rate == true


def test_left_out_frames_leave_holes_on_the_grid_not_another_grid() -> None:
    clock = FrameClock(Fraction(30))
    stamps = [s for i, s in enumerate(grid_ms(30, 600)) if i % 50 not in (10, 11, 30)]
    for stamp in stamps:
        at, due = clock.place(stamp)
        assert at % 3000 == 0
        assert due == at + 3000


def test_a_phone_with_a_clock_of_its_own_is_followed_within_two_milliseconds() -> None:
    clock = FrameClock(Fraction(30))
    for stamp in grid_ms(Fraction(30_010, 1000), 5000):
        at, due = clock.place(stamp)
        assert abs(at - stamp * 90) <= 180
        assert due is not None


@given(st.lists(st.integers(5, 120), min_size=150, max_size=200))
def test_whatever_comes_times_stay_within_two_milliseconds_of_their_stamps(
    steps_ms: list[int],
) -> None:
    clock = FrameClock(Fraction(30))
    stamp = 0
    for step in steps_ms:
        stamp += step
        at, _ = clock.place(stamp)
        assert abs(at - stamp * 90) <= 180


def test_a_varying_source_is_told_by_its_stamps_and_nothing_is_foretold() -> None:
    clock = FrameClock(Fraction(30))
    stamp, step = 0, 0
    for index in range(300):
        step = (step * 7 + 13) % 41
        stamp += 15 + step
        at, due = clock.place(stamp)
        if index > 20:
            assert (at, due) == (stamp * 90, None)
    assert clock.rate is None
    # It steadies again.
    for ms in grid_ms(25, 200, stamp + 40):
        _, due = clock.place(ms)
    assert clock.rate == 25
    assert due is not None


def test_reordered_frames_are_shown_on_the_same_grid() -> None:
    rate = Fraction(30000, 1001)
    clock = FrameClock(rate)
    decoded, shown = grid_ms(rate, 300), grid_ms(rate, 310)
    for index, stamp in enumerate(decoded):
        at, _ = clock.place(stamp)
        for delay in (0, 1, 2, 4):
            pts = clock.show(shown[index + delay])
            assert abs(pts - at - ticks(delay, rate)) < 1


@pytest.mark.parametrize(
    ("stated", "rate"),
    [(29.97, Fraction(30000, 1001)), (23.98, Fraction(24000, 1001)), (59.94, Fraction(60000, 1001)),
     (30.0, Fraction(30)), (29.970029970029969, Fraction(30000, 1001)), (24.0, Fraction(24)),
     (17.0, Fraction(17)), (0.0, None), (90_000.0, None), (None, None), (12.5, Fraction(25, 2))],
)  # fmt: skip
def test_stated_rates_mean_the_exact_ones(stated: float | None, rate: Fraction | None) -> None:
    assert standard_rate(stated) == rate


@example([0, 33, 67, 100, 133, 167, 200, 233, 0])
@given(st.lists(st.integers(-(1 << 40), 1 << 40), max_size=40))
def test_observing_nonsense_is_harmless(stamps_ms: list[int]) -> None:
    observed_rate(stamps_ms)


@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
@pytest.mark.parametrize("start_ms", [0, 7, 123])
def test_audio_frames_lie_end_to_end(sample_rate: int, start_ms: int) -> None:
    clock = SampleClock(sample_rate)
    placed = [clock.place(s, 1024) for s in audio_grid_ms(sample_rate, 20_000, start_ms)]
    starts = [at for at in placed if at is not None]
    assert len(starts) == len(placed)
    assert all(after - before == 1024 for before, after in pairwise(starts))
    assert abs(starts[0] - start_ms * sample_rate / 1000) <= 1


def test_jitter_of_audio_stamps_is_not_heard() -> None:
    clock = SampleClock(48_000)
    starts = []
    for index, stamp in enumerate(audio_grid_ms(48_000, 400)):
        starts.append(clock.place(stamp + (index * 7919) % 17 - 8 if index else stamp, 1024))
    assert all(a is not None and b is not None and b - a == 1024 for a, b in pairwise(starts))


def test_lost_audio_frames_leave_a_hole_of_their_length() -> None:
    clock = SampleClock(48_000)
    starts = [
        clock.place(stamp, 1024)
        for index, stamp in enumerate(audio_grid_ms(48_000, 400))
        if not 100 <= index < 103
    ]
    assert starts[99] == 99 * 1024
    assert starts[100] is not None
    assert abs(starts[100] - 103 * 1024) <= 48


def test_audio_that_drifts_is_followed_within_a_frame() -> None:
    clock = SampleClock(48_000)
    slow = audio_grid_ms(47_900, 20_000)
    for stamp in slow + audio_grid_ms(48_100, 20_000, slow[-1] + 21):
        at = clock.place(stamp, 1024)
        if at is not None:
            assert abs(at - stamp * 48) <= 1024
