"""Which rungs a source gets, and when renditions are given up and taken up again."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.ladder import (
    BEHIND_MS,
    SOURCE,
    Restore,
    Saving,
    Shed,
    Shedder,
    rungs_for,
    savings_for,
    source_rung,
)

LADDER = ((720, 2_800_000), (480, 1_400_000), (360, 800_000))
SIDES = st.integers(2, 8192)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), [("720p", 1280, 720), ("480p", 854, 480), ("360p", 640, 360)]),
        ((1280, 720), [("480p", 854, 480), ("360p", 640, 360)]),
        ((1080, 1920), [("720p", 720, 1280), ("480p", 480, 854), ("360p", 360, 640)]),
        ((640, 480), [("360p", 480, 360)]),
        ((320, 180), []),
        ((0, 0), []),
    ],
)
def test_the_usual_sources(size: tuple[int, int], expected: list[tuple[str, int, int]]) -> None:
    assert [(r.name, r.width, r.height) for r in rungs_for(*size, LADDER)] == expected


@given(SIDES, SIDES, st.lists(st.tuples(st.integers(2, 4320), st.integers(1, 10**7)), max_size=8))
def test_rungs_never_upscale_and_keep_the_shape(
    width: int, height: int, ladder: list[tuple[int, int]]
) -> None:
    rungs = rungs_for(width, height, ladder)
    assert len({rung.name for rung in rungs}) == len(rungs)
    assert [r.pixels for r in rungs] == sorted((r.pixels for r in rungs), reverse=True)
    for rung in rungs:
        assert rung.width % 2 == rung.height % 2 == 0
        assert rung.width <= width + 1
        assert rung.height <= height + 1
        assert min(rung.width, rung.height) <= min(width, height)
        assert rung.width == pytest.approx(
            rung.height * width / height, rel=0.02, abs=2 + width / height + height / width
        )


@given(SIDES, SIDES, st.none() | st.fractions(1, 240), st.integers(-1, 10**8))
def test_the_source_is_encoded_at_its_size_at_a_bounded_rate(
    width: int, height: int, rate: Fraction | None, bps: int
) -> None:
    rung = source_rung(width, height, rate, bps)
    assert rung.name == SOURCE
    assert rung.width in (width, width - 1)
    assert rung.height in (height, height - 1)
    assert 0 < rung.bandwidth_bps <= 8_000_000
    if 0 < bps <= 8_000_000:
        assert rung.bandwidth_bps == bps


def test_the_dearest_goes_first_and_the_source_is_only_made_cheaper() -> None:
    rungs = (*rungs_for(1920, 1080, LADDER), source_rung(1920, 1080, None))
    assert savings_for(rungs, 2) == (
        Saving("720p"),
        Saving("480p"),
        Saving("360p"),
        Saving(SOURCE, 1),
        Saving(SOURCE, 2),
    )


class Machine:
    """A machine that encodes each rendition at a cost, in real time by quarters of a second."""

    def __init__(self, costs: dict[str, float], power: float) -> None:
        self.costs = costs
        self.power = power
        self.shedder = Shedder([Saving(name) for name in costs])
        self.now_s = 0.0
        self.behind_ms = 0.0
        self.log: list[tuple[float, Shed | Restore]] = []

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.now_s += 0.25
            shed = {saving.rendition for saving in self.shedder.shed}
            work = sum(cost for name, cost in self.costs.items() if name not in shed)
            speed = self.power / work if work else None
            done_ms = 250 * speed if speed is not None else self.behind_ms + 250
            self.behind_ms = min(max(self.behind_ms + 250 - done_ms, 0), 6000)
            decision = self.shedder.observe(self.now_s, self.behind_ms, speed=speed)
            if decision is not None:
                self.log.append((self.now_s, decision))

    @property
    def shed(self) -> list[str]:
        return [saving.rendition for saving in self.shedder.shed]


COSTS = {"720p": 0.5, "480p": 0.25, "360p": 0.15}


def test_a_machine_that_keeps_up_sheds_nothing() -> None:
    machine = Machine(COSTS, power=1.0)
    machine.run(600)
    assert not machine.log


@pytest.mark.parametrize(("power", "left"), [(0.8, ["480p", "360p"]), (0.3, ["360p"]), (0.1, [])])
def test_it_sheds_until_it_keeps_up_and_no_more(power: float, left: list[str]) -> None:
    machine = Machine(COSTS, power)
    while not any(isinstance(decision, Restore) for _, decision in machine.log):
        machine.run(0.25)
    # It has been calm for a while: the last thing shed was enough.
    assert machine.behind_ms < BEHIND_MS
    kept = [name for name in COSTS if name not in machine.shed]
    assert kept[1:] == left


def test_the_stream_never_falls_far_behind() -> None:
    machine = Machine(COSTS, power=0.05)
    worst = 0.0
    for _ in range(400):
        machine.run(0.25)
        worst = max(worst, machine.behind_ms)
    assert worst < 6000
    assert machine.behind_ms == 0


def test_renditions_come_back_one_by_one_the_cheapest_first() -> None:
    machine = Machine(COSTS, power=0.05)
    machine.run(30)
    machine.log.clear()
    machine.power = 3.0
    machine.run(120)
    assert [decision.saving.rendition for _, decision in machine.log] == ["360p", "480p", "720p"]
    times = [at for at, _ in machine.log]
    assert all(after - before >= 10 for before, after in pairwise(times))


def test_it_does_not_flap() -> None:
    # Enough headroom to try 720p again and again, and never enough to keep it.
    machine = Machine({"720p": 1.0, "360p": 0.5}, power=0.9)
    machine.run(3600)
    tries = [at for at, decision in machine.log if isinstance(decision, Restore)]
    assert 3 < len(tries) < 20
    pauses = [after - before for before, after in pairwise(tries)]
    assert pauses[-1] > 290
    assert pauses == sorted(pauses)


def test_a_short_hiccup_that_is_worked_off_sheds_nothing() -> None:
    shedder = Shedder([Saving("720p")])
    for quarter in range(80):
        behind_ms = max(2000 - (quarter - 40) * 150, 0) if quarter >= 40 else 0
        assert shedder.observe(quarter / 4, behind_ms, speed=3) is None


def test_dropped_frames_shed_at_once() -> None:
    shedder = Shedder([Saving("720p"), Saving("480p")])
    shedder.observe(0, 0)
    decision = shedder.observe(5, 100, overflowed=True)
    assert isinstance(decision, Shed)
    assert "dropped" in decision.reason


@given(
    st.lists(
        st.tuples(
            st.floats(0, 2, allow_nan=False),
            st.floats(0, 10_000, allow_nan=False),
            st.none() | st.floats(0.01, 10),
            st.booleans(),
        ),
        max_size=200,
    )
)
def test_whatever_happens_the_order_holds(
    looks: list[tuple[float, float, float | None, bool]],
) -> None:
    savings = savings_for(rungs_for(1920, 1080, LADDER))
    shedder = Shedder(savings)
    now_s, expected = 0.0, 0
    for step_s, behind_ms, speed, overflowed in looks:
        now_s += step_s
        match shedder.observe(now_s, behind_ms, speed=speed, overflowed=overflowed):
            case Shed(saving, reason):
                assert saving == savings[expected]
                assert reason
                expected += 1
            case Restore(saving):
                expected -= 1
                assert saving == savings[expected]
                assert not overflowed
            case None:
                pass
        assert shedder.shed == savings[:expected]
