"""A node under hours of media in minutes: fed many times faster than real time, watched by clients
that come and go, with encoders that drop and return; and whether anything grew meanwhile."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from urllib.parse import urljoin, urlsplit

import psutil
from support.node import Node

SETS = (
    "media.ladder=[]",
    # What is bounded fills soon, so that growth without a bound shows.
    "store.pin_own=false",
    "log.ring_entries=100",
    "live.window_s=12",
)
SPEED = 60
"""Times real time. Faster, a busy disk could not keep up, and the queue before it would be what
is measured."""
_COUNTED = {
    "ingest_bytes": "hausd_ingest_bytes_total",
    "node_bytes": "process_resident_memory_bytes",
    "tasks": "hausd_process_tasks",
    "descriptors": "process_open_fds",
    "files": "hausd_store_used_files",
    "small_bytes": r'hausd_store_written_bytes_total\{kind="small"\}',
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What the node holds at one moment; ``media_s`` is how much media it has taken."""

    wall_s: float
    media_s: float
    node_mb: float
    worker_mb: float
    tasks: float
    descriptors: float
    worker_descriptors: float
    files: float
    small_mb: float
    """Manifest nodes, inits and images written so far."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How a figure went over the samples after the node was warm. ``per_hour`` of media;
    ``rise`` from the median of the first third to that of the last."""

    name: str
    first: float
    last: float
    per_hour: float

    @property
    def rise(self) -> float:
        return self.last - self.first


def soak(
    node: Node,
    room: dict[str, str],
    source: Path,
    *,
    seconds: float,
    every_s: float,
    reconnect_s: float,
    visitors: int,
    bitrate_bps: float,
    seen: Callable[[Sample], None] = lambda sample: None,
) -> list[Sample]:
    """Feeds, visits and looks for so many seconds of wall time. ``bitrate_bps`` of the source
    tells media time from bytes."""
    samples = []
    began_s = time.monotonic()
    with (
        _feeding(source, f"{node.rtmp}/{room['stream_key']}", reconnect_s),
        _visiting(node.http, room["id"], visitors),
    ):
        for turn in range(1, max(int(seconds / every_s), 1) + 1):
            time.sleep(max(began_s + turn * every_s - time.monotonic(), 0))
            samples.append(_look(node, time.monotonic() - began_s, bitrate_bps))
            seen(samples[-1])
    return samples


def growth(samples: Sequence[Sample], name: str, warm: float = 0.4) -> Growth:
    """How one field grew once the first ``warm`` share of the samples is left out.

    The slope is the median of those between every two samples (Theil and Sen): a client that
    happened to be there does not tilt it.
    """
    kept = samples[int(len(samples) * warm) :]
    values = [(sample.media_s / 3600, float(getattr(sample, name))) for sample in kept]
    slopes = [(b - a) / (y - x) for (x, a), (y, b) in combinations(values, 2) if y > x]
    third = max(len(values) // 3, 1)
    return Growth(
        name,
        first=median(value for _, value in values[:third]),
        last=median(value for _, value in values[-third:]),
        per_hour=median(slopes) if slopes else 0.0,
    )


def _look(node: Node, wall_s: float, bitrate_bps: float) -> Sample:
    text = node.get("/metrics").text
    counted = {
        name: float(found[1]) if (found := re.search(rf"^{metric} (\S+)$", text, re.M)) else 0.0
        for name, metric in _COUNTED.items()
    }
    worker_mb, worker_descriptors = _worker(node.process.pid)
    return Sample(
        wall_s=wall_s,
        media_s=counted["ingest_bytes"] * 8 / bitrate_bps,
        node_mb=counted["node_bytes"] / 1e6,
        worker_mb=worker_mb,
        tasks=counted["tasks"],
        descriptors=counted["descriptors"] - _segment_files(node.process.pid),
        worker_descriptors=worker_descriptors,
        files=counted["files"],
        small_mb=counted["small_bytes"] / 1e6,
    )


def _segment_files(node_pid: int) -> int:
    """Segment files that are open: HTTP keeps up to 256 of those asked for last, and no more, so
    how many there are tells of the visitors, not of a leak."""
    files = psutil.Process(node_pid).open_files()
    return sum("/segments/" in file.path for file in files)


def _worker(node_pid: int) -> tuple[float, float]:
    """Memory (MB) and descriptors of the worker that works hardest."""
    found = []
    for child in psutil.Process(node_pid).children():
        with suppress(psutil.Error):
            times = child.cpu_times()
            found.append(
                (times.user + times.system, child.memory_info().rss / 1e6, child.num_fds())
            )
    return max(found, default=(0, 0.0, 0))[1:]


@contextmanager
def _feeding(source: Path, url: str, reconnect_s: float) -> Iterator[None]:
    """ffmpeg publishes at SPEED, and is killed and started again every so often."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.2):
            command = ["ffmpeg", "-nostdin", "-v", "quiet", "-readrate", str(SPEED)]
            command += ["-stream_loop", "-1", "-i", str(source), "-c", "copy", "-f", "flv", url]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            end_s = time.monotonic() + reconnect_s
            while time.monotonic() < end_s and process.poll() is None and not stop.wait(0.1):
                pass
            process.kill()
            process.wait()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _visiting(http_url: str, room: str, visitors: int) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.05):
            with suppress(OSError, http.client.HTTPException):
                _visit(http_url, room)

    threads = [threading.Thread(target=run) for _ in range(visitors)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _visit(http_url: str, room: str) -> None:
    """One client: playlists, media, the API; then it leaves in the middle of two requests."""
    host = urlsplit(http_url).netloc
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        for path in (f"/live/{room}/source/index.m3u8", f"/archive/{room}/source/index.m3u8"):
            names = re.findall(r'URI="([^"]+)"|^([^#\s]\S*)', _get(connection, path), re.M)
            for name in [uri or line for uri, line in names][-3:]:
                _get(connection, urljoin(path, name))
        _get(connection, f"/api/v1/rooms/{room}")
        _get(connection, f"/live/{room}/index.m3u8")
    finally:
        connection.close()
    for request in (
        f"GET /live/{room}/source/index.m3u8?_HLS_msn=99999999 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"GET /live/{room}/source/index.m3u8 HTTP/1.1\r\nHo",
    ):
        with socket.create_connection(host.split(":"), timeout=5) as leaving:
            leaving.sendall(request.encode())


def _get(connection: http.client.HTTPConnection, path: str) -> str:
    connection.request("GET", path)
    return connection.getresponse().read().decode("latin-1")
