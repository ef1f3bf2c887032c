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
from support.playback import Played, Taken, take
from support.publish import publishing
from support.whole import (
    PAGE,
    READ_ANEW_S,
    Whole,
    account,
    frames_of,
    has_ended,
    shown,
    whole_chain,
    written,
)

from hausd.media.demo import Shape, write

_ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not _ARTIFACTS.is_dir(), reason="the programs are not built"),
]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.flv"
    write(str(path), Shape(320, 180, Fraction(30), 1.0, 0, 300_000), seconds=60)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole_chain(tmp_path_factory.mktemp("whole")) as made:
        yield made


@pytest.fixture(scope="module")
def keeper(whole: Whole) -> Node:
    return whole.node("keeper")


@pytest.fixture(scope="module")
def late(whole: Whole) -> Node:
    """Comes to every event when its origin is gone."""
    return whole.node("late")


def same(ours: dict[str, Taken], theirs: dict[str, Taken]) -> None:
    """The same segments, byte for byte, under the same names."""
    assert set(ours) == set(theirs)
    for name, taken in ours.items():
        other = theirs[name]
        assert [one.uri for one in taken.segments] == [one.uri for one in other.segments]
        assert taken.inits == other.inits
        assert taken.media == other.media


def every_frame(taken: Taken) -> None:
    """Decodes it: the numbers in the pictures are those of the film, none is missing."""
    numbers = Played.of(taken).numbers
    assert len(numbers) >= 60
    assert numbers == list(range(numbers[0] or 0, (numbers[0] or 0) + len(numbers)))


def test_checkpoints_appear_while_it_streams_and_a_follower_holds_them_against_what_is_signed(
    film: Path, whole: Whole, keeper: Node
) -> None:
    origin, follower = whole.node("checked"), keeper
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
        there_too = account(whole, event)["checkpoint"]
        assert there_too["count"] >= 2
        status = origin.ctl("status")["chain"]
        assert status["last_checkpoint"]["room"] == event
        assert status["rooms"] == 1
        (budget,) = status["budgets"]
        assert (budget["room"], budget["authority"]) == (event, there["authority"])
        assert 1_500 < budget["checkpoints"] < 1_822, "of 0.01 SOL, at 5,000 lamports each"
        assert origin.figure("hausd_chain_checkpoints_left") == pytest.approx(
            budget["checkpoints"], abs=30
        ), "it is counted every 30 s, and one a second is written"
    whole.by_artist("end", event)
    final = until(lambda: _agreed(origin, follower, event), READ_ANEW_S)
    assert final == account(whole, event)["checkpoint"]["manifest"]


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


def test_a_finalized_event_is_played_from_the_chain_alone(
    film: Path, whole: Whole, keeper: Node, late: Node
) -> None:
    origin = whole.node("finalized")
    made = whole.event(origin)
    event = made["id"]
    keeper.ctl("rooms", "follow", event)
    keeper.ctl("pins", "add", event)
    with publishing(film, f"{origin.rtmp}/{made['stream_key']}"):
        until(lambda: shown(origin, event)["recording"]["segments"] >= 3)
    whole.by_artist("end", event)
    done = whole.by_artist("finalize", event)
    assert done["status"] == "finalized"
    until(lambda: _agreed(origin, keeper, event), READ_ANEW_S)
    recording = until(lambda: account(whole, event)["recording"], READ_ANEW_S)
    until(lambda: shown(keeper, event)["published"]["directory"] == recording, READ_ANEW_S)
    ours = take(origin, event, "archive", PAGE)
    origin.kill()

    followed = late.ctl("rooms", "follow", event)
    assert followed["title"] == "Sundown"
    until(lambda: has_ended(late, event), READ_ANEW_S)
    theirs = take(late, event, "archive", PAGE)
    same(ours, theirs)
    every_frame(theirs["source"])
    there = shown(late, event)
    assert there["state"] == "closed"
    assert there["event"]["recording"] == recording
    assert there["recording"]["manifest"] == there["event"]["checkpoint"]["manifest"]
    assert frames_of(f"{late.http}/archive/{event}/index.m3u8") == len(
        Played.of(theirs["source"]).numbers
    )
    assert frames_of(f"{late.http}/ipfs/{recording}/index.m3u8") == len(
        Played.of(theirs["source"]).numbers
    )


def keeps_all(room: dict[str, Any]) -> bool:
    """Whether a follower has all that the checkpoint on chain names, which it has found right."""
    return bool(room["event"]["matched"]) and not room["recording"]["missing"]


def test_an_event_whose_origin_died_is_played_as_far_as_its_last_checkpoint(
    film: Path, whole: Whole, keeper: Node, late: Node
) -> None:
    origin = whole.node("died")
    made = whole.event(origin)
    event = made["id"]
    keeper.ctl("rooms", "follow", event)
    keeper.ctl("pins", "add", event)
    with publishing(film, f"{origin.rtmp}/{made['stream_key']}"):
        until(lambda: (written(origin, event) or {}).get("n", 0) >= 5)
        until(lambda: keeps_all(shown(keeper, event)))
        ours = take(origin, event, "archive", PAGE)
        origin.kill()

    late.ctl("rooms", "follow", event)
    until(lambda: shown(late, event)["recording"]["segments"] >= 2)
    whole.by_artist("end", event)
    until(lambda: has_ended(late, event), READ_ANEW_S)
    until(lambda: has_ended(keeper, event), READ_ANEW_S)
    theirs = take(late, event, "archive", PAGE)
    every_frame(theirs["source"])
    for name, taken in theirs.items():
        both = set(taken.media) & set(ours[name].media)
        assert len(both) >= 2
        assert all(taken.media[msn] == ours[name].media[msn] for msn in both)
    same(take(keeper, event, "archive", PAGE), theirs)


def test_what_nobody_has_is_said_in_words(film: Path, whole: Whole, late: Node) -> None:
    origin = whole.node("alone")
    made = whole.event(origin)
    event = made["id"]
    with publishing(film, f"{origin.rtmp}/{made['stream_key']}"):
        until(lambda: written(origin, event))
        origin.kill()
    followed = late.ctl("rooms", "follow", event)
    assert [notice["code"] for notice in followed["notices"]] == ["nobody-found"]
    there = until(lambda: shown(late, event)["recording"]["sought"] and shown(late, event), 30)
    assert there["event"]["checkpoint"]["manifest"] in there["recording"]["sought"]
    answer = late.get(f"/archive/{event}/index.m3u8", headers=PAGE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "recording-sought")
