"""Loops of one period wake together."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from hausd.core.beat import beat, next_beat


async def test_loops_that_began_at_other_times_wake_at_the_same(
    autojump_clock: MockClock,
) -> None:
    woke: list[float] = []

    async def look(after_s: float) -> None:
        await trio.sleep(after_s)
        for _ in range(3):
            await beat(2)
            woke.append(trio.current_time() - began_s)

    began_s = next_beat(2)
    await trio.sleep_until(began_s)
    async with trio.open_nursery() as nursery:
        for after_s in (0.0, 0.3, 1.9):
            nursery.start_soon(look, after_s)
    assert woke == [2, 2, 2, 4, 4, 4, 6, 6, 6]


async def test_no_pause_is_longer_than_the_period(autojump_clock: MockClock) -> None:
    for every_s in (0.7, 1.0, 5.0):
        for begin_s in (0.0, 0.1, 0.699, 3.3):
            await trio.sleep(begin_s)
            before_s = trio.current_time()
            for _ in range(20):
                await beat(every_s)
                assert 0 < trio.current_time() - before_s <= every_s + 1e-9
                before_s = trio.current_time()
