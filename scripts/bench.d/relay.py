"""A stream through whole nodes: what a hop adds, how often the origin sends it, how soon one joins.

Run by ``scripts/bench relay [--json] [--seconds S] [--followers N] [--only ROW]…``. All on
loopback, so a hop has no round trip to speak of, but for ``far`` (``relayfar.py``). A picture
carries the time it was sent (an SEI message); an LL-HLS client at each node reads every part,
blocking; a hop's delay is from client to client.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Last, not first: this folder's http.py would hide the standard library's.
sys.path[0] = str(ROOT)
sys.path += [str(ROOT / "scripts" / "bench.d"), str(ROOT / "tests")]

from mediabench.inputs import Made, make  # noqa: E402 the folders above are needed first
from mediabench.publisher import publishing  # noqa: E402
from mediabench.report import machine  # noqa: E402
from mediabench.watcher import Watcher  # noqa: E402
from relayfar import CORE_SHARE, MOST_OF_IDEAL, far, hops_ms, many  # noqa: E402 as above
from relayfar import watch as watch_one  # noqa: E402
from support.node import Node, node  # noqa: E402

SETS = ("media.ladder=[]", "media.part_seconds=0.1667", "media.images=false")
RELAY_SETS = (*SETS, "media.warm_workers=0")
HOPS = 3
HOP_P50_MS, HOP_P99_MS, JOIN_S, COPIES = 25.0, 80.0, 1.0, 2.2
_PATIENCE_S = 30.0
_SETTLE_S = 6.0
_GOP_FRAMES = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--followers", type=int, default=16)
    parser.add_argument("--only", action="append", choices=("chain", "swarm", "far", "rooms"))
    options = parser.parse_args()
    wanted = options.only or ["chain", "swarm", "far", "rooms"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = make(folder / "live.flv", Made(1280, 720, 2_470_000, 30, _GOP_FRAMES))
        rows: dict[str, Callable[[], dict[str, Any]]] = {
            "chain": lambda: chain(folder, source, options.seconds),
            "swarm": lambda: swarm(folder, source, options.seconds, options.followers),
            "far": lambda: far(folder, source, options.seconds, HOPS, RELAY_SETS),
            "rooms": lambda: many(folder, source, options.seconds, RELAY_SETS),
        }
        found: dict[str, Any] = {name: rows[name]() for name in rows if name in wanted}
        found["machine"] = "  ".join(f"{name} {value}" for name, value in machine(None).items())
    if "newest_ms" in found.get("far", {}):
        for name in ("newest_ms", "hop_ms"):
            found["far"][name] = [_spread(each) for each in found["far"][name]]
    print(json.dumps(found, indent=2) if options.json else table(found))


def chain(folder: Path, source: Path, seconds: float) -> dict[str, Any]:
    """Nodes in a line, each following the one before; a client at each."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(node(folder / f"chain-{at}", *(RELAY_SETS if at else SETS)))
            for at in range(HOPS + 1)
        ]
        room = nodes[0].room("bench")
        joins = []
        with publishing(source, f"{nodes[0].rtmp}/{room['stream_key']}"):
            nodes[0].wait_state(room["id"], "live")
            time.sleep(3)
            for one, before in zip(nodes[1:], nodes, strict=False):
                joins.append(join(one, room["id"], before))
            time.sleep(_SETTLE_S)
            seen = watch([_playlist(one, room["id"]) for one in nodes], seconds)
    return {
        "newest_ms": [_spread(each["newest_ms"]) for each in seen],
        "hop_ms": [_spread(each) for each in hops_ms(seen)],
        "lost": [each["lost"] + each["refused"] for each in seen],
        "join_s": joins,
    }


def swarm(folder: Path, source: Path, seconds: float, followers: int) -> dict[str, Any]:
    """Followers that all know the origin, which sends two copies at most."""
    with ExitStack() as stack:
        origin = stack.enter_context(node(folder / "origin", *SETS, "p2p.origin_copies=2"))
        room = origin.room("bench")
        nodes = [
            stack.enter_context(node(folder / f"follower-{at}", *RELAY_SETS))
            for at in range(followers)
        ]
        with publishing(source, f"{origin.rtmp}/{room['stream_key']}"):
            origin.wait_state(room["id"], "live")
            joins = [join(one, room["id"], origin) for one in nodes]
            time.sleep(_SETTLE_S + 4)
            before = _figures(origin), [_figures(one) for one in nodes]
            time.sleep(seconds)
            after = _figures(origin), [_figures(one) for one in nodes]
            shown = [one.ctl("rooms", "show", room["id"])["network"] for one in nodes]
    made = after[0]["hausd_room_part_bytes_total"] - before[0]["hausd_room_part_bytes_total"]
    sent = after[0]["hausd_leaves_sent_bytes_total"] - before[0]["hausd_leaves_sent_bytes_total"]
    lost = [
        late["hausd_room_parts_lost_total"] - early["hausd_room_parts_lost_total"]
        for early, late in zip(before[1], after[1], strict=True)
    ]
    return {
        "followers": followers,
        "copies": sent / made,
        "join_s": joins,
        "followers_that_missed_a_part": sum(each > 0 for each in lost),
        "hops": sorted(each["hops"] or 0 for each in shown),
    }


