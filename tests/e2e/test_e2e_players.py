"""Players that people use play a room live and from the start, picture and sound."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from support import players
from support.node import Node, node
from support.playback import Shown, pictures_of
from support.publish import publishing

from hausd.media.demo import Shape, write

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

SETS = ("media.ladder=[[144,200000]]", "media.segment_seconds=4", "ingest.reconnect_s=1")
PLAY_S = 7.0
"""For how long the players are let play that don't end by themselves."""
ENOUGH_S = 4.0
"""What they have to have played by then; starting up takes them a while."""
FRAMES = 30


@dataclass(frozen=True)
class Seen:
    """Exit code and output of each player, all of which played the same room at once, and what
    was shown first after seeking to so many seconds."""

    said: dict[str, tuple[int, str]]
    sought: list[tuple[float, Shown]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("players")
    film = folder / "film.flv"
    write(str(film), Shape(320, 180, Fraction(FRAMES), 2.0, 0, 300_000), seconds=24)
    with node(folder / "home", *SETS) as one:
        room = one.room()
        with publishing(film, f"{one.rtmp}/{room['stream_key']}"):
            archive = f"/archive/{room['id']}/source/index.m3u8"
            while one.get(archive).text.count("EXTINF") < 2:
                time.sleep(0.2)
            started = dict(start_players(one, room["id"], folder))
            time.sleep(PLAY_S)
            said = {name: player.end() for name, player in started.items()}
        one.wait_state(room["id"], "ended")  # libav seeks only in what is complete
        return Seen(said, seek(f"{one.http}/archive/{room['id']}/index.m3u8"))


@pytest.fixture
def said(seen: Seen) -> dict[str, tuple[int, str]]:
    return seen.said


def seek(url: str) -> list[tuple[float, Shown]]:
    sought = []
    with av.open(url) as container:
        picture = container.streams.video[0]
        for second in (7.0, 1.5, 9.0, 0.1, 4.0):
            container.seek(round(second * av.time_base))
            sought.append((second, next(pictures_of(container.decode(picture)))))
    return sought


def start_players(one: Node, room: str, folder: Path) -> Iterator[tuple[str, players.Player]]:
    live, archive = f"{one.http}/live/{room}/index.m3u8", f"{one.http}/archive/{room}/index.m3u8"

    def log(name: str) -> Path:
        return folder / f"{name}.log"

    ffmpeg = ["ffmpeg", "-v", "warning", "-progress", "-", "-nostats"]
    to_nowhere = ["-map", "0:v:0", "-map", "0:a:0", "-f", "null", "-"]
    # It begins three segments of 2 s behind the end.
    yield "ffmpeg live", players.start(log("a"), [*ffmpeg, "-i", live, "-t", "10", *to_nowhere])
    start = ("-live_start_index", "0")
    yield (
        "ffmpeg from the start",
        players.start(log("b"), [*ffmpeg, *start, "-i", archive, "-t", "10", *to_nowhere]),
    )
    ffprobe = ["ffprobe", "-v", "warning", "-of", "json", "-show_streams", "-show_format"]
    yield "ffprobe live", players.start(log("c"), [*ffprobe, live])
    yield "ffprobe from the start", players.start(log("d"), [*ffprobe, *start, archive])
    yield "ffplay live", players.ffplay(log("e"), live)
    yield "mpv live", players.mpv(log("f"), live, 5)
    start_mpv = "--demuxer-lavf-o=live_start_index=0"
    yield "mpv from the start", players.mpv(log("g"), archive, 5, start_mpv)
    yield "gstreamer live", players.gstreamer(log("h"), live, "uridecodebin3")
    yield "gstreamer recorded", players.gstreamer(log("i"), archive, "uridecodebin")
    yield "vlc live", players.vlc(log("j"), live)
    yield "vlc recorded", players.vlc(log("k"), archive)


@pytest.mark.parametrize("where", ["live", "from the start"])
class TestFfmpeg:
    def test_ffmpeg_reads_every_frame_and_complains_of_nothing(
        self, said: dict[str, tuple[int, str]], where: str
    ) -> None:
        code, text = said[f"ffmpeg {where}"]
        assert code == 0, text
        told = [
            line
            for line in text.splitlines()
            # It reads a live playlist's init again at every reload, its own playlists' too.
            if "=" not in line.split(" ")[0] and "duplicated MOOV" not in line
        ]
        assert told == [], "ffmpeg warns of something"
        assert players.found(r"frame=(\d+)", text)[-1] == (str(10 * FRAMES),)

    def test_ffprobe_sees_all_qualities_and_the_sound(
        self, said: dict[str, tuple[int, str]], where: str
    ) -> None:
        code, text = said[f"ffprobe {where}"]
        assert code == 0, text
        streams: list[dict[str, Any]] = json.loads(text)["streams"]
        sizes = [(s["width"], s["height"]) for s in streams if s["codec_type"] == "video"]
        assert sorted(sizes) == [(256, 144), (320, 180)]
        assert {s["avg_frame_rate"] for s in streams if "width" in s} == {f"{FRAMES}/1"}
        sound = [s for s in streams if s["codec_type"] == "audio"]
        assert {(s["codec_name"], s["sample_rate"], s["channels"]) for s in sound} == {
            ("aac", "48000", 2)
        }
        if where == "from the start":
            assert float(json.loads(text)["format"]["start_time"]) == pytest.approx(0, abs=0.1)


def test_ffplay_plays_live_in_time(said: dict[str, tuple[int, str]]) -> None:
    _, text = said["ffplay live"]
    clock = players.found(r"(\d+\.\d+) A-V: *(-?\d+\.\d+) fd= *(\d+)", text)
    seconds = [float(at) for at, _, _ in clock]
    assert seconds[-1] - seconds[0] > ENOUGH_S, text[-2000:]
    assert abs(float(clock[-1][1])) < 0.1, "sound and picture are together"
    assert int(clock[-1][2]) < 30, "few frames are dropped"
    assert "rror" not in text


@pytest.mark.parametrize("where", ["live", "from the start"])
def test_mpv_plays_in_time(said: dict[str, tuple[int, str]], where: str) -> None:
    code, text = said[f"mpv {where}"]
    assert code == 0, text[-2000:]
    told = players.found(
        r"at (-?[\d.]+) size (\d+x\d+) sound (\d+) late (\d*) lost (\d*) av (-?[\d.]+)", text
    )
    assert told, text[-2000:]
    assert float(told[-1][0]) - float(told[0][0]) > 4.5
    assert told[-1][1:3] == ("320x180", "48000")
    assert int(told[-1][3] or 0) < 30
    assert int(told[-1][4] or 0) == 0
    assert abs(float(told[-1][5])) < 0.1
    others = [line for line in text.splitlines() if line.strip() and "size" not in line]
    assert not [line for line in others if "rror" in line or "arning" in line], others


@pytest.mark.parametrize("where", ["live", "recorded"])
def test_gstreamer_plays_picture_and_sound_at_one_pace(
    said: dict[str, tuple[int, str]], where: str
) -> None:
    _, text = said[f"gstreamer {where}"]
    assert "ERROR" not in text, text[-3000:]
    for kind in ("picture", "sound"):
        told = players.found(rf"{kind} \(\d\d:\d\d:(\d\d)\): (\d+) seconds", text)
        assert len(told) >= ENOUGH_S, (kind, text[-3000:])
        wall, media = (int(told[-1][at]) - int(told[0][at]) for at in (0, 1))
        assert abs(wall - media) <= 1, (kind, told)
    widths = players.found(r"caps = video/.*width=\(int\)(\d+)", text)
    assert {int(width) for (width,) in widths} <= {256, 320}
    assert widths
    assert players.found(r"caps = audio/.*rate=\(int\)(48000)", text)


@pytest.mark.parametrize("where", ["live", "recorded"])
def test_vlc_shows_frames_and_plays_sound_and_loses_nothing(
    said: dict[str, tuple[int, str]], where: str
) -> None:
    _, text = said[f"vlc {where}"]
    counted = dict(players.found(r"\| ([a-z ]+?) *: +(\d+)", text))
    assert int(counted["frames displayed"]) > ENOUGH_S * FRAMES, text[-3000:]
    assert int(counted["buffers played"]) > ENOUGH_S * 48_000 / 1024 / 2, text[-3000:]
    assert int(counted["frames lost"]) < 30, text[-3000:]
    assert int(counted["buffers lost"]) <= 3, text[-3000:]
    assert int(counted["demux corrupted"]) == 0
    assert "Video resolution: 320x180" in text or "Video resolution: 256x144" in text
    assert "Sample rate: 48000 Hz" in text


def test_a_seek_in_a_recording_shows_the_picture_of_that_time(seen: Seen) -> None:
    for second, shown in seen.sought:
        assert shown.number == round(shown.time_s * FRAMES)
        assert abs(shown.time_s - second) <= 2.0, "libav goes to a keyframe nearby"


def test_players_that_are_there_when_the_stream_begins_play_it(tmp_path: Path) -> None:
    film = tmp_path / "film.flv"
    write(str(film), Shape(320, 180, Fraction(FRAMES), 2.0, 0, 300_000), seconds=8)
    with node(tmp_path / "home", *SETS) as one:
        room = one.room()
        live = f"{one.http}/live/{room['id']}/index.m3u8"
        with publishing(film, f"{one.rtmp}/{room['stream_key']}"):
            one.wait_state(room["id"], "live")
            to_nowhere = ["-t", "2", "-map", "0:v:0", "-map", "0:a:0", "-f", "null", "-"]
            ffmpeg = players.start(
                tmp_path / "ffmpeg.log", ["ffmpeg", "-v", "error", "-i", live, *to_nowhere]
            )
            mpv = players.mpv(tmp_path / "mpv.log", live, 2)
            for player in (ffmpeg, mpv):
                code, text = player.end()
                assert code == 0, text[-2000:]
