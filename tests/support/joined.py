"""Joins files into one FLV whose parameters change in the middle, without encoding anything."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.media import tags_of_flv


def join(target: Path, sources: Sequence[Path]) -> None:
    """Tags of all sources one after the other, times going on."""
    out = bytearray(b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00")
    shift = 0
    for source in sources:
        newest = 0
        remuxed = subprocess.run(
            ["ffmpeg", "-v", "error", "-i", str(source), "-c", "copy", "-f", "flv", "-"],
            capture_output=True,
            check=True,
            timeout=60,
        )
        for tag in tags_of_flv(remuxed.stdout):
            at = tag.timestamp_ms + shift
            newest = max(newest, at)
            size = len(tag.data)
            out += struct.pack(
                ">BBHHBBHB",
                tag.type,
                size >> 16,
                size & 0xFFFF,
                at >> 8 & 0xFFFF,
                at & 0xFF,
                at >> 24,
                0,
                0,
            )
            out += tag.data + struct.pack(">I", size + 11)
        shift = newest + 33
    target.write_bytes(bytes(out))
