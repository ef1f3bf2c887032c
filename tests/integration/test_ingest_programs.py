"""Encoders that nobody here wrote publish, and every tag arrives as they made it."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trustme
from support.rtmp import RecordingFeed, RecordingRooms, read_flv

from hausd.core.ids import RoomId
from hausd.ingest.server import Limits, RtmpIngest, open_doors, serve_rtmp
from hausd.wire import flv
from hausd.wire.flv import Tag
from hausd.wire.unwrap import Unwrapper

KEY = "sk_integration"
ROOM = RoomId("room")
SUPPORT = Path(__file__).parents[1] / "support"
SOUND = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"]
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30"]


@dataclass
class Served:
    ingest: RtmpIngest
    rooms: RecordingRooms
    url: str
    secure_url: str


@asynccontextmanager
async def served(limits: Limits | None = None) -> AsyncIterator[Served]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    doors = await open_doors("127.0.0.1", 0) + await open_doors("127.0.0.1", 0, context)
    rooms = RecordingRooms({KEY: ROOM, KEY + "2": RoomId("room2")})
    async with serve_rtmp(doors, rooms, limits) as ingest:
        plain, secure = (f"{door.protocol}://127.0.0.1:{door.address[1]}/live" for door in doors)
        yield Served(ingest, rooms, plain, secure)


async def run(command: Sequence[str | Path]) -> None:
    done = await trio.run_process(
        command, capture_stderr=True, capture_stdout=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:] + done.stdout.decode()[-2000:]


async def ended(at: Served, number: int = 0) -> RecordingFeed:
    with trio.fail_after(10):
        feed = await at.rooms.feed(number)
        await feed.ended.wait()
    return feed


def media(tags: Sequence[Tag]) -> list[Tag]:
    """Without metadata, which tells a file's size and length when it is written to a file."""
    return [tag for tag in tags if tag.type != 18]


def in_order(tags: Sequence[Tag]) -> dict[int, list[Tag]]:
    """Audio and video each in order; between them writers of live streams may vary."""
    return {kind: [tag for tag in tags if tag.type == kind] for kind in (8, 9)}


