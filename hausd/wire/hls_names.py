"""Names of live media, relative to their playlist. A name never means two contents.

The session counter is durable and only grows, media sequence numbers go on through a session, so
what a cache holds under a name stays right for good.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = r"(0|[1-9][0-9]{0,15})"
_PART = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}\.m4s")
_SEGMENT = re.compile(rf"{_NUMBER}\.{_NUMBER}\.m4s")
_INIT = re.compile(rf"init\.{_NUMBER}\.{_NUMBER}\.mp4")


@dataclass(frozen=True, slots=True)
class PartName:
    """A part: session counter, media sequence number, index in its segment."""

    session: int
    msn: int
    part: int

    def __str__(self) -> str:
        return f"{self.session}.{self.msn}.{self.part}.m4s"


@dataclass(frozen=True, slots=True)
class SegmentName:
    """A complete live segment: session counter, media sequence number."""

    session: int
    msn: int

    def __str__(self) -> str:
        return f"{self.session}.{self.msn}.m4s"


@dataclass(frozen=True, slots=True)
class InitName:
    """The init segment of a run: session counter, run."""

    session: int
    run: int

    def __str__(self) -> str:
        return f"init.{self.session}.{self.run}.mp4"


MediaName = PartName | SegmentName | InitName


def parse_media_name(untrusted: str) -> MediaName | None:
    """What a name means; None where it is none of ours (numbers have one way to be written)."""
    if match := _PART.fullmatch(untrusted):
        return PartName(int(match[1]), int(match[2]), int(match[3]))
    if match := _SEGMENT.fullmatch(untrusted):
        return SegmentName(int(match[1]), int(match[2]))
    if match := _INIT.fullmatch(untrusted):
        return InitName(int(match[1]), int(match[2]))
    return None


def playlist_uri(rendition: str) -> str:
    """A rendition's playlist, relative to the multivariant playlist."""
    return f"{rendition}/index.m3u8"
