"""The two servers that live rows compare: a node of ours, and MediaMTX given by its path."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.node import Node, node

_START_S = 15.0


@dataclass(frozen=True, slots=True)
class Origin:
    """A running server. ``place`` gives another place to publish to: its URL, and the URL of its
    multivariant playlist."""

    name: str
    pid: int
    place: Callable[[], tuple[str, str]]


@contextmanager
def hausd(home: Path, *sets: str, wrap: Sequence[str] = ()) -> Iterator[Origin]:
    """A node in a home of its own, source only; ``sets`` as for ``hausd --set``, ``wrap`` a
    program that runs the node."""
    with node(home, "media.ladder=[]", *sets, wrap=wrap) as running:
        yield Origin("hausd", running.process.pid, lambda: _room(running))


def _room(running: Node) -> tuple[str, str]:
    room: dict[str, Any] = running.room("bench")
    return f"{running.rtmp}/{room['stream_key']}", f"{running.http}/live/{room['id']}/index.m3u8"


_CONFIG = """
logLevel: error
rtsp: no
webrtc: no
srt: no
rtmp: yes
rtmpAddress: 127.0.0.1:{rtmp}
hls: yes
hlsAddress: 127.0.0.1:{http}
hlsVariant: lowLatency
hlsAlwaysRemux: yes
hlsPartDuration: 200ms
paths:
  all_others:
"""


@contextmanager
def mediamtx(program: Path, folder: Path) -> Iterator[Origin]:
    """MediaMTX with nothing but RTMP and LL-HLS, parts of 200 ms, on its defaults otherwise."""
    rtmp, http = _free_port(), _free_port()
    config = folder / "mediamtx.yml"
    config.write_text(_CONFIG.format(rtmp=rtmp, http=http))
    process = subprocess.Popen([program, config], cwd=folder, stdout=subprocess.DEVNULL)
    places = iter(range(1_000_000))

    def place() -> tuple[str, str]:
        name = f"bench{next(places)}"
        return f"rtmp://127.0.0.1:{rtmp}/{name}", f"http://127.0.0.1:{http}/{name}/index.m3u8"

    try:
        for port in (rtmp, http):
            _wait_for(port, process)
        yield Origin("MediaMTX", process.pid, place)
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit("MediaMTX did not start: is it version 1.14 or one that reads its options?")
