"""The node's side of its media workers: starts them, feeds them, reaps them.

A worker parses hostile media and may die or hang at any time; here that is one exception for the
room it worked for. One warm process waits, so that a publisher need not wait for an interpreter.
"""

from __future__ import annotations

import math
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import structlog
import trio

from hausd.core.errors import WorkerCrashed
from hausd.core.media import Kind
from hausd.media import metrics
from hausd.media.sandbox import ENVIRONMENT
from hausd.wire.flv import Tag
from hausd.wire.worker import (
    FromWorker,
    FromWorkerDecoder,
    Notice,
    PartMade,
    RunStarted,
    WorkerConfig,
    WorkerProtocolError,
    WorkerStats,
    encode_config,
    encode_end,
    encode_tag_header,
)

log = structlog.get_logger("hausd.media")

HANG_S = 10.0
"""A worker that neither reads nor writes for so long, while it should, is killed."""
_READ_BYTES = 256 * 1024
_SOCKET_BYTES = 4 * 1024 * 1024
_IOV_MOST = 512
_STDERR_BYTES = 2048
_ROOT = str(Path(__file__).resolve().parents[2])
# -I: neither the current directory nor PYTHON* variables say what a worker runs.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from hausd.media.worker import main; main()"
)


class Worker:
    """One stream's media worker, as the node sees it."""

    def __init__(self, process: trio.Process, way: socket.socket, hang_s: float) -> None:
        self._process = process
        self._direct = way
        self._way = trio.socket.from_stdlib_socket(way)
        self._hang_s = hang_s
        self._decoder = FromWorkerDecoder()
        self._read = memoryview(bytearray(_READ_BYTES))
        self._sending = trio.Lock()
        self._closing = threading.Lock()
        """Held where a thread uses the socket: it must not be closed, and its number not taken by
        another, in between."""
        self._closed = False
        self._unsent: list[bytes | memoryview] = []
        """The end of what ``offer`` took."""
        self._broken = False
        self._finished = False
        self._silent_since = math.inf
        """Since when the node waits for a word of the worker; never, while it does not."""
        self._stderr = b""
        self._cpu_s = 0.0
        self._dropped = 0

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def offer(self, tags: Sequence[Tag]) -> bool:
        """Hands tags to the worker without waiting, from any thread.

        False where none of them was taken; ``send`` waits, or tells why. Never beside ``send``.
        """
        parts = _frames_of(tags)
        with self._closing:
            if self._broken or self._closed or len(parts) > _IOV_MOST:
                return False
            try:
                if self._unsent:
                    self._unsent = _after(self._unsent, self._direct.sendmsg(self._unsent))
                if self._unsent:
                    return False
                self._unsent = _after(parts, self._direct.sendmsg(parts))
            except OSError:
                return False  # no room now, or a worker that died
        return True

    async def send(self, tags: Sequence[Tag]) -> None:
        """Hands tags to the worker; waits while it is busy. Raises WorkerCrashed."""
        await self._send(_frames_of(tags))

    async def finish(self) -> None:
        """No more tags will come: the worker sends what it has left, and ends."""
        self._finished = True
        await self._send([encode_end()])

    def messages(self) -> AsyncIterator[tuple[FromWorker, bytes]]:
        """What the worker says, until it ends. Raises WorkerCrashed. To be read by one task."""
        return _Messages(self)

    async def configure(self, config: WorkerConfig) -> None:
        """Tells a fresh worker what it is for."""
        await self._send([encode_config(config)])

    async def _send(self, given: Sequence[bytes | memoryview]) -> None:
        async with self._sending:
            if self._broken:
                await self._crashed("it stopped reading")
            self._broken = True  # until all of it is sent: a frame cut short can't be mended
            parts = [*self._unsent, *given]
            self._unsent = []
            try:
                for at in range(0, len(parts), _IOV_MOST):
                    await self._send_all(parts[at : at + _IOV_MOST])
            except OSError:
                await self._crashed("it stopped reading")
            self._broken = False

    async def _send_all(self, parts: Sequence[bytes | memoryview]) -> None:
        left = [part for part in parts if part]
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            # Mostly there is room: then one system call is all, without a turn of the loop.
            sent = self._direct.sendmsg(left)
        except BlockingIOError:
            sent = 0
        while left := _after(left, sent):
            with trio.move_on_after(self._hang_s) as patience:
                sent = await self._way.sendmsg(left)
            if patience.cancelled_caught:
                # A worker whose own words nobody reads has to wait; that is no fault of it.
                if self._silent_since + self._hang_s <= trio.current_time():
                    await self._hung()
                sent = 0

    async def _receive(self) -> memoryview:
        """What the worker said, up to the next call; empty at the end."""
        self._silent_since = trio.current_time()
        try:
            while True:
                finished = self._finished
                with trio.move_on_after(self._hang_s):
                    return self._read[: await self._way.recv_into(self._read)]
                if finished:
                    await self._hung()
        except OSError:
            return self._read[:0]
        finally:
            self._silent_since = math.inf

    async def _hung(self) -> NoReturn:
        self._process.kill()
        await self._crashed(f"it hung for {self._hang_s:g} s and was killed", "hung")

    async def _crashed(self, how: str, kind: str = "died") -> NoReturn:
        """Waits for the process's end, and says how it came."""
        with trio.move_on_after(1):
            await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        elif kind == "died":
            how = _exit_words(self._process.returncode)
        metrics.CRASHED.labels(how=kind).inc()
        log.error(
            "worker-crashed", pid=self.pid, how=how, stderr=self._stderr.decode(errors="replace")
        )
        raise WorkerCrashed(f"the media worker {how}")

    def _note(self, message: FromWorker, body: bytes) -> None:
        match message:
            case PartMade():
                kind = Kind.AUDIO if message.rendition == "audio" else Kind.VIDEO
                metrics.PARTS[kind].inc()
                metrics.PART_BYTES.inc(len(body))
            case WorkerStats():
                metrics.CPU_SECONDS.inc(max(message.cpu_s - self._cpu_s, 0))
                metrics.FRAMES_DROPPED.inc(max(message.frames_dropped - self._dropped, 0))
                self._cpu_s, self._dropped = message.cpu_s, message.frames_dropped
            case Notice():
                metrics.NOTICES.labels(code=metrics.CODES.label(message.code)).inc()
            case RunStarted():
                metrics.RUNS.labels(reason=metrics.REASONS.label(message.reason)).inc()
            case _:
                pass

    async def drain_stderr(self) -> None:
        """Keeps the last words of the worker; belongs to a task of the supervisor."""
        assert self._process.stderr is not None
        with suppress(trio.ClosedResourceError):
            async for data in self._process.stderr:
                self._stderr = (self._stderr + data)[-_STDERR_BYTES:]

    async def close(self) -> None:
        """Ends and reaps the process, whatever it is doing."""
        with self._closing:
            self._closed = True
            self._way.close()
        with trio.CancelScope(shield=True):
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            if self._process.stderr is not None:
                await self._process.stderr.aclose()


