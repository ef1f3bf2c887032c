"""A worker that dies or can't be started is replaced, while its publisher waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from support.stage import Worker

from hausd.core.errors import WorkerCrashed
from hausd.core.publishing import FeedOver, Publisher
from hausd.rooms.stint import Stint
from hausd.wire.flv import Tag
from hausd.wire.worker import WorkerConfig


@dataclass
class ScarceWorkers:
    """The machine has a process only after so many tries."""

    lacking: float
    tries: list[float] = field(default_factory=list)

    @asynccontextmanager
    async def start(self, config: WorkerConfig) -> AsyncIterator[Worker]:
        self.tries.append(trio.current_time())
        if len(self.tries) <= self.lacking:
            raise WorkerCrashed("no media worker can be started (Too many open files)")
        yield Worker(config)


def stint(workers: ScarceWorkers, crashes: list[str]) -> Stint:
    return Stint(
        Publisher("192.0.2.1", "rtmp", "script"),
        0,
        workers,
        configure=WorkerConfig,
        on_message=lambda message, body: None,
        on_crash=crashes.append,
    )


async def test_a_publisher_waits_while_no_worker_can_be_started(
    autojump_clock: trio.testing.MockClock,
) -> None:
    workers = ScarceWorkers(lacking=4)
    crashes: list[str] = []
    stay = stint(workers, crashes)
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stay.run, None)
        await stay.send([Tag(9, 0, b"frame")])
        assert 2 < trio.current_time() - began_s < 10, "not all tries at once"
        assert len(crashes) == 4
        stay.leave()
    assert not stay.closed_because


async def test_a_machine_without_processes_ends_the_stay_in_plain_words(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stay = stint(ScarceWorkers(lacking=1000), [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stay.run, None)
        with pytest.raises(FeedOver, match="Too many open files"):
            await stay.send([Tag(9, 0, b"frame")])
    assert "Too many open files" in stay.closed_because


async def test_who_leaves_meanwhile_is_not_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    workers = ScarceWorkers(lacking=1000)
    stay = stint(workers, [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stay.run, None)
        await trio.sleep(0.1)
        stay.leave()
        await stay.done.wait()
    assert trio.current_time() - workers.tries[0] < 0.2
