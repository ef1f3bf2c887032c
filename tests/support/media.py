"""Small streams as FLV tags, made with PyAV: what encoders send, without an encoder program."""

from __future__ import annotations

import io
import json
import math
import subprocess
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from msgspec.structs import replace

from hausd.media.pipeline import Pipeline
from hausd.wire import amf
from hausd.wire.flv import Tag
from hausd.wire.fmp4 import Sample, parse_fragment
from hausd.wire.worker import (
    FromWorker,
    Notice,
    PartMade,
    RunEnded,
    RunStarted,
    TrackStarted,
    WorkerConfig,
)

AVCC = bytes.fromhex("0142c00dffe100166742c00dda05067e7840000003004000000f03c50aa801000468ce3c80")
"""An H.264 configuration record as x264 makes it for 320x180, with a timing that is not fixed."""
ASC = {48_000: bytes.fromhex("1190"), 44_100: bytes.fromhex("1210")}


@dataclass(frozen=True)
class Made:
    """A stream: its tags, and the times that were put in (seconds)."""

    tags: list[Tag]
    video_pts_s: list[Fraction]
    audio_frames: int


def tags_of_flv(data: bytes) -> list[Tag]:
    """The tags of an FLV file."""
    at = 9 + 4
    tags = []
    while at + 11 <= len(data):
        kind = data[at]
        size = int.from_bytes(data[at + 1 : at + 4])
        stamp = int.from_bytes(data[at + 4 : at + 7]) | data[at + 7] << 24
        tags.append(Tag(kind, stamp, data[at + 11 : at + 11 + size]))
        at += 11 + size + 4
    return tags


def picture(index: int, width: int, height: int, pixels: str = "yuv420p") -> av.VideoFrame:
    """A moving picture: a bar over a background whose brightness goes with the index."""
    frame = av.VideoFrame(width, height, "gray")
    plane = frame.planes[0]
    line = bytearray([(index * 5) % 150 + 30]) * plane.line_size
    bar = (index * 7) % max(1, width - 32)
    line[bar : bar + 32] = b"\xf0" * 32
    plane.update(bytes(line) * height)
    return frame.reformat(format=pixels)


def flv_stream(
    seconds: float = 4,
    *,
    rate: Fraction | int | None = 30,
    gop_s: float = 2,
    size: tuple[int, int] = (320, 180),
    codec: str | None = "h264",
    audio: str | None = "aac",
    sample_rate: int = 48_000,
    b_frames: int = 0,
    pixels: str = "yuv420p",
    frame_times_s: Sequence[Fraction] | None = None,
    scene_cut: bool = False,
) -> Made:
    """A stream of these properties, as ffmpeg's FLV muxer writes it.

    ``frame_times_s`` gives variable frame rates. ``codec`` is h264, hevc, av1 or None; ``audio``
    is aac, opus, mp3 or None.
    """
    out = io.BytesIO()
    container = av.open(out, "w", format="flv", options={"flvflags": "no_duration_filesize"})
    if rate is not None:
        rate = Fraction(rate)
    video = sound = None
    if codec is not None:
        name = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}[codec]
        video = container.add_stream(name, rate=rate or 30)
        video.width, video.height = size
        video.pix_fmt = pixels
        if codec != "av1":
            video.bit_rate = 300_000
        grid = Fraction(1, 90_000) if frame_times_s is not None else 1 / Fraction(rate or 30)
        video.codec_context.time_base = grid
        frames_in_gop = max(1, round(gop_s * (rate or 30)))
        video.gop_size = frames_in_gop
        if codec == "h264":
            video.options = {
                "preset": "ultrafast",
                "bf": str(b_frames),
                "x264-params": f"scenecut={40 if scene_cut else 0}:keyint={frames_in_gop}"
                f":min-keyint={1 if scene_cut else frames_in_gop}:bframes={b_frames}"
                ":b-adapt=0:rc-lookahead=0",
            }
        elif codec == "hevc":
            video.options = {
                "preset": "ultrafast",
                "x265-params": f"keyint={frames_in_gop}:min-keyint={frames_in_gop}"
                f":scenecut=0:bframes={b_frames}:log-level=none:open-gop=0",
            }
        else:
            video.options = {
                "preset": "12",
                "svtav1-params": f"keyint={frames_in_gop}:pred-struct=1:lp=1",
            }
    if audio is not None:
        name = {"aac": "aac", "opus": "libopus", "mp3": "libmp3lame"}[audio]
        sound = container.add_stream(name, rate=sample_rate)
        sound.layout = "stereo"
        sound.bit_rate = 96_000
    times = list(frame_times_s or ())
    if codec is not None and not times:
        assert rate is not None
        times = [Fraction(n) / rate for n in range(round(seconds * rate))]
    packets: list[av.Packet] = []
    if video is not None:
        for index, time_s in enumerate(times):
            frame = picture(index, *size, pixels)
            frame.time_base = video.codec_context.time_base
            frame.pts = round(time_s / frame.time_base)
            packets += video.encode(frame)
        packets += video.encode(None)
    audio_frames = 0
    if sound is not None:
        for frame in _tone(seconds, sample_rate, sound.codec_context.frame_size or 1024):
            packets += sound.encode(frame)
        packets += sound.encode(None)
        audio_frames = sum(packet.stream is sound for packet in packets)
    packets.sort(key=lambda packet: (packet.dts * packet.time_base, packet.stream is sound))
    for packet in packets:
        container.mux_one(packet)
    container.close()
    return Made(tags_of_flv(out.getvalue()), times, audio_frames)


