"""The player of the end-to-end tests reads every picture of a segment, wherever its keyframe is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from support.hls_grammar import Segment
from support.media import through_pipeline
from support.playback import Played, Taken
from support.rtmp import read_flv

from hausd.media.demo import Shape, write
from hausd.wire.worker import WorkerConfig


def test_segments_without_a_keyframe_are_read_from_the_last_one_before_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rare.flv"
    shape = Shape(320, 180, Fraction(30), gop_s=8.0, audio_rate_hz=48_000, video_bps=400_000)
    write(str(path), shape, seconds=11)
    config = WorkerConfig(images=False, ladder=(), reencode_long_gops=False)
    source = through_pipeline(read_flv(path.read_bytes()), config).only["source"]
    taken = Taken("source", inits={"init": source.init})
    for part, data in source.parts:
        if part.gop not in taken.media:
            taken.segments.append(Segment(part.gop, 0, init="init"))
        taken.media[part.gop] = taken.media.get(part.gop, b"") + data
    played = Played.of(taken)
    assert len(played.lean) >= 3
    assert played.numbers == list(range(330))
    assert all(played.shown[segment.msn] for segment in taken.segments)
