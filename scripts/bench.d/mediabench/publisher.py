"""A publisher that marks each picture with the time it was sent: ``main`` is a program.

Before every access unit of H.264 goes an SEI message (user_data_unregistered, ITU-T H.264 D.1.7)
with the frame's number and CLOCK_MONOTONIC. Whoever passes NAL units through delivers it, and the
receiver on the same machine knows how long the frame took.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import av
from av.packet import Packet
from support.rtmp import RtmpClient, statuses

from hausd.wire.flv import Tag, is_header
from mediabench.inputs import PART, read_tags

_ID = b"hausd-bench-mark"  # the sixteen bytes that name this kind of message
_MARK = re.compile(re.escape(_ID) + rb"([0-9a-f]{16})([0-9a-f]{16})")
_SEI = 6
_USER_DATA = 5
_MS = Fraction(1, 1000)
_VIDEO = 9
_FLV_VIDEO_BYTES = 5
_FLV_AUDIO_BYTES = 2
"""What an FLV tag of H.264 or AAC has before the coded frame."""
_CHUNK_BYTES = 4096
_READ_BYTES = 65_536


def mark(number: int, sent_ns: int) -> bytes:
    """A length-prefixed SEI unit. Hexadecimal has no zero bytes, so nothing must be escaped."""
    payload = _ID + b"%016x%016x" % (number, sent_ns)
    unit = bytes((_SEI, _USER_DATA, len(payload))) + payload + b"\x80"
    return struct.pack("!I", len(unit)) + unit


def marks(data: bytes) -> list[tuple[int, int]]:
    """Number and send time (ns) of every marked picture in these bytes."""
    return [(int(number, 16), int(sent, 16)) for number, sent in _MARK.findall(data)]


@contextmanager
def publishing(source: Path, url: str, way: str = "ffmpeg") -> Iterator[int]:
    """Publishes in real time, over and over, while the block lasts; gives when it began (ns)."""
    process = subprocess.Popen(
        [sys.executable, str(PART), "publisher", str(source), url, way], stdout=subprocess.PIPE
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
    """An FLV file, an RTMP URL and a way to send (``WAYS``); prints CLOCK_MONOTONIC (ns) just
    before it connects."""
    source, url, way = arguments
    tags = list(read_tags(Path(source)))
    print(time.monotonic_ns(), flush=True)
    with WAYS[way](Path(source), url) as send:
        _publish(tags, send)


Send = Callable[[Tag], None]


def _publish(tags: list[Tag], send: Send) -> None:
    """All tags at their times, then again what are not headers, up to the last whole second."""
    length_ms = max(tag.timestamp_ms for tag in tags if tag.type == _VIDEO) // 1000 * 1000
    began_s = time.monotonic()
    number = shift_ms = 0
    while True:
        for tag in tags:
            header = is_header(tag)
            if tag.timestamp_ms >= length_ms or (header and shift_ms):
                continue
            at_ms = tag.timestamp_ms + shift_ms
            wait_s = began_s + at_ms / 1000 - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            data = tag.data
            if tag.type == _VIDEO and not header:
                sent = mark(number, time.monotonic_ns())
                data = data[:_FLV_VIDEO_BYTES] + sent + data[_FLV_VIDEO_BYTES:]
                number += 1
            send(Tag(tag.type, at_ms, data))
        shift_ms += length_ms


@contextmanager
def _as_ffmpeg(source: Path, url: str) -> Iterator[Send]:
    """libavformat's way: a message's header and its body in a write each, Nagle's algorithm on."""
    options = {"flush_packets": "1", "flvflags": "no_duration_filesize"}
    with av.open(str(source)) as template, av.open(url, "w", format="flv", options=options) as out:
        video = out.add_stream_from_template(template.streams.video[0])
        audio = out.add_stream_from_template(template.streams.audio[0])

        def send(tag: Tag) -> None:
            if is_header(tag):
                return  # the muxer makes its own of the template
            is_video = tag.type == _VIDEO
            packet = Packet(tag.data[_FLV_VIDEO_BYTES if is_video else _FLV_AUDIO_BYTES :])
            packet.stream = video if is_video else audio
            packet.time_base = _MS
            packet.dts = packet.pts = tag.timestamp_ms  # there are no B-frames
            packet.is_keyframe = not is_video or tag.data[0] >> 4 == 1
            out.mux(packet)

        yield send


@contextmanager
def _as_obs(source: Path, url: str) -> Iterator[Send]:
    """librtmp's way, which is OBS's: chunks of 4096 bytes, a write each, without delay."""
    parts = urlsplit(url)
    app, _, key = parts.path.lstrip("/").rpartition("/")
    # a path of one part is the app, to those who have no keys
    client = RtmpClient(app=app or key)
    with socket.create_connection((parts.hostname or "", parts.port or 1935)) as way:
        way.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        way.sendall(client.opening(key if app else ""))
        said: list[str] = []
        while "NetStream.Publish.Start" not in said:
            data = way.recv(_READ_BYTES)
            if not data:
                raise SystemExit(f"the server took no stream: {said}")
            said += statuses(client.receive(data))
        way.sendall(client.writer.set_chunk_bytes(_CHUNK_BYTES))
        threading.Thread(target=_drain, args=(way,), daemon=True).start()

        def send(tag: Tag) -> None:
            csid = client.media_csids[{8: 0, _VIDEO: 1, 18: 2}[tag.type]]
            for chunk in client.writer.chunks(csid, client.message(tag)):
                way.sendall(chunk)

        yield send


def _drain(way: socket.socket) -> None:
    """Reads what the server says, so that it never waits for us."""
    with suppress(OSError):
        while way.recv(_READ_BYTES):
            pass


WAYS: dict[str, Callable[[Path, str], AbstractContextManager[Send]]] = {
    "ffmpeg": _as_ffmpeg,
    "obs": _as_obs,
}
"""How encoders send, which makes a difference to who reads."""
