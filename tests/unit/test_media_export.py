"""A recording becomes one MP4 that ordinary players play from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import pytest
import trio
from support.avcheck import watch
from support.media import through_pipeline

import hausd.media.export as exporting
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


async def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorded(SMALL, tmp_path, 0)
    # A file that may not grow: what a full disk is, without filling one.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000)); "
    monkeypatch.setattr(exporting, "_PROGRAM", limit + exporting._PROGRAM)
    with pytest.raises(ExportError, match=r"out\.mp4: File too large"):
        await export([run["source"]], [run["audio"]], tmp_path / "out.mp4")
    assert not list(tmp_path.glob("*.mp4*")) + list(tmp_path.glob(".*mp4*"))


PROBED = """
import errno, json, os, socket, subprocess, sys
sys.path.insert(0, sys.argv[1])
from hausd.media import export
def probe(video, audio, out, progress):
    told = {}
    def tries(name, act):
        try:
            act()
        except OSError as failure:
            told[name] = errno.errorcode[failure.errno]
        else:
            told[name] = "done"
    segments = video[0].segments[0].path
    tries("segments", lambda: open(segments, "rb").read())
    tries("own film", lambda: (open("made", "wb").write(b"x"), os.rename("made", out)))
    os.unlink(out)
    tries("key", lambda: open(OUTSIDE + "/node.key").read())
    tries("passwd", lambda: open("/etc/passwd").read())
    tries("node's memory", lambda: open(f"/proc/{os.getppid()}/mem", "rb"))
    tries("node's files", lambda: os.listdir(f"/proc/{os.getppid()}/fd"))
    tries("node's environment", lambda: open(f"/proc/{os.getppid()}/environ", "rb"))
    tries("write elsewhere", lambda: open(OUTSIDE + "/new", "w"))
    tries("write beside", lambda: open("../new", "w"))
    tries("remove beside", lambda: os.unlink("../beside"))
    tries("write segments", lambda: open(segments, "r+b"))
    tries("remove segments", lambda: os.unlink(segments))
    tries("socket", socket.socket)
    tries("unix socket", lambda: socket.socket(socket.AF_UNIX))
    tries("exec", lambda: os.execv("/bin/true", ["true"]))
    tries("fork", os.fork)
    tries("kill", lambda: os.kill(os.getppid(), 0))
    told["environment"] = sorted(os.environ)
    raise export.ExportError(json.dumps(told))
export.export_mp4 = probe
export.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")
async def test_who_takes_the_exporting_process_over_has_the_segments_and_the_film_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, outside, films = tmp_path / "store", tmp_path / "home", tmp_path / "films"
    for folder in (store, outside, films):
        folder.mkdir()
    (outside / "node.key").write_text("secret")
    (films / "beside").write_text("another film")
    run = recorded(SMALL, store, 0)
    monkeypatch.setenv("HAUSD_CHAIN__RPC_URL", "https://secret")
    monkeypatch.setattr(exporting, "_PROGRAM", f"OUTSIDE = {str(outside)!r}\n{PROBED}")
    with pytest.raises(ExportError) as failure:
        await export([run["source"]], [run["audio"]], films / "out.mp4")
    told = json.loads(str(failure.value))
    assert {"LC_ALL", "PATH"} < set(told["environment"])
    assert not [name for name in told.pop("environment") if name.startswith("HAUSD")]
    assert (told.pop("segments"), told.pop("own film")) == ("done", "done")
    refused = {name for name, what in told.items() if what in ("EACCES", "EPERM", "EXDEV")}
    assert refused == set(told), told
    assert [path.name for path in films.iterdir()] == ["beside"]


@pytest.mark.parametrize("said", ["b'x' * 200_000", "b'{}\\n'", "b'[\\n'"])
async def test_nonsense_of_the_exporting_process_is_no_more_than_a_failed_export(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorded(SMALL, tmp_path, 0)
    program = f"import sys; sys.stdin.buffer.read(); sys.stdout.buffer.write({said})"
    monkeypatch.setattr(exporting, "_PROGRAM", program)
    with pytest.raises(ExportError, match="exporting process"):
        await export([run["source"]], [run["audio"]], tmp_path / "out.mp4")


async def test_it_exports_where_the_kernel_has_no_landlock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorded(SMALL, tmp_path, 0)
    without = "from hausd.media import sandbox; sandbox._CREATE_RULESET = 4096; "
    monkeypatch.setattr(
        exporting, "_PROGRAM", exporting._PROGRAM.replace("from hausd", without + "from hausd")
    )
    out = tmp_path / "out.mp4"
    await export([run["source"]], [run["audio"]], out)
    assert watch(out).numbers == list(range(90))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a way to files without a name")
async def test_what_the_node_holds_open_without_a_name_is_exported_too(tmp_path: Path) -> None:
    run = recorded(SMALL, tmp_path, 0)
    whole = tmp_path / "clear"
    moved: dict[str, RunMedia] = {}
    with whole.open("xb") as clear:
        for name, media in run.items():
            begin = clear.tell()
            clear.write(Path(media.segments[0].path).read_bytes())
            moved[name] = msgspec.structs.replace(
                media,
                segments=tuple(
                    FileRange(
                        f"/proc/{os.getpid()}/fd/{clear.fileno()}", begin + at.offset, at.length
                    )
                    for at in media.segments
                ),
            )
        clear.flush()
        whole.unlink()
        out = tmp_path / "out.mp4"
        await export([moved["source"]], [moved["audio"]], out)
    seen = watch(out)
    assert seen.numbers == list(range(90))
    assert len(seen.offsets_ms) >= 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of the end of a process so")
def test_nothing_is_left_of_the_film_of_a_node_that_is_killed(tmp_path: Path) -> None:
    run = recorded(SMALL, tmp_path, 0)
    root = str(Path(__file__).resolve().parents[2])
    stuck = """
import sys, time
sys.path.insert(0, sys.argv[1])
from hausd.media import export
def begun(video, audio, out, progress):
    open("." + out + ".part", "wb").write(b"clear")
    progress(1, 2)
    time.sleep(600)
export.export_mp4 = begun
export.main()
"""
    node = f"""
import os, signal, sys
sys.path.insert(0, {root!r})
import msgspec, trio
from hausd.media import export
export._PROGRAM = {stuck!r}
job = msgspec.json.decode(sys.stdin.buffer.read(), type=export._Job)
out = {str(tmp_path / "out.mp4")!r}
trio.run(export.export, job.video, job.audio, out, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""
    job = msgspec.json.encode({"video": [run["source"]], "audio": [run["audio"]]})
    done = subprocess.run([sys.executable, "-I", "-c", node], input=job, timeout=60)
    assert done.returncode == -signal.SIGKILL
    for _ in range(1000):
        if not list((tmp_path / ".out.mp4.part").iterdir()):
            break
        time.sleep(0.01)
    assert list((tmp_path / ".out.mp4.part").iterdir()) == []
    assert not (tmp_path / "out.mp4").exists()


def test_times_are_exact(tmp_path: Path) -> None:
    run = recorded(Shape(320, 180, Fraction(30000, 1001)), tmp_path, 0)
    out = tmp_path / "out.mp4"
    export_mp4([run["source"]], [run["audio"]], out)
    seen = watch(out)
    for number, time_s in enumerate(seen.times_s):
        assert time_s - seen.times_s[0] == pytest.approx(number * 1001 / 30000, abs=0.0015)
