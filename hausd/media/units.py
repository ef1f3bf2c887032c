"""What the parts of a media worker hand to each other.

All times are ticks of ``VIDEO_TIMESCALE`` on the run's own time line, already snapped to the frame
grid (``policy.timeline``); they begin near 0 and never wrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import msgspec

VIDEO_TIMESCALE = 90_000
"""Ticks a second of every video rendition."""


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """The publisher's video: ``record`` is its avcC, hvcC or av1C body.

    ``width`` and ``height`` are as shown (cropped), in pixels. ``frame_rate`` is None where it
    varies or is not known yet.
    """

    codec: Literal["h264", "hevc", "av1"]
    record: bytes
    width: int
    height: int
    frame_rate: Fraction | None = None


class CodedVideo(msgspec.Struct, frozen=True, gc=False):
    """One access unit of the source, in decoding order.

    ``keyframe`` is the source's; ``force_key`` says that a live GOP is cut at this ``pts``, so
    every encoder makes a keyframe of it; or that much sooner as ``key_lead`` says, where frames
    come after it that are shown before. ``skip`` frames are decoded, never encoded: they come
    before the run's first picture. ``data`` is length-prefixed NAL units or an AV1 temporal unit.
    """

    dts: int
    pts: int
    duration: int
    keyframe: bool
    force_key: bool
    data: bytes
    skip: bool = False
    key_lead: int = 0


@dataclass(frozen=True, slots=True)
class EncodedTrack:
    """A rendition is about to be encoded; comes before its first EncodedFrame.

    ``record`` is the encoder's avcC body.
    """

    rendition: str
    record: bytes
    width: int
    height: int
    bandwidth_bps: int
    frame_rate: Fraction | None = None


class EncodedFrame(msgspec.Struct, frozen=True, gc=False):
    """One encoded access unit, length-prefixed; ``duration`` as of the source frame it shows."""

    rendition: str
    dts: int
    pts: int
    duration: int
    keyframe: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class EncodedStopped:
    """A rendition makes no more frames for now. ``shed`` where the machine could not keep up."""

    rendition: str
    shed: bool
    reason: str


Encoded = EncodedTrack | EncodedFrame | EncodedStopped
"""What a ladder reports, in order per rendition, from its own threads."""
