"""Events as whole nodes see them: checkpoints while it streams, and what is left when nobody is.

``haven`` keeps the chain and never sees a room; ``origin`` streams, ``keeper`` follows and pins,
and whoever comes later knows the event's id and an RPC endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.node import Node, until
from support.publish import publishing
from support.whole import Whole, shown, whole_chain, written

from hausd.media.demo import Shape, write

_ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not _ARTIFACTS.is_dir(), reason="the programs are not built"),
]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.flv"
    write(str(path), Shape(320, 180, Fraction(30), 2.0, 0, 300_000), seconds=60)
    return path


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    with whole_chain(tmp_path) as made:
        yield made


def test_checkpoints_appear_while_it_streams_and_a_follower_holds_them_against_what_is_signed(
    film: Path, whole: Whole
) -> None:
    origin, follower = whole.node("origin"), whole.node("follower")
    made = whole.event(origin)
    event = made["id"]
    follower.ctl("rooms", "follow", event)
    with publishing(film, f"{origin.rtmp}/{made['stream_key']}"):
        origin.wait_state(event, "live")
        until(lambda: (written(origin, event) or {}).get("n", 0) >= 2)
        there = until(lambda: _matched(follower, event, 2))
        assert there["status"] == "live"
        assert there["proven"]
        assert not there["doubt"]
        assert there["checkpoint"]["manifest"] != there["head"]["manifest"] or not there["behind"]
        account = whole.haven.ctl("events", "show", event)["checkpoint"]
        assert account["count"] >= 2
        status = origin.ctl("status")["chain"]
        assert status["last_checkpoint"]["room"] == event
        assert status["rooms"] == 1
    whole.by_artist("end", event)
    final = until(lambda: _agreed(origin, follower, event))
    assert final == whole.haven.ctl("events", "show", event)["checkpoint"]["manifest"]


def _matched(one: Node, room: str, times: int) -> Any:
    event = shown(one, room)["event"]
    return event if event and event["matched"] >= times and event["proof"] == "matches" else None


def _agreed(origin: Node, follower: Node, room: str) -> Any:
    """The manifest that both have and the chain names, once it is all of it."""
    ours, theirs = shown(origin, room), shown(follower, room)
    if {ours["state"], theirs["state"]} != {"closed"} or theirs["event"]["proof"] != "matches":
        return None
    found = {one["recording"]["manifest"] for one in (ours, theirs)}
    found |= {one["event"]["checkpoint"]["manifest"] for one in (ours, theirs)}
    return found.pop() if len(found) == 1 else None
