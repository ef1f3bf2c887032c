"""One publisher's stay in a room: its tags go to a media worker, what that makes to the room.

A worker that dies is replaced within the stay; the publisher does not notice. When the publisher
leaves, the worker makes a part of the last frame it got before the stay is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
import trio

from hausd.core.errors import WorkerCrashed
from hausd.core.publishing import FeedOver, Publisher
from hausd.policy.ladder import SOURCE
from hausd.rooms.metrics import WORKER_CRASHES
from hausd.rooms.ports import MediaWorker, MediaWorkers
from hausd.wire.flv import Tag, is_header
from hausd.wire.worker import FromWorker, PartMade, WorkerConfig

log = structlog.get_logger("hausd.rooms")

DRAIN_S = 5.0
"""How long a worker may take to make parts of what it was given before it is killed."""
_CRASHES_MAX = 5
"""Crashes within _CRASH_WINDOW_S after which the stream itself is held to be the cause."""
_CRASH_WINDOW_S = 60.0
_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Before the next worker, by crashes within that window: what the machine has no process or no
memory for now, it may have in a moment. The publisher is not read meanwhile."""


@dataclass(slots=True)
class Stint:
    """One publisher's stay. Implements ``ingest.ports.Feed``; ``run`` owns the worker."""

    publisher: Publisher
    since_ms: int
    workers: MediaWorkers
    configure: Callable[[], WorkerConfig]
    on_message: Callable[[FromWorker, bytes], None]
    on_crash: Callable[[str], None]
    now_s: Callable[[], float] = field(
        default_factory=lambda: trio.lowlevel.current_clock().current_time
    )
    """The event loop's clock; threads may ask it."""
    bytes_in: int = 0
    restarts: int = 0
    until_ms: int | None = None
    closed_because: str = ""
    last_tag_at_s: float = 0.0
    next_tag_ms: int | None = None
    done: trio.Event = field(default_factory=trio.Event)
    _worker: MediaWorker | None = None
    _worker_changed: trio.Event = field(default_factory=trio.Event)
    _headers: dict[int, Tag] = field(default_factory=dict)
    _over: trio.Event = field(default_factory=trio.Event)
    _over_because: str = ""
    _left: trio.Event = field(default_factory=trio.Event)
    _crashes: list[float] = field(default_factory=list)
    _heard: trio.Event | None = None

    @property
    def holds(self) -> bool:
        """Whether the publisher is there still: it neither left nor was sent away."""
        return not (self._left.is_set() or self._over_because or self.done.is_set())

    async def heard(self) -> None:
        """Returns when the publisher sends next, leaves, or is sent away."""
        if self._heard is None:
            self._heard = trio.Event()
        await self._heard.wait()

    def _tell_heard(self) -> None:
        if self._heard is not None:
            self._heard.set()
            self._heard = None

    @property
    def pid(self) -> int:
        return self._worker.pid if self._worker is not None else 0

    # -- what the publisher's connection does --

    def offer(self, tags: Sequence[Tag]) -> bool:
        if self._over_because:
            raise FeedOver(self._over_because)
        worker = self._worker
        if worker is None or self._heard is not None:
            return False  # the loop takes them: somebody there waits to hear of them
        # before they are sent: a worker that dies of them leaves the next one with the headers
        self._keep_headers(tags)
        if not worker.offer(tags):
            return False
        self._note(tags)
        return True

    async def send(self, tags: Sequence[Tag]) -> None:
        self._keep_headers(tags)
        self._note(tags)
        self._tell_heard()
        while True:
            if self._over_because:
                raise FeedOver(self._over_because)
            worker = self._worker
            if worker is None:
                await self._worker_changed.wait()
                continue
            try:
                await worker.send(tags)
                return
            except WorkerCrashed:
                # run() sees the same crash and puts another worker in its place
                while self._worker is worker and not self._over_because:
                    await self._worker_changed.wait()

    def _keep_headers(self, tags: Sequence[Tag]) -> None:
        for tag in tags:
            if is_header(tag):
                self._headers[tag.type] = tag

    def _note(self, tags: Sequence[Tag]) -> None:
        self.bytes_in += sum(len(tag.data) for tag in tags)
        self.last_tag_at_s = self.now_s()

    async def wait_over(self) -> str:
        await self._over.wait()
        return self._over_because

    def close_because(self, reason: str) -> None:
        if not self.closed_because:
            self.closed_because = reason

    # -- what the room does --

    def end(self, reason: str) -> None:
        """Asks the publisher to go; ``send`` and ``wait_over`` tell it."""
        if not self._over_because:
            self._over_because = reason
            self.close_because(reason)
        self._over.set()
        self._set_worker(self._worker)
        self.leave()

    def leave(self) -> None:
        """The publisher is gone; what it sent is still to be finished."""
        self._left.set()
        self._tell_heard()

    async def run(self, after: trio.Event | None) -> None:
        """Keeps a worker running until the publisher left and everything is out."""
        try:
            if after is not None:
                await after.wait()
            while not await self._run_worker():
                pass
        finally:
            self._over_because = self._over_because or "the stay is over"
            self._over.set()
            self._set_worker(None)
            self.done.set()

    async def _run_worker(self) -> bool:
        """One worker's life; True when the stay is over with it."""
        crash = ""
        try:
            async with self.workers.start(self.configure()) as worker, trio.open_nursery() as tasks:
                headers = sorted(self._headers.values(), key=lambda tag: -tag.type)
                if self.restarts and headers:
                    await worker.send(headers)
                self._set_worker(worker)
                tasks.start_soon(self._finish_when_left, worker)
                async for message, body in worker.messages():
                    if isinstance(message, PartMade) and message.rendition == SOURCE:
                        self.next_tag_ms = message.next_tag_ms
                    self.on_message(message, body)
                tasks.cancel_scope.cancel()
        except* WorkerCrashed as crashes:
            crash = str(crashes.exceptions[0])
        return await self._crashed(crash) if crash else True

    async def _finish_when_left(self, worker: MediaWorker) -> None:
        await self._left.wait()
        with trio.move_on_after(DRAIN_S) as deadline:
            await worker.finish()
            await trio.sleep_forever()
        if deadline.cancelled_caught:
            raise WorkerCrashed("it did not finish in time after the publisher left")

    async def _crashed(self, how: str) -> bool:
        self._set_worker(None)
        self.next_tag_ms = None
        WORKER_CRASHES.inc()
        self.on_crash(how)
        if self._left.is_set():
            return True
        now = trio.current_time()
        self._crashes = [at for at in self._crashes if now - at < _CRASH_WINDOW_S] + [now]
        if len(self._crashes) > _CRASHES_MAX:
            self.end(f"the media worker failed {len(self._crashes)} times within a minute: {how}")
            return True
        with trio.move_on_after(_PAUSES_S[len(self._crashes) - 1]):
            await self._left.wait()
            return True
        self.restarts += 1
        return False

    def _set_worker(self, worker: MediaWorker | None) -> None:
        self._worker = worker
        changed, self._worker_changed = self._worker_changed, trio.Event()
        changed.set()
