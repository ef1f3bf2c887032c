"""A publisher that marks each picture with the time it was sent: ``main`` is a program.

Before every access unit of H.264 goes an SEI message (user_data_unregistered, ITU-T H.264 D.1.7)
with the frame's number and CLOCK_MONOTONIC. Whoever passes NAL units through delivers it, and the
receiver on the same machine knows how long the frame took.
"""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from mediabench.inputs import PART

_ID = b"hausd-bench-mark"  # the sixteen bytes that name this kind of message
_MARK = re.compile(re.escape(_ID) + rb"([0-9a-f]{16})([0-9a-f]{16})")
_SEI = 6
_USER_DATA = 5
_MS = Fraction(1, 1000)


def mark(number: int, sent_ns: int) -> bytes:
    """A length-prefixed SEI unit. Hexadecimal has no zero bytes, so nothing must be escaped."""
    payload = _ID + b"%016x%016x" % (number, sent_ns)
    unit = bytes((_SEI, _USER_DATA, len(payload))) + payload + b"\x80"
    return struct.pack("!I", len(unit)) + unit


def marks(data: bytes) -> list[tuple[int, int]]:
    """Number and send time (ns) of every marked picture in these bytes."""
    return [(int(number, 16), int(sent, 16)) for number, sent in _MARK.findall(data)]


@dataclass(frozen=True, slots=True)
class _Unit:
    video: bool
    dts_ms: int
    pts_ms: int
    keyframe: bool
    data: bytes


@contextmanager
def publishing(source: Path, url: str) -> Iterator[int]:
    """Publishes in real time, over and over, while the block lasts; gives when it began (ns)."""
    process = subprocess.Popen(
        [sys.executable, str(PART), "publisher", str(source), url], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            raise SystemExit("the publisher did not start")
        yield int(said)
        if process.poll() is not None:
            raise SystemExit(f"the publisher ended early, with {process.returncode}")
    finally:
        process.terminate()
        process.wait(10)


def main(arguments: Sequence[str]) -> None:
    """A file and an RTMP URL; prints CLOCK_MONOTONIC (ns) just before it connects."""
    source, url = arguments
    units, length_ms = _read(Path(source))
    print(time.monotonic_ns(), flush=True)
    with av.open(source) as template, av.open(url, "w", format="flv", options=_OPTIONS) as out:
        video = out.add_stream_from_template(template.streams.video[0])
        audio = out.add_stream_from_template(template.streams.audio[0])
        began_s = time.monotonic()
        number = shift_ms = 0
        while True:
            for unit in units:
                wait_s = began_s + (unit.dts_ms + shift_ms) / 1000 - time.monotonic()
                if wait_s > 0:
                    time.sleep(wait_s)
                data = unit.data
                if unit.video:
                    data = mark(number, time.monotonic_ns()) + data
                    number += 1
                packet = Packet(data)
                packet.stream = video if unit.video else audio
                packet.time_base = _MS
                packet.dts, packet.pts = unit.dts_ms + shift_ms, unit.pts_ms + shift_ms
                packet.is_keyframe = unit.keyframe
                out.mux(packet)
            shift_ms += length_ms


_OPTIONS = {"flush_packets": "1", "flvflags": "no_duration_filesize"}


def _read(source: Path) -> tuple[list[_Unit], int]:
    """The units in order of their times, up to the last whole second."""
    units = []
    with av.open(str(source)) as container:
        video = container.streams.video[0]
        for packet in container.demux(video, container.streams.audio[0]):
            if packet.dts is None or packet.pts is None or packet.dts < 0:
                continue
            scale = packet.time_base * 1000
            units.append(
                _Unit(
                    video=packet.stream is video,
                    dts_ms=round(packet.dts * scale),
                    pts_ms=round(packet.pts * scale),
                    keyframe=packet.is_keyframe,
                    data=bytes(packet),
                )
            )
    length_ms = max(unit.dts_ms for unit in units if unit.video) // 1000 * 1000
    units = [unit for unit in units if unit.dts_ms < length_ms]
    return sorted(units, key=lambda unit: (unit.dts_ms, unit.video)), length_ms
