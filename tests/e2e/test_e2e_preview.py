"""What an artist gives away of a ticketed event: its beginning, a quality, in the end all of it."""

from __future__ import annotations

from pathlib import Path

import m3u8
import pytest
from support.node import Node, node, until
from support.publish import publishing
from support.wallets import wallet
from test_e2e_gated import OWN_PAGE, pictures
from test_e2e_sign_in import HERE

_ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not _ARTIFACTS.is_dir(), reason="the programs are not built"),
]
SETS = (
    "media.ladder=[[90,120000]]",
    "media.images=false",
    "media.segment_seconds=2",
    "ingest.reconnect_s=1",
    'http.trusted_proxies=["127.0.0.1"]',
)


def listed(at: Node, path: str, **headers: str) -> list[str]:
    """What a playlist lists; nothing where it is refused."""
    answer = at.get(path, headers=headers)
    if answer.status_code != 200:
        return []
    made = m3u8.loads(answer.text)
    return [one.uri for one in (*made.playlists, *made.segments) if one.uri]


def refusal(at: Node, path: str, **headers: str) -> tuple[str, str]:
    """Its code and message; empty where it is answered."""
    answer = at.get(path, headers=headers)
    if answer.status_code == 200:
        return "", ""
    error = answer.json()["error"]
    return error["code"], error["message"]


def test_the_beginning_is_free_then_a_quality_and_once_it_is_finalized_all_of_it(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "viewer", *SETS) as viewer:  # the chain is its own
        artist = wallet(tmp_path / "artist.json", viewer.words["chain"]).file
        chain, me = f"chain.rpc_url={viewer.words['chain']}", ("--keypair", artist)
        with node(tmp_path / "origin", chain, *SETS) as origin:
            sale = ("--ticket-price", "0.25", "--ends", "+2h")
            free = ("--preview", "6s", "--free-when-finalized")
            event = origin.ctl("events", "create", "Sundown", *sale, *free, *me)
            room = event["id"]
            viewer.ctl("peers", "connect", origin.words["peer"])
            with publishing(looped_h264, f"{origin.rtmp}/{event['stream_key']}"):
                _live(origin, viewer, room)
            origin.wait_state(room, "ended")
            origin.ctl("events", "end", room, *me)
            archive, segments = f"/archive/{room}/source/", _recorded(origin, room)
            until(lambda: _recorded(viewer, room) == segments)
            assert refusal(viewer, archive + segments[0], **OWN_PAGE)[0] == ""
            assert refusal(viewer, archive + segments[-1], **OWN_PAGE)[0] == "no-delegation"
            assert refusal(origin, archive + segments[-1], **HERE)[0] == "no-ticket"
            origin.ctl("events", "finalize", room, *me)
            until(lambda: refusal(viewer, archive + segments[-1], **HERE)[0] == "", 30)
            # the chain names the manifest that links to the keys
            until(lambda: origin.ctl("rooms", "show", room)["event"]["behind"] == 0, 30)
        # without the origin, and so without any key holder
        with node(tmp_path / "fresh", chain, *SETS) as fresh:
            fresh.ctl("peers", "connect", viewer.words["peer"])
            fresh.ctl("rooms", "follow", room)
            until(lambda: _recorded(fresh, room) == segments, 30)
            until(lambda: _all_free(fresh, room), 30)
            answer = fresh.get(archive + segments[-1], headers=HERE)
            assert "public" in answer.headers["cache-control"]
            exported = fresh.ctl("rooms", "export", room)
            assert (exported["sealed"], exported["free"]) == (True, True)
            played = pictures(f"{fresh.http}{archive}index.m3u8")
            assert len(played) > 200
            assert set(played) <= set(pictures(str(looped_h264)))


def _live(origin: Node, viewer: Node, room: str) -> None:
    """A viewer's own node, and somebody at the origin's: both without a ticket."""
    live = f"/live/{room}/index.m3u8"
    until(lambda: origin.get(live, headers=OWN_PAGE).status_code == 200)
    viewer.ctl("rooms", "follow", room)
    source = f"/live/{room}/source/"
    until(lambda: len(listed(viewer, f"{source}index.m3u8", **OWN_PAGE)) > 0)
    for at, how in ((viewer, OWN_PAGE), (origin, HERE)):
        assert "source/index.m3u8" in listed(at, live, **how)
        first = listed(at, f"{source}index.m3u8", **how)[0]
        media = at.get(source + first, headers=how)
        assert (media.status_code, media.content[4:8]) == (200, b"moof")
        assert media.headers["cache-control"] == "private, no-store"
    until(lambda: refusal(viewer, live, **OWN_PAGE)[0] == "no-delegation")
    assert refusal(viewer, live, **OWN_PAGE)[1].startswith("The free preview is over")
    until(lambda: refusal(origin, live, **HERE)[0] == "sign-in-needed")
    assert refusal(origin, live, **HERE)[1].startswith("The free preview is over.")

    shown = origin.ctl("rooms", "set", room, "--preview-rendition", "lowest")["free"]
    assert (shown["first_s"], shown["rendition"], shown["finalized"]) == (0, "lowest", True)
    until(lambda: len(_free_now(origin, room)) == 2)
    names = _free_now(origin, room)
    for at, how in ((viewer, OWN_PAGE), (origin, HERE)):
        until(lambda at=at, how=how: len(listed(at, live, **how)) == 1)  # type: ignore[misc] # bound
        (only,) = listed(at, live, **how)
        assert only.partition("/")[0] in names
        base = f"/live/{room}/{only.partition('/')[0]}/"
        last = listed(at, f"{base}index.m3u8", **how)[-1]
        assert at.get(base + last, headers=how).content[4:8] == b"moof"
        assert refusal(at, f"{source}index.m3u8", **how)[0] == "no-ticket"


def _free_now(at: Node, room: str) -> list[str]:
    found: list[str] = at.get(f"/api/v1/rooms/{room}").json()["free"]["now"]
    return found


def _recorded(at: Node, room: str) -> list[str]:
    return listed(at, f"/archive/{room}/source/index.m3u8", **OWN_PAGE)


def _all_free(at: Node, room: str) -> bool:
    free = at.get(f"/api/v1/rooms/{room}").json()["free"]
    return bool(free and free["all"])
