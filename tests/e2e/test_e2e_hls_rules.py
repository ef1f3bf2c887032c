"""Live and archive playlists keep every rule of RFC 8216bis, whatever comes in.

All streams are published at once, each into a room of its own, by ffmpeg in real time, and each is
followed by a checker that reloads, fetches hinted parts and reads the media's bytes.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from support.hls_grammar import Finding
from support.hls_watch import inspect_archive, watch
from support.node import node
from support.publish import make, publishing

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

SECONDS = 14
STREAMS: dict[str, dict[str, Any]] = {
    "23.976 fps, 2 s": {"rate": "24000/1001", "gop": 48},
    "25 fps, 1 s, 44.1 kHz": {"rate": "25", "gop": 25, "audio_rate": 44_100},
    "29.97 fps, 2 s, B-frames": {"rate": "30000/1001", "gop": 60, "codecs": ("-bf", "3")},
    "30 fps, 4 s": {"rate": "30", "gop": 120},
    "30 fps, 10 s, 44.1 kHz": {"rate": "30", "gop": 300, "audio_rate": 44_100},
    "60 fps, 2 s": {"rate": "60", "gop": 120},
    "variable, 2 s": {
        "rate": "30",
        "gop": 60,
        "codecs": (
            *("-vf", "select='not(eq(mod(n\\,7)\\,3))'", "-vsync", "vfr"),
            *("-force_key_frames", "expr:gte(t,n_forced*2)"),
        ),
    },
    "audio only": {"codecs": ("-vn",)},
    "video only": {"codecs": ("-an",)},
}


LONG_GOPS = ("30 fps, 4 s", "30 fps, 10 s, 44.1 kHz")
"""The source passes through until its keyframes turn out to be too rare, and is encoded from then
on: the multivariant playlist names the codec of the newest run, the first one had another."""


def told(name: str, findings: list[Finding]) -> list[str]:
    """What is wrong, in words."""
    return [str(one) for one in findings if not (one.rule == "codecs" and name in LONG_GOPS)]


async def test_every_playlist_keeps_the_rules_live_and_recorded(tmp_path: Path) -> None:
    files = {
        name: make(tmp_path / f"{index}.mp4", *made.pop("codecs", ()), seconds=SECONDS, **made)
        for index, (name, made) in enumerate((n, dict(k)) for n, k in STREAMS.items())
    }
    sets = ("media.ladder=[]", "media.images=false", "ingest.reconnect_s=1")
    wrong: dict[str, list[str]] = {}
    with node(tmp_path / "home", *sets) as one, ExitStack() as publishers:
        rooms = {name: one.room(name) for name in files}
        for name, file in files.items():
            url = f"{one.rtmp}/{rooms[name]['stream_key']}"
            publishers.enter_context(publishing(file, url, loop=False))

        async def follow(name: str) -> None:
            url = f"{one.http}/live/{rooms[name]['id']}/index.m3u8"
            await trio.to_thread.run_sync(one.wait_for, f"/live/{rooms[name]['id']}/index.m3u8")
            found = await watch(url, SECONDS - 4)
            wrong[f"{name}, live"] = told(name, found.findings)
            assert found.tracks, name

        async with trio.open_nursery() as nursery:
            for name in files:
                nursery.start_soon(follow, name)
        for name, room in rooms.items():
            await trio.to_thread.run_sync(one.wait_state, room["id"], "ended", 30.0)
            found = await inspect_archive(f"{one.http}/archive/{room['id']}/index.m3u8")
            wrong[f"{name}, archive"] = told(name, found.findings)
            for rendition, track in found.tracks.items():
                assert track.playlist is not None
                seconds = sum(float(segment.duration) for segment in track.playlist.segments)
                assert abs(seconds - SECONDS) < 0.2, (name, rendition, seconds)
    assert "\n".join(f"{name}: {one}" for name, found in wrong.items() for one in found) == ""
