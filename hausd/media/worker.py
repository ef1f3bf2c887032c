"""The process of one stream's media worker: frames of ``wire.worker`` in and out of one socket.

Started by ``media.supervisor`` with the socket as its standard input. The main thread reads tags
and makes parts; encoders have threads of their own. It reads no file after its sandbox is up.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator

from hausd.media import sandbox
from hausd.media.pipeline import Pipeline
from hausd.wire.flv import Tag
from hausd.wire.worker import (
    End,
    FromWorker,
    Sandboxed,
    ToWorker,
    ToWorkerDecoder,
    WorkerConfig,
    WorkerProtocolError,
    WorkerStats,
    encode_message,
)

_READ_BYTES = 256 * 1024
_SEND_BUFFER_BYTES = 4 * 1024 * 1024
"""A few parts: so that writing a part never waits for a node that is merely busy."""
_STATS_EVERY_S = 1.0
_SPEED_OVER_S = 5.0


class Outbox:
    """The way to the node, for every thread of the worker."""

    def __init__(self, way: socket.socket) -> None:
        self._way = way
        self._lock = threading.Lock()

    def put(self, message: FromWorker, body: bytes) -> None:
        """Sends one message; waits while the node is busy."""
        head = encode_message(message, len(body))
        with self._lock:
            sent = self._way.sendmsg((head, body))
            if sent < len(head):
                self._way.sendall(head[sent:])
                sent = len(head)
            if sent < len(head) + len(body):
                self._way.sendall(memoryview(body)[sent - len(head) :])


def serve(way: socket.socket) -> None:
    """Works off what comes over the socket, until its end."""
    frames = _frames(way)
    config = next(frames, None)
    if config is None:
        return
    if not isinstance(config, WorkerConfig):
        raise WorkerProtocolError("the first frame to a worker is its configuration")
    # A receive timeout of the kernel's: Python's own would cost a poll before every read.
    seconds = int(_STATS_EVERY_S).to_bytes(8, sys.byteorder) + bytes(8)
    way.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
    outbox = Outbox(way)
    # Opened before the sandbox forbids it; read again and again.
    statm = _open_statm()
    holds, missing = sandbox.enter(config.memory_bytes, config.cpu_nice)

    outbox.put(Sandboxed(holds, missing), b"")
    pipeline = Pipeline(config, outbox.put)
    meter = _Meter(pipeline, statm)
    # Everything made so far stays for good: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    for frame in frames:
        if isinstance(frame, Tag):
            pipeline.push(frame)
        elif isinstance(frame, End):
            pipeline.finish()
            outbox.put(meter.stats(), b"")
            return
        elif frame is None and meter.due():
            outbox.put(meter.stats(), b"")


def _frames(way: socket.socket) -> Iterator[ToWorker | None]:
    """What the node sends; None after each read, and where the socket has a timeout then too."""
    decoder = ToWorkerDecoder()
    buffer = bytearray(_READ_BYTES)
    view = memoryview(buffer)
    while True:
        try:
            got = way.recv_into(buffer)
        except BlockingIOError:
            yield None
            continue
        if not got:
            return
        yield from decoder.feed(view[:got])
        yield None


class _Meter:
    """How the worker fares, over the last seconds."""

    def __init__(self, pipeline: Pipeline, statm: int | None) -> None:
        self._pipeline = pipeline
        self._statm = statm
        self._last_s = time.monotonic()
        self._marks = [(self._last_s, 0, pipeline.media_ms)]
        self._page_bytes = resource.getpagesize()

    def due(self) -> bool:
        return time.monotonic() - self._last_s >= _STATS_EVERY_S

    def stats(self) -> WorkerStats:
        pipeline = self._pipeline
        now_s = self._last_s = time.monotonic()
        self._marks.append((now_s, pipeline.frames_in, pipeline.media_ms))
        while len(self._marks) > 2 and now_s - self._marks[0][0] > _SPEED_OVER_S:
            self._marks.pop(0)
        since_s, frames, media_ms = self._marks[0]
        wall_s = max(now_s - since_s, 0.001)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        dropped = pipeline.frames_dropped
        behind_ms = 0
        encoding: tuple[str, ...] = ()
        shed: tuple[str, ...] = ()
        speed = (pipeline.media_ms - media_ms) / 1000 / wall_s
        ladder = None if pipeline.run is None else pipeline.run.ladder
        if ladder is not None:
            found = ladder.stats()
            dropped += found.frames_dropped
            behind_ms, encoding, shed = found.behind_ms, found.encoding, found.shed
            speed = found.speed
        return WorkerStats(
            frames_in=pipeline.frames_in,
            frames_dropped=dropped,
            fps=round((pipeline.frames_in - frames) / wall_s, 2),
            speed=round(speed, 3),
            behind_ms=behind_ms,
            encoding=encoding,
            shed=shed,
            memory_bytes=self._memory_bytes(usage),
            cpu_s=round(usage.ru_utime + usage.ru_stime, 3),
            gop_ms=pipeline.gop_ms,
        )

    def _memory_bytes(self, usage: resource.struct_rusage) -> int:
        if self._statm is None:
            return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return int(os.pread(self._statm, 128, 0).split()[1]) * self._page_bytes


def _open_statm() -> int | None:
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def main() -> None:
    """Entry of the process."""
    way = socket.socket(fileno=os.dup(0))
    way.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    status = 0
    try:
        serve(way)
    except (BrokenPipeError, ConnectionResetError):
        status = 1  # the node is gone: there is nobody to tell
    way.close()
    # Threads of a ladder that failed may still run; nothing is left to be saved.
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
