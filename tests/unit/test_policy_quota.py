"""Who asks too often is refused, and nobody else for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.quota import Distinct, Quota


@given(st.lists(st.floats(0, 5), max_size=200))
def test_nobody_gets_more_than_the_burst_and_the_rate(pauses: list[float]) -> None:
    quota, now_s, taken = Quota(2.0, 10.0), 1000.0, 0
    for pause in pauses:
        now_s += pause
        taken += quota.take("one", now_s)
        assert taken <= 10 + 2 * (now_s - 1000.0) + 1e-6


def test_one_that_asks_without_end_takes_nothing_from_another() -> None:
    quota = Quota(1.0, 3.0)
    assert [quota.take("one", 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert quota.take("other", 0.0)
    assert quota.take("one", 1.0)
    assert not quota.take("one", 1.0)
    assert quota.take("one", 0.5) is False, "a clock that goes back gives nothing"


def test_however_many_ask_few_are_remembered() -> None:
    quota = Quota(1.0, 1.0, most=100)
    for n in range(10_000):
        quota.take(n, 0.0)
    assert len(quota) == 100


def test_a_node_with_ten_thousand_wallets_gets_as_many_as_anybody() -> None:
    wallets = Distinct(64, 600.0)
    may = [wallets.may("node", wallet, 0.0) for wallet in range(10_000)]
    assert may == [True] * 64 + [False] * (10_000 - 64)
    assert wallets.may("node", 63, 0.0), "what it came with before"
    assert wallets.may("other", 9_999, 0.0)
    later = [wallets.may("node", wallet, 300.0) for wallet in range(20_000, 30_000)]
    assert sum(later) == 32
