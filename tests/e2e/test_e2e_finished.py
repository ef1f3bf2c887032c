"""The same recording is the same CID: at its origin, at who relayed it, and after a kill -9."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.node import Node, node, until
from support.publish import publishing

from hausd.media.demo import Shape, write

pytestmark = pytest.mark.e2e

ORIGIN = ("media.ladder=[[144,200000]]", "media.segment_seconds=4", "ingest.reconnect_s=1")
OTHER = ("media.ladder=[]", "media.segment_seconds=30")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.flv"
    write(str(path), Shape(320, 180, Fraction(30), 2.0, 0, 300_000), seconds=60)
    return path


def manifest(one: Node, room: str) -> Any:
    shown = one.shown(room)
    return shown["recording"]["manifest"] if shown["state"] == "ended" else None


def test_an_origin_killed_in_the_middle_and_its_follower_export_the_same_cid(
    film: Path, tmp_path: Path
) -> None:
    with node(tmp_path / "follower", *OTHER) as follower:
        with node(tmp_path / "origin", *ORIGIN) as origin:
            room = origin.room()
            id_ = room["id"]
            follower.ctl("rooms", "follow", id_, "--peer", origin.words["peer"])
            with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
                origin.wait_state(id_, "live")
                until(lambda: follower.shown(id_)["recording"]["segments"] >= 2)
                time.sleep(2.0)  # real time: into the next segment
                origin.kill()
        with node(tmp_path / "origin", *ORIGIN) as origin:
            origin.ctl("peers", "connect", follower.words["peer"])
            assert any("cut short" in line for line in origin.ctl("status")["repaired"])
            known = until(lambda: manifest(origin, id_))
            until(lambda: manifest(follower, id_) == known, 60)
            ours = origin.ctl("rooms", "export", id_)
            theirs = until(lambda: _whole(follower, id_))
            assert theirs["cid"] == ours["cid"]
            assert ours["whole"]
            poster = origin.get(f"/ipfs/{ours['cid']}/poster.jpg")
            assert poster.content == follower.get(f"/ipfs/{ours['cid']}/poster.jpg").content
            assert "#EXTINF" in follower.get(f"/ipfs/{ours['cid']}/144p/index.m3u8").text


def _whole(one: Node, room: str) -> Any:
    made = one.ctl("rooms", "export", room)
    return made if made["whole"] else None
