"""Rows of ``scripts/bench relay`` that need more than nodes on loopback: distance, many rooms."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from mediabench.publisher import publishing
from mediabench.watcher import Watcher
from support.netlab import Net
from support.node import Node, node

ROUND_TRIP_S, UPLINK_BPS = 0.05, 20e6
MOST_OF_IDEAL = 1.5
"""A hop may take so much of 1.5 round trips (told, asked, sent) and the part's transmission."""
ROOMS, FOLLOWED, LIVE = 100, 10, 2
CORE_SHARE = 0.25
_PATIENCE_S, _SETTLE_S = 30.0, 8.0


def far(
    folder: Path, source: Path, seconds: float, hops: int, sets: tuple[str, ...]
) -> dict[str, Any]:
    """Nodes in a line, each on a machine of its own with a home's uplink; a client at each."""
    try:
        net = Net(hops + 1, 600, delay_s=ROUND_TRIP_S / 2, rate_bps=UPLINK_BPS)
    except OSError as fault:
        return {"not_measured": f"network namespaces with TUN devices need Linux and root: {fault}"}
    with net, ExitStack() as stack:
        nodes: list[Node] = []
        for at in range(hops + 1):
            with net.at(at):
                home = folder / f"far-{at}"
                nodes.append(stack.enter_context(node(home, *sets, *net.sets(at))))
        room = nodes[0].room("bench")
        with net.at(0):
            stack.enter_context(publishing(source, f"{nodes[0].rtmp}/{room['stream_key']}"))
            nodes[0].wait_state(room["id"], "live")
        time.sleep(3)  # something is recorded, which who joins fetches too
        for one, before in zip(nodes[1:], nodes, strict=False):
            one.ctl("rooms", "follow", room["id"], "--peer", before.words["peer"])
            time.sleep(1)  # it has found its place before the next asks it
        time.sleep(_SETTLE_S)
        context = multiprocessing.get_context("spawn")
        watched = []
        for at, one in enumerate(nodes):
            with net.at(at):  # where the process is begun is where it stays
                pool = stack.enter_context(context.Pool(1))
            url = f"{one.http}/live/{room['id']}/index.m3u8"
            watched.append(pool.apply_async(watch, (url, seconds)))
        seen = [each.get() for each in watched]
        with net.at(0):
            part_bytes = nodes[0].figure("hausd_room_part_bytes_total", 'kind="video"')
            parts = nodes[0].figure("hausd_room_parts_total", 'kind="video"')
    part_s = 8 * part_bytes / parts / UPLINK_BPS
    return {
        "newest_ms": [each["newest_ms"] for each in seen],
        "hop_ms": hops_ms(seen),
        "lost": [each["lost"] + each["refused"] for each in seen],
        "ideal_ms": 1000 * (1.5 * ROUND_TRIP_S + part_s),
        "part_ms": 1000 * part_s,
    }


def watch(playlist: str, seconds: float) -> dict[str, Any]:
    """A client at a playlist: the age of each part's newest frame as it is read (ms)."""
    watcher = Watcher(playlist)
    watcher.first_part(_PATIENCE_S)
    watcher.follow(1.0)
    seen = watcher.follow(seconds)
    watcher.close()
    return {
        "newest": seen.newest,
        "newest_ms": seen.newest_ms,
        "lost": seen.lost,
        "refused": seen.refused,
    }


def hops_ms(seen: list[dict[str, Any]]) -> list[list[float]]:
    """What each hop adds to each part that both of its ends saw."""
    by_part = [dict(zip(each["newest"], each["newest_ms"], strict=True)) for each in seen]
    return [
        [later[part] - before[part] for part in later if part in before]
        for before, later in pairwise(by_part)
    ]


def many(folder: Path, source: Path, seconds: float, sets: tuple[str, ...]) -> dict[str, Any]:
    """What a node costs that hears of many rooms and follows a few: none of them live, then two."""
    with ExitStack() as stack:
        origin = stack.enter_context(node(folder / "many-origin", *sets))
        rooms = [origin.room(f"Room {number}") for number in range(ROOMS)]
        one = stack.enter_context(node(folder / "many-follower", *sets))
        one.ctl("peers", "connect", origin.words["peer"])
        for room in rooms[:FOLLOWED]:
            one.ctl("rooms", "follow", room["id"])
        end_s = time.monotonic() + 60
        while len(one.ctl("rooms", "list", "--network")) < ROOMS and time.monotonic() < end_s:
            time.sleep(1)  # asked again now and then: asking costs the node too
        heard = len(one.ctl("rooms", "list", "--network"))
        idle = _cost(one, seconds)
        for room in rooms[:LIVE]:
            url = f"{origin.rtmp}/{room['stream_key']}"
            stack.enter_context(publishing(source, url))
        for room in rooms[:LIVE]:
            one.wait_state(room["id"], "live")
        time.sleep(_SETTLE_S)
        return {"announced": heard, "followed": FOLLOWED, "idle": idle, "live": _cost(one, seconds)}


def _cost(one: Node, seconds: float) -> dict[str, float]:
    """Share of a core and memory (bytes, proportional) of a node and its processes."""
    processes = _family(one)
    before = sum(map(_cpu_s, processes))
    time.sleep(seconds)
    spent = sum(map(_cpu_s, processes)) - before
    memory = sum(each.memory_full_info().pss for each in processes)
    return {"core": spent / seconds, "memory_bytes": memory}


def _family(one: Node) -> list[psutil.Process]:
    parent = psutil.Process(one.process.pid)
    return [parent, *parent.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
