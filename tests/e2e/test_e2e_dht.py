"""Rooms are found by their id alone: nodes that know one common node find each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.node import Node, node
from support.places import places
from support.publish import publishing

from hausd.media.demo import Shape, write

pytestmark = pytest.mark.e2e

SETS = ("media.ladder=[]", "media.segment_seconds=4", "ingest.reconnect_s=1")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.flv"
    write(str(path), Shape(320, 180, Fraction(30), 2.0, 0, 300_000), seconds=60)
    return path


def until(holds: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What ``holds`` gives, as soon as that is true."""
    end_s = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.1)
    return found


def plays(one: Node, room: str) -> bool:
    answer = one.get(f"/live/{room}/source/index.m3u8")
    return answer.status_code == 200 and "#EXTINF" in answer.text


def published(one: Node, room: str) -> Any:
    return one.shown(room)["published"]


def id_of(one: Node) -> str:
    return one.words["peer"].rpartition("/")[2]


def test_a_room_is_found_by_its_id_and_followed_without_an_address(
    film: Path, tmp_path: Path
) -> None:
    with (
        node(tmp_path / "common", *SETS) as common,
        node(tmp_path / "viewer", *SETS) as viewer,
        node(tmp_path / "third", *SETS) as third,
    ):
        with node(tmp_path / "origin", *SETS) as origin:
            for one in (origin, viewer, third):
                one.ctl("peers", "connect", common.words["peer"])
            room = origin.room("Saturday at the Haus")
            id_ = room["id"]
            until(lambda: published(origin, id_)["peers"] >= 1)
            with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
                (card,) = viewer.ctl("rooms", "list", "--network", id_)
                assert card["title"] == "Saturday at the Haus"
                viewer.ctl("rooms", "follow", id_)
                until(lambda: plays(viewer, id_))
                assert id_of(origin) in [peer["id"] for peer in viewer.ctl("peers", "list")]
                until(lambda: published(viewer, id_)["peers"] >= 1)
            until(lambda: origin.shown(id_)["state"] == "ended")
            until(lambda: viewer.shown(id_)["state"] == "ended")
            told = until(lambda: _named(origin, id_))
            assert told["name_path"] == f"/ipfs/{told['directory']}"
            exported = origin.ctl("rooms", "export", id_)
            assert exported["cid"] == told["directory"]
        third.ctl("rooms", "follow", id_)
        assert id_of(viewer) in [peer["id"] for peer in third.ctl("peers", "list")]
        until(lambda: third.shown(id_)["recording"]["segments"] > 0)
        with node(tmp_path / "origin", *SETS) as origin:
            kept = published(origin, id_)["name_sequence"]
            assert kept == told["name_sequence"], "it is kept across a restart"


def _named(one: Node, room: str) -> Any:
    told = published(one, room)
    return told if told["directory"] and told["name_peers"] else None


def test_machines_of_one_network_find_who_has_a_room_also_when_its_origin_is_gone(
    film: Path, tmp_path: Path
) -> None:
    with places(4, tmp_path, delay_s=0.025, rate_bps=20e6) as (common, origin, relay, late):
        for one in (origin, relay, late):
            one.on.ctl("peers", "connect", common.address)
        room = origin.on.room()
        id_ = room["id"]
        until(lambda: origin.shown(id_)["published"]["peers"])
        with origin.publishing(film, room):
            relay.on.ctl("rooms", "follow", id_)
            until(lambda: relay.plays(id_))
            until(lambda: relay.shown(id_)["recording"]["segments"])
            until(lambda: relay.shown(id_)["published"]["peers"])
            origin.kill()
        late.on.ctl("rooms", "follow", id_)
        assert relay.peer in [peer["id"] for peer in late.on.ctl("peers", "list")]
        until(lambda: late.shown(id_)["recording"]["segments"])
        origin.start()
        until(lambda: late.shown(id_)["network"]["hops"] is not None, 60)


def test_a_room_that_nobody_has_is_followed_all_the_same_and_that_is_said(tmp_path: Path) -> None:
    with node(tmp_path / "one", *SETS) as one, node(tmp_path / "other", *SETS) as other:
        one.ctl("peers", "connect", other.words["peer"])
        with node(tmp_path / "gone", *SETS) as gone:
            id_ = gone.room()["id"]
        assert one.ctl("rooms", "list", "--network", id_) == []
        shown = one.ctl("rooms", "follow", id_)
        assert [notice["code"] for notice in shown["notices"]] == ["nobody-found"]
        with node(tmp_path / "gone", *SETS) as gone:
            gone.ctl("peers", "connect", other.words["peer"])
            until(lambda: one.shown(id_)["network"]["neighbours"], 60)


def test_without_the_dht_rooms_go_by_addresses(tmp_path: Path) -> None:
    off = (*SETS, "p2p.dht=off")
    with node(tmp_path / "one", *off) as one, node(tmp_path / "other", *off) as other:
        room = other.room()["id"]
        one.ctl("peers", "connect", other.words["peer"])
        assert one.ctl("status")["dht_peers"] == 0
        one.ctl("rooms", "follow", room, "--peer", other.words["peer"])
        until(lambda: one.shown(room)["network"]["neighbours"])
