"""Reads what audio codecs' configuration records and frames say.

Source: ISO/IEC 14496-3 (1.6.2.1), RFC 7845 (OpusHead), RFC 6716 (3.1), ISO/IEC 11172-3 (2.4.2.3).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from hausd.wire.bits import BadRecord

_AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000,
                 7350)  # fmt: skip
_OPUS_MAGIC = b"OpusHead"
OPUS_RATE_HZ = 48_000


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """An audio track that browsers play.

    ``record`` is an AudioSpecificConfig, or an OpusHead body without its magic.
    ``frame_samples`` is how many samples a frame has (0 where each frame says it).
    """

    codec: Literal["aac", "opus"]
    codecs: str
    sample_rate_hz: int
    channels: int
    frame_samples: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Mp3Format:
    """What the first MP3 frame's header says."""

    sample_rate_hz: int
    channels: int
    frame_samples: int


def read_aac(untrusted_record: bytes) -> AudioFormat:
    """Reads an AudioSpecificConfig; raises BadRecord."""
    if len(untrusted_record) < 2:
        raise BadRecord("the AAC configuration is cut short")
    bits = int.from_bytes(untrusted_record[:16].ljust(16, b"\0"))
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return (bits >> (128 - at)) & ((1 << count) - 1)

    def object_type() -> int:
        found = take(5)
        return 32 + take(6) if found == 31 else found

    def rate() -> int:
        index = take(4)
        if index == 15:
            return take(24)
        if index >= len(_AAC_RATES_HZ):
            raise BadRecord(f"AAC sample rate index {index} does not exist")
        return _AAC_RATES_HZ[index]

    kind = object_type()
    sample_rate_hz = rate()
    channels = take(4)
    core = kind
    if kind in (5, 29):
        # SBR and PS state the output rate here; frames count samples of the core's rate, which
        # came first and is what the times are told in.
        rate()
        core = object_type()
    if core not in (1, 2, 3, 4, 6, 17, 23) or not 0 < sample_rate_hz <= 96_000:
        raise BadRecord(f"AAC object type {core} at {sample_rate_hz} Hz is not supported")
    frame_samples = 960 if take(1) else 1024
    if core == 23:
        frame_samples //= 2
    channels = {0: 2, 7: 8, 11: 7, 12: 8, 14: 8}.get(channels, channels)
    return AudioFormat(
        "aac", f"mp4a.40.{kind}", sample_rate_hz, channels, frame_samples, untrusted_record
    )


def read_opus(untrusted_record: bytes) -> AudioFormat:
    """Reads an OpusHead, with or without its magic; raises BadRecord."""
    head = untrusted_record.removeprefix(_OPUS_MAGIC)
    if len(head) < 11 or head[0] & 0xF0:
        raise BadRecord("the Opus configuration is cut short or of an unknown version")
    channels, family = head[1], head[10]
    wanted = 11 if family == 0 else 11 + 2 + channels
    if not 0 < channels <= 8 or len(head) < wanted or (family == 0 and channels > 2):
        raise BadRecord(f"an Opus configuration of {channels} channels, mapping {family}, is wrong")
    return AudioFormat("opus", "opus", OPUS_RATE_HZ, channels, 0, head[:wanted])


# Samples at 48 kHz of one Opus frame, by configuration number (RFC 6716, table 2).
_OPUS_SAMPLES = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4


def opus_samples(untrusted_packet: bytes) -> int:
    """How many samples at 48 kHz an Opus packet plays; 0 where it makes no sense."""
    if not untrusted_packet:
        return 0
    first = untrusted_packet[0]
    frames = (1, 2, 2, 0)[first & 3]
    if not frames:
        frames = untrusted_packet[1] & 63 if len(untrusted_packet) > 1 else 0
    samples = frames * _OPUS_SAMPLES[first >> 3]
    return samples if samples <= 5760 else 0


_SILENT_AAC = {1: bytes.fromhex("01182007"), 2: bytes.fromhex("211004608c1c")}
"""What FFmpeg's AAC-LC encoder makes of silence, by the number of channels."""
_SILENT_OPUS = {1: b"\xf8\xff\xfe", 2: b"\xfc\xff\xfe"}
"""20 ms of CELT, fullband, without any coded band (RFC 6716, 3.1 and 4.3)."""


def silence(sound: AudioFormat) -> tuple[int, bytes] | None:
    """A frame without a sound, and its samples; None where none is known for this format."""
    frame: bytes | None = None
    samples = sound.frame_samples or _OPUS_SAMPLES[-1]
    if sound.codec == "opus":
        frame = _SILENT_OPUS.get(sound.channels)
    elif sound.codecs == "mp4a.40.2" and samples == 1024:
        frame = _SILENT_AAC.get(sound.channels)
    return None if frame is None else (samples, frame)


def read_mp3(untrusted_frame: bytes) -> Mp3Format:
    """Reads the header of an MPEG audio layer III frame; raises BadRecord."""
    if len(untrusted_frame) < 4:
        raise BadRecord("an MP3 frame is cut short")
    (head,) = struct.unpack_from(">I", untrusted_frame)
    version, layer, rate = head >> 19 & 3, head >> 17 & 3, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer != 1 or rate == 3:
        raise BadRecord("an MP3 frame does not begin with its header")
    sample_rate_hz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    channels = 1 if head >> 6 & 3 == 3 else 2
    return Mp3Format(sample_rate_hz, channels, 1152 if version == 3 else 576)
