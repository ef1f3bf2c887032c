"""What is known of a video's pictures before the first is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from hausd.wire.bits import BadRecord

MAX_SIDE = 16_384
"""Pixels; more is no picture that a worker could hold."""


@dataclass(frozen=True, slots=True)
class Colour:
    """Code points of ISO/IEC 23091-2, as in a ``colr`` box of type ``nclx``."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """What a video configuration record promises of every picture.

    ``width`` and ``height`` are after cropping. ``chroma`` is the format code (1 is 4:2:0).
    ``frame_rate`` is None unless the stream states a fixed one. ``codecs`` is RFC 6381's string.
    """

    codec: Literal["h264", "hevc", "av1"]
    codecs: str
    width: int
    height: int
    chroma: int
    bit_depth: int
    frame_rate: Fraction | None = None
    colour: Colour | None = None
    sample_aspect: tuple[int, int] = (1, 1)
    interlaced: bool = False


def sides(width: int, height: int) -> tuple[int, int]:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise BadRecord(f"a picture of {width}x{height} is not possible")
    return width, height
