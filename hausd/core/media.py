"""What a stream is made of: renditions, parts, GOPs, segments.

Times are integers in a rendition's own ``timescale`` (ticks per second) unless a name says
otherwise. Nothing here knows how the bytes were made or where they lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

LEAF_BYTES = 128 * 1024
"""Largest raw block of media. A part is a run of leaves; a leaf never spans two parts."""


class Kind(StrEnum):
    """What a rendition carries."""

    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class Rendition:
    """One quality of a room as its init segment describes it.

    ``codecs`` is the RFC 6381 string. ``bandwidth_bps`` is what was configured or expected;
    playlists state what was measured.
    """

    name: str
    kind: Kind
    codecs: str
    timescale: int
    bandwidth_bps: int = 0
    width: int = 0
    height: int = 0
    frame_rate: Fraction | None = None
    sample_rate_hz: int = 0
    channels: int = 0
    closed_captions: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One CMAF fragment (moof and mdat) of a rendition.

    ``run`` counts the stretches between discontinuities, ``gop`` the live segments and
    ``segment`` the archive segments of a run; all start at 0 and mean the same span of time in
    every rendition. A part never spans two GOPs, a GOP never two segments.
    """

    rendition: str
    run: int
    gop: int
    segment: int
    start: int
    duration: int
    independent: bool
    data: bytes


def leaves(part: bytes) -> list[memoryview]:
    """Cuts a part into its leaves: LEAF_BYTES each, the last one shorter."""
    view = memoryview(part)
    return [view[at : at + LEAF_BYTES] for at in range(0, len(view), LEAF_BYTES)]
