"""The demo stream against an RTMP server that nobody here wrote."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from support.avcheck import watch

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listen(port: int, out: Path) -> subprocess.Popen[bytes]:
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-listen",
        "1",
        "-i",
        f"rtmp://127.0.0.1:{port}/live/k",
    ]
    return subprocess.Popen([*command, "-c", "copy", str(out)], stdin=subprocess.DEVNULL)


def demo(port: int, *options: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "hausd.media.demo", "-", "--size", "320x180", *options],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    process.stdin.write(f"rtmp://127.0.0.1:{port}/live/k\n")
    process.stdin.close()
    return process


def test_it_publishes_in_real_time(tmp_path: Path) -> None:
    port, out = free_port(), tmp_path / "out.flv"
    server = listen(port, out)
    time.sleep(0.5)
    began_s = time.monotonic()
    publisher = demo(port, "--seconds", "4")
    try:
        assert publisher.wait(30) == 0
        took_s = time.monotonic() - began_s
        server.wait(30)
    finally:
        publisher.kill()
        server.kill()
    assert took_s >= 3.9
    seen = watch(out)
    assert seen.numbers == list(range(120))
    assert all(abs(offset) < 10 for offset in seen.offsets_ms)


def test_it_comes_back_after_the_server_was_gone_and_stops_when_told(tmp_path: Path) -> None:
    port = free_port()
    first, second = tmp_path / "first.flv", tmp_path / "second.flv"
    server = listen(port, first)
    time.sleep(0.5)
    publisher = demo(port)
    try:
        while not first.exists() or first.stat().st_size < 30_000:
            assert publisher.poll() is None
            time.sleep(0.05)
        server.kill()
        server.wait()
        server = listen(port, second)
        while not second.exists() or second.stat().st_size < 60_000:
            assert publisher.poll() is None
            time.sleep(0.05)
        publisher.send_signal(signal.SIGTERM)
        assert publisher.wait(10) == 0
        server.wait(30)
    finally:
        publisher.kill()
        server.kill()
    # Numbers go on with time, as if the connection had not been lost.
    seen = watch(second)
    assert not seen.lost
    assert not seen.doubled
    assert seen.numbers[0] is not None
    assert seen.numbers[0] > 30
