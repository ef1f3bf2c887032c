"""FLV tags and what they mean: legacy FLV and Enhanced RTMP v2 (of several tracks, track 0).

Source: Adobe FLV specification 10.1, annex E; Enhanced RTMP v2 (Veovera). Timestamps are
milliseconds, 32 bit, and wrap; ``wire.unwrap`` takes that away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from hausd.wire import amf


# What there is one of for every frame is a struct: a frozen dataclass takes ten times as long to
# make (measured: 1.9 us against 0.2).
class Tag(msgspec.Struct, frozen=True, gc=False):
    """One FLV tag: type 8 (audio), 9 (video) or 18 (script data), timestamp and body."""

    type: int
    timestamp_ms: int
    data: bytes


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """A sequence header: ``record`` is an avcC, hvcC or av1C body."""

    codec: Literal["h264", "hevc", "av1"]
    record: bytes


class VideoFrame(msgspec.Struct, frozen=True, gc=False):
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


class AudioFrame(msgspec.Struct, frozen=True, gc=False):
    """One coded audio frame."""

    timestamp_ms: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Metadata:
    """``onMetaData``, untrusted: numbers, booleans and strings by name."""

    values: dict[str, float | bool | str]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A codec, track or damaged tag that hausd does not carry; ``what`` names it for the artist.

    Every tag concerned gives one again: tell the artist each ``what`` once.
    """

    what: str


Unit = VideoConfig | VideoFrame | AudioConfig | AudioFrame | Metadata | Unsupported


def parse(tag: Tag) -> tuple[Unit, ...]:
    """What an untrusted tag carries: mostly one unit; none when empty or the end of a sequence.

    MP3 has no sequence header, so each of its frames comes with an ``AudioConfig``, always the
    same one. Never raises: a damaged tag is ``Unsupported``.
    """
    try:
        if tag.type == _VIDEO:
            return _video(tag)
        if tag.type == _AUDIO:
            return _audio(tag)
        return tuple(_script(tag))
    except IndexError:
        return (Unsupported(f"a damaged {_NAMES.get(tag.type, 'unknown')} tag"),)


def is_header(tag: Tag) -> bool:
    """Whether this tag must be repeated to whoever joins later: a sequence header or onMetaData.

    Cheap: only the first bytes of ordinary tags are looked at.
    """
    data = tag.data
    if len(data) < 2:
        return False
    first = data[0]
    if tag.type == _VIDEO:
        if not first & _EX_VIDEO:
            return first & 0x0F in _LEGACY_VIDEO and first >> 4 != _COMMAND and data[1] == 0
    elif tag.type == _AUDIO:
        if first >> 4 != _EX_AUDIO:
            return first >> 4 == _LEGACY_AAC and data[1] == 0
    else:
        return data.startswith(_ON_METADATA)
    packet_type = first & 0x0F
    if packet_type == _SEQUENCE_START:
        return True
    if packet_type in (_CODED_FRAMES, _CODED_FRAMES_X):
        return False
    units = parse(tag)
    return any(isinstance(unit, VideoConfig | AudioConfig) for unit in units) and not any(
        isinstance(unit, VideoFrame | AudioFrame) for unit in units
    )


# -- details --

_AUDIO, _VIDEO, _SCRIPT = 8, 9, 18
_NAMES = {_AUDIO: "audio", _VIDEO: "video", _SCRIPT: "script data"}
"""FLV's times are signed: ffmpeg goes from 2**31 - 1 to 0. Every 2**32 is a wrap of this too."""
_ON_METADATA = amf.encode("onMetaData")

# Legacy headers (FLV E.4.2.1, E.4.3.1). HEVC under codec id 12 is no standard, but widely sent.
_KEYFRAMES = (1, 4)
_COMMAND = 5
_LEGACY_AAC = 10
_LEGACY_MP3 = (2, 14)
_LEGACY_VIDEO: dict[int, Literal["h264", "hevc"]] = {7: "h264", 12: "hevc"}
_VIDEO_NAMES = {2: "H.263", 3: "Screen video", 4: "VP6", 5: "VP6", 6: "Screen video", 9: "MPEG-4"}
_AUDIO_NAMES = {
    0: "PCM",
    1: "ADPCM",
    3: "PCM",
    4: "Nellymoser",
    5: "Nellymoser",
    6: "Nellymoser",
    7: "G.711",
    8: "G.711",
    11: "Speex",
}

