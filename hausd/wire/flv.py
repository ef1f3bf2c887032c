"""FLV tags and what they mean: legacy FLV and Enhanced RTMP v2 (single track).

Source: Adobe FLV specification 10.1, annex E; Enhanced RTMP v2 (Veovera). Timestamps are
milliseconds, 32 bit, and wrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Tag:
    """One FLV tag: type 8 (audio), 9 (video) or 18 (script data), timestamp and body."""

    type: int
    timestamp_ms: int
    data: bytes


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """A sequence header: ``record`` is an avcC, hvcC or av1C body."""

    codec: Literal["h264", "hevc", "av1"]
    record: bytes


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """An access unit: length-prefixed NAL units, or an AV1 temporal unit.

    ``timestamp_ms`` is the decode time; ``composition_ms`` is added for presentation.
    """

    timestamp_ms: int
    composition_ms: int
    keyframe: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """``record`` is an AudioSpecificConfig, an OpusHead body, or empty (MP3)."""

    codec: Literal["aac", "opus", "mp3"]
    record: bytes


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """One coded audio frame."""

    timestamp_ms: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Metadata:
    """``onMetaData``, untrusted: numbers, booleans and strings by name."""

    values: dict[str, float | bool | str]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A codec or packet type that hausd does not carry; ``what`` names it for the artist."""

    what: str


Unit = VideoConfig | VideoFrame | AudioConfig | AudioFrame | Metadata | Unsupported
