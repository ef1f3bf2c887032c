"""What is learnt of peers' speed: patience follows it, and strangers can't fill the table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.peers import peer

from hausd.policy.estimates import Estimate, Estimates

A = peer(1)


def test_patience_follows_what_was_measured() -> None:
    estimates = Estimates()
    assert estimates.patience_s(A, 100_000, 0.5) == 0.5
    for _ in range(20):
        estimates.answered(A, 0.05)
        estimates.carried(A, 100_000, 0.15, waited=False)
    assert 0.2 < estimates.patience_s(A, 100_000, 0.5) < 0.3
    assert 0.9e6 < estimates.throughput_bytes_per_s(A) < 1.1e6
    assert estimates.latency_s(A, 1.0) < 0.06
    estimates.carried(A, 100_000, 9.0, waited=True)
    assert estimates.throughput_bytes_per_s(A) > 0.9e6, "a wait says nothing of its speed"


def test_rests_double_and_end_with_the_first_block() -> None:
    estimates = Estimates()
    now_s, lengths = 0.0, []
    for _ in range(8):
        estimates.rest(A, now_s, 1.0, 30.0)
        begun_s = now_s
        while estimates.rests(A, now_s):
            now_s += 0.5
        lengths.append(round(now_s - begun_s))
    assert lengths == [1, 2, 4, 8, 16, 30, 30, 30]
    estimates.rest(A, now_s, 1.0, 30.0)
    estimates.carried(A, 1, 0.1, waited=True)
    assert not estimates.rests(A, now_s)
    assert not estimates.rests(peer(2), now_s)


def test_all_that_a_peer_refuses_at_once_is_one_rest() -> None:
    estimates = Estimates()
    for leaf in range(24):
        estimates.rest(A, leaf / 1000, 1.0, 30.0)
    assert estimates.rests(A, 1.0)
    assert not estimates.rests(A, 1.1)
    estimates.rest(A, 1.2, 1.0, 30.0)
    assert estimates.rests(A, 3.1)
    estimates.rest(A, 3.1, 600.0, 600.0)
    assert estimates.rests(A, 603.0), "what weighs more is not cut short"


def test_only_so_many_peers_are_remembered_the_newest_of_them() -> None:
    estimates = Estimates(10)
    for n in range(100):
        estimates.answered(peer(n), 0.01)
    assert len(estimates) == 10
    assert estimates.latency_s(peer(99), 1.0) == 0.01
    assert estimates.latency_s(peer(0), 1.0) == 1.0


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=200))
def test_late_is_never_earlier_than_the_mean_and_means_stay_within_what_was_seen(
    values: list[float],
) -> None:
    estimate = Estimate()
    for value in values:
        estimate.add(value)
    assert min(values) - 1e-9 <= estimate.mean <= max(values) + 1e-9
    assert estimate.late(0.0) >= estimate.mean