# Enhanced headers (Enhanced RTMP v2, "ExVideoTagHeader" and "ExAudioTagHeader").
_EX_VIDEO = 0x80
_EX_AUDIO = 9
_SEQUENCE_START, _CODED_FRAMES, _SEQUENCE_END, _CODED_FRAMES_X = 0, 1, 2, 3
_TS_SEQUENCE_START = 5
_MOD_EX = 7
_MOD_EX_MAX = 8  # one kind exists
_VIDEO_MULTITRACK, _AUDIO_MULTITRACK = 6, 5
_ONE_TRACK, _MANY_TRACKS, _MANY_CODECS = 0, 1, 2
_TRACKS_MAX = 16  # encoders offer 6; what a tag has beyond this is not looked at
_VIDEO_FOURCC: dict[bytes, Literal["h264", "hevc", "av1"]] = {
    b"avc1": "h264",
    b"hvc1": "hevc",
    b"av01": "av1",
}
_AUDIO_FOURCC: dict[bytes, Literal["aac", "opus", "mp3"]] = {
    b"mp4a": "aac",
    b"Opus": "opus",
    b".mp3": "mp3",
}
_FOURCC_NAMES = {
    b"vp08": "VP8",
    b"vp09": "VP9",
    b"vvc1": "VVC",
    b"ac-3": "AC-3",
    b"ec-3": "E-AC-3",
    b"fLaC": "FLAC",
}
_HAS_COMPOSITION_TIME = ("h264", "hevc")
_SHOWN_NAMES = {"h264": "H.264", "hevc": "HEVC", "av1": "AV1", "aac": "AAC", "opus": "Opus"}
_MP3_CONFIG = AudioConfig("mp3", b"")


def _video(tag: Tag) -> tuple[Unit, ...]:
    data = tag.data
    if not data:
        return ()
    if data[0] & _EX_VIDEO:
        return tuple(_enhanced_video(tag))
    frame_type, codec_id = data[0] >> 4, data[0] & 0x0F
    codec = _LEGACY_VIDEO.get(codec_id)
    if codec is None:
        return (Unsupported(f"{_VIDEO_NAMES.get(codec_id, f'codec {codec_id}')} video"),)
    if frame_type == _COMMAND:
        return ()
    packet_type = data[1]
    if packet_type == 0:
        return (_video_config(codec, data[5:]),)
    if packet_type == 1 and len(data) > 5:
        keyframe = frame_type in _KEYFRAMES
        return (VideoFrame(tag.timestamp_ms, _int24(data, 2), keyframe, data[5:]),)
    return ()


def _enhanced_video(tag: Tag) -> Iterator[Unit]:
    frame_type = tag.data[0] >> 4 & 0x7
    if frame_type == _COMMAND:
        return
    keyframe = frame_type in _KEYFRAMES
    for packet_type, fourcc, start, end in _tracks(tag.data, _VIDEO_MULTITRACK, "video"):
        if isinstance(fourcc, Unsupported):
            yield fourcc
        else:
            yield from _ex_video(tag, keyframe, packet_type, fourcc, start, end)


def _ex_video(
    tag: Tag, keyframe: bool, packet_type: int, fourcc: bytes, start: int, end: int
) -> Iterator[Unit]:
    codec = _VIDEO_FOURCC.get(fourcc)
    if codec is None:
        yield Unsupported(f"{_fourcc_name(fourcc)} video")
    elif packet_type == _SEQUENCE_START:
        yield _video_config(codec, tag.data[start:end])
    elif packet_type in (_CODED_FRAMES, _CODED_FRAMES_X):
        composition_ms = 0
        if packet_type == _CODED_FRAMES and codec in _HAS_COMPOSITION_TIME:
            composition_ms = _int24(tag.data, start)
            start += 3
        if start < end:
            frame = tag.data[start:end]
            yield VideoFrame(tag.timestamp_ms, composition_ms, keyframe, frame)
    elif packet_type == _TS_SEQUENCE_START:
        yield Unsupported(f"{_SHOWN_NAMES[codec]} with an MPEG-2 TS sequence header")


def _video_config(codec: Literal["h264", "hevc", "av1"], record: bytes) -> Unit:
    if not record:
        return Unsupported(f"an empty {_SHOWN_NAMES[codec]} sequence header")
    return VideoConfig(codec, record)


def _audio(tag: Tag) -> tuple[Unit, ...]:
    data = tag.data
    if not data:
        return ()
    sound_format = data[0] >> 4
    if sound_format == _EX_AUDIO:
        return tuple(_enhanced_audio(tag))
    if sound_format == _LEGACY_AAC:
        packet_type = data[1]
        if packet_type == 0:
            return (_audio_config("aac", data[2:]),)
        if packet_type == 1 and len(data) > 2:
            return (AudioFrame(tag.timestamp_ms, data[2:]),)
        return ()
    if sound_format in _LEGACY_MP3:
        return (_MP3_CONFIG, AudioFrame(tag.timestamp_ms, data[1:])) if len(data) > 1 else ()
    return (Unsupported(f"{_AUDIO_NAMES.get(sound_format, f'format {sound_format}')} audio"),)