def join(one: Node, room: str, told_of: Node) -> float:
    """From before ``hausctl rooms follow`` is started until there is something to play."""
    began_s = time.monotonic()
    one.ctl("rooms", "follow", room, "--peer", told_of.words["peer"])
    watcher = Watcher(_playlist(one, room))
    watcher.first_part(_PATIENCE_S)
    watcher.close()
    return time.monotonic() - began_s


def watch(playlists: list[str], seconds: float) -> list[dict[str, Any]]:
    """A client in a process of its own at each playlist."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(len(playlists)) as pool:
        asked = [(playlist, seconds) for playlist in playlists]
        return pool.starmap(watch_one, asked, chunksize=1)


def table(found: dict[str, Any]) -> str:
    """For people."""
    tables = {"chain": _chain_rows, "swarm": _swarm_rows, "far": _far_rows, "rooms": _room_rows}
    rows = [found["machine"], ""]
    for name, made in tables.items():
        if name in found:
            rows += made(found[name])
    return "\n".join(rows)


def _chain_rows(chained: dict[str, Any]) -> list[str]:
    rows = []
    for hop, (p50, p99) in enumerate(chained["newest_ms"]):
        added = ""
        if hop:
            hop_p50, hop_p99 = chained["hop_ms"][hop - 1]
            added = f"   this hop: p50 {hop_p50:.1f} ms (<= {HOP_P50_MS:g}), "
            added += f"p99 {hop_p99:.1f} ms (<= {HOP_P99_MS:g})"
        lost = chained["lost"][hop]
        rows.append(
            f"at hop {hop}: newest frame p50 {p50:.1f} ms, p99 {p99:.1f} ms, lost {lost}{added}"
        )
    joins = ", ".join(f"{each:.2f}" for each in chained["join_s"])
    rows.append(f"join to first part (with hausctl's own start): {joins} s (<= {JOIN_S:g})")
    return rows


def _swarm_rows(swarmed: dict[str, Any]) -> list[str]:
    return [
        f"origin upload, {swarmed['followers']} followers, budget 2 copies: "
        f"{swarmed['copies']:.2f} copies (<= {COPIES:g}); "
        f"{swarmed['followers_that_missed_a_part']} followers missed a part; "
        f"hops {swarmed['hops']}",
        f"join to first part (with hausctl's own start): p50 {median(swarmed['join_s']):.2f} s, "
        f"p95 {quantiles(swarmed['join_s'], n=20, method='inclusive')[18]:.2f} s (<= {JOIN_S:g})",
    ]


def _far_rows(far_: dict[str, Any]) -> list[str]:
    if "not_measured" in far_:
        return [f"50 ms round trip, 20 Mbit/s: not measured: {far_['not_measured']}"]
    ideal, spreads = far_["ideal_ms"], far_["newest_ms"]
    rows = [
        "50 ms round trip, 20 Mbit/s uplinks; 1.5 round trips and a part's "
        f"{far_['part_ms']:.0f} ms are {ideal:.0f} ms:"
    ]
    for hop, (p50, p99) in enumerate(spreads):
        added = ""
        if hop:
            hop_p50, hop_p99 = far_["hop_ms"][hop - 1]
            added = f"   this hop: p50 {hop_p50:.1f} ms (<= {MOST_OF_IDEAL * ideal:.0f}), "
            added += f"p99 {hop_p99:.1f} ms"
        lost = far_["lost"][hop]
        rows.append(
            f"far, at hop {hop}: newest frame p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
            f"lost {lost}{added}"
        )
    return rows


def _room_rows(rooms: dict[str, Any]) -> list[str]:
    said = f"{rooms['announced']} rooms announced, {rooms['followed']} followed"
    return [
        f"{said}, {name}: {100 * cost['core']:.1f} % of a core (<= {100 * CORE_SHARE:g}), "
        f"{cost['memory_bytes'] / 1e6:.0f} MB"
        for name, cost in (("none live", rooms["idle"]), ("two live", rooms["live"]))
    ]


def _spread(values: list[float]) -> tuple[float, float]:
    """p50 and p99."""
    if len(values) < 2:
        raise SystemExit(f"a client saw {len(values)} parts: is this machine overloaded?")
    return median(values), quantiles(values, n=100, method="inclusive")[98]


def _playlist(one: Node, room: str) -> str:
    return f"{one.http}/live/{room}/index.m3u8"


def _figures(one: Node) -> dict[str, float]:
    """Counters without labels, and the sums of those with."""
    found: dict[str, float] = {}
    for name, value in re.findall(
        r"^(\w+)(?:{[^}]*})? ([0-9.e+]+)$", one.get("/metrics").text, re.M
    ):
        found[name] = found.get(name, 0.0) + float(value)
    return found


if __name__ == "__main__":
    main()
