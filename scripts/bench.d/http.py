"""HTTP: the fast lane against nginx with one worker, on the same bytes in the same run.

Run by ``scripts/bench http``, or by itself: ``python scripts/bench.d/http.py [--json]``. Needs the
programs nginx and wrk. Both servers serve on loopback, one process each; the load is put on them in
turn, several times, and the medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
# In place of this file's own folder, where "http" would hide the standard library's.
sys.path[0] = str(ROOT)

PLAYLIST_BYTES = 1024
SEGMENT_BYTES = 2 * 1024 * 1024
PATHS = {"playlist": "/live/room/source/index.m3u8", "segment": "/live/room/source/7.m4s"}
PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
BROWSER_FIELDS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36",
    "Accept: */*",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9",
    "Referer: http://127.0.0.1/",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: same-origin",
)
COUNTING_LUA = """
local count = 0
request = function()
  count = count + 1
  return wrk.format(nil, wrk.path .. "?_HLS_msn=" .. count .. "&_HLS_part=1")
end
"""


@dataclass(frozen=True)
class Row:
    """One comparison; ``wanted`` is the least ratio that is good enough, None for no demand.

    ``ratio`` is of what left each second, ``cpu_ratio`` of what left for each second of CPU time
    that the server used, which other load on the machine disturbs less.
    """

    name: str
    unit: str
    ours: float
    peer: float
    ratio: float
    cpu_ratio: float
    wanted: float | None


def compare(seconds: float, rounds: int) -> tuple[list[Row], dict[str, str]]:
    """The rows, and what they were measured on."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="hausd-bench-") as folder:
        site = Path(folder)
        _write_site(site)
        with _nginx(site) as peer_server, _ours(site) as our_server:
            counting = site / "counting.lua"
            counting.write_text(COUNTING_LUA)
            script = ("-s", str(counting))
            browser = tuple(word for field in BROWSER_FIELDS for word in ("-H", field))
            for name, kind, connections, unit, wanted, options in (
                ("1 KB playlist, 50 connections", "playlist", 50, "requests/s", 0.6, ()),
                ("with a browser's fields", "playlist", 50, "requests/s", None, browser),
                (
                    "and another query each time",
                    "playlist",
                    50,
                    "requests/s",
                    None,
                    browser + script,
                ),
                ("2 MB segment, 8 connections", "segment", 8, "bytes/s", 1.2, ()),
                ("2 MB segment, 50 connections", "segment", 50, "bytes/s", None, ()),
            ):
                rates: dict[int, list[float]] = {our_server[0]: [], peer_server[0]: []}
                by_cpu: dict[int, list[float]] = {our_server[0]: [], peer_server[0]: []}
                for _ in range(rounds):
                    for port, pid in (our_server, peer_server):
                        url = f"http://127.0.0.1:{port}{PATHS[kind]}"
                        before = _cpu_s(pid)
                        rate = _wrk(url, connections, seconds, options)[unit]
                        rates[port].append(rate)
                        by_cpu[port].append(rate * seconds / max(0.01, _cpu_s(pid) - before))
                ours, peer = (statistics.median(found) for found in rates.values())
                ours_cpu, peer_cpu = (statistics.median(found) for found in by_cpu.values())
                rows.append(Row(name, unit, ours, peer, ours / peer, ours_cpu / peer_cpu, wanted))
    return rows, _machine()


