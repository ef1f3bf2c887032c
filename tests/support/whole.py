"""Whole nodes around one event: ``haven`` keeps the chain and never sees a room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.node import Node, node
from support.wallets import Wallet, wallet

SETS = (
    "media.ladder=[]",
    "media.segment_seconds=2",
    "ingest.reconnect_s=1",
    "chain.checkpoint_every=2",
)
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


def shown(one: Node, room: str) -> dict[str, Any]:
    found: dict[str, Any] = one.ctl("rooms", "show", room)
    return found


def written(one: Node, room: str) -> Any:
    """The newest checkpoint on chain, by this node's word."""
    event = shown(one, room)["event"]
    return event["checkpoint"] if event else None