def _enhanced_audio(tag: Tag) -> Iterator[Unit]:
    for packet_type, fourcc, start, end in _tracks(tag.data, _AUDIO_MULTITRACK, "audio"):
        if isinstance(fourcc, Unsupported):
            yield fourcc
        else:
            yield from _ex_audio(tag, packet_type, fourcc, start, end)


def _ex_audio(tag: Tag, packet_type: int, fourcc: bytes, start: int, end: int) -> Iterator[Unit]:
    codec = _AUDIO_FOURCC.get(fourcc)
    if codec is None:
        yield Unsupported(f"{_fourcc_name(fourcc)} audio")
    elif packet_type == _SEQUENCE_START:
        yield _MP3_CONFIG if codec == "mp3" else _audio_config(codec, tag.data[start:end])
    elif packet_type == _CODED_FRAMES and start < end:
        if codec == "mp3":
            yield _MP3_CONFIG
        yield AudioFrame(tag.timestamp_ms, tag.data[start:end])


def _audio_config(codec: Literal["aac", "opus"], record: bytes) -> Unit:
    if not record:
        return Unsupported(f"an empty {_SHOWN_NAMES[codec]} sequence header")
    return AudioConfig(codec, record)


def _tracks(
    data: bytes, multitrack: int, kind: str
) -> Iterator[tuple[int, bytes | Unsupported, int, int]]:
    """Packet type, codec, start and end of track 0's body; other tracks give an Unsupported."""
    packet_type = data[0] & 0x0F
    at = 1
    for _ in range(_MOD_EX_MAX):
        if packet_type != _MOD_EX:
            break
        # Nanoseconds to add to a timestamp are all there is so far: below what a timestamp holds.
        size = data[at] + 1
        at += 1
        if size == 256:
            size = int.from_bytes(data[at : at + 2], "big") + 1
            at += 2
        packet_type = data[at + size] & 0x0F
        at += size + 1
    if kind == "video" and packet_type == 4:
        return  # metadata (HDR): of no use without its video, which carries the same
    if packet_type != multitrack:
        yield packet_type, _fourcc(data, at), at + 4, len(data)
        return
    arrangement, packet_type = data[at] >> 4, data[at] & 0x0F
    at += 1
    if arrangement > _MANY_CODECS:
        yield packet_type, Unsupported(f"{kind} tracks in arrangement {arrangement}"), 0, 0
        return
    fourcc = b""
    if arrangement != _MANY_CODECS:
        fourcc = _fourcc(data, at)
        at += 4
    for _ in range(_TRACKS_MAX):
        if at >= len(data):
            break
        if arrangement == _MANY_CODECS:
            fourcc = _fourcc(data, at)
            at += 4
        track = data[at]
        at += 1
        end = len(data)
        if arrangement != _ONE_TRACK:
            end = at + 3 + (data[at] << 16 | data[at + 1] << 8 | data[at + 2])
            at += 3
            if end > len(data):
                raise IndexError
        if track == 0:
            yield packet_type, fourcc, at, end
        else:
            yield packet_type, Unsupported(f"a second {kind} track ({track})"), at, end
        at = end


def _fourcc(data: bytes, at: int) -> bytes:
    if len(data) < at + 4:
        raise IndexError
    return data[at : at + 4]


def _fourcc_name(fourcc: bytes) -> str:
    return _FOURCC_NAMES.get(fourcc) or repr(fourcc.decode("latin-1"))


def _int24(data: bytes, at: int) -> int:
    return (data[at] << 16 | data[at + 1] << 8 | data[at + 2]) - (data[at] >> 7 << 24)


def _script(tag: Tag) -> Iterator[Unit]:
    if tag.type != _SCRIPT or not tag.data.startswith(_ON_METADATA):
        return  # cue points, text and the like
    try:
        found = amf.decode(tag.data)
    except amf.AMFError as error:
        yield Unsupported(f"metadata that cannot be read ({error})")
        return
    for values in found[1:2]:
        if isinstance(values, dict):
            yield Metadata(
                {
                    name: value
                    for name, value in values.items()
                    if isinstance(value, bool | str)
                    or (isinstance(value, float) and math.isfinite(value))
                }
            )
