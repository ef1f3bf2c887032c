"""Guessing stream keys is slow, and costs whoever does not guess nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.attempts import Attempts


def test_an_address_may_fail_so_often_and_then_waits() -> None:
    attempts = Attempts(allowed=3, window_s=60)
    for _ in range(3):
        assert attempts.wait_s("192.0.2.1", 100.0) == 0
        attempts.failed("192.0.2.1", 100.0)
    assert attempts.wait_s("192.0.2.1", 100.0) == pytest.approx(20)
    assert attempts.wait_s("192.0.2.1", 119.0) == pytest.approx(1)
    assert attempts.wait_s("192.0.2.1", 120.001) == 0
    assert attempts.wait_s("192.0.2.2", 100.0) == 0


def test_what_was_long_ago_is_forgiven() -> None:
    attempts = Attempts(allowed=2, window_s=10)
    for now_s in (0.0, 0.0, 10.0):
        assert attempts.wait_s("192.0.2.1", now_s) == 0
        attempts.failed("192.0.2.1", now_s)
    assert attempts.wait_s("192.0.2.1", 10.0) == 0


def test_failing_on_while_waiting_does_not_lengthen_the_wait_beyond_one_attempt() -> None:
    attempts = Attempts(allowed=2, window_s=10)
    for _ in range(50):
        attempts.failed("192.0.2.1", 0.0)
    assert attempts.wait_s("192.0.2.1", 0.0) == pytest.approx(5)


def test_the_addresses_of_one_ipv6_network_are_one() -> None:
    attempts = Attempts(allowed=1, window_s=60)
    attempts.failed("2001:db8::1", 0.0)
    assert attempts.wait_s("2001:db8::ffff:2", 0.0) > 0
    assert attempts.wait_s("2001:db8:0:1::1", 0.0) == 0


def test_an_ipv4_address_is_the_same_through_an_ipv6_socket() -> None:
    attempts = Attempts(allowed=1, window_s=60)
    attempts.failed("::ffff:192.0.2.1", 0.0)
    assert attempts.wait_s("192.0.2.1", 0.0) > 0
    assert attempts.wait_s("::ffff:192.0.2.2", 0.0) == 0


def test_very_many_addresses_are_forgotten_longest_ago_first() -> None:
    attempts = Attempts(allowed=1, window_s=3600, max_addresses=10)
    for number in range(1000):
        attempts.failed(f"192.0.{number // 256}.{number % 256}", float(number) / 1000)
    assert len(attempts) == 10
    assert attempts.wait_s("192.0.3.231", 1.0) > 0
    assert attempts.wait_s("192.0.0.0", 1.0) == 0


def test_a_limit_that_lets_nobody_in_is_refused() -> None:
    for allowed, window_s, addresses in [(0, 1, 1), (1, 0, 1), (1, 1, 0)]:
        with pytest.raises(ValueError, match="above 0"):
            Attempts(allowed, window_s, addresses)


@given(st.integers(1, 20), st.floats(1, 1000), st.lists(st.floats(0, 5), max_size=200))
def test_in_the_long_run_no_more_than_the_allowed_rate_gets_through(
    allowed: int, window_s: float, pauses_s: list[float]
) -> None:
    attempts = Attempts(allowed, window_s)
    now_s, tried = 0.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        if attempts.wait_s("192.0.2.1", now_s) == 0:
            tried += 1
            attempts.failed("192.0.2.1", now_s)
    assert tried <= allowed + now_s * allowed / window_s + 1e-6