def _tone(seconds: float, sample_rate: int, frame_samples: int) -> Iterator[av.AudioFrame]:
    total = int(seconds * sample_rate)
    for start in range(0, total, frame_samples):
        end = min(start + frame_samples, total)
        wave = array("f", (0.3 * math.sin(2764.6 * n / sample_rate) for n in range(start, end)))
        frame = av.AudioFrame("fltp", "stereo", len(wave))
        for plane in frame.planes:
            plane.update(wave.tobytes().ljust(plane.buffer_size, b"\0"))
        frame.sample_rate = sample_rate
        frame.pts = start
        frame.time_base = Fraction(1, sample_rate)
        yield frame


def shifted(tags: Sequence[Tag], by_ms: int) -> list[Tag]:
    """The same tags, with other timestamps (which wrap)."""
    return [replace(tag, timestamp_ms=(tag.timestamp_ms + by_ms) % (1 << 32)) for tag in tags]


def synthetic(
    stamps_ms: Sequence[int],
    *,
    keyframes: Sequence[int] | None = None,
    every: int | None = None,
    offsets_ms: Sequence[int] | None = None,
    rate: float | None = None,
    audio_stamps_ms: Sequence[int] | None = None,
    sample_rate: int = 48_000,
) -> list[Tag]:
    """Tags with these timestamps and frames that no decoder would like; H.264 and AAC.

    ``every``: a keyframe every so many frames; ``rate`` is stated in the metadata.
    """
    values: dict[str, float] = {"videocodecid": 7.0}
    if rate is not None:
        values["framerate"] = rate
    if audio_stamps_ms is not None:
        values["audiocodecid"] = 10.0
    tags = [
        Tag(18, 0, amf.encode("onMetaData", values)),
        Tag(9, 0, b"\x17\0\0\0\0" + AVCC),
    ]
    if audio_stamps_ms is not None:
        tags.append(Tag(8, 0, b"\xaf\0" + ASC[sample_rate]))
    frames: list[tuple[int, int, Tag]] = []
    for index, stamp in enumerate(stamps_ms):
        key = index % every == 0 if every else keyframes is None or index in keyframes
        offset = offsets_ms[index] if offsets_ms else 0
        head = bytes((0x17 if key else 0x27, 1)) + offset.to_bytes(3)
        body = index.to_bytes(4).rjust(24, b"\x01")
        data = head + len(body).to_bytes(4) + body
        frames.append((stamp, 0, Tag(9, stamp % (1 << 32), data)))
    for index, stamp in enumerate(audio_stamps_ms or ()):
        data = b"\xaf\1" + index.to_bytes(4) + bytes(20)
        frames.append((stamp, 1, Tag(8, stamp % (1 << 32), data)))
    frames.sort(key=lambda item: item[:2])
    return tags + [tag for _, _, tag in frames]


def grid_ms(
    rate: Fraction | int, count: int, start_ms: int = 0, cut_off: bool = False
) -> list[int]:
    """Stamps as encoders write them: rounded to the nearest millisecond, or cut off."""
    exact = [start_ms + Fraction(1000 * n) / rate for n in range(count)]
    return [int(ms) if cut_off else round(ms) for ms in exact]


def audio_grid_ms(
    sample_rate: int, count: int, start_ms: int = 0, samples: int = 1024
) -> list[int]:
    """Stamps of audio frames, rounded to the nearest millisecond."""
    return [start_ms + round(Fraction(1000 * samples * n, sample_rate)) for n in range(count)]


@dataclass
class Track:
    """What one rendition of one run came to."""

    started: TrackStarted
    init: bytes
    parts: list[tuple[PartMade, bytes]] = field(default_factory=list)

    @property
    def samples(self) -> list[Sample]:
        return [sample for _, data in self.parts for sample in parse_fragment(data)[1]]

    @property
    def file(self) -> bytes:
        return self.init + b"".join(data for _, data in self.parts)

    def pts_s(self) -> list[Fraction]:
        return [Fraction(sample.pts, self.started.timescale) for sample in self.samples]


