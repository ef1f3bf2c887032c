"""Pins end by themselves when their date has come, under a clock that the test moves."""

from __future__ import annotations

from pathlib import Path

import trio
from support.stage import Stage, Wall
from support.store import LIMITS, room

from hausd.blocks.store import no_progress, open_store
from hausd.policy.depth import Depth

DAY_S = 86_400


async def test_each_pin_ends_at_its_own_date_and_not_before(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    wall = Wall()
    async with Stage(), open_store(tmp_path, LIMITS, clock=wall) as store:
        began_ms = wall.now_ms()
        for number, days in ((1, 1), (2, 3), (3, None)):
            until_ms = began_ms + days * DAY_S * 1000 if days is not None else None
            await store.pins.add(room(number), no_progress, Depth(None, until_ms))
        assert len(store.pins.shapes()) == 3
        for passed_s, left in ((DAY_S - 1, 3), (2, 2), (2 * DAY_S - 3, 2), (3, 1), (900 * 60, 1)):
            await trio.sleep(passed_s)
            assert len(store.pins.shapes()) == left
        await store.pins.add(room(2), no_progress, Depth(None, wall.now_ms() + 500))
        await trio.sleep(0.6)
        assert [pin.target for pin in store.pins.shapes()] == [room(3)]
