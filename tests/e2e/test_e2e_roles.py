"""A node is in a room because somebody wants it there: it watches, follows, or relays."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.content import OTHER_ROOM
from support.node import Node, node, until
from support.publish import publishing

from hausd.core.keys import SigningKey
from hausd.core.peers import peer_id_of
from hausd.media.demo import Shape, write
from hausd.policy.roles import draw, moment_s

pytestmark = pytest.mark.e2e

SETS = ("media.ladder=[]", "media.segment_seconds=4", "ingest.reconnect_s=20")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.flv"
    write(str(path), Shape(320, 180, Fraction(30), 2.0, 0, 300_000), seconds=60)
    return path


def ids(one: Node) -> list[str]:
    return [room["id"] for room in one.ctl("rooms", "list")]


def test_who_opens_a_rooms_url_at_his_own_node_watches_it_from_there(
    film: Path, tmp_path: Path
) -> None:
    with node(tmp_path / "origin", *SETS) as origin, node(tmp_path / "viewer", *SETS) as viewer:
        room = origin.room("Saturday at the Haus")
        id_ = room["id"]
        viewer.ctl("peers", "connect", origin.words["peer"])
        with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
            origin.wait_state(id_, "live")
            path = f"/live/{id_}/index.m3u8"
            for headers in (
                {},
                {"sec-fetch-site": "cross-site"},
                {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"},
                {"sec-fetch-site": "none"},
            ):
                answer = viewer.get(path, headers=headers)
                assert answer.status_code == 404
                assert answer.json()["error"]["code"] == "unknown-room"
            assert viewer.get(f"{path}?token={'0' * 32}").status_code == 404
            assert id_ not in ids(viewer), "nobody else can have it join"

            urls = viewer.ctl("rooms", "watch", id_)
            began_s = time.monotonic()
            answer = viewer.get(urls["live_url"])
            assert answer.status_code == 200, answer.text
            assert time.monotonic() - began_s < 8
            assert "source/index.m3u8" in answer.text
            assert "#EXTINF" in viewer.get(f"/live/{id_}/source/index.m3u8").text
            (shown,) = [one for one in viewer.ctl("rooms", "list") if one["id"] == id_]
            assert (shown["role"], shown["why"], shown["viewers"]) == ("follower", "watched", 1)
            assert shown["watch_url"] == urls["watch_url"]
            public = viewer.get(f"/api/v1/rooms/{id_}")
            assert "token" not in public.text, "the token is for this node's own people"
            assert "why" not in public.json()
            viewer.ctl("rooms", "follow", id_)
            assert viewer.shown(id_)["why"] == "followed"
            viewer.ctl("rooms", "unfollow", id_)
            assert viewer.shown(id_)["why"] == "watched", "somebody watches"


def test_the_nodes_own_page_may_join_and_a_room_that_nobody_has_is_said_to_be_so(
    film: Path, tmp_path: Path
) -> None:
    ours = {"sec-fetch-site": "same-origin"}
    with node(tmp_path / "origin", *SETS) as origin, node(tmp_path / "viewer", *SETS) as viewer:
        viewer.ctl("peers", "connect", origin.words["peer"])
        answer = viewer.get(f"/live/{OTHER_ROOM}/index.m3u8", headers=ours)
        assert answer.status_code == 404
        error = answer.json()["error"]
        assert error["code"] == "nobody-has-it"
        assert "hausctl peers connect" in error["hint"]
        assert OTHER_ROOM not in ids(viewer)
        room = origin.room()
        with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
            origin.wait_state(room["id"], "live")
            answer = viewer.get(f"/live/{room['id']}/index.m3u8", headers=ours)
            assert answer.status_code == 200, answer.text
        origin.ctl("rooms", "close", room["id"])
        viewer.wait_state(room["id"], "closed")
    with node(tmp_path / "origin", *SETS) as origin, node(tmp_path / "late", *SETS) as late:
        late.ctl("peers", "connect", origin.words["peer"])
        url = late.ctl("rooms", "watch", room["id"])["archive_url"]
        answer = late.get(url)
        assert answer.status_code == 200, answer.text
        text = until(lambda: _finished(late, room["id"]))
        assert "#EXTINF" in text


def _finished(one: Node, room: str) -> str:
    text = one.get(f"/archive/{room}/source/index.m3u8").text
    return text if "#EXT-X-ENDLIST" in text else ""


def test_a_page_that_another_site_opens_asks_first(tmp_path: Path) -> None:
    with node(tmp_path / "viewer", *SETS) as viewer:
        page = f"/?room={OTHER_ROOM}"
        answer = viewer.get(page, headers={"sec-fetch-site": "cross-site"})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{page}&ask=1")
        for path, site in (
            (page, "none"),
            (page, "same-origin"),
            (f"{page}&ask=1", "cross-site"),
            (viewer.ctl("rooms", "watch", OTHER_ROOM)["watch_url"], "cross-site"),
            (f"/?room={ids(viewer)[0]}", "cross-site"),
            ("/", "cross-site"),
        ):
            answer = viewer.get(path, headers={"sec-fetch-site": site})
            assert (answer.status_code, "<title>" in answer.text) == (200, True), (path, site)


def test_a_node_that_is_in_a_room_for_a_while_only_is_not_after_a_restart(
    film: Path, tmp_path: Path
) -> None:
    with node(tmp_path / "origin", *SETS) as origin:
        room = origin.room()
        id_ = room["id"]
        with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
            origin.wait_state(id_, "live")
            with node(tmp_path / "viewer", *SETS) as viewer:
                viewer.ctl("peers", "connect", origin.words["peer"])
                assert viewer.get(viewer.ctl("rooms", "watch", id_)["live_url"]).is_success
                archive = viewer.ctl("rooms", "watch", id_)["archive_url"]
                until(lambda: viewer.get(archive).is_success)
                viewer.kill()
            with node(tmp_path / "viewer", *SETS) as viewer:
                assert id_ not in ids(viewer)
                assert viewer.ctl("status")["repaired"] == []
                until(lambda: viewer.ctl("peers", "list"))
                assert viewer.get(viewer.ctl("rooms", "watch", id_)["archive_url"]).is_success


def test_of_a_room_the_newest_is_pinned_until_a_date(film: Path, tmp_path: Path) -> None:
    with node(tmp_path / "home", *SETS) as one:
        room = one.room()
        id_ = room["id"]
        (own,) = [pin for pin in one.ctl("pins", "list") if pin["target"] == id_]
        assert (own["last_s"], own["until"]) == (None, None)
        with publishing(film, f"{one.rtmp}/{room['stream_key']}"):
            until(lambda: one.shown(id_)["recording"]["segments"] >= 3, 30)
        whole = one.ctl("pins", "add", id_)["bytes"]
        made = one.ctl("pins", "add", id_[:30], "--last", "4s", "--until", "+30d")
        assert made["last_s"] == 4
        assert 0 < made["bytes"] < whole
        left = datetime.fromisoformat(made["until"]) - datetime.now(UTC)
        assert timedelta(days=29) < left <= timedelta(days=30)
        (shown,) = [pin for pin in one.ctl("pins", "list") if pin["target"] == id_]
        assert (shown["last_s"], shown["until"]) == (4, made["until"])
        one.ctl("rooms", "close", id_)
        assert one.ctl("store", "gc")["removed_files"] > 0
        assert 1 <= one.shown(id_)["recording"]["segments"] <= 2, "the newest stays"
        one.ctl("pins", "add", id_, "--last", "4s", "--until", "+2s")
        until(lambda: id_ not in [pin["target"] for pin in one.ctl("pins", "list")])
        past = one.ctl("pins", "add", id_, "--until", "2020-01-01", code=1)["error"]
        assert (past["code"], past["hint"]) == ("bad-depth", "name a later date")
        one.ctl("pins", "add", id_, "--last", "soon", code=2)


def called_first(home: Path, room: str) -> None:
    """Gives a home the key of a node that is among the first whom this room calls, half a minute
    after its start: by then it has heard the room's card."""
    for number in range(1 << 20):
        seed = hashlib.sha256(b"%d" % number).digest()
        own = peer_id_of(SigningKey(seed).public)
        if 25 < moment_s(own) < 35 and draw(own, room) < 1 / 70:
            break
    home.mkdir(mode=0o700)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    path = home / "node.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)


