"""Gated rooms: a sealed 2 MB segment against the same in clear, from one store in the same run.

Run by ``scripts/bench gated``, or by itself: ``python scripts/bench.d/gated.py [--json]``. Needs
the program wrk. One server answers all: in clear by sendfile; sealed and opened anew for each
request, as if everybody were at another place of the show; sealed and opened a moment ago, as at
the live edge. The load is put on them in turn, several times, and the medians are compared. Then
what sealing and opening a part of 150 KB adds to its way, and how long a part takes from its last
frame's arrival in an open and in a gated room of one node, streamed into in turn with FFmpeg.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# In place of this file's own folder, where "http" would hide the standard library's.
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

PARTS, PARTS_A_GOP, PART_BYTES = 25, 5, 84_000
WANTED = 0.6
MOST_LATER_MS = 30
PATHS = {"clear": "/clear", "opened anew": "/sealed", "opened before": "/opened"}


def main() -> int:
    """Prints the table; 1 where a sealed segment is slower than wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each, alternating")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--serve", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(Path(options.serve))
        return 0
    rates = _measure(options.seconds, options.rounds, options.connections)
    found = {name: statistics.median(each) for name, each in rates.items()}
    ratios = {name: rate / found["clear"] for name, rate in found.items()}
    added, latency = _part_ms(), _latency_ms(options.seconds * 3, options.rounds)
    later_ms = latency["gated"] - latency["open"]
    if options.json:
        told = {
            "machine": _machine(),
            "bytes_per_s": found,
            "ratios": ratios,
            "part_ms": added,
            "latency_ms": latency,
        }
        print(json.dumps(told, indent=2))
    else:
        print("  ".join(f"{name} {value}" for name, value in _machine().items()))
        print(f"{'2.1 MB segment, ' + str(options.connections) + ' connections':34}{'MB/s':>10}")
        for name, rate in found.items():
            wanted = "" if name == "clear" else f"{ratios[name]:8.2f}  wanted >= {WANTED}"
            print(f"  {name:32}{rate / 1e6:10,.0f}{wanted}")
        for name, ms in added.items():
            print(f"a part of 150 KB, {name:16}{ms:10.3f} ms")
        for name, ms in latency.items():
            print(f"latency of a part, {name:15}{ms:10.1f} ms")
        print(f"{'  gated, later':34}{later_ms:10.1f} ms  wanted <= {MOST_LATER_MS} ms")
    slow = any(ratio < WANTED for ratio in ratios.values())
    return int(slow or later_ms > MOST_LATER_MS)


def _measure(seconds: float, rounds: int, connections: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in PATHS}
    with tempfile.TemporaryDirectory(prefix="hausd-bench-") as folder, _served(folder) as port:
        for _ in range(rounds):
            for name, path in PATHS.items():
                rates[name].append(_wrk(f"http://127.0.0.1:{port}{path}", connections, seconds))
    return rates


@contextmanager
def _served(folder: str) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", folder], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def _wrk(url: str, connections: int, seconds: float) -> float:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    transfer = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?)B", said)
    if transfer is None or "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"errors while measuring {url}:\n{said}")
    scale = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[transfer[2]]
    return float(transfer[1]) * scale


