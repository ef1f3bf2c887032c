"""The order of sending is fair by weight, and nothing starves or piles up."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.sharing import ARCHIVE_WEIGHT, LIVE_WEIGHT, FairQueue, Pace

SIZE = 128 * 1024


def drain(queue: FairQueue[str], count: int) -> list[str]:
    found = [queue.pop() for _ in range(count)]
    return [one for one in found if one is not None]


def test_the_live_edge_goes_before_an_archive_that_was_there_first() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(50):
        assert queue.put(("room", "archive"), ARCHIVE_WEIGHT, SIZE, f"archive {n}")
    for n in range(20):
        assert queue.put(("room", "live"), LIVE_WEIGHT, SIZE, f"live {n}")
    sent = drain(queue, 22)
    assert [one for one in sent if one.startswith("live")] == [f"live {n}" for n in range(20)]


def test_an_archive_still_gets_its_part() -> None:
    queue: FairQueue[str] = FairQueue()
    counts: Counter[str] = Counter()
    for _ in range(200):
        for flow, weight in (("archive", ARCHIVE_WEIGHT), ("live", LIVE_WEIGHT)):
            while sum(counts[flow + " queued"] for _ in [0]) < 4:
                assert queue.put(flow, weight, SIZE, flow)
                counts[flow + " queued"] += 1
        for one in drain(queue, 4):
            counts[one] += 1
            counts[one + " queued"] -= 1
    assert counts["archive"] > 0
    assert 24 < counts["live"] / counts["archive"] < 40


def test_who_asks_one_by_one_gains_nothing_by_it() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(200):
        queue.put("live", 4.0, SIZE, "live")
    sent: Counter[str] = Counter()
    queue.put("archive", 1.0, SIZE, "archive")
    for _ in range(100):
        (one,) = drain(queue, 1)
        sent[one] += 1
        if one == "archive":
            queue.put("archive", 1.0, SIZE, "archive")
    assert 18 <= sent["archive"] <= 22


def test_the_queue_and_each_flow_of_it_are_bounded() -> None:
    queue: FairQueue[int] = FairQueue(8)
    assert [queue.put("a", 1, 1, n) for n in range(4)] == [True, True, False, False]
    assert [queue.put(n, 1, 1, n) for n in range(8)] == [True] * 6 + [False] * 2
    assert len(queue) == 8
    assert sum(queue.pop() is not None for _ in range(20)) == 8


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, SIZE)), min_size=1, max_size=200),
    st.lists(st.sampled_from([1.0, 4.0, 32.0]), min_size=6, max_size=6),
)
def test_everything_comes_out_once_and_each_flow_in_its_order(
    items: list[tuple[int, int]], weights: list[float]
) -> None:
    queue: FairQueue[tuple[int, int]] = FairQueue(10_000)
    for at, (flow, size) in enumerate(items):
        assert queue.put(flow, weights[flow], size, (flow, at))
    sent = [queue.pop() for _ in items]
    assert queue.pop() is None
    assert sorted(one for one in sent if one is not None) == sorted(
        (flow, at) for at, (flow, _) in enumerate(items)
    )
    for flow in range(6):
        order = [one[1] for one in sent if one is not None and one[0] == flow]
        assert order == sorted(order)


@given(st.lists(st.integers(1, SIZE), min_size=20, max_size=100))
def test_a_pace_is_kept_in_the_long_run_and_bursts_are_short(sizes: list[int]) -> None:
    pace, now_s = Pace(1e6, burst_s=0.25), 10.0
    begun_s = now_s
    for size in sizes:
        now_s += pace.wait_s(now_s)
        pace.sent(size, now_s)
        assert pace.wait_s(now_s) <= size / 1e6 + 1e-9
    assert sum(sizes[:-1]) <= 1e6 * (now_s - begun_s + 0.25) + 1


def test_no_pace_is_no_wait() -> None:
    pace = Pace(0)
    pace.sent(1 << 30, 0.0)
    assert pace.wait_s(0.0) == 0
