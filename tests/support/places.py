"""Whole nodes on machines of their own (``netlab``), and what each of them missed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from support.netlab import Net, net
from support.node import Node, node
from support.publish import publishing

SETS = ("media.ladder=[[144,200000]]", "media.segment_seconds=4", "ingest.reconnect_s=20")
RENDITIONS = ("source", "144p", "audio")
COME_S = 30.0


def until(holds: Callable[[], Any], seconds: float = COME_S) -> Any:
    """What ``holds`` gives, as soon as that is true."""
    end_s = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.1)
    return found


@dataclass
class Place:
    """A node where it stands; what its clients ask is asked there."""

    net: Net
    number: int
    folder: Path
    sets: tuple[str, ...] = ()
    node: Node | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Starts the node; it has the home that it had before."""
        with self.net.at(self.number):
            home = self.folder / f"home-{self.number}"
            sets = (*SETS, *self.net.sets(self.number), *self.sets)
            self.node = self._stack.enter_context(node(home, *sets))

    def kill(self) -> None:
        """SIGKILL."""
        self.on.kill()
        self._stack.close()

    def stop(self) -> None:
        self._stack.close()

    @property
    def on(self) -> Node:
        assert self.node is not None
        return self.node

    @property
    def address(self) -> str:
        return self.on.words["peer"]

    @property
    def peer(self) -> str:
        return self.address.rpartition("/")[2]

    def get(self, path: str) -> Any:
        with self.net.at(self.number):
            return self.on.get(path)

    @contextmanager
    def publishing(self, film: Path, room: dict[str, Any]) -> Iterator[None]:
        """The film over and over, from a program beside the node; the room is live."""
        with ExitStack() as stack:
            with self.net.at(self.number):
                url = f"{self.on.rtmp}/{room['stream_key']}"
                stack.enter_context(publishing(film, url))
                self.on.wait_state(room["id"], "live")
            yield

    def follow(self, room: str, *of: Place) -> None:
        """Follows a room of a node that may be reached through any of these."""
        self.on.ctl("rooms", "follow", room, "--peer", of[0].address)
        for other in of[1:]:
            self.on.ctl("peers", "connect", other.address)

    def shown(self, room: str) -> dict[str, Any]:
        found: dict[str, Any] = self.on.shown(room)
        return found

    def segments(self, room: str, rendition: str = "source") -> list[tuple[str, str]]:
        """Complete segments of the live playlist: date and name. A gap is one named so."""
        text = self.get(f"/live/{room}/{rendition}/index.m3u8").text
        date, found, gap = "", [], False
        for row, after in zip(text.splitlines(), text.splitlines()[1:], strict=False):
            if row.startswith("#EXT-X-PROGRAM-DATE-TIME"):
                date = row
            gap |= row == "#EXT-X-GAP"
            if row.startswith("#EXTINF"):
                found.append((date, "gap" if gap or after == "#EXT-X-GAP" else after))
                gap = False
        return found

    def plays(self, room: str) -> bool:
        return bool(self.segments(room))

    def archive(self, room: str, rendition: str = "source") -> list[tuple[str, str]]:
        """Length and name (which is the CID) of each segment of the recording."""
        text = self.get(f"/archive/{room}/{rendition}/index.m3u8").text
        return re.findall(r"#EXTINF:([0-9.]+),\n(\S+)", text)

    def figure(self, name: str) -> float:
        """A metric, all its labels together."""
        with self.net.at(self.number):
            return self.on.figure(name)

    def missed(self) -> float:
        """Parts that did not come in time, and ticks that nobody told."""
        return self.figure("hausd_room_parts_lost_total") + self.figure(
            "hausd_room_ticks_lost_total"
        )

    def said(self, event: str) -> list[dict[str, Any]]:
        """What the node's log says of this kind."""
        lines = (line for line in self.on.log.read_text().splitlines() if line.startswith("{"))
        found = [line for line in map(json.loads, lines) if line["event"] == event]
        return found


@contextmanager
def places(count: int, folder: Path, **how: float) -> Iterator[list[Place]]:
    """So many nodes, each of them with a machine of its own."""
    with net(count, **how) as made, ExitStack() as stack:
        found = [Place(made, number, folder) for number in range(count)]
        for one in found:
            stack.callback(one.stop)
            one.start()
        yield found


def same_recording(origin: Place, others: list[Place], room: str) -> None:
    """Waits until all have the origin's recording, whole; then compares it byte by byte."""
    for rendition in RENDITIONS:
        whole = origin.archive(room, rendition)
        assert whole
        for other in others:
            until(partial(_has, other, room, rendition, whole), 60)
        for _, name in whole[:: max(1, len(whole) // 4)]:
            path = f"/archive/{room}/{rendition}/{name}"
            bodies = {one.get(path).content for one in (origin, *others)}
            assert len(bodies) == 1
            assert b"" not in bodies


def _has(one: Place, room: str, rendition: str, whole: list[tuple[str, str]]) -> bool:
    return one.archive(room, rendition) == whole