class _Messages:
    """Iterates over what a worker says."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._ready: deque[tuple[FromWorker, bytes]] = deque()
        self._over = False

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> tuple[FromWorker, bytes]:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._more()
        message, body = self._ready.popleft()
        self._worker._note(message, body)
        return message, body

    async def _more(self) -> None:
        worker = self._worker
        data = await worker._receive()
        try:
            if data:
                self._ready.extend(worker._decoder.feed(data))
                return
            worker._decoder.finish()
        except WorkerProtocolError as error:
            worker._process.kill()
            await worker._crashed(f"sent broken frames ({error})", "broken-frames")
        self._over = True
        status = await worker._process.wait()
        if status or not worker._finished:
            await worker._crashed("ended before its time")


class Workers:
    """Starts media workers and keeps a warm one; an async context manager.

    No process outlives it. ``spare`` is False where idle memory matters more than a quick start.
    """

    def __init__(self, *, spare: bool = True, hang_s: float = HANG_S) -> None:
        self._keep_spare = spare
        self._hang_s = hang_s
        self._spare: Worker | None = None
        self._spawning = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Workers:
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        if self._keep_spare:
            self._nursery.start_soon(self._refill)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        try:
            return await self._stack.__aexit__(kind, error, trace)
        finally:
            spare, self._spare = self._spare, None
            if spare is not None:
                await self._discard(spare)

    @asynccontextmanager
    async def start(self, config: WorkerConfig) -> AsyncIterator[Worker]:
        """A worker for one stream; ended and reaped when the block is left.

        Raises WorkerCrashed where none can be started.
        """
        worker = await self._fresh(config)
        try:
            if self._keep_spare and self._nursery is not None:
                self._nursery.start_soon(self._refill)
            yield worker
        finally:
            await self._discard(worker)

    async def _fresh(self, config: WorkerConfig) -> Worker:
        """The spare, or where there is none that lives a new one; told what it is for."""
        async with self._spawning:
            spare, self._spare = self._spare, None
        if spare is not None:
            with suppress(WorkerCrashed):  # it died while it waited
                return await self._told(spare, config)
        return await self._told(await self._spawn(), config)

    async def _told(self, worker: Worker, config: WorkerConfig) -> Worker:
        async with AsyncExitStack() as started:
            started.push_async_callback(self._discard, worker)
            await worker.configure(config)
            started.pop_all()
        return worker

    async def _refill(self) -> None:
        async with self._spawning:
            if self._spare is None:
                with suppress(WorkerCrashed):  # the next stream has to wait for its worker
                    self._spare = await self._spawn()

    async def _spawn(self) -> Worker:
        """A process that waits. Raises WorkerCrashed where the system has none to give."""
        try:
            return await self._process()
        except OSError as fault:
            metrics.CRASHED.labels(how="not-started").inc()
            log.error("worker-not-started", error=str(fault))
            why = fault.strerror or str(fault)
            raise WorkerCrashed(f"no media worker can be started ({why})") from fault

    async def _process(self) -> Worker:
        assert self._nursery is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ExitStack() as opened, theirs:
            opened.callback(ours.close)
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
            with trio.CancelScope(shield=True):
                process = await trio.lowlevel.open_process(
                    [sys.executable, "-I", "-c", _PROGRAM, _ROOT],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    close_fds=True,
                    cwd="/",
                    env=ENVIRONMENT,
                    # A Ctrl-C in the terminal is for the node, which then drains its workers.
                    start_new_session=True,
                )
            opened.pop_all()
        worker = Worker(process, ours, self._hang_s)
        metrics.STARTED.inc()
        metrics.WORKERS.inc()
        self._nursery.start_soon(worker.drain_stderr)
        return worker

    async def _discard(self, worker: Worker) -> None:
        await worker.close()
        metrics.WORKERS.dec()


def _frames_of(tags: Sequence[Tag]) -> list[bytes | memoryview]:
    parts: list[bytes | memoryview] = []
    for tag in tags:
        parts.append(encode_tag_header(tag))
        if tag.data:
            parts.append(tag.data)
    return parts


def _after(parts: list[bytes | memoryview], sent: int) -> list[bytes | memoryview]:
    """What is left of these once so many bytes were sent."""
    for index, part in enumerate(parts):
        if sent < len(part):
            return [memoryview(part)[sent:], *parts[index + 1 :]] if sent else parts[index:]
        sent -= len(part)
    return []


def _exit_words(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