def test_a_node_relays_a_room_in_need_unasked_where_its_operator_allows_it(tmp_path: Path) -> None:
    film = tmp_path / "film.flv"
    write(str(film), Shape(320, 180, Fraction(30), 2.0, 0, 1_500_000), seconds=120)
    with (
        node(tmp_path / "origin", *SETS, "p2p.origin_copies=1") as origin,
        node(tmp_path / "viewer", *SETS, "p2p.upload=1M") as viewer,  # it can't pass it on
    ):
        room = origin.room("In need")
        id_ = room["id"]
        called_first(tmp_path / "relay", id_)
        with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
            origin.wait_state(id_, "live")
            viewer.ctl("rooms", "follow", id_, "--peer", origin.words["peer"])
            until(lambda: viewer.get(f"/live/{id_}/source/index.m3u8").is_success)
            sets = ("relay.auto=true", "relay.disk=500MB", "relay.upload=20M")
            with node(tmp_path / "relay", *SETS, *sets, f"relay.allow={id_}") as relay:
                relay.ctl("peers", "connect", origin.words["peer"])
                until(lambda: id_ in ids(relay), 60)
                (card,) = relay.ctl("rooms", "list", "--network", "in need")
                assert (card["copies_taken"], card["copies_free"]) == (1, 0)
                assert card["bitrate"] > 1_000_000
                assert relay.shown(id_)["why"] == "auto"
                assert relay.ctl("rooms", "unfollow", id_, code=1)["error"]["code"] == "relayed"
                relay.wait_state(id_, "live")


def test_a_follower_shows_the_origins_poster_and_storyboard(film: Path, tmp_path: Path) -> None:
    with node(tmp_path / "origin", *SETS) as origin, node(tmp_path / "viewer", *SETS) as viewer:
        room = origin.room()
        id_ = room["id"]
        with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
            origin.wait_state(id_, "live")
            viewer.ctl("rooms", "follow", id_, "--peer", origin.words["peer"])
            until(lambda: viewer.get(f"/archive/{id_}/poster.jpg").is_success, 30)
            time.sleep(6)
        origin.ctl("rooms", "close", id_)
        viewer.wait_state(id_, "closed")

        def same(path: str) -> bool:
            ours, theirs = (one.get(f"/archive/{id_}/{path}") for one in (origin, viewer))
            assert ours.is_success
            return (ours.content, ours.headers["content-type"]) == (
                theirs.content,
                theirs.headers.get("content-type"),
            )

        until(lambda: same("poster.jpg"))
        until(lambda: same("storyboard.vtt"))
        board = origin.get(f"/archive/{id_}/storyboard.vtt").text
        for sprite in {row.partition("#")[0] for row in board.splitlines() if ".jpg#" in row}:
            assert same(sprite)
