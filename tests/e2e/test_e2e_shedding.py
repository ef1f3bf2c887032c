"""On a machine that is too slow, qualities are given up visibly, and the source never waits."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import m3u8
import pytest
from support.hls_grammar import read_media
from support.node import Node, node, running
from support.publish import publishing

from hausd.media.demo import Shape, write

# timing on a shared machine decides over these: they run with scripts/test --slow
pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RUNG = "media.ladder=[[240,300000]]"
BUSY = "import time; end = time.monotonic() + {0}\nwhile time.monotonic() < end: pass"
BUSY_S = 9.0
NEAR_S = 2.5
"""How far behind now the source's live edge may be at any time: a part, and what it costs to be
scheduled among others."""


def test_a_machine_that_is_too_slow_sheds_qualities_visibly_and_takes_them_up_again(
    tmp_path: Path,
) -> None:
    film = tmp_path / "film.flv"
    write(str(film), Shape(640, 360, Fraction(30), 2.0, 0, 900_000), seconds=20)
    core = str(min(os.sched_getaffinity(0)))
    pinned = ("taskset", "-c", core)
    sets = (RUNG, "media.preset=slower", "media.worker_nice=10", "ingest.reconnect_s=1")
    with (
        node(tmp_path / "home", *sets, "media.images=false", wrap=pinned) as one,
        ExitStack() as on,
    ):
        room = one.room()
        on.enter_context(publishing(film, f"{one.rtmp}/{room['stream_key']}"))
        one.wait_for(f"/live/{room['id']}/240p/index.m3u8")
        edge = Edge(one, room["id"])
        edge.until(lambda: offered(one, room["id"]) == {"source", "240p"})
        for _ in range(4):
            on.enter_context(
                running(
                    [*pinned, sys.executable, "-c", BUSY.format(BUSY_S)],
                    # Linux shares a core among sessions before it does among processes.
                    start_new_session=True,
                )
            )
        edge.until(lambda: offered(one, room["id"]) == {"source"})
        shown = edge.shows_shed(["240p"])
        assert "shed" in [notice["code"] for notice in shown["notices"]]
        assert [r["active"] for r in shown["renditions"] if r["name"] == "240p"] == [False]
        edge.until(lambda: offered(one, room["id"]) == {"source", "240p"}, 40.0)
        shown = edge.shows_shed([])
        assert "restored" in [notice["code"] for notice in shown["notices"]]
        assert max(edge.behind_s) < NEAR_S, edge.behind_s
        text = one.get(f"/live/{room['id']}/240p/index.m3u8").text
        assert "#EXT-X-GAP" in text, "what was not encoded is a gap, and numbers go on"


def offered(one: Node, room: str) -> set[str]:
    """The video qualities that players are offered now."""
    text = one.get(f"/live/{room}/index.m3u8").text
    return {each.uri.split("/")[0] for each in m3u8.loads(text).playlists}


@dataclass
class Edge:
    """Looks at the source's live edge all the time: how far it is behind now."""

    node: Node
    room: str
    behind_s: list[float] = field(default_factory=list)

    def until(self, holds: Callable[[], bool], seconds: float = 25.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, (
                self.behind_s,
                self.node.ctl("rooms", "show", self.room),
            )
            self.look()
            time.sleep(0.2)

    def shows_shed(self, names: list[str]) -> dict[str, Any]:
        """What ``hausctl`` shows once it says that this is shed (it learns it once a second)."""
        shown: dict[str, Any] = {}

        def as_wanted() -> bool:
            shown.update(self.node.ctl("rooms", "show", self.room))
            return bool(shown["worker"]["shed"] == names)

        self.until(as_wanted, 5.0)
        return shown

    def look(self) -> None:
        playlist, _ = read_media(self.node.get(f"/live/{self.room}/source/index.m3u8").text)
        last = playlist.segments[-1]
        assert last.date is not None
        length = last.duration or sum((part.duration for part in last.parts), Fraction(0))
        now = datetime.now(UTC)
        self.behind_s.append((now - last.date).total_seconds() - float(length))
