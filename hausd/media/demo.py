"""The demo stream: publishes the test picture and tone over RTMP, in real time.

``python -m hausd.media.demo URL`` publishes until it is told to stop; a URL of ``-`` is read from
standard input, since arguments can be seen by everyone on the machine and the URL holds a key.
Any other name that libavformat can write (``out.mp4``, ``out.flv``) is written as fast as it goes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from hausd.media.pattern import Pattern

_NETWORK_TIMEOUT_S = 10
_RECONNECT_S = (1.0, 2.0, 5.0)
_STABLE_S = 30.0
_MAX_LAG_S = 5.0
_AAC_FRAME = 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """What is published. ``gop_s`` seconds from keyframe to keyframe; ``audio_rate_hz`` 0 is
    no sound; ``video`` False is no picture."""

    width: int = 1280
    height: int = 720
    frame_rate: Fraction = Fraction(30)
    gop_s: float = 2.0
    b_frames: int = 0
    video_bps: int = 2_500_000
    audio_rate_hz: int = 48_000
    audio_bps: int = 128_000
    video: bool = True
    preset: str = "ultrafast"


def _sleep(wait_s: float) -> bool:
    time.sleep(wait_s)
    return False


def write(
    url: str,
    shape: Shape,
    *,
    seconds: float | None = None,
    first: int = 0,
    started: datetime | None = None,
    stopped: Callable[[float], bool] = _sleep,
    real_time: bool | None = None,
) -> int:
    """Publishes or writes ``shape`` to ``url``, for ``seconds`` or until ``stopped(wait_s)``.

    Frames are numbered from ``first`` on, and the clock in the picture shows ``started`` at
    number 0. Gives the number of the frame after the last. Raises av.FFmpegError or OSError when
    the other side is gone.
    """
    is_rtmp = url.startswith(("rtmp://", "rtmps://"))
    pace = is_rtmp if real_time is None else real_time
    pattern = Pattern(
        shape.width,
        shape.height,
        shape.frame_rate,
        sample_rate_hz=shape.audio_rate_hz or 48_000,
        started=started or datetime.now(),
        first=first,
    )
    container = (
        av.open(
            url,
            "w",
            format="flv",
            container_options={
                "flvflags": "no_duration_filesize",
                "rw_timeout": str(_NETWORK_TIMEOUT_S * 1_000_000),
                "rtmp_live": "live",
            },
        )
        if is_rtmp
        else av.open(url, "w")
    )
    with container:
        return _Writer(container, shape, pattern).run(seconds, stopped, pace=pace, first=first)


def publish(url: str, shape: Shape, stopped: Callable[[float], bool]) -> None:
    """Publishes until ``stopped``; comes back after the connection broke, with numbers and clock
    going on as if it had not."""
    began_s = time.monotonic()
    started = datetime.now()
    tries = 0
    while not stopped(0):
        elapsed_s = time.monotonic() - began_s
        try:
            write(
                url,
                shape,
                first=int(elapsed_s * shape.frame_rate),
                started=started,
                stopped=stopped,
            )
        except (av.FFmpegError, OSError) as failure:
            if time.monotonic() - began_s - elapsed_s > _STABLE_S:
                tries = 0
            wait_s = _RECONNECT_S[min(tries, len(_RECONNECT_S) - 1)]
            tries += 1
            print(f"demo: {_reason(failure)}; again in {wait_s:g} s", file=sys.stderr, flush=True)
            stopped(wait_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit code."""
    options = _parse(arguments)
    url: str = options.url
    stop = threading.Event()
    stopped: Callable[[float], bool] = stop.wait
    if url == "-":
        url = sys.stdin.readline().strip()
        starter = sys.stdin.readline().strip()
        if starter.isdecimal():
            stopped = _or_alone(stop.wait, int(starter))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    width, height = options.size
    try:
        shape = Shape(
            width=width,
            height=height,
            frame_rate=options.fps,
            gop_s=options.gop,
            b_frames=options.bframes,
            video_bps=options.bitrate,
            audio_rate_hz=options.audio_rate,
            video=not options.no_video,
            preset=options.preset,
        )
        if options.seconds is None and url.startswith(("rtmp://", "rtmps://")):
            publish(url, shape, stopped)
        else:
            write(url, shape, seconds=options.seconds or 10.0, first=options.first, stopped=stopped)
    except (av.FFmpegError, OSError, ValueError) as failure:
        print(f"demo: {_reason(failure)}", file=sys.stderr)
        return 1
    return 0


def _or_alone(stopped: Callable[[float], bool], parent: int) -> Callable[[float], bool]:
    """Also ends it when the process that started it is gone: a node that was killed."""
    return lambda wait_s: stopped(wait_s) or os.getppid() != parent


