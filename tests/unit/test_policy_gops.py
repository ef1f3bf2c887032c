"""A source with rare keyframes is encoded anew only where a core is free for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.cut import SLACK_MS
from hausd.policy.gops import MOST_TARGET_S, KeyframeGaps, Machine, has_core, live_target_s


@dataclass(frozen=True)
class Fare:
    behind_ms: int = 0
    encoding: tuple[str, ...] = ()
    shed: tuple[str, ...] = ()


IDLE, BUSY = Fare(), Fare(encoding=("720p", "480p"))
SLOW, SHEDS = Fare(behind_ms=1500, encoding=("720p",)), Fare(shed=("720p",))


@pytest.mark.parametrize(
    ("cores", "threads", "ladder", "others", "free"),
    [
        (1, 0, False, [], True),
        (1, 0, True, [], False),
        (2, 0, True, [], True),
        (2, 0, True, [IDLE, IDLE, IDLE], True),
        (2, 0, True, [BUSY], False),
        (2, 0, False, [BUSY], True),
        (4, 2, True, [], True),
        (4, 2, True, [BUSY], False),
        (64, 0, True, [SLOW], False),
        (64, 0, True, [BUSY, SHEDS], False),
    ],
)
def test_whoever_encodes_takes_a_core_and_who_cannot_keep_up_shows_there_is_none(
    cores: int, threads: int, ladder: bool, others: Sequence[Fare], free: bool
) -> None:
    machine = Machine(cores, threads)
    assert has_core(machine, ladder=ladder, before=None, others=others) is free


def test_a_stream_that_could_not_keep_up_itself_gets_no_more_work() -> None:
    assert has_core(Machine(8, 0), ladder=True, before=BUSY, others=[])
    assert not has_core(Machine(8, 0), ladder=True, before=SHEDS, others=[])


@given(st.integers(1, 10), st.integers(1, 60_000), st.integers(1, 60))
def test_a_raised_target_holds_a_gop_and_is_no_longer_than_it_must_be(
    configured_s: int, gop_ms: int, archive_s: int
) -> None:
    target_s = live_target_s(configured_s, gop_ms, archive_s)
    most_s = max(configured_s, min(MOST_TARGET_S, archive_s))
    assert configured_s <= target_s <= most_s
    if target_s < most_s:
        assert gop_ms <= target_s * 1000 + SLACK_MS
        assert (gop_ms + 500) // 1000 <= target_s, "EXTINF rounded (RFC 8216bis, 4.4.3.1)"
    if target_s > configured_s:
        assert gop_ms > (target_s - 1) * 1000 + SLACK_MS


def test_obs_on_auto_makes_eight_seconds() -> None:
    assert live_target_s(2, 8333, 10) == 8
    assert live_target_s(2, 2002, 10) == 2
    assert live_target_s(2, 30_000, 10) == 10


def test_long_gops_show_at_once_and_short_ones_after_a_while() -> None:
    gaps = KeyframeGaps()
    for ms in range(0, 20_000, 2000):
        gaps.keyframe(ms)
        assert gaps.longest_ms(2000) == 0
    gaps.keyframe(20_000)
    assert gaps.longest_ms(2000) == 2000
    gaps.keyframe(28_000)
    assert gaps.longest_ms(2000) == 8000


def test_a_hole_is_no_gop() -> None:
    gaps = KeyframeGaps()
    gaps.keyframe(0)
    gaps.broken()
    gaps.keyframe(60_000)
    assert gaps.longest_ms(2000) == 0
