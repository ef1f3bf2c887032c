"""What becomes of a source: a ladder of qualities in step, codecs that browsers play, captions,
pictures for a start page; and what a lost worker costs.

Streams are published at once into one node, each into a room of its own.
"""

from __future__ import annotations

import io
import os
import re
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import m3u8
import pytest
import trio
from msgspec.structs import replace
from support.hls_watch import Watched, watch
from support.media import flv_stream
from support.node import Node, node
from support.playback import Played, Taken, take
from support.pushing import push
from support.rtmp import read_flv

from hausd.media.demo import Shape, write
from hausd.wire.flv import Tag

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

SECONDS = 9
SETS = (
    "media.ladder=[[360,900000],[240,300000],[144,150000]]",
    "media.preset=ultrafast",
    "media.segment_seconds=4",
    "ingest.reconnect_s=1",
)


@dataclass
class Room:
    """A room whose stream has ended: how it was shown while live, and all its media."""

    shown: dict[str, Any] = field(default_factory=dict)
    worker: dict[str, Any] = field(default_factory=dict)
    multivariant: m3u8.M3U8 | None = None
    taken: dict[str, Taken] = field(default_factory=dict)
    poster: bytes = b""
    storyboard: str = ""
    sprites: dict[str, bytes] = field(default_factory=dict)

    def attributes(self, rendition: str) -> m3u8.StreamInfo:
        assert self.multivariant is not None
        return next(
            each.stream_info
            for each in self.multivariant.playlists
            if each.uri == f"{rendition}/index.m3u8"
        )


@dataclass
class Made:
    """All rooms by name, and what a watcher of the ladder saw."""

    rooms: dict[str, Room]
    watched: Watched


LADDER, KILLED = "ladder", "killed worker"
HEVC, AV1, MP3, CAPTIONS = "HEVC and AAC", "AV1 and Opus", "H.264 and MP3", "captions"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("ladder")
    film = folder / "film.flv"
    write(str(film), Shape(640, 360, Fraction(30), 2.0, 0, 900_000), seconds=SECONDS)
    tags = {
        LADDER: read_flv(film.read_bytes()),
        HEVC: flv_stream(6, codec="hevc").tags,
        AV1: flv_stream(6, codec="av1", audio="opus").tags,
        MP3: flv_stream(6, audio="mp3", sample_rate=44_100).tags,
        CAPTIONS: with_captions(flv_stream(6).tags),
    }
    tags[KILLED] = small_film(folder)
    with node(folder / "home", *SETS) as one:
        rooms = {name: one.room(name) for name in tags}
        with ThreadPoolExecutor(len(tags) + 1) as pool:
            pushes = [
                pool.submit(push, f"{one.rtmp}/{rooms[name]['stream_key']}", sent)
                for name, sent in tags.items()
            ]
            watching = pool.submit(watch_live, one, rooms[LADDER]["id"])
            found = {name: Room() for name in rooms}
            found[LADDER].worker = show_busy(one, rooms[LADDER]["id"])
            kill_worker(one, rooms[KILLED]["id"])
            for name, room in rooms.items():
                text = one.get(f"/live/{room['id']}/index.m3u8").text
                found[name].multivariant = m3u8.loads(text)
            for each in pushes:
                each.result(60)
        for name, room in rooms.items():
            one.wait_state(room["id"], "ended")
            found[name].taken = take(one, room["id"], "live")
            found[name].shown = one.ctl("rooms", "show", room["id"])
        take_pictures(one, rooms[LADDER]["id"], found[LADDER])
        return Made(found, watching.result(60))


def small_film(folder: Path) -> list[Tag]:
    path = folder / "small.flv"
    write(str(path), Shape(320, 180, Fraction(30), 2.0, 0, 300_000), seconds=8)
    return read_flv(path.read_bytes())


def with_captions(tags: Sequence[Tag]) -> list[Tag]:
    """Puts CEA-608 into every access unit, as encoders do (ATSC A/53 part 4, in SEI)."""
    pairs = bytes.fromhex("fc9420fc94adfcc8e5")
    user_data = b"\xb5\x00\x31GA94\x03" + bytes((0x40 | 3, 0xFF)) + pairs + b"\xff"
    sei = b"\x06\x04" + bytes((len(user_data),)) + user_data + b"\x80"
    unit = len(sei).to_bytes(4, "big") + sei
    return [
        replace(tag, data=tag.data[:5] + unit + tag.data[5:])
        if tag.type == 9 and tag.data[1] == 1
        else tag
        for tag in tags
    ]


