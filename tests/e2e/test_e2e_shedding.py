"""On a machine that is too slow, qualities are given up visibly, and the source never waits."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import Any

import m3u8
import pytest
from support.hls_grammar import MediaPlaylist, read_media
from support.hls_validator import check_archive
from support.node import Node, node, running
from support.pushing import for_ever, push
from support.rtmp import read_flv

from hausd.media.demo import Shape, write
from hausd.wire.flv import Tag

# Longer than half a minute, longer still on a busy machine.
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.alone]

RUNG = "media.ladder=[[240,300000]]"
FILM_S = 20
BUSY = "while True: pass"
NEAR_S = 2.5
"""How far behind what was sent the source's live edge may be at any time: a part, and what it costs
to be scheduled among others."""
PATIENCE_S = 90.0


def test_a_machine_that_is_too_slow_sheds_qualities_visibly_and_takes_them_up_again(
    tmp_path: Path,
) -> None:
    film = tmp_path / "film.flv"
    write(str(film), Shape(640, 360, Fraction(30), 2.0, 0, 900_000), seconds=FILM_S)
    tags = for_ever(read_flv(film.read_bytes()), FILM_S * 1000)
    core = str(min(os.sched_getaffinity(0)))
    pinned = ("taskset", "-c", core)
    sets = (RUNG, "media.preset=slower", "media.worker_nice=10", "ingest.reconnect_s=1")
    sets += ("media.segment_seconds=2",)
    with (
        node(tmp_path / "home", *sets, "media.images=false", wrap=pinned) as one,
        ThreadPoolExecutor(1) as pool,
    ):
        room = one.room()
        edge = Edge(one, room["id"])
        url = f"{one.rtmp}/{room['stream_key']}"
        published = pool.submit(push, url, edge.until_over(tags), on_sent=edge.was_sent)
        try:
            sheds_and_restores(one, room["id"], edge, pinned)
        finally:
            edge.over = True
        published.result(PATIENCE_S)
        one.wait_state(room["id"], "ended", PATIENCE_S)
        source, shed = recorded(one, room["id"], "source"), recorded(one, room["id"], "240p")
    assert any(segment.gap for segment in shed.segments)
    assert {segment.dseq for segment in (*source.segments, *shed.segments)} == {0}
    lengths = [sum(segment.duration for segment in each.segments) for each in (source, shed)]
    assert abs(lengths[0] - lengths[1]) < 1, "a quality that was given up lasts as long"


def recorded(one: Node, room: str, rendition: str) -> MediaPlaylist:
    found, faults = check_archive(one.get(f"/archive/{room}/{rendition}/index.m3u8").text)
    assert not faults
    return found


def sheds_and_restores(one: Node, room: str, edge: Edge, pinned: tuple[str, ...]) -> None:
    one.wait_for(f"/live/{room}/240p/index.m3u8")
    edge.until(lambda: offered(one, room) == {"source", "240p"})
    with ExitStack() as busy:
        for _ in range(4):
            # Linux shares a core among sessions before it does among processes.
            busy.enter_context(
                running([*pinned, sys.executable, "-c", BUSY], start_new_session=True)
            )
        edge.until(lambda: offered(one, room) == {"source"})
        shown = edge.shows_shed(["240p"])
    assert "shed" in [notice["code"] for notice in shown["notices"]]
    assert [r["active"] for r in shown["renditions"] if r["name"] == "240p"] == [False]
    edge.until(lambda: offered(one, room) == {"source", "240p"})
    shown = edge.shows_shed([])
    assert "restored" in [notice["code"] for notice in shown["notices"]]
    assert max(edge.behind_s) < NEAR_S, edge.behind_s
    text = one.get(f"/live/{room}/240p/index.m3u8").text
    assert "#EXT-X-GAP" in text, "what was not encoded is a gap, and numbers go on"


def offered(one: Node, room: str) -> set[str]:
    """The video qualities that players are offered now."""
    text = one.get(f"/live/{room}/index.m3u8").text
    return {each.uri.split("/")[0] for each in m3u8.loads(text).playlists}


@dataclass
class Edge:
    """Looks at the source's live edge all the time: how far it is behind what was sent, in the
    media's own time."""

    node: Node
    room: str
    behind_s: list[float] = field(default_factory=list)
    over: bool = False
    _sent_s: float = 0.0
    _began: datetime | None = None

    def until_over(self, tags: Iterable[Tag]) -> Iterator[Tag]:
        return takewhile(lambda _: not self.over, tags)

    def was_sent(self, ms: int) -> None:
        self._sent_s = ms / 1000

    def until(self, holds: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
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

        self.until(as_wanted)
        return shown

    def look(self) -> None:
        sent_s = self._sent_s
        playlist, _ = read_media(self.node.get(f"/live/{self.room}/source/index.m3u8").text)
        first, last = playlist.segments[0], playlist.segments[-1]
        assert first.date is not None
        assert last.date is not None
        self._began = self._began or first.date
        length = last.duration or sum((part.duration for part in last.parts), Fraction(0))
        made_s = (last.date - self._began).total_seconds() + float(length)
        self.behind_s.append(sent_s - made_s)