def main() -> int:
    """Prints the table; 1 where something is slower than wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each, alternating")
    parser.add_argument("--serve", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--profile", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(Path(options.serve), options.profile)
        return 0
    rows, machine = compare(options.seconds, options.rounds)
    if options.json:
        print(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        print("  ".join(f"{name} {value}" for name, value in machine.items()))
        print(f"{'':34}{'hausd':>12}{'nginx':>12}  {'':12}{'ratio':>6}{'wanted':>9}{'by CPU':>8}")
        for row in rows:
            wanted = f">= {row.wanted}" if row.wanted is not None else "-"
            ours, peer, unit = row.ours, row.peer, row.unit
            if unit == "bytes/s":
                ours, peer, unit = ours / 1e6, peer / 1e6, "MB/s"
            figures = f"{ours:12,.0f}{peer:12,.0f}  {unit:12}{row.ratio:6.2f}{wanted:>9}"
            print(f"{row.name:34}{figures}{row.cpu_ratio:8.2f}")
    return int(any(row.wanted is not None and row.ratio < row.wanted for row in rows))


def _write_site(site: Path) -> None:
    for kind, size in (("playlist", PLAYLIST_BYTES), ("segment", SEGMENT_BYTES)):
        path = site / PATHS[kind].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


@contextmanager
def _nginx(site: Path) -> Iterator[tuple[int, int]]:
    port = _free_port()
    config = site / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(
        f"""{user} worker_processes 1; daemon off; pid {site}/nginx.pid; error_log {site}/error.log;
        events {{ worker_connections 1024; }}
        http {{
          types {{ {PLAYLIST_TYPE} m3u8; video/mp4 m4s; }}
          access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
          open_file_cache max=100; server {{ listen 127.0.0.1:{port}; root {site}; }}
        }}"""
    )
    process = subprocess.Popen(["nginx", "-p", str(site), "-c", str(config), "-e", "stderr"])
    try:
        _wait_for(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def _ours(site: Path) -> Iterator[tuple[int, int]]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(site)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def _serve(site: Path, profile: str | None) -> None:
    import structlog
    import trio

    from hausd.core.ids import RoomId
    from hausd.core.live import FileRange
    from hausd.http.messages import NOT_MINE, Accounting, Answer, Request, Response
    from hausd.http.server import listen, serve

    # the first line on standard output is the port
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    playlist = (site / PATHS["playlist"][1:]).read_bytes()
    headers = ((b"content-type", PLAYLIST_TYPE.encode()), (b"cache-control", b"no-cache"))
    room = RoomId("room")
    answers: dict[str, Answer] = {
        PATHS["playlist"]: Response(200, headers, (playlist,), Accounting(room, watches=True)),
        PATHS["segment"]: Response(
            200,
            ((b"content-type", b"video/mp4"),),
            FileRange(str(site / PATHS["segment"][1:]), 0, SEGMENT_BYTES),
            Accounting(room),
        ),
    }

    class Table:
        def respond(self, request: Request) -> Answer:
            return answers.get(request.path, NOT_MINE)

    class Nobody:
        def served(self, room: RoomId, viewer: str, size: int) -> None:
            pass

    async def app(scope: object, receive: object, send: object) -> None:
        raise NotImplementedError

    async def run() -> None:
        listener = listen("127.0.0.1", 0)
        async with serve([listener], responder=Table(), app=app, audience=Nobody()) as server:
            print(server.addresses[0][1], flush=True)
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    break

    if profile:
        import cProfile

        with cProfile.Profile() as recorder:
            trio.run(run)
        recorder.dump_stats(profile)
    else:
        trio.run(run)


def _cpu_s(pid: int) -> float:
    """CPU time of a process and its children."""
    process = psutil.Process(pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def _wrk(url: str, connections: int, seconds: float, options: tuple[str, ...]) -> dict[str, float]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", *options]
    said = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"errors while measuring {url}:\n{said}")
    requests = re.search(r"Requests/sec:\s+([\d.]+)", said)
    transfer = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?)B", said)
    if not requests or not transfer:
        raise SystemExit(f"wrk said something else:\n{said}")
    scale = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[transfer[2]]
    return {"requests/s": float(requests[1]), "bytes/s": float(transfer[1]) * scale}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise SystemExit("nginx did not start")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("nginx does not listen")


def _machine() -> dict[str, str]:
    def version(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
        return found[0] if found else "?"

    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": str(os.cpu_count()),
        "linux": platform.release(),
        "python": platform.python_version(),
        "nginx": version("nginx", "-v"),
        "wrk": version("wrk", "-v"),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


if __name__ == "__main__":
    raise SystemExit(main())
