"""What a media worker makes up does not fill the metrics."""

from __future__ import annotations

import trio
from prometheus_client import REGISTRY
from support.stage import Show, Stage

from hausd.wire.worker import Notice, RunEnded, RunStarted


def labels(metric: str) -> set[str]:
    found = next(one for one in REGISTRY.collect() if one.name == metric)
    return {value for sample in found.samples for value in sample.labels.values()}


async def test_a_worker_that_makes_up_words_makes_few_labels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        origin = await stage.node("origin")
        room = (await origin.rooms.create("A room")).id
        async with Show(stage, origin, room, ("source",)).on() as show:
            run = show._run
            for at in range(1000):
                show._tell(Notice(f"code {at}", "A text."))
                show._tell(RunEnded(run))
                run += 1
                show._tell(RunStarted(run, f"reason {at}", 434))
                await trio.sleep(0.01)
            show._tell(Notice("c" * 1000, "A text."))
            await trio.sleep(0.1)
            assert origin.room(room).notices[-1].code == "c" * 1000
    for metric in ("hausd_room_notices", "hausd_room_runs"):
        assert len(labels(metric)) <= 65
        assert max(map(len, labels(metric))) <= 40
        assert "other" in labels(metric)
