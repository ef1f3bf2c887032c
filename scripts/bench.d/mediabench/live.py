"""Live rows: latency, CPU and time to the first part, of a node and of MediaMTX.

The same publisher and the same client for both, one after the other, A B A B; parts of 0.2 s and
keyframes every second on both sides.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from mediabench import origins, processes, tasks
from mediabench.inputs import PART, Made, make
from mediabench.origins import Origin
from mediabench.processes import Cpu
from mediabench.publisher import publishing
from mediabench.report import Row
from mediabench.watcher import Seen, Watcher

LATENCY_WANTED = 1.0
CPU_WANTED = 1.5
START_WANTED = 0.5
KNOWN = {"newest p50": 46.0, "newest p99": 56.0, "all p50": 135.0, "all p99": 222.0}
"""Milliseconds, MediaMTX 1.14 on two cores (design, section 9)."""
KNOWN_CPU_S = 1.65
KNOWN_START_S = 4.0
_PARTS = "media.part_seconds=0.1667"
"""Six frames of 1/30 s: parts of 0.2 s, as the peer's."""
_PATIENCE_S = 30.0
_SETTLE_S = 5.0
_GOP_FRAMES = 30
_START_GOPS_S = (1, 2, 8)
"""Keyframe intervals of those that start: often, as advised, and OBS on its defaults."""


@dataclass(slots=True)
class Session:
    """One publisher and one client on one origin, for a while."""

    seen: Seen
    seconds: float
    cpu: Cpu
    by_process: dict[str, Cpu]
    by_thread: dict[str, float]
    memory_mb: float


@dataclass(slots=True)
class Found:
    """All sessions of one origin."""

    sessions: list[Session] = field(default_factory=list)
    as_obs: list[Session] = field(default_factory=list)
    """Those whose publisher sends as OBS does; the others' sends as ffmpeg does."""
    starts_s: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By the keyframe interval, in seconds."""


def measure(
    folder: Path, *, seconds: float, rounds: int, starts: int, mediamtx: Path | None
) -> tuple[list[Row], list[tuple[str, list[tuple[str, str]]]]]:
    """The rows, and where our CPU went."""
    source = make(folder / "live.flv", Made(1280, 720, 2_470_000, 21, _GOP_FRAMES))
    starting = {
        gop_s: make(folder / f"start-{gop_s}.flv", Made(1280, 720, 2_470_000, 9, 30 * gop_s))
        for gop_s in _START_GOPS_S
    }
    found: dict[str, Found] = defaultdict(Found)
    with _origins(folder, mediamtx) as running:
        for _ in range(rounds):
            for origin in running:
                found[origin.name].sessions.append(_session(origin, source, seconds, "ffmpeg"))
            for origin in running:
                found[origin.name].as_obs.append(_session(origin, source, seconds, "obs"))
        for _ in range(starts):
            for gop_s, begun in starting.items():
                for origin in running:
                    found[origin.name].starts_s[gop_s].append(_start(origin, begun))
    apart = _by_task(folder, source, min(seconds, 20))
    ours, theirs = found["hausd"], found.get("MediaMTX")
    rows = [*_latency_rows(ours, theirs), *_cpu_rows(ours, theirs), *_start_rows(ours, theirs)]
    return rows, [
        ("Where the CPU of that minute went (hausd, sent as ffmpeg does)", _spent(ours.sessions)),
        ("The same, sent as OBS does", _spent(ours.as_obs)),
        ("The node's event loop, in a minute (another run, sent as OBS does)", apart),
    ]


@contextmanager
def _origins(folder: Path, mediamtx: Path | None) -> Iterator[list[Origin]]:
    with ExitStack() as stack:
        running = [stack.enter_context(origins.hausd(folder / "live-home", _PARTS))]
        if mediamtx is not None:
            running.append(stack.enter_context(origins.mediamtx(mediamtx, folder)))
        yield running


def _start(origin: Origin, source: Path) -> float:
    """Seconds from before a publisher connects until a client has read a part."""
    ingest, playlist = origin.place()
    watcher = Watcher(playlist)
    with publishing(source, ingest) as began_ns:
        read_ns = watcher.first_part(_PATIENCE_S)
    watcher.close()
    return (read_ns - began_ns) / 1e9


def _session(origin: Origin, source: Path, seconds: float, way: str) -> Session:
    ingest, playlist = origin.place()
    watcher = Watcher(playlist)
    with publishing(source, ingest, way):
        watcher.first_part(_PATIENCE_S)
        watcher.follow(_SETTLE_S)
        before = processes.family_cpu(origin.pid)
        threads = _threads(origin.pid, before)
        began_s = time.monotonic()
        seen = watcher.follow(seconds)
        took_s = time.monotonic() - began_s
        after = processes.family_cpu(origin.pid)
        by_thread = _threads(origin.pid, after)
        memory_mb = processes.family_memory(origin.pid)
    watcher.close()
    spent = {pid: cpu - before.get(pid, Cpu(0, 0)) for pid, cpu in after.items()}
    by_process: dict[str, Cpu] = defaultdict(lambda: Cpu(0, 0))
    for pid, cpu in spent.items():
        by_process["node" if pid == origin.pid else "media worker"] += cpu
    return Session(
        seen=seen,
        seconds=took_s,
        cpu=sum(spent.values(), Cpu(0, 0)),
        by_process=dict(by_process),
        by_thread={name: cpu_s - threads.get(name, 0.0) for name, cpu_s in by_thread.items()},
        memory_mb=memory_mb,
    )


def _by_task(folder: Path, source: Path, seconds: float) -> list[tuple[str, str]]:
    """What each of the node's tasks takes, from a node that counts it."""
    out = folder / "tasks.json"
    wrap = (sys.executable, str(PART), "tasks", str(out))
    with origins.hausd(folder / "tasks-home", _PARTS, wrap=wrap) as counted:
        ingest, playlist = counted.place()
        watcher = Watcher(playlist)
        with publishing(source, ingest, "obs"):
            watcher.first_part(_PATIENCE_S)
            watcher.follow(seconds)
        watcher.close()
    return tasks.lines(out)


