"""Feeding a ladder from a file, and what it costs: ``python -m support.laddercheck FILE``.

Run from ``tests/`` with the project's interpreter. Prints CPU seconds of the ladder beside those
of the ffmpeg program with the same settings, one after the other.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from hausd.media.ladder import Ladder
from hausd.media.units import (
    VIDEO_TIMESCALE,
    CodedVideo,
    Encoded,
    EncodedFrame,
    EncodedStopped,
    EncodedTrack,
    SourceVideo,
)
from hausd.policy.ladder import Rung, rungs_for

LADDER = ((720, 2_800_000), (480, 1_400_000), (360, 800_000))


def read_source(path: str | Path) -> tuple[SourceVideo, list[CodedVideo]]:
    """An MP4 file's video as a worker would hand it to its ladder."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        source = SourceVideo(
            codec=context.name,
            record=context.extradata,
            width=context.width,
            height=context.height,
            frame_rate=stream.average_rate,
        )
        tick = Fraction(VIDEO_TIMESCALE) * stream.time_base
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
        units = [
            CodedVideo(
                dts=round(packet.dts * tick),
                pts=round(packet.pts * tick),
                duration=round(packet.duration * tick),
                keyframe=packet.is_keyframe,
                force_key=packet.is_keyframe,
                data=bytes(packet),
            )
            for packet in packets
        ]
    return source, units


@dataclass
class Taken:
    """Everything a ladder said."""

    tracks: list[EncodedTrack] = field(default_factory=list)
    frames: dict[str, list[EncodedFrame]] = field(default_factory=dict)
    stopped: list[EncodedStopped] = field(default_factory=list)

    def __call__(self, said: Encoded) -> None:
        if isinstance(said, EncodedTrack):
            self.tracks.append(said)
        elif isinstance(said, EncodedFrame):
            self.frames.setdefault(said.rendition, []).append(said)
        else:
            self.stopped.append(said)

    def track(self, rendition: str) -> EncodedTrack:
        return next(track for track in self.tracks if track.rendition == rendition)


def push_all(ladder: Ladder, units: list[CodedVideo], room_ms: float = 500) -> None:
    """Pushes as fast as the ladder works, never so fast that it sheds."""
    for unit in units:
        while ladder.stats().behind_ms > room_ms:
            time.sleep(0.005)
        ladder.push(unit)


def decode(track: EncodedTrack, frames: list[EncodedFrame]) -> list[av.VideoFrame]:
    """The pictures of an encoded rendition."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = track.record
    pictures = []
    for frame in frames:
        packet = av.Packet(frame.data)
        packet.pts, packet.dts = frame.pts, frame.dts
        packet.time_base = Fraction(1, VIDEO_TIMESCALE)
        pictures += decoder.decode(packet)
    return pictures + decoder.decode(None)


def ladder_cpu_s(path: str | Path, preset: str = "veryfast") -> float:
    """CPU seconds for reading, remuxing the source and encoding LADDER into files."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    source, units = read_source(path)
    rungs = rungs_for(source.width, source.height, LADDER)
    taken = Taken()
    with Ladder(source, rungs, taken, preset=preset) as ladder:
        push_all(ladder, units)
        ladder.flush()
    with tempfile.TemporaryDirectory() as folder:
        for track in taken.tracks:
            blob = b"".join(frame.data for frame in taken.frames[track.rendition])
            Path(folder, track.rendition).write_bytes(blob)
        Path(folder, "source").write_bytes(b"".join(unit.data for unit in units))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ffmpeg_cpu_s(path: str | Path, rungs: tuple[Rung, ...], preset: str = "veryfast") -> float:
    """CPU seconds of the ffmpeg program for the same work with the same encoder settings."""
    split = "".join(f"[s{i}]" for i in range(len(rungs)))
    scales = ";".join(
        f"[s{i}]scale={rung.width}:{rung.height}[v{i}]" for i, rung in enumerate(rungs)
    )
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(path)]
    command += ["-filter_complex", f"[0:v]split={len(rungs)}{split};{scales}", "-map", "0:v"]
    for i in range(len(rungs)):
        command += ["-map", f"[v{i}]"]
    command += ["-c:v:0", "copy"]
    for i, rung in enumerate(rungs, 1):
        rate = rung.bandwidth_bps
        command += [f"-c:v:{i}", "libx264", f"-b:v:{i}", f"{rate}", f"-maxrate:v:{i}", f"{rate}"]
        command += [f"-bufsize:v:{i}", f"{int(rate * 1.5)}"]
    command += ["-preset", preset, "-tune", "zerolatency", "-sc_threshold", "0"]
    command += ["-g", "60", "-keyint_min", "60", "-f", "mp4"]
    command += ["-movflags", "frag_keyframe+empty_moov+default_base_moof"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, f"{folder}/out.mp4"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def timed(work: Callable[[], float]) -> tuple[float, float]:
    began_s = time.monotonic()
    return work(), time.monotonic() - began_s


if __name__ == "__main__":
    file = sys.argv[1]
    shape, _ = read_source(file)
    ours, ours_wall = timed(lambda: ladder_cpu_s(file))
    rungs = rungs_for(shape.width, shape.height, LADDER)
    theirs, theirs_wall = timed(lambda: ffmpeg_cpu_s(file, rungs))
    print(f"ladder {ours:.2f} s of CPU in {ours_wall:.2f} s")
    print(f"ffmpeg {theirs:.2f} s of CPU in {theirs_wall:.2f} s")
    print(f"ratio {ours / theirs:.2f} CPU, {ours_wall / theirs_wall:.2f} wall")
