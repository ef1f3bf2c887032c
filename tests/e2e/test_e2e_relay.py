"""A second node shows the first one's stream, a third the second's: the same, byte for byte."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.node import Node, node, until
from support.publish import publishing

from hausd.media.demo import Shape, write

pytestmark = pytest.mark.e2e

SETS = ("media.ladder=[[144,200000]]", "media.segment_seconds=4", "ingest.reconnect_s=20")
FILM_S = 60


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.flv"
    write(str(path), Shape(320, 180, Fraction(30), 2.0, 0, 300_000), seconds=FILM_S)
    return path


@contextmanager
def line(folder: Path, count: int) -> Iterator[list[Node]]:
    """Nodes; who follows whom is for the test."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(node(folder / f"home-{number}", *SETS)) for number in range(count)
        ]


def follow(one: Node, room: str, of: Node) -> None:
    one.ctl("rooms", "follow", room, "--peer", of.words["peer"])


def plays(one: Node, room: str) -> bool:
    answer = one.get(f"/live/{room}/source/index.m3u8")
    return answer.status_code == 200 and "#EXTINF" in answer.text


def segments(one: Node, room: str, rendition: str) -> list[str]:
    """The complete segments of a live playlist: uri, duration and date of each."""
    text = one.get(f"/live/{room}/{rendition}/index.m3u8").text
    found, date = [], ""
    for row, after in zip(text.splitlines(), text.splitlines()[1:], strict=False):
        if row.startswith("#EXT-X-PROGRAM-DATE-TIME"):
            date = row
        if row.startswith("#EXTINF"):
            found.append(f"{date} {row} {after}")
    return found


def sent_bytes(one: Node) -> int:
    return sum(peer["sent_bytes"] for peer in one.ctl("peers", "list"))


def test_a_stream_goes_from_node_to_node_and_is_the_same_everywhere(
    film: Path, tmp_path: Path
) -> None:
    with line(tmp_path, 3) as (origin, relay, viewer):
        room = origin.room()
        id_ = room["id"]
        with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
            origin.wait_state(id_, "live")
            follow(relay, id_, origin)
            until(lambda: plays(relay, id_))
            time.sleep(4)
            before = sent_bytes(origin)
            time.sleep(4)
            alone = sent_bytes(origin) - before
            follow(viewer, id_, relay)
            until(lambda: plays(viewer, id_))
            time.sleep(2)
            before = sent_bytes(origin)
            time.sleep(4)
            assert sent_bytes(origin) - before < 1.5 * alone, "the third costs the first nothing"
            assert [peer["direction"] for peer in viewer.ctl("peers", "list")] == ["out"]
            until(lambda: _shows_the_same(origin, viewer, id_))
            hops = [one.shown(id_)["network"]["hops"] for one in (relay, viewer)]
            assert hops == [1, 2]
            public = relay.get(f"/api/v1/rooms/{id_}").json()
            assert "network" not in public, "viewers need not know who relays for whom"
        for one in (relay, viewer):
            one.wait_state(id_, "waiting")
        origin.ctl("rooms", "close", id_)
        for one in (relay, viewer):
            one.wait_state(id_, "closed")
        whole = archived(origin, id_)
        for one in (relay, viewer):
            until(lambda one=one: archived(one, id_) == whole)
            until(
                lambda one=one: (
                    one.shown(id_)["recording"]["manifest"]
                    == origin.shown(id_)["recording"]["manifest"]
                )
            )


def _shows_the_same(origin: Node, other: Node, room: str) -> bool:
    """The newest segments that both list are the same, by their bytes as well."""
    for rendition in ("source", "144p", "audio"):
        theirs = segments(other, room, rendition)
        ours = segments(origin, room, rendition)
        both = [one for one in theirs if one in ours]
        if len(both) < 2 or theirs[-2] not in both:
            return False
        uri = both[-1].split()[-1]
        path = f"/live/{room}/{rendition}/{uri}"
        a, b = origin.get(path), other.get(path)
        assert a.status_code == b.status_code == 200
        assert (a.content, a.headers["etag"]) == (b.content, b.headers["etag"])
    return True


