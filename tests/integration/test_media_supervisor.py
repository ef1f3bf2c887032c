"""A room gets every frame from its worker's process, or one clear word about its death."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

import psutil
import pytest
import trio
from support.media import Collected, audio_grid_ms, decode, flv_stream, grid_ms, synthetic

from hausd.core.errors import WorkerCrashed
from hausd.media.supervisor import Worker, Workers
from hausd.wire.flv import Tag
from hausd.wire.worker import PartMade, Sandboxed, WorkerConfig, WorkerStats

PASS = WorkerConfig(images=False, reencode_long_gops=False)
SECOND = 30


def stream(seconds: int = 6) -> list[Tag]:
    return synthetic(
        grid_ms(30, 30 * seconds),
        every=60,
        rate=30.0,
        audio_stamps_ms=audio_grid_ms(48_000, 46 * seconds),
    )


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    with trio.fail_after(30):
        async with Workers(hang_s=5) as opened:
            yield opened


async def collect(worker: Worker, tags: list[Tag], batch: int = 7) -> Collected:
    collected = Collected()

    async def feed() -> None:
        for at in range(0, len(tags), batch):
            await worker.send(tags[at : at + batch])
        await worker.finish()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        async for message, body in worker.messages():
            collected.take(message, body)
    return collected


async def test_what_was_sent_comes_back_to_its_last_frame(workers: Workers, tmp_path: Path) -> None:
    made = flv_stream(4, size=(160, 90), rate=Fraction(30000, 1001), b_frames=2)
    async with workers.start(PASS) as worker:
        collected = await collect(worker, made.tags)
    collected.check()
    assert len(decode(collected.only["source"].file, tmp_path)) == len(made.video_pts_s)


async def test_parts_come_while_the_stream_goes_on(workers: Workers) -> None:
    async with workers.start(PASS) as worker:
        await worker.send(stream(1))
        async for message, _ in worker.messages():
            if isinstance(message, PartMade) and message.rendition == "source":
                break


async def test_the_worker_says_which_limits_hold(workers: Workers) -> None:
    async with workers.start(PASS) as worker:
        async for message, _ in worker.messages():
            assert isinstance(message, Sandboxed)
            assert "rlimits" in message.holds
            break


async def test_a_killed_worker_is_one_exception_that_says_how(workers: Workers) -> None:
    async with workers.start(PASS) as worker:
        await worker.send(stream(2))
        messages = worker.messages()
        await messages.__anext__()
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerCrashed, match="SIGKILL"):
            await _exhaust(messages)
        with pytest.raises(WorkerCrashed):
            await worker.send(stream(2))


async def test_the_next_worker_is_not_harmed_by_the_death_of_one(workers: Workers) -> None:
    for _ in range(2):
        async with workers.start(PASS) as worker:
            os.kill(worker.pid, signal.SIGKILL)
    async with workers.start(PASS) as worker:
        (await collect(worker, stream())).check()


async def test_a_worker_that_hangs_while_it_is_fed_is_killed() -> None:
    with trio.fail_after(30):
        async with Workers(hang_s=0.3) as workers, workers.start(PASS) as worker:
            messages = worker.messages()
            await messages.__anext__()
            os.kill(worker.pid, signal.SIGSTOP)
            pid = worker.pid
            with pytest.raises(BaseExceptionGroup) as caught:
                await _read_while_sending(worker, [Tag(9, n, bytes(200_000)) for n in range(100)])
            crashes, rest = caught.value.split(WorkerCrashed)
            assert crashes is not None
            assert rest is None
            assert not psutil.pid_exists(pid)


async def test_a_worker_that_hangs_at_its_end_is_killed() -> None:
    with trio.fail_after(30):
        async with Workers(hang_s=0.3) as workers, workers.start(PASS) as worker:
            messages = worker.messages()
            await messages.__anext__()
            os.kill(worker.pid, signal.SIGSTOP)
            await worker.finish()
            with pytest.raises(WorkerCrashed, match="hung"):
                await messages.__anext__()


async def test_a_room_that_does_not_read_for_a_while_loses_nothing() -> None:
    with trio.fail_after(30):
        async with Workers(hang_s=0.2) as workers, workers.start(PASS) as worker:
            collected = Collected()
            # More than the sockets hold, in both directions.
            tags = [
                tag if tag.type != 9 or tag.data[1] == 0 else Tag(9, tag.timestamp_ms, _big(tag))
                for tag in stream(8)
            ]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send_and_finish, worker, tags)
                await trio.sleep(1)
                async for message, body in worker.messages():
                    collected.take(message, body)
            collected.check()
            assert len(collected.only["source"].samples) == 240


async def test_no_process_nor_descriptor_is_left_behind() -> None:
    own = psutil.Process()
    files = own.num_fds()
    async with Workers() as workers:
        async with workers.start(PASS) as worker:
            await worker.send(stream(1))
        async with workers.start(PASS) as worker:
            (await collect(worker, stream(1))).check()
    assert own.children() == []
    assert own.num_fds() == files


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_worker_inherits_neither_environment_nor_open_files(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAUSD_SECRET", "hidden")
    with open(tmp_path / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        async with workers.start(PASS) as worker:
            await worker.send(stream(1))
            await worker.messages().__anext__()
            root = Path(f"/proc/{worker.pid}")
            assert b"hidden" not in (root / "environ").read_bytes()
            names = [os.readlink(entry) for entry in (root / "fd").iterdir()]
            assert not any("secret" in name for name in names)


async def test_a_dead_spare_is_replaced_unnoticed(workers: Workers) -> None:
    await trio.sleep(0.1)
    for child in psutil.Process().children():
        child.kill()
        while child.status() != psutil.STATUS_ZOMBIE:
            await trio.sleep(0.01)
    async with workers.start(PASS) as worker:
        (await collect(worker, stream(1))).check()


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process opens nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("lacking", ["descriptors", "processes"])
async def test_a_worker_that_cant_be_started_harms_one_room_and_not_the_node(
    monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    own = psutil.Process()
    with trio.fail_after(30):
        async with Workers() as workers:
            await trio.sleep(0.1)
            files = own.num_fds()
            with monkeypatch.context() as patch, ExitStack() as stack:
                if lacking == "processes":
                    patch.setattr(sys, "executable", "/nowhere/python")
                async with workers.start(PASS) as spare:
                    if lacking == "descriptors":
                        stack.enter_context(no_more_files())
                    await trio.sleep(0.1)  # meanwhile no spare can be made
                    for _ in range(2):
                        with pytest.raises(WorkerCrashed, match="no media worker can be started"):
                            async with workers.start(PASS):
                                pass
                    (await collect(spare, stream(1))).check()
            async with workers.start(PASS) as worker:
                (await collect(worker, stream(1))).check()
            await trio.sleep(0.1)
            assert own.num_fds() <= files
    assert own.children() == []


async def test_the_worker_tells_how_it_fares(workers: Workers) -> None:
    async with workers.start(PASS) as worker:
        collected = await collect(worker, stream())
    stats = [other for other in collected.others if isinstance(other, WorkerStats)]
    assert stats[-1].frames_in == 180
    assert 10 << 20 < stats[-1].memory_bytes < 1 << 30
    assert stats[-1].cpu_s > 0


async def _exhaust(messages: AsyncIterator[object]) -> None:
    async for _ in messages:
        pass


async def _read_while_sending(worker: Worker, tags: list[Tag]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_exhaust, worker.messages())
        await worker.send(tags)


async def _send_and_finish(worker: Worker, tags: list[Tag]) -> None:
    await worker.send(tags)
    await worker.finish()


def _big(tag: Tag) -> bytes:
    return tag.data[:9] + tag.data[9:].rjust(200_000, b"\1")
