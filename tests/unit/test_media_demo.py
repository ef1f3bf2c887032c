"""The demo stream: readable by people and programs, in sync, at every rate."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import av
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.avcheck import read_frame_number, watch

from hausd.media.demo import Shape, main, write
from hausd.media.pattern import Pattern, cells_of, number_of


@given(st.integers(0, 2**24 - 1))
def test_a_number_is_read_back_from_its_cells(number: int) -> None:
    assert number_of(cells_of(number)) == number


@given(st.integers(0, 2**24 - 1), st.integers(0, 31))
def test_a_damaged_row_of_cells_is_not_another_number(number: int, at: int) -> None:
    cells = cells_of(number)
    cells[at] = not cells[at]
    assert number_of(cells) is None


@pytest.mark.parametrize("size", [(64, 64), (320, 180), (426, 240), (1280, 720), (180, 320)])
def test_pictures_of_every_size_tell_their_number_after_scaling(size: tuple[int, int]) -> None:
    pattern = Pattern(*size, Fraction(30), started=datetime(2030, 1, 1), first=7_654_321)
    picture = pattern.picture()
    assert read_frame_number(picture) == 7_654_321
    assert read_frame_number(picture.reformat(width=max(size[0] // 2, 64))) == 7_654_321


def test_a_picture_without_cells_has_no_number() -> None:
    picture = av.VideoFrame(320, 180, "yuv420p")
    for plane in picture.planes:
        plane.update(bytes(plane.buffer_size))
    assert read_frame_number(picture) is None


@pytest.mark.parametrize(
    ("rate", "audio_hz", "b_frames"),
    [("30", 48_000, 0), ("30000/1001", 44_100, 0), ("24000/1001", 48_000, 2), ("60", 48_000, 0)],
)
def test_sound_and_picture_are_in_sync_and_no_frame_is_lost(
    tmp_path: Path, rate: str, audio_hz: int, b_frames: int
) -> None:
    out = tmp_path / "out.mp4"
    shape = Shape(320, 180, Fraction(rate), b_frames=b_frames, audio_rate_hz=audio_hz)
    following = write(str(out), shape, seconds=3.2, first=500)
    seen = watch(out)
    assert seen.numbers == list(range(500, following))
    assert len(seen.offsets_ms) >= 3
    assert all(abs(offset) < 3 for offset in seen.offsets_ms)


def test_keyframes_come_as_often_as_was_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    write(str(out), Shape(320, 180, Fraction(25), gop_s=0.8), seconds=2.6)
    with av.open(str(out)) as container:
        times = [p.pts * p.time_base for p in container.demux(video=0) if p.is_keyframe]
    assert times == [Fraction(0), Fraction(4, 5), Fraction(8, 5), Fraction(12, 5)]


@pytest.mark.parametrize(("missing", "kinds"), [("video", {"audio"}), ("audio", {"video"})])
def test_one_of_both_can_be_left_out(tmp_path: Path, missing: str, kinds: set[str]) -> None:
    out = tmp_path / "out.flv"
    option = ["--no-video"] if missing == "video" else ["--audio-rate", "0"]
    assert main([str(out), "--seconds", "1", "--size", "320x180", *option]) == 0
    with av.open(str(out)) as container:
        assert {stream.type for stream in container.streams} == kinds


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "huge"], "WIDTHxHEIGHT"),
        (["--fps", "0"], "1 to 240"),
        (["--fps", "nan"], "1 to 240"),
    ],
)
def test_a_wrong_option_is_explained(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["out.mp4", *options])
    assert words in capsys.readouterr().err


def test_an_odd_size_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "out.mp4"), "--seconds", "1", "--size", "321x180"]) == 1
    assert "even" in capsys.readouterr().err


def test_a_stream_key_is_never_shown() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hausd.media.demo", "-", "--seconds", "1"],
        input="rtmp://127.0.0.1:1/live/very-secret\n",
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        timeout=60,
    )
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "secret" not in done.stderr + done.stdout


def test_the_demo_does_not_outlive_a_node_that_was_killed() -> None:
    begin = (
        "import os, subprocess, sys, time\n"
        "demo = subprocess.Popen([sys.executable, '-m', 'hausd.media.demo', '-'],\n"
        "    stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)\n"
        "demo.stdin.write(b'rtmp://127.0.0.1:9/live/none\\n%d\\n' % os.getpid())\n"
        "demo.stdin.flush()\n"
        "print(demo.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", begin], stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        demo = psutil.Process(int(node.stdout.readline()))
        assert demo.is_running()
        node.kill()
    demo.wait(30)