def units(tags: Sequence[Tag]) -> list[flv.Unit]:
    return [unit for tag in tags for unit in flv.parse(tag)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two seconds each, of the codecs that encoders send."""
    folder = tmp_path_factory.mktemp("media")
    x265 = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error"]
    av1 = ["-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=2"]
    made = {
        "h264-aac.flv": [*PICTURE, *SOUND, *H264, "-c:a", "aac"],
        "video.flv": [*PICTURE, *H264],
        "audio.flv": [*SOUND, "-c:a", "aac"],
        "mp3.flv": [*PICTURE, *SOUND, *H264, "-c:a", "libmp3lame", "-ar", "44100"],
        "hevc-opus.mp4": [*PICTURE, *SOUND, *x265, "-c:a", "libopus"],
        "av1-opus.mp4": [*PICTURE, *SOUND, *av1, "-c:a", "libopus"],
    }
    for name, arguments in made.items():
        command = ["ffmpeg", "-v", "error", "-y", *arguments, "-t", "2", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return {name: folder / name for name in made}


@pytest.mark.parametrize("name", ["h264-aac.flv", "video.flv", "audio.flv", "mp3.flv"])
@pytest.mark.parametrize("secure", [False, True])
async def test_what_ffmpeg_copies_arrives_tag_for_tag(
    files: dict[str, Path], name: str, secure: bool, tmp_path: Path
) -> None:
    copy = ["ffmpeg", "-v", "error", "-i", files[name], "-c", "copy", "-f", "flv"]
    async with served() as at:
        await run([*copy, f"{at.secure_url if secure else at.url}/{KEY}"])
        feed = await ended(at)
    await run([*copy, tmp_path / "same.flv"])
    assert media(feed.tags) == media(read_flv((tmp_path / "same.flv").read_bytes()))
    assert feed.publisher.encoder.startswith("Lavf")
    assert feed.publisher.protocol == ("rtmps" if secure else "rtmp")
    assert feed.closed_because == "the encoder finished"


async def test_what_ffmpeg_encodes_live_is_whole(files: dict[str, Path]) -> None:
    live = ["ffmpeg", "-v", "error", "-re", *PICTURE, *SOUND, *H264, "-c:a", "aac", "-t", "1"]
    async with served() as at:
        await run([*live, "-f", "flv", f"{at.url}/{KEY}"])
        feed = await ended(at)
    found = units(feed.tags)
    assert sum(isinstance(unit, flv.VideoFrame) for unit in found) == 30
    assert {type(unit) for unit in found} >= {flv.VideoConfig, flv.AudioConfig, flv.Metadata}
    assert min(unit.composition_ms for unit in found if isinstance(unit, flv.VideoFrame)) >= 0


@pytest.mark.parametrize("shift_s", ["16776", "2147482.5", "4294966.5"])
async def test_times_beyond_24_bits_and_across_the_wrap_arrive_from_ffmpeg(
    files: dict[str, Path], shift_s: str, tmp_path: Path
) -> None:
    copy = ["ffmpeg", "-v", "error", "-i", files["h264-aac.flv"], "-c", "copy"]
    copy += ["-output_ts_offset", shift_s, "-f", "flv"]
    async with served() as at:
        await run([*copy, f"{at.url}/{KEY}"])
        feed = await ended(at)
    await run([*copy, tmp_path / "same.flv"])
    assert media(feed.tags) == media(read_flv((tmp_path / "same.flv").read_bytes()))
    line = Unwrapper()
    frames = [tag for tag in media(feed.tags) if not flv.is_header(tag)]
    times = [line.unwrap(tag.timestamp_ms) for tag in frames]
    assert not any(time.jump_ms for time in times)
    assert max(time.ms for time in times) > 1800


@pytest.mark.parametrize("shift_s", [0, 16_776])
async def test_what_librtmp_writes_arrives_tag_for_tag(
    files: dict[str, Path], shift_s: int, tmp_path: Path
) -> None:
    shifted = tmp_path / "shifted.flv"
    copy = ["ffmpeg", "-v", "error", "-i", files["h264-aac.flv"], "-c", "copy"]
    await run([*copy, "-output_ts_offset", str(shift_s), shifted])
    async with served() as at:
        await run([sys.executable, SUPPORT / "publish_librtmp.py", f"{at.url}/{KEY}", shifted])
        feed = await ended(at)
    assert media(feed.tags) == media(read_flv(shifted.read_bytes()))


@pytest.mark.parametrize("name", ["h264-aac.flv", "hevc-opus.mp4", "av1-opus.mp4"])
@pytest.mark.parametrize("shift_s", ["0", "16776"])
async def test_what_libav_8_sends_in_enhanced_rtmp_arrives_tag_for_tag(
    files: dict[str, Path], name: str, shift_s: str, tmp_path: Path
) -> None:
    same = tmp_path / "same.flv"
    async with served() as at:
        program = [sys.executable, SUPPORT / "publish_pyav.py"]
        await run([*program, files[name], f"{at.url}/{KEY}", same, shift_s])
        feed = await ended(at)
    assert media(feed.tags) == media(read_flv(same.read_bytes()))
    found = units(feed.tags)
    assert not [unit for unit in found if isinstance(unit, flv.Unsupported)]
    codecs = {u.codec for u in found if isinstance(u, flv.VideoConfig | flv.AudioConfig)}
    expected = name.partition(".")[0].split("-")
    assert codecs == set(expected)
    assert sum(isinstance(unit, flv.VideoFrame) for unit in found) == 60


@pytest.mark.parametrize(
    ("sink", "secure"), [("rtmp2sink", False), ("rtmp2sink", True), ("rtmpsink", False)]
)
async def test_what_gstreamer_sends_arrives_tag_for_tag(
    sink: str, secure: bool, tmp_path: Path
) -> None:
    same = tmp_path / "same.flv"
    async with served() as at:
        url = f"{at.secure_url if secure else at.url}/{KEY}"
        location = [f"location={url}", "tls-validation-flags=0"]
        if sink == "rtmpsink":
            location = [f"location={url} live=1"]
        pipeline = "videotestsrc num-buffers=60 ! video/x-raw,width=320,height=180,framerate=30/1"
        pipeline += " ! x264enc speed-preset=ultrafast key-int-max=30 ! h264parse ! mux."
        pipeline += " audiotestsrc num-buffers=80 samplesperbuffer=1024 ! audio/x-raw,rate=48000"
        pipeline += " ! voaacenc ! aacparse ! mux. flvmux name=mux streamable=true ! tee name=two"
        pipeline += f" two. ! queue ! filesink location={same} two. ! queue ! {sink}"
        await run(["gst-launch-1.0", "-q", *pipeline.split(), *location])
        feed = await ended(at)
    assert in_order(feed.tags) == in_order(read_flv(same.read_bytes()))
    assert len(media(feed.tags)) > 100


async def test_two_encoders_fill_two_rooms_at_once(files: dict[str, Path]) -> None:
    copy = ["ffmpeg", "-v", "error", "-i", files["h264-aac.flv"], "-c", "copy", "-f", "flv"]
    async with served() as at:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, [*copy, f"{at.url}/{KEY}"])
            nursery.start_soon(run, [*copy, f"{at.url}/{KEY}2"])
        feeds = [await ended(at, 0), await ended(at, 1)]
    assert {feed.room for feed in feeds} == {"room", "room2"}
    assert media(feeds[0].tags) == media(feeds[1].tags)
    assert len(media(feeds[0].tags)) > 100


async def test_ffmpeg_shows_its_user_why_a_key_is_refused(files: dict[str, Path]) -> None:
    copy = ["ffmpeg", "-v", "error", "-i", files["video.flv"], "-c", "copy", "-f", "flv"]
    async with served() as at:
        done = await trio.run_process(
            [*copy, f"{at.url}/sk_wrong"], check=False, capture_stderr=True
        )
    assert done.returncode != 0
    assert b"No room has this stream key." in done.stderr


async def test_a_player_is_told_that_rtmp_is_not_for_watching(files: dict[str, Path]) -> None:
    async with served() as at:
        done = await trio.run_process(
            ["ffmpeg", "-v", "error", "-i", f"{at.url}/{KEY}", "-f", "null", "-"],
            check=False,
            capture_stderr=True,
        )
    assert done.returncode != 0
    assert b"Watch over HTTP" in done.stderr
