"""What goes wrong between nodes, on several machines with home uplinks: nobody misses a segment
whom any honest path reaches, all recordings become whole, and the log says what happened."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest
from support.places import Place, places, same_recording, until

from hausd.media.demo import Shape, write

pytestmark = pytest.mark.e2e

HOME = {"delay_s": 0.025, "rate_bps": 20e6}
"""50 ms there and back, 20 Mbit/s up."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.flv"
    write(str(path), Shape(320, 180, Fraction(30), 2.0, 0, 300_000), seconds=60)
    return path


def settled(room: str, *followers: Place) -> None:
    """All of them show the room, and have found whom to get it from."""
    for one in followers:
        until(lambda one=one: one.plays(room))
    time.sleep(4)


def no_gaps(room: str, *followers: Place) -> bool:
    return all(name != "gap" for one in followers for _, name in one.segments(room))


def test_lost_packets_and_distance_cost_nobody_a_segment(film: Path, tmp_path: Path) -> None:
    with places(3, tmp_path, **HOME, loss=0.015) as (origin, relay, viewer):
        room = origin.on.room()
        id_ = room["id"]
        with origin.publishing(film, room):
            relay.follow(id_, origin)
            viewer.follow(id_, relay)
            settled(id_, relay, viewer)
            time.sleep(12)
            assert [one.missed() for one in (relay, viewer)] == [0, 0]
            assert no_gaps(id_, relay, viewer)
        origin.on.ctl("rooms", "close", id_)
        same_recording(origin, [relay, viewer], id_)


def test_who_has_another_way_misses_nothing_when_a_relay_falls_silent_or_dies(
    film: Path, tmp_path: Path
) -> None:
    with places(4, tmp_path, **HOME) as (origin, silent, dying, viewer):
        room = origin.on.room()
        id_ = room["id"]
        with origin.publishing(film, room):
            silent.follow(id_, origin)
            dying.follow(id_, origin)
            settled(id_, silent, dying)
            viewer.follow(id_, silent, dying)
            settled(id_, viewer)
            net = viewer.net
            net.cut((0, 1), (1, 2), (1, 3))
            time.sleep(8)
            assert viewer.shown(id_)["network"]["parent"] != silent.peer
            assert [one.missed() for one in (dying, viewer)] == [0, 0]
            net.cut()
            until(lambda: silent.segments(id_)[-1] in origin.segments(id_))
            dying.kill()
            time.sleep(8)
            assert viewer.missed() == 0
            assert no_gaps(id_, viewer)
            assert [line["peer"] for line in viewer.said("peer-gone")].count(dying.peer) == 1
            assert silent.said("parts-missing") or silent.said("room-state")
            dying.start()
        origin.on.ctl("rooms", "close", id_)
        same_recording(origin, [silent, dying, viewer], id_)


def test_a_partition_heals_and_an_origin_that_died_returns(film: Path, tmp_path: Path) -> None:
    with places(3, tmp_path, **HOME) as (origin, relay, viewer):
        room = origin.on.room()
        id_ = room["id"]
        with origin.publishing(film, room):
            relay.follow(id_, origin)
            viewer.follow(id_, relay)
            settled(id_, relay, viewer)
            relay.net.cut((0, 1), (0, 2))
            until(lambda: relay.shown(id_)["state"] == "waiting")
            relay.net.cut()
            until(lambda: viewer.shown(id_)["state"] == "live")
            until(lambda: viewer.segments(id_)[-1] in origin.segments(id_))
            time.sleep(2)
            origin.kill()
        until(lambda: viewer.shown(id_)["state"] == "waiting")
        origin.start()
        with origin.publishing(film, room):
            until(lambda: viewer.shown(id_)["state"] == "live", 60)
            until(lambda: len(viewer.segments(id_)) > 1)
            until(lambda: viewer.segments(id_)[-1] in origin.segments(id_))
            time.sleep(6)
        origin.on.ctl("rooms", "close", id_)
        same_recording(origin, [relay, viewer], id_)
        assert [line["session"].partition("-")[0] for line in viewer.said("session-followed")] == [
            "1",
            "2",
        ]
        states = [line["state"] for line in relay.said("room-state")]
        assert states[:3] == ["live", "waiting", "live"]
