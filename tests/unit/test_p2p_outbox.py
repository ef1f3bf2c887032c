"""What waits to be sent to a peer has a bound that whoever fills it can wait for."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from hausd.p2p.exchange.guests import Rates
from hausd.p2p.exchange.outbox import Outbox


class Slow:
    """A stream whose peer reads a piece a second."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send_all(self, *data: bytes) -> None:
        self.sent.append(b"".join(data))
        await trio.sleep(1)


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def test_who_fills_an_outbox_waits_until_it_is_below_its_bound(clock: MockClock) -> None:
    outbox = Outbox()
    outbox.write(*[bytes(200_000)] * 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, Slow())
        began_s = trio.current_time()
        await outbox.below(11)
        assert trio.current_time() == began_s
        await outbox.below(5)
        assert trio.current_time() - began_s == pytest.approx(5)
        nursery.cancel_scope.cancel()


async def test_small_pieces_go_together_and_in_order(clock: MockClock) -> None:
    outbox, stream = Outbox(), Slow()
    block, half = bytes(262_144), bytes(131_072)
    pieces = [b"a", b"b", block, b"c", block, half, b"d", half, b"e", half]
    outbox.write(*pieces)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, stream)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert b"".join(stream.sent) == b"".join(pieces)
    assert [len(one) for one in stream.sent] == [262_147, 262_144, 262_146, 131_072]


def test_a_peer_may_ask_so_often_and_has_to_wait_then() -> None:
    rates = Rates(per_s=2, burst=4)
    assert [rates.wait_s("a", 2, 0.0) for _ in range(3)] == [0, 0, 1]  # type: ignore[arg-type]
    assert rates.wait_s("b", 2, 0.0) == 0  # type: ignore[arg-type]
    assert rates.wait_s("a", 1, 3.0) == 0  # type: ignore[arg-type]
