"""No frame is lost or doubled, and sound stays with the picture: over segments, renditions,
discontinuities and reconnects, live and recorded.

All streams are published at once into one node, each into a room of its own: all but one, which
begins before the others take the cores that it is to be encoded on. Their pictures say their
numbers, and each second begins with a flash and a beep.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from support.node import Node, node, until
from support.playback import Played, Taken, sync_ms, take
from support.publish import publishing
from support.pushing import push, until_frame
from support.rtmp import read_flv

from hausd.media.demo import Shape, write

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

SECONDS = 11
SETS = ("media.ladder=[[144,200000],[90,120000]]", "media.images=false", "ingest.reconnect_s=3")
RENDITIONS = {"source", "144p", "90p"}


def shape(rate: int = 30, **more: object) -> Shape:
    given = {"audio_rate_hz": 48_000, "video_bps": 400_000, **more}
    return Shape(320, 180, Fraction(rate), **given)  # type: ignore[arg-type]  # by name


RARE = "8 s between keyframes"
STREAMS = {
    "30 fps, 48 kHz": shape(30),
    "25 fps, 44.1 kHz": shape(25, audio_rate_hz=44_100),
    "B-frames": shape(30, b_frames=2),
    RARE: shape(30, gop_s=8.0),
}
DROPS = "drops and returns"
FRAMES_BEFORE = 130
"""Video frames that the encoder sends before it drops, inside a GOP and a part."""
FIRST_AFTER = 200
FRAMES_AFTER = 140


@dataclass(frozen=True)
class Heard:
    """What became of one stream: each rendition's pictures and the sound as they were live, and
    all of it as it was recorded."""

    shape: Shape
    videos: dict[str, Played]
    audio: Taken
    archive: dict[str, Taken]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Heard]:
    """What all streams came to, by name."""
    folder = tmp_path_factory.mktemp("avsync")
    with node(folder / "home", *SETS) as one:
        rooms = publish_all(one, folder)
        shapes = {**STREAMS, DROPS: shape(30)}
        found = {}
        for name, room in rooms.items():
            one.wait_state(room, "ended", 30.0)
            live, archive = take(one, room, "live"), take(one, room, "archive")
            audio = live.pop("audio")
            videos = {rendition: Played.of(taken) for rendition, taken in live.items()}
            found[name] = Heard(shapes[name], videos, audio, archive)
    return found


def publish_all(one: Node, folder: Path) -> dict[str, str]:
    """Publishes every stream to its end; gives the ids of their rooms."""
    files = {}
    for place, (name, each) in enumerate(STREAMS.items()):
        files[name] = folder / f"{place}.flv"
        write(str(files[name]), each, seconds=SECONDS)
    again = folder / "again.flv"
    write(str(again), shape(30), seconds=(FRAMES_AFTER - 0.5) / 30, first=FIRST_AFTER)
    rooms = {name: one.room(name) for name in (*files, DROPS)}
    urls = {name: f"{one.rtmp}/{room['stream_key']}" for name, room in rooms.items()}
    with ExitStack() as publishers, ThreadPoolExecutor(1) as dropping:
        rare = publishers.enter_context(publishing(files.pop(RARE), urls[RARE], loop=False))
        until(lambda: is_encoded(one, rooms[RARE]["id"]), 30)
        drops = dropping.submit(drop_and_return, urls[DROPS], files["30 fps, 48 kHz"], again)
        programs = [
            publishers.enter_context(publishing(file, urls[name], loop=False))
            for name, file in files.items()
        ]
        for program in (rare, *programs):
            assert program.wait(SECONDS + 30) == 0
        drops.result(60)
    return {name: room["id"] for name, room in rooms.items()}


def is_encoded(one: Node, room: str) -> bool:
    """Whether a source whose keyframes are rare is past the run in which that was not known."""
    return "#EXT-X-DISCONTINUITY\n" in one.get(f"/live/{room}/source/index.m3u8").text


def drop_and_return(url: str, first: Path, again: Path) -> None:
    tags = until_frame(read_flv(first.read_bytes()), FRAMES_BEFORE)
    push(url, tags, says_goodbye=False)
    time.sleep(0.7)  # real time: an encoder that was restarted
    push(url, read_flv(again.read_bytes()))


def expected(name: str, heard: Heard) -> list[int]:
    """The numbers of the frames that were sent."""
    if name == DROPS:
        return [*range(FRAMES_BEFORE), *range(FIRST_AFTER, FIRST_AFTER + FRAMES_AFTER)]
    return list(range(round(SECONDS * heard.shape.frame_rate)))


@pytest.mark.parametrize("name", [*STREAMS, DROPS])
class TestEveryStream:
    def test_every_frame_sent_is_shown_once_in_every_rendition_to_the_last(
        self, played: dict[str, Heard], name: str
    ) -> None:
        heard = played[name]
        assert set(heard.videos) == RENDITIONS
        for rendition, video in heard.videos.items():
            assert video.numbers == expected(name, heard), rendition
            assert video.taken.ended

    def test_sound_and_picture_are_at_most_40_ms_apart_in_every_rendition(
        self, played: dict[str, Heard], name: str
    ) -> None:
        heard = played[name]
        for rendition, video in heard.videos.items():
            apart = sync_ms(video, heard.audio)
            assert len(apart) >= SECONDS - 4, (rendition, apart)
            assert max(map(abs, apart)) <= 40, (rendition, apart)

    def test_a_switch_at_any_segment_goes_on_with_the_very_next_frame(
        self, played: dict[str, Heard], name: str
    ) -> None:
        videos = played[name].videos
        # A session's first segment ends early, keyframe or not; others encode one there.
        assert videos["source"].lean in ([], [videos["source"].taken.segments[1].msn])
        for rendition in RENDITIONS - {"source"}:
            assert not videos[rendition].lean
            assert videos[rendition].by_segment == videos["source"].by_segment, rendition
            for ours, theirs in zip(videos[rendition].runs, videos["source"].runs, strict=True):
                apart = [abs(a.time_s - b.time_s) for a, b in zip(ours, theirs, strict=True)]
                assert max(apart) < 0.002, "their times are the same as well"

    def test_frames_are_shown_at_their_own_pace(self, played: dict[str, Heard], name: str) -> None:
        heard = played[name]
        frame_s = float(1 / heard.shape.frame_rate)
        for rendition, video in heard.videos.items():
            for run in video.runs:
                off = [now.time_s - then.time_s - frame_s for then, now in pairwise(run)]
                # Encoders' times come in whole milliseconds.
                assert max(map(abs, off)) < 0.002, rendition

    def test_the_recording_is_the_very_bytes_that_were_live(
        self, played: dict[str, Heard], name: str
    ) -> None:
        heard = played[name]
        live = {"audio": heard.audio, **{n: video.taken for n, video in heard.videos.items()}}
        assert set(heard.archive) == set(live)
        for rendition, recorded in heard.archive.items():
            assert recorded.ended
            ours = [recorded.file(run) for run in recorded.runs]
            assert ours == [live[rendition].file(run) for run in live[rendition].runs], rendition


def test_a_source_with_rare_keyframes_is_encoded_from_2400_ms_on_in_segments_of_2_s(
    played: dict[str, Heard],
) -> None:
    source = played[RARE].videos["source"]
    assert [len(run) for run in source.runs] == [72, SECONDS * 30 - 72]
    for run in source.taken.runs:
        assert all(segment.duration <= Fraction(5, 2) for segment in run)


def test_an_encoder_that_drops_costs_one_discontinuity(played: dict[str, Heard]) -> None:
    heard = played[DROPS]
    for one in (heard.audio, *(video.taken for video in heard.videos.values())):
        assert len(one.runs) == 2, one.name
