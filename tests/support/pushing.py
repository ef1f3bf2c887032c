"""An encoder that sends given FLV tags over RTMP in real time, and leaves as it is told to."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from urllib.parse import urlsplit

from msgspec.structs import replace
from support.rtmp import RtmpClient

from hausd.wire.flv import Tag

_PATIENCE_S = 20.0


def push(
    url: str,
    tags: Iterable[Tag],
    *,
    says_goodbye: bool = True,
    speed: float = 1.0,
    on_sent: Callable[[int], None] = lambda ms: None,
) -> None:
    """Publishes ``tags`` at the pace of their times. Without a goodbye the connection just ends,
    after everything was sent, as when an encoder crashes. ``on_sent`` gets the time (ms since the
    first) of each tag that was sent."""
    parts = urlsplit(url)
    app, _, key = parts.path.strip("/").partition("/")
    client = RtmpClient(app=app)
    with socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE_S) as way:
        way.sendall(client.opening(key))
        way.sendall(client.writer.set_chunk_bytes(65_536))
        began, first = time.monotonic(), None
        for tag in tags:
            first = tag.timestamp_ms if first is None else first
            early = (tag.timestamp_ms - first) / 1000 / speed - (time.monotonic() - began)
            if early > 0:
                time.sleep(early)
            way.sendall(client.tag(tag))
            on_sent(tag.timestamp_ms - first)
        if says_goodbye:
            way.sendall(client.unpublish())
        way.shutdown(socket.SHUT_WR)
        way.settimeout(_PATIENCE_S)
        while way.recv(65_536):  # all that was sent has been taken once the server closes
            pass


def for_ever(tags: Sequence[Tag], length_ms: int) -> Iterator[Tag]:
    """The tags again and again, each time ``length_ms`` later."""
    for turn in count():
        for tag in tags:
            yield replace(tag, timestamp_ms=tag.timestamp_ms + turn * length_ms)


def until_frame(tags: Sequence[Tag], count: int) -> list[Tag]:
    """The tags up to and with the ``count``-th video frame (headers are no frames)."""
    kept, frames = [], 0
    for tag in tags:
        kept.append(tag)
        frames += tag.type == 9 and tag.data[1:2] == b"\x01"
        if frames == count:
            return kept
    raise ValueError(f"there are only {frames} frames")


def flv_file(tags: Sequence[Tag]) -> bytes:
    """An FLV file of these tags."""
    out = bytearray(b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00")
    for tag in tags:
        stamp = tag.timestamp_ms & 0xFFFFFFFF
        out += struct.pack(">B", tag.type) + len(tag.data).to_bytes(3, "big")
        out += (stamp & 0xFFFFFF).to_bytes(3, "big") + bytes((stamp >> 24, 0, 0, 0))
        out += tag.data + struct.pack(">I", len(tag.data) + 11)
    return bytes(out)
