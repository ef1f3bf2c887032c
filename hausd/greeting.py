"""What a node says when it is ready: one line for scripts, and where to stream for people."""

from __future__ import annotations

import sys
from urllib.parse import quote

from hausd.config.home import Home
from hausd.core.live import RoomState
from hausd.ingest.server import Door
from hausd.network import NodeNetwork
from hausd.ownchain import OwnChain
from hausd.rooms.manager import Rooms
from hausd.rooms.shape import Urls
from hausd.terms import reachable


def say_ready(
    home: Home,
    doors: list[Door],
    http: tuple[str, int],
    urls: Urls,
    network: NodeNetwork | None,
    own_chain: OwnChain | None,
) -> None:
    """One line for scripts, on standard output."""
    words = ["ready"]
    words += [f"{door.protocol}={reachable(door.address[0])}:{door.address[1]}" for door in doors]
    scheme = urls.http.partition(":")[0] if urls.http else "http"
    words.append(f"http={scheme}://{reachable(http[0])}:{http[1]}")
    if own_chain is not None:
        words.append(f"chain={own_chain.url}")
    words.append(f"admin={quote(str(home.admin_socket))}")
    if network is not None and network.address is not None:
        words.append(f"peer={network.address}")
    print(" ".join(words), flush=True)


def greet_operator(rooms: Rooms) -> None:
    """For people: what to do next."""
    room = next((room for room in rooms.list() if room.state is not RoomState.CLOSED), None)
    if room is None:
        return
    print(
        f"\n  Stream into  {room.ingest_url}\n"
        f"  with the key {room.stream_key}\n"
        f"  and watch at {room.watch_url}\n\n"
        "  OBS: Settings > Stream > Service: Custom, the two above as server and key;\n"
        "  Settings > Output > Output Mode: Advanced > Keyframe Interval: 2 s.\n"
        "  Ctrl-C stops the node.\n",
        file=sys.stderr,
        flush=True,
    )