def _threads(node: int, family: dict[int, Cpu]) -> dict[str, float]:
    """CPU seconds by role of the process and name of the thread."""
    found: dict[str, float] = defaultdict(float)
    for pid in family:
        role = "node" if pid == node else "worker"
        for name, cpu_s in processes.threads_cpu(pid).items():
            found[f"{role}, thread {name}"] += cpu_s
    return found


# -- rows --


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def _latency_rows(ours: Found, theirs: Found | None) -> list[Row]:
    rows = []
    for which in KNOWN:
        kind, _, rank = which.partition(" p")
        share = int(rank) / 100
        name = f"live latency, {kind} frame{'s' if kind == 'all' else ' of a part'}, p{rank}"
        rows.append(
            Row(
                name,
                "ms",
                [_percentile(_taken(one.seen, kind), share) for one in ours.sessions],
                [_percentile(_taken(one.seen, kind), share) for one in theirs.sessions]
                if theirs
                else (),
                _peer(theirs, f"{KNOWN[which]:g} ms"),
                LATENCY_WANTED,
                _parts_note(ours, theirs) if which == "newest p50" else "",
            )
        )
    return rows


def _taken(seen: Seen, kind: str) -> list[float]:
    taken = seen.newest_ms if kind == "newest" else seen.all_ms
    if not taken:
        raise SystemExit("no marked frame came through: is the stream passed through?")
    return taken


def _parts_note(ours: Found, theirs: Found | None) -> str:
    words = []
    for name, found in (("ours", ours), ("peer's", theirs)):
        if found is not None:
            parts = [part for one in found.sessions for part in one.seen.part_s]
            lost = sum(one.seen.lost for one in found.sessions)
            refused = sum(one.seen.refused for one in found.sessions)
            words.append(
                f"{name}: {len(parts)} parts of {median(parts):.3f} s, {lost} holes, "
                f"{refused} refused"
            )
    return "; ".join(words)


def _cpu_rows(ours: Found, theirs: Found | None) -> list[Row]:
    memory = f"memory: ours {median(one.memory_mb for one in ours.sessions):.0f} MB with worker"
    memory += " and the spare one"
    if theirs is not None:
        memory += f", peer {median(one.memory_mb for one in theirs.sessions):.0f} MB"
    newest = [_percentile(_taken(one.seen, "newest"), 0.5) for one in ours.as_obs]
    delay = f"newest frame of a part, p50: ours {median(newest):.0f} ms"
    if theirs is not None:
        newest = [_percentile(_taken(one.seen, "newest"), 0.5) for one in theirs.as_obs]
        delay += f", peer {median(newest):.0f} ms"
    return [
        Row(
            "60 s of 2.6 Mbit/s, one LL-HLS client",
            "CPU s",
            [_minute(one) for one in ours.sessions],
            [_minute(one) for one in theirs.sessions] if theirs else (),
            _peer(theirs, "1.6-1.7 CPU s, 38 MB"),
            CPU_WANTED,
            memory,
        ),
        Row(
            "  the same, sent as OBS does",
            "CPU s",
            [_minute(one) for one in ours.as_obs],
            [_minute(one) for one in theirs.as_obs] if theirs else (),
            _peer(theirs, ""),
            CPU_WANTED,
            delay,
        ),
    ]


def _minute(session: Session) -> float:
    return session.cpu.all_s * 60 / session.seconds


def _start_rows(ours: Found, theirs: Found | None) -> list[Row]:
    return [
        Row(
            "  the same" if gop_s > 1 else "publish to first part read",
            "s",
            ours.starts_s[gop_s],
            theirs.starts_s[gop_s] if theirs else (),
            _peer(theirs, "" if gop_s > 1 else f"{KNOWN_START_S:g} s"),
            START_WANTED,
            f"keyframes every {gop_s} s",
        )
        for gop_s in _START_GOPS_S
    ]


def _peer(theirs: Found | None, known: str) -> str:
    if theirs is not None:
        return "MediaMTX"
    absent = "MediaMTX not given (--mediamtx FILE)"
    return f"{absent}; {known} measured elsewhere" if known else absent


def _spent(sessions: list[Session]) -> list[tuple[str, str]]:
    """Where a minute's CPU went, of the session in the middle."""
    middle = sorted(sessions, key=_minute)[len(sessions) // 2]
    minute = 60 / middle.seconds
    lines = [
        (f"{name}, {kind}", f"{cpu_s * minute:.2f} s")
        for name, cpu in middle.by_process.items()
        for kind, cpu_s in (("user", cpu.user_s), ("system", cpu.system_s))
    ]
    threads = sorted(middle.by_thread.items(), key=lambda item: -item[1])
    return lines + [(name, f"{cpu_s * minute:.2f} s") for name, cpu_s in threads if cpu_s > 0]
