"""A full or failing disk stops the recording, in plain words, and never the live stream."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import m3u8
import pytest
from support.node import Node, node
from support.publish import make, publishing

pytestmark = pytest.mark.e2e

MEGABYTE = 1_000_000


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB that is really there and can really be full."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"this machine mounts no tmpfs: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def stopped(at: Node, room: str) -> str:
    """Why the recording stopped, empty while it goes on."""
    because: str = at.shown(room)["recording"]["stopped_because"]
    return because


def edge(at: Node, room: str) -> int:
    """Media sequence number of the newest live segment, of which a part must be there to read."""
    text = at.get(f"/live/{room}/source/index.m3u8").text
    playlist = m3u8.loads(text)
    newest = [line for line in text.splitlines() if line.startswith("#EXT-X-PART:")][-1]
    uri = newest.partition('URI="')[2].partition('"')[0]
    part = at.get(f"/live/{room}/source/{uri}")
    assert part.status_code == 200
    assert len(part.content) > 100
    return int(playlist.media_sequence or 0) + len(playlist.segments)


def test_a_full_disk_stops_the_recording_and_it_goes_on_when_there_is_room_again(
    tmp_path: Path, tiny_disk: Path
) -> None:
    film = make(tmp_path / "film.mp4", "-b:v", "1500k", "-maxrate", "1500k", "-bufsize", "1500k")
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(8 * MEGABYTE))
    sets = (
        *("media.ladder=[]", "media.images=false", "media.segment_seconds=4"),
        *(f"store.path={tiny_disk / 'store'}", "store.reserve_free=0"),
    )
    with node(tmp_path / "home", *sets) as one:
        room = one.room()
        with publishing(film, f"{one.rtmp}/{room['stream_key']}"):
            one.wait_state(room["id"], "live")
            deadline = time.monotonic() + 60
            while not stopped(one, room["id"]):
                assert time.monotonic() < deadline, one.ctl("store", "usage")
                time.sleep(0.3)
            assert "disk is full" in stopped(one, room["id"])
            codes = [notice["code"] for notice in one.shown(room["id"])["notices"]]
            assert "recording-stopped" in codes
            before = edge(one, room["id"])
            time.sleep(5)
            assert edge(one, room["id"]) >= before + 2, "the live stream goes on"
            kept = one.get(f"/archive/{room['id']}/source/index.m3u8")
            for segment in m3u8.loads(kept.text).segments if kept.status_code == 200 else ():
                got = one.get(f"/archive/{room['id']}/source/{segment.uri}")
                assert got.status_code == 200, "what was recorded before is still there"
            ballast.unlink()
            deadline = time.monotonic() + 30
            while stopped(one, room["id"]):
                assert time.monotonic() < deadline
                time.sleep(0.3)
        assert one.ctl("store", "verify")["corrupt"] == 0


def test_a_quota_that_is_used_up_by_what_is_pinned_stops_the_recording_only(
    tmp_path: Path,
) -> None:
    film = make(tmp_path / "film.mp4", "-b:v", "1500k", "-maxrate", "1500k", "-bufsize", "1500k")
    sets = (
        *("media.ladder=[]", "media.images=false", "media.segment_seconds=4"),
        *("store.quota=3 MB", "store.reserve_free=0"),
    )
    with node(tmp_path / "home", *sets) as one:
        room = one.room()
        with publishing(film, f"{one.rtmp}/{room['stream_key']}"):
            one.wait_state(room["id"], "live")
            deadline = time.monotonic() + 60
            while not stopped(one, room["id"]):
                assert time.monotonic() < deadline, one.ctl("store", "usage")
                time.sleep(0.3)
            assert "store.quota" in stopped(one, room["id"])
            before = edge(one, room["id"])
            time.sleep(5)
            assert edge(one, room["id"]) >= before + 2
        used = one.ctl("store", "usage")["used_bytes"]
        assert used <= 3 * MEGABYTE


def test_on_a_full_disk_a_stream_begins_and_what_cannot_be_kept_is_told(
    tmp_path: Path, tiny_disk: Path, looped_h264: Path
) -> None:
    home = tiny_disk / "home"
    with node(home, "media.ladder=[]", "media.images=false", "store.reserve_free=0") as one:
        room = one.room()
        with (tiny_disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(4096)):
                pass
        assert one.ctl("rooms", "create", "Another", code=1)["error"]["code"] == "disk"
        refused = one.ctl("pins", "remove", room["id"], code=1)["error"]
        assert "the disk is full" in refused["message"]
        assert room["id"] in [pin["target"] for pin in one.ctl("pins", "list")]
        with publishing(looped_h264, f"{one.rtmp}/{room['stream_key']}"):
            one.wait_state(room["id"], "live")
            assert edge(one, room["id"]) > 0
            (tiny_disk / "ballast").unlink()
        closed = one.ctl("rooms", "close", room["id"])
        assert closed["state"] == "closed"
        assert "Traceback" not in one.log.read_text()
    with node(home) as again:
        states = {shown["id"]: shown["state"] for shown in again.ctl("rooms", "list")}
        assert states[room["id"]] == "closed"
