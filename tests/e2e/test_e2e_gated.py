"""A ticketed event, streamed by ffmpeg: plays at its own node, and lies as ciphertext at all."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import httpx
import m3u8
import pytest
from solders.keypair import Keypair
from support.node import Node, node, until
from support.publish import publishing

_ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not _ARTIFACTS.is_dir(), reason="the programs are not built"),
]
OWN_PAGE = {"sec-fetch-site": "same-origin"}
SHORT = "media.segment_seconds=4"
PASSTHROUGH = ("media.ladder=[]", "media.images=true", "ingest.reconnect_s=1", SHORT)


def ticketed_event(at: Node, folder: Path) -> dict[str, str]:
    """An event that sells tickets, and its stream key."""
    wallet = folder / "artist.json"
    key = Keypair()
    wallet.write_text(json.dumps(list(bytes(key))))
    wallet.chmod(0o600)
    asked = {"jsonrpc": "2.0", "id": 1, "method": "requestAirdrop"}
    asked["params"] = [str(key.pubkey()), 10**10]  # type: ignore[assignment] # as JSON-RPC has it
    httpx.post(at.words["chain"], json=asked, trust_env=False).raise_for_status()
    options = ("--ticket-price", "0.25", "--ends", "+2h", "--keypair", str(wallet))
    made: dict[str, str] = at.ctl("events", "create", "Sundown", *options)
    return made


def pictures(source: str, *before: str) -> list[str]:
    """MD5s of a video's pictures, as ffmpeg decodes them."""
    done = subprocess.run(
        [
            *("ffmpeg", "-loglevel", "error", *before, "-i", source),
            *("-map", "0:v:0", "-f", "framemd5", "-"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    return [row.rpartition(",")[2].strip() for row in rows]


def on_disk(home: Path) -> dict[Path, bytes]:
    """Every file of a home."""
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


def windows(clear: bytes, every: int = 4099) -> list[bytes]:
    """Stretches of 32 bytes, of which none is found by chance."""
    cut = [clear[at : at + 32] for at in range(0, len(clear) - 32, every)]
    return [one for one in cut if len(set(one)) > 16]


def test_a_ticketed_event_plays_at_its_node_and_is_ciphertext_everywhere(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "origin", *PASSTHROUGH) as origin:
        event = ticketed_event(origin, tmp_path)
        room = event["id"]
        chain = f"chain.rpc_url={origin.words['chain']}"
        with node(tmp_path / "relay", chain) as relay:
            relay.ctl("peers", "connect", origin.words["peer"])
            with publishing(looped_h264, f"{origin.rtmp}/{event['stream_key']}"):
                live = f"/live/{room}/source/index.m3u8"
                until(lambda: origin.get(live, headers=OWN_PAGE).status_code == 200)
                relay.ctl("rooms", "follow", room)
                until(lambda: relay.get(live, headers=OWN_PAGE).status_code == 403)
                refused = relay.get(live, headers=OWN_PAGE)
                assert refused.json()["error"]["code"]
                assert refused.headers["cache-control"] == "no-store"
                until(lambda: len(_archive(origin, room)) >= 2, 40)
                clear = _live_bytes(origin, room)
            origin.wait_state(room, "ended")
            until(lambda: relay.get(f"/api/v1/rooms/{room}").json()["state"] == "ended", 30)
            address = f"{origin.http}/archive/{room}/source/index.m3u8"
            headers = ("-headers", "Sec-Fetch-Site: same-origin\r\n")
            played = pictures(address, *headers)
            assert len(played) > 230
            assert set(played) <= set(pictures(str(looped_h264)))
            listed = _archive(origin, room)
            until(lambda: len(_archive(relay, room)) == len(listed))
            for uri in listed:
                answer = origin.get(uri, headers=OWN_PAGE)
                assert answer.status_code == 200
                assert answer.headers["cache-control"] == "private, no-store"
                clear.append(answer.content)
                theirs = relay.get(uri, headers=OWN_PAGE)
                assert theirs.status_code == 403
                assert clear[-1][:32] not in theirs.content
            _exports(origin, relay, room, tmp_path, set(pictures(str(looped_h264))))
        for home in ("origin", "relay"):
            files = on_disk(tmp_path / home)
            assert sum(map(len, files.values())) > sum(map(len, clear[-len(listed) :]))
            for found in (window for one in clear for window in windows(one)):
                assert not [path for path, content in files.items() if found in content]


def _live_bytes(at: Node, room: str) -> list[bytes]:
    """Init and segments at the live edge."""
    base = f"/live/{room}/source/"
    playlist = m3u8.loads(at.get(f"{base}index.m3u8", headers=OWN_PAGE).text)
    init = playlist.segments[0].init_section
    assert init is not None
    uris = [init.uri, *(one.uri for one in playlist.segments[:-1])]
    answers = [at.get(base + str(uri), headers=OWN_PAGE) for uri in uris]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].content[4:8] == b"ftyp"
    assert all(answer.content[4:8] == b"moof" for answer in answers[1:])
    return [answer.content for answer in answers]


def _archive(at: Node, room: str) -> list[str]:
    base = f"/archive/{room}/source/"
    answer = at.get(f"{base}index.m3u8", headers=OWN_PAGE)
    segments = m3u8.loads(answer.text).segments if answer.status_code == 200 else []
    return [base + str(one.uri) for one in segments]


def _exports(origin: Node, relay: Node, room: str, folder: Path, streamed: set[str]) -> None:
    """What is given out is ciphertext, and says so; but for a film, where the keys are."""
    assert origin.ctl("rooms", "export", room)["sealed"]
    out = folder / "films"
    out.mkdir()
    origin.ctl("rooms", "export", room, "--output", str(out / "film.mp4"))
    filmed = pictures(str(out / "film.mp4"))
    assert len(filmed) > 230
    assert set(filmed) <= streamed
    refused = relay.ctl("rooms", "export", room, "--output", str(out / "theirs.mp4"), code=1)
    assert refused["error"]["code"] == "no-delegation"
    assert [path.name for path in out.iterdir()] == ["film.mp4"], "nothing clear is left over"


def test_a_killed_node_of_a_gated_room_keeps_what_it_showed_and_goes_on_with_other_keys(
    tmp_path: Path, looped_h264: Path
) -> None:
    home, sets = tmp_path / "home", ("media.ladder=[]", "media.images=false", SHORT)
    with node(home, *sets) as first:
        room = first.ctl("rooms", "create", "Gated", "--gated")
        live = f"/live/{room['id']}/source/index.m3u8"
        with publishing(looped_h264, f"{first.rtmp}/{room['stream_key']}"):
            until(lambda: first.get(live, headers=OWN_PAGE).status_code == 200)
            until(lambda: _archive(first, room["id"]), 30)
            time.sleep(2)  # real time: into the next archive segment
            first.kill()
    with node(home, *sets, "ingest.reconnect_s=1") as second:
        assert any("cut short" in one for one in second.ctl("status")["repaired"])
        kept = _archive(second, room["id"])
        assert len(kept) >= 2
        with publishing(looped_h264, f"{second.rtmp}/{room['stream_key']}"):
            until(lambda: second.get(live, headers=OWN_PAGE).status_code == 200)
            time.sleep(4)
        second.wait_state(room["id"], "ended")
        assert _archive(second, room["id"])[: len(kept)] == kept
        assert second.ctl("store", "verify")["corrupt"] == 0
        address = f"{second.http}/archive/{room['id']}/source/index.m3u8"
        played = pictures(address, "-headers", "Sec-Fetch-Site: same-origin\r\n")
        assert len(played) > 30 * (4 + 3)
        assert set(played) <= set(pictures(str(looped_h264)))
        (keys,) = [one for one in second.ctl("keys", "list")["rooms"] if one["room"] == room["id"]]
        assert keys["keys"] == 2
