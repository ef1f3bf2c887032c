"""kill -9 at any instant loses at most the part being written, and never the room."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import m3u8
import pytest
from support.node import Node, node
from support.publish import publishing

pytestmark = pytest.mark.e2e

PASSTHROUGH = ("media.ladder=[]", "media.images=false")
SHORT = "media.segment_seconds=4"


def recorded_s(at: Node, room: str, rendition: str = "source") -> float:
    """Seconds of a rendition's archive."""
    answer = at.get(f"/archive/{room}/{rendition}/index.m3u8")
    if answer.status_code != 200:
        return 0.0
    return sum(segment.duration for segment in m3u8.loads(answer.text).segments)


def test_a_killed_node_goes_on_in_the_same_room_and_keeps_what_it_showed(
    tmp_path: Path, looped_h264: Path
) -> None:
    home = tmp_path / "home"
    with node(home, *PASSTHROUGH, SHORT) as first:
        room = first.room()
        with publishing(looped_h264, f"{first.rtmp}/{room['stream_key']}"):
            first.wait_for(f"/live/{room['id']}/source/index.m3u8")
            time.sleep(6.0)  # real time: into the second archive segment
            live = m3u8.loads(first.get(f"/live/{room['id']}/source/index.m3u8").text)
            shown_s = sum(part.duration for segment in live.segments for part in segment.parts)
            shown_s = max(shown_s, 5.0)
            first.kill()
    with node(home, *PASSTHROUGH, SHORT, "ingest.reconnect_s=1") as second:
        status = second.ctl("status")
        assert any("cut short" in line for line in status["repaired"]), status["repaired"]
        kept_s = recorded_s(second, room["id"])
        assert kept_s > shown_s - 1.0, (kept_s, shown_s)
        assert second.ctl("store", "verify")["corrupt"] == 0
        with publishing(looped_h264, f"{second.rtmp}/{room['stream_key']}"):
            again = m3u8.loads(second.wait_for(f"/live/{room['id']}/source/index.m3u8").text)
            assert again.media_sequence > live.media_sequence + len(live.segments) - 1
            assert again.discontinuity_sequence > live.discontinuity_sequence
            time.sleep(5.0)  # real time: more of it than there was
        second.wait_state(room["id"], "ended")
        archive = second.get(f"/archive/{room['id']}/source/index.m3u8").text
        assert "#EXT-X-DISCONTINUITY\n" in archive
        assert archive.rstrip().endswith("#EXT-X-ENDLIST")
        whole_s = recorded_s(second, room["id"])
        assert whole_s > kept_s + 4
        played = subprocess.run(
            [
                *("ffprobe", "-v", "error", "-count_packets", "-select_streams", "v"),
                *("-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"),
                f"{second.http}/archive/{room['id']}/index.m3u8",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert abs(int(played.stdout.split()[0].strip(",")) - whole_s * 30) <= 2, played.stdout


def test_a_node_killed_before_its_first_segment_was_whole_keeps_that_too(
    tmp_path: Path, looped_h264: Path
) -> None:
    home = tmp_path / "home"
    with node(home, *PASSTHROUGH) as first:
        room = first.room()
        with publishing(looped_h264, f"{first.rtmp}/{room['stream_key']}"):
            first.wait_for(f"/live/{room['id']}/source/index.m3u8")
            time.sleep(4.0)
            first.kill()
    with node(home, *PASSTHROUGH) as second:
        assert recorded_s(second, room["id"]) > 3.0
