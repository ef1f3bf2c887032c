"""Whole nodes around one event: ``haven`` keeps the chain and never sees a room."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.node import Node, node
from support.wallets import Wallet, wallet

from hausctl.client import Client

SETS = (
    "media.ladder=[]",
    "media.gop_seconds=1",
    "media.segment_seconds=1",
    "ingest.reconnect_s=1",
    "chain.checkpoint_every=1",
)
READ_ANEW_S = 90.0
"""For what a node learns from the chain alone: events are read anew every 30 s, and endpoints that
stand still are noticed after 15 s, on a machine that does other work too."""
PAGE = {"sec-fetch-site": "same-origin"}
"""An event's room is for the node's own page."""


@dataclass
class Whole:
    """Nodes on one chain."""

    folder: Path
    stack: ExitStack
    haven: Node
    artist: Wallet
    rpc: str

    def node(self, name: str, *sets: str, rpc: str = "") -> Node:
        """A node that knows the chain's RPC and one node of the network."""
        opening = node(self.folder / name, *SETS, f"chain.rpc_url={rpc or self.rpc}", *sets)
        made = self.stack.enter_context(opening)
        made.ctl("peers", "connect", self.haven.words["peer"])
        return made

    def event(self, on: Node) -> dict[str, Any]:
        """A new event whose room is on this node."""
        options = ("--ends", "+2h", "--keypair", self.artist.file)
        made: dict[str, Any] = on.ctl("events", "create", "Sundown", *options)
        return made

    def by_artist(self, command: str, event: str) -> Any:
        return self.haven.ctl("events", command, event, "--keypair", self.artist.file)


@contextmanager
def whole_chain(folder: Path) -> Iterator[Whole]:
    """A haven, and an artist with a wallet."""
    with ExitStack() as stack:
        haven = stack.enter_context(node(folder / "haven", *SETS))
        rpc = haven.words["chain"]
        yield Whole(folder, stack, haven, wallet(folder / "artist.json", rpc), rpc)


def ask(one: Node, *path: str) -> Any:
    """What ``hausctl --json`` shows of it, without starting a program each time."""
    return Client(one.home).get(*path)


def shown(one: Node, room: str) -> dict[str, Any]:
    """As ``hausctl rooms show``."""
    found: dict[str, Any] = ask(one, "rooms", room)
    return found


def account(whole: Whole, event: str) -> dict[str, Any]:
    """As ``hausctl events show``, by the chain's own node."""
    found: dict[str, Any] = ask(whole.haven, "events", event)
    return found


def written(one: Node, room: str) -> Any:
    """The newest checkpoint on chain, by this node's word."""
    event = shown(one, room)["event"]
    return event["checkpoint"] if event else None


def frames_of(url: str) -> int:
    """So many pictures ffprobe decodes of a playlist."""
    ran = subprocess.run(
        [
            *("ffprobe", "-v", "error", "-headers", "Sec-Fetch-Site: same-origin\r\n"),
            *("-select_streams", "v:0", "-count_frames", "-show_entries", "stream=nb_read_frames"),
            *("-of", "csv=p=0", url),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not ran.stderr, ran.stderr
    return int(ran.stdout.split()[0].strip(","))


def has_ended(one: Node, room: str) -> bool:
    """Whether a room's recording is here up to its end."""
    answer = one.get(f"/archive/{room}/source/index.m3u8", headers=PAGE)
    return answer.status_code == 200 and "#EXT-X-ENDLIST" in answer.text
