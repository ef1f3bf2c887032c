"""An encoder whose keyframes come too seldom, on a node that can't encode it anew: this stream
goes on as it can, the next one is cut at its keyframes, and the artist reads what to set."""

from __future__ import annotations

import re
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.hls_grammar import read_media
from support.hls_validator import check_live
from support.node import Node, node
from support.pushing import push
from support.rtmp import read_flv

from hausd.media.demo import Shape, write
from hausd.wire.flv import Tag

pytestmark = pytest.mark.e2e

SETS = ("media.ladder=[]", "media.images=false", "ingest.reconnect_s=0")
SPEED = 4.0


def film(path: Path, gop_s: float, seconds: float) -> list[Tag]:
    write(str(path), Shape(320, 180, Fraction(30), gop_s, 0, 200_000), seconds=seconds)
    return read_flv(path.read_bytes())


def streams(one: Node, room: dict[str, Any], tags: list[Tag]) -> str:
    """Publishes all of it; gives the live playlist at its end."""
    push(f"{one.rtmp}/{room['stream_key']}", tags, speed=SPEED)
    one.wait_state(room["id"], "ended")
    text = one.get(f"/live/{room['id']}/source/index.m3u8").text
    assert not check_live(text)[1]
    return text


def target_of(text: str) -> int:
    found = re.search(r"#EXT-X-TARGETDURATION:(\d+)", text)
    assert found is not None
    return int(found[1])


def notices(one: Node, room: dict[str, Any]) -> list[str]:
    return [notice["code"] for notice in one.shown(room["id"])["notices"]]


def test_who_waits_has_a_segment_after_a_second_of_media_with_one_keyframe(tmp_path: Path) -> None:
    tags = film(tmp_path / "film.flv", 8.0, 1.5)
    has_it = threading.Event()

    def hold(ms: int) -> None:
        if ms > 1100:
            has_it.wait()  # no more is sent until somebody could begin to play

    with node(tmp_path / "home", *SETS) as one:
        room = one.room()
        url = f"{one.rtmp}/{room['stream_key']}"
        sender = threading.Thread(target=push, args=(url, tags), kwargs={"on_sent": hold})
        sender.start()
        try:
            for name in ("source", "audio"):
                text = one.wait_for(f"/live/{room['id']}/{name}/index.m3u8").text
                playlist, findings = check_live(text)
                assert not findings
                assert playlist.complete, text
        finally:
            has_it.set()
            sender.join()


def test_the_next_session_is_cut_at_the_sources_keyframes_until_it_mends(tmp_path: Path) -> None:
    seldom = film(tmp_path / "seldom.flv", 5.0, 21.0)
    often = film(tmp_path / "often.flv", 2.0, 24.0)
    home = tmp_path / "home"
    with node(home, *SETS, "media.reencode_long_gops=false") as one:
        room = one.room()
        first = streams(one, room, seldom)
        assert target_of(first) == 2
        assert "#EXT-X-INDEPENDENT-SEGMENTS" not in first, "cut where there is no keyframe"
        shown = one.shown(room["id"])["notices"]
        assert [notice["code"] for notice in shown] == ["long-gop"]
        assert "keyframe only every 5 s" in shown[0]["text"]
        assert "keyframe interval to 2 s (OBS: Settings > Output" in shown[0]["text"]
    with node(home, *SETS, "media.reencode_long_gops=false") as one:
        second = streams(one, room, seldom)
        assert target_of(second) == 5
        early, rest, *whole, _ = read_media(second)[0].segments
        assert (early.duration, rest.duration) == (1, 4), "the first segment does not wait"
        assert whole
        assert all(segment.duration == 5 for segment in whole)
        assert all(segment.parts[0].independent for segment in whole if segment.parts)
        assert notices(one, room) == ["long-gop"], "told again, while it lasts"
        third = streams(one, room, often)
        assert target_of(third) == 5, "never changed within a session"
        assert notices(one, room)[-1] == "gops-mended"
        assert target_of(streams(one, room, often)) == 2