@dataclass
class MadeRun:
    """What one run came to."""

    started: RunStarted
    tracks: dict[str, Track] = field(default_factory=dict)
    ended: bool = False


class Collected:
    """Takes a worker's messages, checking what every stream of them must keep to."""

    def __init__(self) -> None:
        self.runs: list[MadeRun] = []
        self.notices: list[Notice] = []
        self.others: list[FromWorker] = []

    def take(self, message: FromWorker, body: bytes) -> None:
        match message:
            case RunStarted():
                assert all(run.ended for run in self.runs), "a run begins when the last has ended"
                if self.runs:
                    assert message.run == self.runs[-1].started.run + 1
                    assert message.part_target_ms == self.runs[-1].started.part_target_ms
                self.runs.append(MadeRun(message))
            case TrackStarted():
                assert message.run == self.runs[-1].started.run
                self.runs[-1].tracks[message.rendition] = Track(message, body)
            case PartMade():
                run = self.runs[-1]
                assert message.run == run.started.run
                assert not run.ended
                run.tracks[message.rendition].parts.append((message, body))
            case RunEnded():
                assert message.run == self.runs[-1].started.run
                self.runs[-1].ended = True
            case Notice():
                self.notices.append(message)
            case _:
                self.others.append(message)

    @property
    def only(self) -> dict[str, Track]:
        """The tracks of the one run there is."""
        assert len(self.runs) == 1, [run.started for run in self.runs]
        return self.runs[0].tracks

    def check(
        self,
        *,
        gop_target_s: int = 2,
        segment_s: int = 10,
        full_parts: bool = True,
        holes: bool = False,
    ) -> None:
        """What every finished stream keeps to, rendition by rendition."""
        for run in self.runs:
            assert run.ended
            for track in run.tracks.values():
                self._check_track(run, track, gop_target_s, segment_s, full_parts, holes)

    def _check_track(
        self,
        run: MadeRun,
        track: Track,
        gop_target_s: int,
        segment_s: int,
        full: bool,
        holes: bool,
    ) -> None:
        scale = track.started.timescale
        target = Fraction(run.started.part_target_ms, 1000)
        end = None
        gop_s: dict[int, Fraction] = {}
        segment_of: dict[int, int] = {}
        for place, (part, data) in enumerate(track.parts):
            sequence, samples = parse_fragment(data)
            assert sequence == place + 1
            assert samples[0].dts == part.start
            assert sum(sample.duration for sample in samples) == part.duration
            assert all(sample.pts >= sample.dts for sample in samples)
            assert part.independent == samples[0].sync
            if end is not None:
                assert part.start >= end
                assert holes or part.start == end, (track.started.rendition, part, end)
            end = part.start + part.duration
            seconds = Fraction(part.duration, scale)
            assert seconds <= target, part
            later = track.parts[place + 1][0] if place + 1 < len(track.parts) else None
            if later is None or later.gop != part.gop:
                gop_ended = True
            else:
                gop_ended = False
                assert not part.ends_gop
                if full:
                    assert seconds >= target * Fraction(85, 100), part
            if later is not None:
                assert later.gop - part.gop in ((0, 1, 2) if holes else (0, 1))
                assert later.segment - part.segment in ((0, 1) if gop_ended else (0,))
            gop_s[part.gop] = gop_s.get(part.gop, Fraction(0)) + seconds
            segment_of[part.gop] = part.segment
        for gop, seconds in gop_s.items():
            assert seconds < gop_target_s + Fraction(1, 2), (track.started.rendition, gop, seconds)
        for number in set(segment_of.values()):
            length = sum(gop_s[gop] for gop, segment in segment_of.items() if segment == number)
            assert length < segment_s + Fraction(1, 2), (number, length)


def through_pipeline(tags: Sequence[Tag], config: WorkerConfig | None = None) -> Collected:
    """What a worker makes of these tags, without its process."""
    collected = Collected()
    pipeline = Pipeline(config or WorkerConfig(images=False), collected.take)
    for tag in tags:
        pipeline.push(tag)
        # Faster than real time, but no faster than the encoders: else they would drop frames.
        while pipeline.run and pipeline.run.ladder and pipeline.run.ladder.stats().behind_ms > 1000:
            time.sleep(0.01)
    pipeline.finish()
    return collected


def decode(file: bytes, folder: Path) -> list[Fraction]:
    """The presentation times (seconds) of what ffprobe decodes; fails on any complaint of it."""
    path = folder / "media.mp4"
    path.write_bytes(file)
    command = ["ffprobe", "-v", "warning", "-show_entries", "frame=best_effort_timestamp"]
    command += ["-show_entries", "stream=time_base", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert not done.stderr, done.stderr
    found = json.loads(done.stdout)
    base = Fraction(found["streams"][0]["time_base"])
    return [frame["best_effort_timestamp"] * base for frame in found["frames"]]