class _Writer:
    """Encodes and muxes picture and sound in the order of their times."""

    def __init__(self, container: OutputContainer, shape: Shape, pattern: Pattern) -> None:
        self._container = container
        self._shape = shape
        self._pattern = pattern
        self._video = _video_stream(container, shape) if shape.video else None
        self._audio = _audio_stream(container, shape) if shape.audio_rate_hz else None
        if self._video is None and self._audio is None:
            raise ValueError("neither picture nor sound is left to publish")
        self._frames = self._samples = 0
        self._next_key_s = Fraction(0)
        # 0.8 means 4/5, not the binary number next to it.
        self._gop_s = Fraction(shape.gop_s).limit_denominator(1000)

    def run(
        self,
        seconds: float | None,
        stopped: Callable[[float], bool],
        *,
        pace: bool,
        first: int,
    ) -> int:
        began_s = time.monotonic()
        while not stopped(0):
            at_s = self._next_s()
            if seconds is not None and at_s >= seconds:
                break
            if pace:
                early_s = float(at_s) - (time.monotonic() - began_s)
                if early_s > 0 and stopped(early_s):
                    break
                if early_s < -_MAX_LAG_S:
                    raise TimeoutError("the other side takes less than real time")
            self._write_next()
        for stream in (self._video, self._audio):
            if stream is not None:
                self._container.mux(stream.encode(None))
        return first + self._frames

    def _video_s(self) -> Fraction:
        return self._frames / self._shape.frame_rate

    def _audio_s(self) -> Fraction:
        return Fraction(self._samples, self._shape.audio_rate_hz or 1)

    def _next_s(self) -> Fraction:
        if self._video is None:
            return self._audio_s()
        if self._audio is None:
            return self._video_s()
        return min(self._video_s(), self._audio_s())

    def _write_next(self) -> None:
        if self._video is not None and self._next_s() == self._video_s():
            picture = self._pattern.picture()
            key = self._video_s() >= self._next_key_s
            if key:
                self._next_key_s += self._gop_s
            picture.pict_type = 1 if key else 0
            self._frames += 1
            self._container.mux(self._video.encode(picture))
        elif self._audio is not None:
            sound = self._pattern.sound(_AAC_FRAME)
            self._samples += _AAC_FRAME
            self._container.mux(self._audio.encode(sound))


def _video_stream(container: OutputContainer, shape: Shape) -> VideoStream:
    stream = container.add_stream("libx264", rate=shape.frame_rate)
    stream.width, stream.height, stream.pix_fmt = shape.width, shape.height, "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / shape.frame_rate
    context.bit_rate = shape.video_bps
    context.thread_count = 1
    context.max_b_frames = shape.b_frames
    context.options = {
        "preset": shape.preset,
        "forced-idr": "1",
        "maxrate": str(shape.video_bps),
        "bufsize": str(shape.video_bps),
        "x264-params": f"scenecut=0:keyint=infinite:bframes={shape.b_frames}:b-adapt=0",
        **({} if shape.b_frames else {"tune": "zerolatency"}),
    }
    return stream


def _audio_stream(container: OutputContainer, shape: Shape) -> AudioStream:
    return container.add_stream(
        "aac", rate=shape.audio_rate_hz, layout="stereo", bit_rate=shape.audio_bps
    )


def _reason(failure: Exception) -> str:
    # libav's errors name the URL, and the URL holds the stream's key.
    if isinstance(failure, av.FFmpegError):
        return failure.strerror or "the connection failed"
    return str(failure) or type(failure).__name__


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"a size is WIDTHxHEIGHT, as in 1280x720, not {text!r}")
    return int(width), int(height)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 1 <= rate <= 240:
        raise argparse.ArgumentTypeError(
            f"frames a second are 1 to 240, as in 30 or 30000/1001, not {text!r}"
        )
    return rate


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m hausd.media.demo",
        description="Publishes a moving test picture with a clock and a tone.",
    )
    parser.add_argument(
        "url",
        help="rtmp://…, a file name, or - to read it from standard input, "
        "with the id of the process to end with on a second line",
    )
    parser.add_argument("--seconds", type=float, help="length (default: without end; files 10)")
    parser.add_argument("--size", type=_size, default=(1280, 720), help="WxH (1280x720)")
    parser.add_argument("--fps", type=_rate, default=Fraction(30), help="frames a second (30)")
    parser.add_argument("--gop", type=float, default=2.0, help="seconds between keyframes (2)")
    parser.add_argument("--bframes", type=int, default=0, help="B-frames in a row (0)")
    parser.add_argument("--bitrate", type=int, default=2_500_000, help="bits/s (2500000)")
    parser.add_argument("--preset", default="ultrafast", help="x264's preset (ultrafast)")
    parser.add_argument("--audio-rate", type=int, default=48_000, help="Hz (48000); 0: no sound")
    parser.add_argument("--no-video", action="store_true", help="sound only")
    parser.add_argument("--first", type=int, default=0, help="number of the first frame (0)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
