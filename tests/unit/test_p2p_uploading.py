"""The line for uploads: one budget, live far ahead, and nobody who left is counted."""

from __future__ import annotations

import trio
import trio.testing

from hausd.p2p.uploading import UploadLine
from hausd.policy.sharing import ARCHIVE_WEIGHT, LIVE_WEIGHT

SIZE = 10_000


async def test_two_protocols_share_one_budget_and_live_goes_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = UploadLine(100_000)
    sent = {"live": 0, "bitswap": 0}

    async def swap() -> None:
        while True:
            await line.turn("bitswap", ARCHIVE_WEIGHT, SIZE)
            sent["bitswap"] += SIZE

    def push() -> bool:
        sent["live"] += SIZE
        line.put("live", LIVE_WEIGHT, SIZE, push)
        return True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.run)
        nursery.start_soon(swap)
        line.put("live", LIVE_WEIGHT, SIZE, push)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert sum(sent.values()) < 101 * 100_000
    assert sum(sent.values()) > 99 * 100_000
    assert 25 < sent["live"] / sent["bitswap"] < 40, "and it does not starve"


async def test_a_turn_that_nobody_waits_for_any_more_costs_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = UploadLine(1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.run)
        await line.turn("first", 1.0, 1000)
        async with trio.open_nursery() as others:
            for number in range(2000):
                others.start_soon(line.turn, number, 1.0, 1000)
            await trio.testing.wait_all_tasks_blocked()
            others.cancel_scope.cancel()
        began_s = trio.current_time()
        await line.turn("last", 1.0, 1000)
        assert trio.current_time() - began_s < 3
        nursery.cancel_scope.cancel()