def archived(one: Node, room: str) -> list[tuple[str, str]]:
    """Length and name (which is the CID) of each segment of the recording."""
    text = one.get(f"/archive/{room}/source/index.m3u8").text
    return re.findall(r"#EXTINF:([0-9.]+),\n(\S+)", text)


def test_a_killed_relay_comes_back_and_goes_on_where_it_was(film: Path, tmp_path: Path) -> None:
    with line(tmp_path, 1) as (origin,):
        room = origin.room()
        id_ = room["id"]
        with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
            origin.wait_state(id_, "live")
            with node(tmp_path / "relay", *SETS) as relay:
                follow(relay, id_, origin)
                until(lambda: len(archived(relay, id_)) >= 1)
                relay.kill()
            with node(tmp_path / "relay", *SETS) as relay:
                until(lambda: plays(relay, id_))
                until(lambda: len(archived(relay, id_)) >= 3)
                names = archived(relay, id_)
                assert names == archived(origin, id_)[: len(names)], "without a hole"


def test_an_origin_that_vanishes_and_returns_is_followed_on(film: Path, tmp_path: Path) -> None:
    with node(tmp_path / "relay", *SETS) as relay:
        with node(tmp_path / "origin", *SETS, "p2p.listen=/ip4/127.0.0.1/tcp/0") as origin:
            room = origin.room()
            id_ = room["id"]
            with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
                follow(relay, id_, origin)
                until(lambda: plays(relay, id_))
                time.sleep(3)
                origin.kill()
        until(lambda: relay.shown(id_)["state"] == "waiting")
        with node(tmp_path / "origin", *SETS) as origin:
            origin.ctl("peers", "connect", relay.words["peer"])
            with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
                relay.wait_state(id_, "live")
                text = until(lambda: _with_segments(relay, id_))
                assert plays(relay, id_), text


def _with_segments(one: Node, room: str) -> str:
    answer = one.get(f"/live/{room}/source/index.m3u8")
    return answer.text if answer.status_code == 200 and "#EXTINF" in answer.text else ""


def test_what_can_not_be_followed_is_said_in_words(tmp_path: Path) -> None:
    with line(tmp_path, 1) as (one,):
        own = one.room()["id"]
        assert one.ctl("rooms", "follow", "nonsense", code=1)["error"]["message"]
        away = "/ip4/127.0.0.1/tcp/9/p2p/" + one.words["peer"].rpartition("/")[2][:-1] + "A"
        said = one.ctl("rooms", "follow", own, "--peer", away, code=1)["error"]
        assert "can't be reached" in said["message"] or "peer id" in said["message"]
        assert one.ctl("rooms", "unfollow", own, code=1)["error"]["code"] == "not-followed"
        assert one.ctl("peers", "list") == []


def test_rooms_of_other_nodes_are_found_and_followed_by_name(film: Path, tmp_path: Path) -> None:
    with line(tmp_path, 3) as (origin, relay, other):
        room = origin.room("Saturday at the Haus")
        relay.ctl("peers", "connect", origin.words["peer"])
        other.ctl("peers", "connect", relay.words["peer"])
        with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):

            def found() -> list[Any]:
                cards = other.ctl("rooms", "list", "--network", "haus", "saturday")
                return [card for card in cards if card["state"] == "live"]

            (card,) = until(found, 40)
            assert (card["id"], card["title"]) == (room["id"], "Saturday at the Haus")
            assert other.ctl("rooms", "list", "--network", "no such words") == []
            relay.ctl("rooms", "follow", card["id"])
            until(lambda: plays(relay, card["id"]))
            until(lambda: relay.shown(card["id"])["title"] == card["title"], 40)
