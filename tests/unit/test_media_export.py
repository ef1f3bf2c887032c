"""A recording becomes one MP4 that ordinary players play from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import pytest
import trio
from support.avcheck import watch
from support.media import through_pipeline

from hausd.core.live import FileRange
from hausd.media.demo import Shape, write
from hausd.media.export import ExportError, RunMedia, export, export_mp4
from hausd.wire.flv import Tag
from hausd.wire.worker import WorkerConfig

SMALL = Shape(width=320, height=180, video_bps=400_000)


def flv_tags(shape: Shape, folder: Path, seconds: float, first: int = 0) -> list[Tag]:
    path = folder / f"in-{first}.flv"
    write(str(path), shape, seconds=seconds, first=first)
    data = path.read_bytes()
    at, tags = 13, []
    while at < len(data):
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4])
        stamp = int.from_bytes(data[at + 4 : at + 7]) | data[at + 7] << 24
        tags.append(Tag(kind, stamp, data[at + 11 : at + 11 + size]))
        at += 11 + size + 4
    return tags


def recorded(
    shape: Shape, folder: Path, run: int, seconds: float = 3, first: int = 0
) -> dict[str, RunMedia]:
    """A run as the worker cuts it and the store keeps it: several ranges of a larger file."""
    collected = through_pipeline(
        flv_tags(shape, folder, seconds, first), WorkerConfig(images=False, ladder=())
    )
    made = {}
    for name, track in collected.only.items():
        path = folder / f"{run}-{name}.segments"
        places, blob = [], b"something else"
        for _, data in track.parts:
            places.append(FileRange(str(path), len(blob), len(data)))
            blob += data
        path.write_bytes(blob + b"something else")
        made[name] = RunMedia(run, track.init, tuple(places), f"session 1, run {run}")
    return made


def probe(path: Path) -> dict[str, dict[str, str]]:
    command = ["ffprobe", "-v", "warning", "-count_frames", "-show_streams", "-of", "json"]
    done = subprocess.run([*command, str(path)], capture_output=True, check=True, text=True)
    assert not done.stderr, done.stderr
    return {stream["codec_type"]: stream for stream in json.loads(done.stdout)["streams"]}


def test_a_run_becomes_one_mp4_with_its_index_in_front(tmp_path: Path) -> None:
    run = recorded(SMALL, tmp_path, 0)
    out = tmp_path / "out.mp4"
    steps: list[tuple[int, int]] = []
    size = export_mp4([run["source"]], [run["audio"]], out, lambda *step: steps.append(step))
    data = out.read_bytes()
    assert size == len(data)
    assert data.index(b"moov") < data.index(b"mdat")
    assert steps[-1][0] == steps[-1][1] > 0
    seen = watch(out)
    assert seen.numbers == list(range(90))
    assert all(abs(offset) < 5 for offset in seen.offsets_ms)
    assert len(seen.offsets_ms) >= 2
    assert probe(out)["video"]["nb_read_frames"] == "90"


@pytest.mark.parametrize("b_frames", [0, 2])
def test_runs_follow_each_other_without_hole_and_in_sync(tmp_path: Path, b_frames: int) -> None:
    one = recorded(SMALL, tmp_path, 3, seconds=2.5)
    reordering = Shape(320, 180, video_bps=400_000, b_frames=b_frames)
    two = recorded(reordering, tmp_path, 7, first=75)
    out = tmp_path / "out.mp4"
    export_mp4([two["source"], one["source"]], [one["audio"], two["audio"]], out)
    seen = watch(out)
    assert seen.numbers == list(range(165))
    gaps = [after - before for before, after in zip(seen.times_s, seen.times_s[1:], strict=False)]
    assert max(gaps) < 0.15
    assert min(gaps) > 0.03
    assert len(seen.offsets_ms) >= 4
    assert all(abs(offset) < 5 for offset in seen.offsets_ms)


def test_other_parameters_in_mid_way_play_on(tmp_path: Path) -> None:
    small = recorded(SMALL, tmp_path, 0)
    large = recorded(Shape(426, 240, preset="medium"), tmp_path, 1, first=90)
    out = tmp_path / "out.mp4"
    export_mp4([small["source"], large["source"]], [small["audio"], large["audio"]], out)
    assert watch(out).numbers == list(range(180))
    with av.open(str(out)) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes == [(320, 180)] * 90 + [(426, 240)] * 90
    counted = ["ffprobe", "-v", "quiet", "-count_frames", "-show_entries", "stream=nb_read_frames"]
    counted += ["-select_streams", "v", "-of", "csv=p=0", str(out)]
    assert subprocess.check_output(counted, text=True).strip() == "180"


def test_a_run_without_picture_keeps_its_time(tmp_path: Path) -> None:
    both = recorded(SMALL, tmp_path, 0)
    deaf = recorded(Shape(320, 180, audio_rate_hz=0), tmp_path, 1, first=90)
    blind = recorded(Shape(320, 180, video=False), tmp_path, 2)
    out = tmp_path / "out.mp4"
    export_mp4([both["source"], deaf["source"]], [both["audio"], blind["audio"]], out)
    seen = watch(out)
    assert seen.numbers == list(range(180))
    found = probe(out)
    assert float(found["video"]["duration"]) == pytest.approx(6, abs=0.1)
    assert float(found["audio"]["duration"]) == pytest.approx(9, abs=0.1)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_sound_or_picture_alone(tmp_path: Path, kind: str) -> None:
    run = recorded(SMALL, tmp_path, 0)
    out = tmp_path / "out.mp4"
    if kind == "video":
        export_mp4([run["source"]], [], out)
    else:
        export_mp4([], [run["audio"]], out)
    assert list(probe(out)) == [kind]


def test_what_can_not_be_one_track_is_refused_by_name(tmp_path: Path) -> None:
    one = recorded(SMALL, tmp_path, 0)
    two = recorded(Shape(320, 180, audio_rate_hz=44_100), tmp_path, 1)
    out = tmp_path / "out.mp4"
    with pytest.raises(ExportError, match=r"session 1, run 1, audio: aac of 44100 Hz"):
        export_mp4([one["source"], two["source"]], [one["audio"], two["audio"]], out)
    assert list(tmp_path.glob("*out.mp4*")) == list(tmp_path.glob(".*out.mp4*")) == []


def test_a_missing_or_shortened_segment_is_named(tmp_path: Path) -> None:
    run = recorded(SMALL, tmp_path, 0)
    out = tmp_path / "out.mp4"
    path = Path(run["source"].segments[0].path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExportError, match="shorter than it should be"):
        export_mp4([run["source"]], [run["audio"]], out)
    path.unlink()
    with pytest.raises(ExportError, match="No such file"):
        export_mp4([run["source"]], [run["audio"]], out)
    with pytest.raises(ExportError, match="nothing was recorded"):
        export_mp4([], [], out)
    assert not out.exists()


async def test_the_daemon_exports_in_another_process(tmp_path: Path) -> None:
    run = recorded(SMALL, tmp_path, 0)
    out = tmp_path / "out.mp4"
    steps: list[tuple[int, int]] = []
    size = await export([run["source"]], [run["audio"]], out, lambda *step: steps.append(step))
    assert size == out.stat().st_size
    assert steps
    assert watch(out).numbers == list(range(90))
    with pytest.raises(ExportError, match="No such file or directory"):
        await export([run["source"]], [], tmp_path / "nowhere" / "out.mp4")


async def test_a_cancelled_export_leaves_nothing(tmp_path: Path) -> None:
    run = recorded(SMALL, tmp_path, 0)
    out = tmp_path / "out.mp4"
    with trio.move_on_after(0.05):
        await export([run["source"]], [run["audio"]], out)
    assert list(tmp_path.glob("*.mp4*")) == list(tmp_path.glob(".*mp4*")) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    run = recorded(SMALL, tmp_path, 0)
    job = msgspec.json.encode(
        {"video": [run["source"]], "audio": [run["audio"]], "out_path": str(tmp_path / "out.mp4")}
    )
    # A file that may not grow: what a full disk is, without filling one.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000));"
    program = f"{limit} import sys; sys.path.insert(0, sys.argv[1])"
    program += "; from hausd.media.export import main; main()"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(root)], input=job, capture_output=True, check=True
    )
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["kind"] == "error"
    assert "out.mp4: File too large" in last["text"]
    assert not list(tmp_path.glob("*.mp4*")) + list(tmp_path.glob(".*mp4*"))


def test_times_are_exact(tmp_path: Path) -> None:
    run = recorded(Shape(320, 180, Fraction(30000, 1001)), tmp_path, 0)
    out = tmp_path / "out.mp4"
    export_mp4([run["source"]], [run["audio"]], out)
    seen = watch(out)
    for number, time in enumerate(seen.times_s):
        assert time - seen.times_s[0] == pytest.approx(number * 1001 / 30000, abs=0.0015)