def watch_live(one: Node, room: str) -> Watched:
    # A busy machine takes a while to start its encoders.
    while one.wait_for(f"/live/{room}/index.m3u8").text.count("STREAM-INF") < 3:
        time.sleep(0.1)
    return trio.run(watch, f"{one.http}/live/{room}/index.m3u8", SECONDS - 3)


def show_busy(one: Node, room: str) -> dict[str, Any]:
    """What ``hausctl`` says of the room's worker once that encodes."""
    end = time.monotonic() + 20
    while True:
        worker: dict[str, Any] | None = one.shown(room)["worker"]
        if worker is not None and worker["encoding"]:
            return worker
        assert time.monotonic() < end, worker


def kill_worker(one: Node, room: str) -> None:
    """Kills the room's media worker in mid-stream."""
    os.kill(show_busy(one, room)["pid"], signal.SIGKILL)


def take_pictures(one: Node, room: str, found: Room) -> None:
    found.poster = one.get(f"/archive/{room}/poster.jpg").content
    found.storyboard = one.get(f"/archive/{room}/storyboard.vtt").text
    for name in set(re.findall(r"^(\S+\.jpg)#", found.storyboard, re.MULTILINE)):
        answer = one.get(f"/archive/{room}/{name}")
        assert answer.headers["content-type"] == "image/jpeg"
        found.sprites[name] = answer.content


def decoded(taken: Taken) -> list[av.VideoFrame]:
    """The pictures of a rendition with one run."""
    (run,) = taken.runs
    with av.open(io.BytesIO(taken.file(run))) as container:
        return list(container.decode(video=0))


def keyframes_s(taken: Taken) -> list[float]:
    """When the keyframes of a rendition with one run are shown."""
    (run,) = taken.runs
    with av.open(io.BytesIO(taken.file(run))) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
        return [float(one.pts * one.time_base) for one in packets if one.is_keyframe]


def codec_of(taken: Taken) -> tuple[str, int, int]:
    """Name, sample rate and channels (or 0, 0) of what is in a rendition's file, decoded."""
    (run,) = taken.runs
    with av.open(io.BytesIO(taken.file(run))) as container:
        stream = container.streams[0]
        frames = sum(1 for _ in container.decode(stream))
        assert frames > 50
        context = stream.codec_context
        if stream.type == "video":
            return context.name, 0, 0
        return context.name, context.sample_rate, context.channels