def _serve(folder: Path) -> None:
    import structlog
    import trio

    from hausd.blocks.quota import StoreLimits
    from hausd.blocks.store import open_store
    from hausd.core.gating import ObjectSeal, SegmentSeal, new_epoch
    from hausd.core.ids import RoomId, SessionId, open_room_id
    from hausd.core.live import ArchiveSegment, Media
    from hausd.core.manifest import SegmentRecord, encode_record
    from hausd.core.media import Kind, Rendition
    from hausd.core.storage import Append, Close, SegmentKey
    from hausd.http.live import body_answer
    from hausd.http.messages import NOT_MINE, Answer, Request
    from hausd.http.server import listen, serve
    from hausd.http.sharing import OURS_ONLY
    from hausd.rooms.keyring import MemoryKeyring
    from hausd.rooms.opened import Opened
    from hausd.rooms.opening import Opener
    from hausd.rooms.packing import Packer
    from hausd.rooms.sealing import Sealing

    # the first line on standard output is the port
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    room, session = open_room_id(bytes(32)), SessionId(1, 2)
    rendition = Rendition("source", Kind.VIDEO, "avc1.64001f", 90_000)
    clear = [os.urandom(PART_BYTES) for _ in range(PARTS)]

    async def run() -> None:
        limits = StoreLimits(10**9, 1000, 0, 5.0)
        async with open_store(folder / "store", limits) as store:
            keyring, (epoch, key) = MemoryKeyring(), new_epoch(room, os.urandom)
            await keyring.keep(room, epoch, key)
            sealing = Sealing(room, session, epoch, key)
            segments = {}
            for number, sealed in ((0, False), (1, True)):
                where, packer = SegmentKey(room, session, "source", number), Packer()
                for at, part in enumerate(clear):
                    data = sealing.part("source", number, part).data if sealed else part
                    await store.write([Append(where, packer.add(data)[0])])
                    if at % PARTS_A_GOP == PARTS_A_GOP - 1:
                        packer.end_gop()
                packed = packer.end_segment()
                assert packed is not None
                seal = SegmentSeal(epoch, ObjectSeal(epoch, 0)) if sealed else None
                made = ArchiveSegment(
                    number, session, 0, 0, 10_000, packed.cid, packed.size, packed.cid, seal
                )
                record = SegmentRecord.of(where, made, rendition)
                await store.write([Close(where, packed.nodes, encode_record(record))])
                segments[sealed] = made

            class View:
                id = RoomId(room)

            openers = {
                "/sealed": Opener(room, store, keyring, Opened(0)),
                "/opened": Opener(room, store, keyring, Opened()),
            }

            class Table:
                def respond(self, request: Request) -> Answer:
                    opener = openers.get(request.path)
                    segment = segments[opener is not None]
                    place = store.locate(segment.cid)
                    if place is None or request.path not in PATHS.values():
                        return NOT_MINE
                    media = Media(segment.cid, "video/mp4", place.length, place)
                    if opener is not None:
                        media = opener.segment("video/mp4", "source", segment, place)
                    return body_answer(View(), media, OURS_ONLY.media(), OURS_ONLY)  # type: ignore[arg-type]  # its id is all that is asked for

            class Nobody:
                def served(self, room: RoomId, viewer: str, size: int) -> None:
                    pass

            async def app(scope: object, receive: object, send: object) -> None:
                raise NotImplementedError

            listener = listen("127.0.0.1", 0)
            async with serve([listener], responder=Table(), app=app, audience=Nobody()) as server:
                print(server.addresses[0][1], flush=True)
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async for _ in signals:
                        break

    trio.run(run)


def _part_ms() -> dict[str, float]:
    """What one part costs on its way from the worker to a viewer, best of many."""
    from hausd.core.gating import new_epoch
    from hausd.core.ids import SessionId, open_room_id
    from hausd.rooms.sealing import Sealing
    from hausd.wire.leafseal import LeafCipher, Stream

    room, session = open_room_id(bytes(32)), SessionId(1, 2)
    epoch, key = new_epoch(room, os.urandom)
    sealing, clear = Sealing(room, session, epoch, key), os.urandom(150_000)
    first = sealing.part("source", 1, clear)
    cipher = LeafCipher(key, Stream(room, session, "source", epoch.id))
    works: dict[str, Callable[[], object]] = {
        "sealed": lambda: sealing.part("source", 1, clear),
        "opened": lambda: cipher.open(1, first.leaf, first.data),
    }
    return {name: min(_ms(work) for _ in range(50)) for name, work in works.items()}


def _latency_ms(seconds: float, rounds: int) -> dict[str, float]:
    """From a frame's arrival to its part, as the node measures it; medians of rounds in turn."""
    from support.node import node
    from support.publish import make, publishing

    found: dict[str, list[float]] = {"open": [], "gated": []}
    with tempfile.TemporaryDirectory(prefix="hausd-bench-") as name:
        film = make(Path(name) / "film.flv")
        with node(Path(name) / "home", "media.ladder=[]", "media.images=false") as one:
            rooms = {
                "open": one.ctl("rooms", "create", "Open"),
                "gated": one.ctl("rooms", "create", "Gated", "--gated"),
            }
            for _ in range(rounds):
                for kind, room in rooms.items():
                    with publishing(film, f"{one.rtmp}/{room['stream_key']}"):
                        one.wait_state(room["id"], "live")
                        time.sleep(seconds)  # real time, in which parts are measured
                        found[kind].append(one.ctl("rooms", "show", room["id"])["latency_ms"])
                    one.wait_state(room["id"], "waiting")
    return {kind: statistics.median(each) for kind, each in found.items()}


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _machine() -> dict[str, str]:
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": str(os.cpu_count()),
        "linux": platform.release(),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


if __name__ == "__main__":
    raise SystemExit(main())
