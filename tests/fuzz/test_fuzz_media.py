"""Hostile coded video and damaged recordings: an error at most, never more than that."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed
from support.laddercheck import Taken, read_source

from hausd.core.live import FileRange
from hausd.media.demo import Shape, write
from hausd.media.export import ExportError, RunMedia, export_mp4
from hausd.media.images import Images
from hausd.media.ladder import Ladder, LadderFailed
from hausd.media.units import CodedVideo, SourceVideo
from hausd.policy.ladder import Rung

RUNG = Rung("90p", 160, 90, 100_000)
DAMAGE = st.lists(
    st.tuples(st.integers(0, 29), st.integers(0, 4000), st.binary(max_size=40)), max_size=12
)


@cache
def good() -> tuple[SourceVideo, list[CodedVideo]]:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/in.mp4"
        write(path, Shape(320, 180, b_frames=1, video_bps=300_000), seconds=1)
        return read_source(path)


@cache
def fragments() -> tuple[bytes, bytes]:
    """An init segment and one segment of fragments."""
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = f"{folder}/in.mp4", f"{folder}/cut.mp4"
        write(whole, Shape(320, 180, video_bps=300_000, audio_rate_hz=0), seconds=1)
        flags = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
        with av.open(whole) as source, av.open(cut, "w", container_options=flags) as out:
            stream = out.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
        data = Path(cut).read_bytes()
        at = data.index(b"moof") - 4
        return data[:at], data[at:]


def damaged(data: bytes, at: int, new: bytes) -> bytes:
    at %= max(len(data), 1)
    return data[:at] + new + data[at + len(new) :]


@given(DAMAGE, st.binary(max_size=60), st.integers(0, 3))
@example([], b"", 0)
@example([(0, 0, b"\xff" * 40)], b"", 0)
@example([(0, 4, b"\x00"), (3, 0, b"\x7f\xff\xff\xff")], b"\x01\x64", 2)
@settings(deadline=None, max_examples=25)
def test_coded_video(damage: list[tuple[int, int, bytes]], record: bytes, cut: int) -> None:
    source, units = good()
    if cut:
        source = replace(source, record=damaged(source.record, cut * 7, record))
    units = list(units)
    for place, at, new in damage:
        units[place] = changed(units[place], data=damaged(units[place].data, at, new))
    taken = Taken()
    drawn = Images(0, lambda made, jpeg: None)
    with Ladder(source, (RUNG,), taken) as ladder:
        try:
            for unit in units:
                ladder.push(unit)
            assert ladder.flush(60)
        except LadderFailed:
            pass
    for place, unit in enumerate(units[:10]):
        drawn.offer_keyframe(source, unit.data, place * 5000)
        drawn.wait_idle()
    drawn.close()
    times = [frame.pts for frame in taken.frames.get("90p", [])]
    assert times == sorted(set(times))
    assert set(times) <= {unit.pts for unit in units}


@given(
    st.lists(st.tuples(st.integers(0, 60_000), st.binary(max_size=20)), max_size=10),
    st.lists(st.tuples(st.integers(0, 1000), st.binary(max_size=20)), max_size=3),
)
@example([], [])
@example([(4, b"junk")], [])
@example([], [(40, b"\xff" * 20)])
@settings(deadline=None, max_examples=60)
def test_recordings(
    segment_damage: list[tuple[int, bytes]], init_damage: list[tuple[int, bytes]]
) -> None:
    init, segment = fragments()
    for at, new in init_damage:
        init = damaged(init, at, new)
    for at, new in segment_damage:
        segment = damaged(segment, at, new)
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "segments"), Path(folder, "out.mp4")
        path.write_bytes(segment)
        run = RunMedia(0, init, (FileRange(str(path), 0, len(segment)),), "run 0")
        try:
            export_mp4([run], [], out)
        except (ExportError, OSError):
            assert not out.exists()
        else:
            assert out.stat().st_size > 0
        assert {each.name for each in Path(folder).iterdir()} <= {"segments", "out.mp4"}