class TestLadder:
    def test_the_qualities_are_stated_as_they_are_and_never_larger_than_the_source(
        self, made: Made
    ) -> None:
        room = made.rooms[LADDER]
        assert {each.stream_info.resolution for each in room.multivariant.playlists} == {
            (640, 360),
            (426, 240),
            (256, 144),
        }
        assert "360p" not in room.taken
        for name in ("source", "240p", "144p"):
            stated = room.attributes(name)
            frame = decoded(room.taken[name])[0]
            assert stated.resolution == (frame.width, frame.height)
            assert stated.frame_rate == 30
            video, audio = stated.codecs.split(",")
            assert re.fullmatch(r"avc1\.[0-9A-F]{6}", video)
            assert audio == "mp4a.40.2"
            assert 0 < stated.average_bandwidth <= stated.bandwidth

    def test_live_playlists_keep_the_rules_and_are_in_step(self, made: Made) -> None:
        assert set(made.watched.tracks) == {
            f"{name}/index.m3u8" for name in ("source", "240p", "144p", "audio")
        }
        made.watched.require()

    def test_keyframes_are_where_the_source_has_them(self, made: Made) -> None:
        taken = made.rooms[LADDER].taken
        source = keyframes_s(taken["source"])
        assert len(source) == -(-SECONDS // 2)
        for name in ("240p", "144p"):
            # and one at 1 s, where a session's first segment ends
            first, early, *later = keyframes_s(taken[name])
            assert early == pytest.approx(first + 1.0, abs=0.001)
            assert [first, *later] == pytest.approx(source, abs=0.001)

    def test_every_frame_is_in_every_quality_under_the_same_number(self, made: Made) -> None:
        taken = made.rooms[LADDER].taken
        for name in ("source", "240p", "144p"):
            assert Played.of(taken[name]).numbers == list(range(SECONDS * 30)), name

    def test_hausctl_shows_the_worker_and_all_qualities(self, made: Made) -> None:
        room = made.rooms[LADDER]
        names = {each["name"] for each in room.shown["renditions"]}
        assert names == {"source", "240p", "144p", "audio"}
        assert room.worker["encoding"] == ["240p", "144p"]
        assert room.worker["shed"] == []


class TestPictures:
    def test_the_poster_is_a_jpeg_of_the_picture(self, made: Made) -> None:
        poster = picture_of(made.rooms[LADDER].poster)
        assert (poster.width / poster.height) == pytest.approx(16 / 9, rel=0.02)
        assert len(set(bytes(poster.reformat(format="gray").planes[0])[::97])) > 20, "not blank"

    def test_the_storyboard_names_tiles_that_can_be_cut_out(self, made: Made) -> None:
        room = made.rooms[LADDER]
        lines = room.storyboard.splitlines()
        assert lines[0] == "WEBVTT"
        clock = r"(\d\d):(\d\d):(\d\d\.\d\d\d)"
        cues = re.findall(
            rf"^{clock} --> {clock}\n(\S+\.jpg)#xywh=(\d+),(\d+),(\d+),(\d+)$",
            room.storyboard,
            re.MULTILINE,
        )
        assert len(cues) == lines.count("") - 1 + (lines[-1] != "")
        assert len(cues) == -(-SECONDS // 5)
        ends = 0.0
        for cue in cues:
            begin = int(cue[0]) * 3600 + int(cue[1]) * 60 + float(cue[2])
            assert begin == pytest.approx(ends, abs=0.001)
            ends = int(cue[3]) * 3600 + int(cue[4]) * 60 + float(cue[5])
            sheet = picture_of(room.sprites[cue[6]])
            x, y, width, height = map(int, cue[7:])
            assert x + width <= sheet.width
            assert y + height <= sheet.height
            gray = sheet.reformat(format="gray")
            row = bytes(gray.planes[0])[(y + height // 2) * gray.planes[0].line_size + x :][:width]
            assert len(set(row)) > 5, "the tile shows something"


def picture_of(jpeg: bytes) -> av.VideoFrame:
    """A JPEG, decoded by someone who did not write it."""
    assert jpeg[:3] == b"\xff\xd8\xff"
    with av.open(io.BytesIO(jpeg)) as container:
        (picture,) = container.decode(video=0)
        return picture


class TestCodecs:
    def test_hevc_is_encoded_to_h264_and_the_artist_is_told(self, made: Made) -> None:
        room = made.rooms[HEVC]
        assert codec_of(room.taken["source"])[0] == "h264"
        assert codec_of(room.taken["144p"])[0] == "h264"
        assert room.attributes("source").codecs.startswith("avc1.")
        assert room.attributes("source").resolution == (320, 180)
        assert len(decoded(room.taken["source"])) == 180
        assert "transcoding" in [notice["code"] for notice in room.shown["notices"]]

    def test_av1_and_opus_pass_as_they_are(self, made: Made) -> None:
        room = made.rooms[AV1]
        assert codec_of(room.taken["source"])[0] in ("libdav1d", "av1")
        assert codec_of(room.taken["audio"]) in (("opus", 48_000, 2), ("libopus", 48_000, 2))
        assert re.fullmatch(r"av01\.0\.\d\d[MH]\.08,[oO]pus", room.attributes("source").codecs)
        assert codec_of(room.taken["144p"])[0] == "h264"
        assert len(decoded(room.taken["source"])) == 180

    def test_mp3_becomes_aac(self, made: Made) -> None:
        room = made.rooms[MP3]
        assert codec_of(room.taken["audio"]) == ("aac", 44_100, 2)
        assert room.attributes("source").codecs.endswith(",mp4a.40.2")

    def test_captions_stay_in_every_quality_and_are_announced(self, made: Made) -> None:
        room = made.rooms[CAPTIONS]
        for name in ("source", "144p"):
            frames = decoded(room.taken[name])
            assert len(frames) == 180
            found = [f for f in frames if any(s.type.name == "A53_CC" for s in f.side_data)]
            assert len(found) == 180, name
            assert room.attributes(name).closed_captions == '"cc"', name
        (captions,) = (m for m in room.multivariant.media if m.type == "CLOSED-CAPTIONS")
        assert (captions.group_id, captions.instream_id) == ("cc", "CC1")
        assert "CLOSED-CAPTIONS=NONE" in made.rooms[LADDER].multivariant.dumps()


def test_a_killed_worker_is_replaced_and_costs_one_discontinuity_and_never_the_room(
    made: Made,
) -> None:
    room = made.rooms[KILLED]
    assert "worker-crashed" in [notice["code"] for notice in room.shown["notices"]]
    assert room.shown["state"] == "ended"
    assert room.shown["publisher"]["closed_because"] == "the encoder finished"
    for name in ("source", "144p"):
        played = Played.of(room.taken[name])
        first, second = played.runs
        assert [one.number for one in first] == list(range(len(first)))
        again = second[0].number
        assert again is not None
        assert again % 60 == 0, "it begins at a keyframe"
        assert [one.number for one in second] == list(range(again, 8 * 30))
        assert again - len(first) < 3.5 * 30, "not much is lost"
        assert len(room.taken["audio"].runs) == 2
