"""Publishers drop, return, take over, change and misbehave; the room stays."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import m3u8
import pytest
from support.joined import join
from support.node import node
from support.publish import make, publishing

pytestmark = pytest.mark.e2e

PASSTHROUGH = ("media.ladder=[]", "media.images=false")


def test_an_encoder_that_drops_and_returns_goes_on_with_a_discontinuity_and_no_404(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "home", *PASSTHROUGH, "ingest.reconnect_s=20") as one:
        room = one.room()
        url = f"{one.rtmp}/{room['stream_key']}"
        live = f"/live/{room['id']}/source/index.m3u8"
        with publishing(looped_h264, url) as first:
            one.wait_for(live)
            time.sleep(3)
            first.kill()
        one.wait_state(room["id"], "waiting")
        between = one.get(live)
        assert between.status_code == 200
        assert "#EXT-X-DISCONTINUITY" in between.text, "players must know at once"
        assert "#EXT-X-ENDLIST" not in between.text
        with publishing(looped_h264, url):
            one.wait_state(room["id"], "live")
            deadline = time.monotonic() + 10
            while True:
                answer = one.get(live)
                assert answer.status_code == 200
                lines = answer.text.splitlines()
                if lines.count("#EXT-X-DISCONTINUITY") == 1 and answer.text.count("EXT-X-MAP") == 2:
                    break
                assert time.monotonic() < deadline, answer.text
                time.sleep(0.1)
        shown = one.ctl("rooms", "show", room["id"])
        assert shown["state"] in ("live", "waiting")


def test_a_new_connection_with_the_same_key_takes_over_a_dead_one_at_once(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "home", *PASSTHROUGH) as one:
        room = one.room()
        url = f"{one.rtmp}/{room['stream_key']}"
        with publishing(looped_h264, url) as first:
            one.wait_state(room["id"], "live")
            # the network is gone, the connection isn't: the encoder says nothing any more
            first.send_signal(19)  # SIGSTOP
            with publishing(looped_h264, url):
                began = time.monotonic()
                while one.get(f"/live/{room['id']}/source/index.m3u8").text.count("EXT-X-MAP") < 2:
                    assert time.monotonic() - began < 15
                    time.sleep(0.1)
            first.send_signal(18)  # SIGCONT


def test_two_encoders_with_one_key_do_not_take_the_room_from_each_other_for_ever(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "home", *PASSTHROUGH) as one:
        room = one.room()
        url = f"{one.rtmp}/{room['stream_key']}"

        def codes() -> list[str]:
            shown = one.ctl("rooms", "show", room["id"])
            return [notice["code"] for notice in shown["notices"]]

        with publishing(looped_h264, url) as first:
            one.wait_state(room["id"], "live")
            with publishing(looped_h264, url) as second:
                assert first.wait(20) != 0, "the newcomer has the room at once"
                for _ in range(3):  # the first tries again and again
                    with publishing(looped_h264, url) as again:
                        assert again.wait(20) != 0
                assert second.poll() is None, "who has the room keeps it"
                assert codes() == ["taken-over", "contested"]
                second.send_signal(19)  # SIGSTOP: it is dead, its connection isn't
                with publishing(looped_h264, url) as again:
                    one.wait_state(room["id"], "live")
                    time.sleep(4)
                    assert again.poll() is None, "a dead one is succeeded at once"
                second.send_signal(18)  # SIGCONT


def test_a_wrong_key_is_refused_with_a_reason_and_nothing_else_is_harmed(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "home", *PASSTHROUGH) as one:
        room = one.room()
        with publishing(looped_h264, f"{one.rtmp}/{room['stream_key']}"):
            one.wait_state(room["id"], "live")
            wrong = subprocess.run(
                [
                    *("ffmpeg", "-loglevel", "warning", "-re", "-i", str(looped_h264)),
                    *("-c", "copy", "-f", "flv", f"{one.rtmp}/sk_wrong"),
                ],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert wrong.returncode != 0
            assert one.get(f"/live/{room['id']}/source/index.m3u8").status_code == 200
        log = one.log.read_text()
        assert "sk_wrong" not in log
        assert room["stream_key"] not in log
        assert room["stream_key"] not in one.get("/metrics").text
        assert room["stream_key"] not in one.get("/api/v1/rooms").text


def test_a_publisher_that_talks_nonsense_is_closed_with_a_reason_the_operator_can_read(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "home", *PASSTHROUGH) as one:
        host, _, port = one.words["rtmp"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as liar:
            liar.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
            liar.settimeout(10)
            assert liar.recv(65536) == b"", "it is let go"
        assert one.get("/healthz").status_code == 200
        assert "HTTP" in one.log.read_text(), "the log says what was spoken to the RTMP port"
        room = one.room()
        with publishing(looped_h264, f"{one.rtmp}/{room['stream_key']}"):
            one.wait_state(room["id"], "live")
        shown = one.ctl("rooms", "show", room["id"])
        assert shown["publisher"]["closed_because"]


def test_a_changed_resolution_in_mid_stream_is_a_discontinuity_with_a_new_init(
    tmp_path: Path,
) -> None:
    small = make(tmp_path / "small.mp4", seconds=5, size="320x180")
    large = make(tmp_path / "large.mp4", seconds=5, size="640x360")
    # one FLV file whose sequence header changes in the middle, as some encoders do it
    joined = tmp_path / "joined.flv"
    join(joined, [small, large])
    with node(tmp_path / "home", *PASSTHROUGH, "ingest.reconnect_s=1") as one:
        room = one.room()
        with publishing(
            joined, f"{one.rtmp}/{room['stream_key']}", loop=False, arguments=("-c", "copy")
        ) as process:
            process.wait(30)
        one.wait_state(room["id"], "ended")
        text = one.get(f"/archive/{room['id']}/source/index.m3u8").text
        archive = m3u8.loads(text)
        assert text.count("#EXT-X-MAP") == 2, text
        assert text.count("#EXT-X-DISCONTINUITY\n") == 1
        assert abs(sum(segment.duration for segment in archive.segments) - 10) < 0.3


def test_two_nodes_side_by_side_and_what_was_sent_last_plays(
    tmp_path: Path, looped_h264: Path
) -> None:
    with (
        node(tmp_path / "a", *PASSTHROUGH, "ingest.reconnect_s=1") as first,
        node(tmp_path / "b", *PASSTHROUGH, "ingest.reconnect_s=1") as second,
    ):
        rooms = {at: at.room("Both") for at in (first, second)}
        with (
            publishing(looped_h264, f"{first.rtmp}/{rooms[first]['stream_key']}", loop=False) as a,
            publishing(
                looped_h264, f"{second.rtmp}/{rooms[second]['stream_key']}", loop=False
            ) as b,
        ):
            a.wait(60)
            b.wait(60)
        for at, room in rooms.items():
            at.wait_state(room["id"], "ended")
            counted = subprocess.run(
                [
                    *("ffprobe", "-v", "error", "-count_packets", "-select_streams", "v"),
                    *("-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"),
                    f"{at.http}/archive/{room['id']}/index.m3u8",
                ],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert counted.stdout.split()[0].strip(",") == str(24 * 30), "to the last frame"
