"""CMAF init segments (``ftyp``, ``moov``) from codec configuration records.

Source: ISO/IEC 14496-12, -14 (esds), -15 (avcC, hvcC); AV1-ISOBMFF; Opus in ISOBMFF. No edit
list: fragments carry true times. The same record gives the same bytes.
"""

from __future__ import annotations

import struct

from hausd.wire.audio import AudioFormat
from hausd.wire.fmp4 import TRACK_ID
from hausd.wire.picture import PictureFormat

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000)
_ENTRIES = {"h264": (b"avc1", b"avcC"), "hevc": (b"hvc1", b"hvcC"), "av1": (b"av01", b"av1C")}


def video_init(picture: PictureFormat, record: bytes, timescale: int) -> bytes:
    """The init segment of a video track; ``record`` is its avcC, hvcC or av1C body."""
    entry, config = _ENTRIES[picture.codec]
    extra = _box(config, record)
    if picture.colour is not None:
        colour = picture.colour
        extra += _box(
            b"colr",
            b"nclx",
            struct.pack(
                ">HHHB",
                colour.primaries,
                colour.transfer,
                colour.matrix,
                0x80 if colour.full_range else 0,
            ),
        )
    if picture.sample_aspect[0] != picture.sample_aspect[1]:
        extra += _box(b"pasp", struct.pack(">II", *picture.sample_aspect))
    description = _box(
        entry,
        struct.pack(">6xH16x", 1),
        struct.pack(">HH", picture.width, picture.height),
        struct.pack(">III", 0x48_0000, 0x48_0000, 0),
        struct.pack(">H32xHh", 1, 24, -1),
        extra,
    )
    across, up = picture.sample_aspect
    shown = (min(picture.width * across // up, 0xFFFF), picture.height)
    media_header = _full_box(b"vmhd", 0, 1, bytes(8))
    return _init(timescale, b"vide", media_header, description, shown)


def audio_init(sound: AudioFormat) -> bytes:
    """The init segment of an audio track; its timescale is the sample rate."""
    if sound.codec == "opus":
        entry, config = b"Opus", _box(b"dOps", _dops(sound.record))
    else:
        entry, config = b"mp4a", _esds(sound.record)
    description = _box(
        entry,
        struct.pack(">6xH8x", 1),
        struct.pack(">HH4x", sound.channels, 16),
        # 16.16 fixed point holds no more than 65535 Hz; the codec's record has the true rate.
        struct.pack(">I", (sound.sample_rate_hz if sound.sample_rate_hz < 65536 else 0) << 16),
        config,
    )
    media_header = _full_box(b"smhd", 0, 0, bytes(4))
    return _init(sound.sample_rate_hz, b"soun", media_header, description, (0, 0))


def _init(
    timescale: int, handler: bytes, media_header: bytes, description: bytes, shown: tuple[int, int]
) -> bytes:
    volume = 0x0100 if handler == b"soun" else 0
    tables = b"".join(
        (
            _full_box(b"stsd", 0, 0, struct.pack(">I", 1), description),
            _full_box(b"stts", 0, 0, bytes(4)),
            _full_box(b"stsc", 0, 0, bytes(4)),
            _full_box(b"stsz", 0, 0, bytes(8)),
            _full_box(b"stco", 0, 0, bytes(4)),
        )
    )
    data_in_this_file = _full_box(b"url ", 0, 1)
    media = _box(
        b"mdia",
        _full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, timescale, 0, 0x55C4, 0)),
        _full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(13)),
        _box(
            b"minf",
            media_header,
            _box(b"dinf", _full_box(b"dref", 0, 0, struct.pack(">I", 1), data_in_this_file)),
            _box(b"stbl", tables),
        ),
    )
    width, height = shown
    track = _box(
        b"trak",
        _full_box(
            b"tkhd",
            0,
            7,
            struct.pack(">IIIIII", 0, 0, TRACK_ID, 0, 0, 0),
            struct.pack(">IhhHH", 0, 0, 0, volume, 0),
            _MATRIX,
            struct.pack(">II", width << 16, height << 16),
        ),
        media,
    )
    movie = _box(
        b"moov",
        _full_box(
            b"mvhd",
            0,
            0,
            struct.pack(">IIIIIH10x", 0, 0, timescale, 0, 0x10000, 0x0100),
            _MATRIX,
            bytes(24),
            struct.pack(">I", TRACK_ID + 1),
        ),
        track,
        _box(b"mvex", _full_box(b"trex", 0, 0, struct.pack(">IIIII", TRACK_ID, 1, 0, 0, 0))),
    )
    return _box(b"ftyp", b"iso6", bytes(4), b"iso6cmfcmp41") + movie


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, version: int, flags: int, *content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *content)


def _descriptor(tag: int, *content: bytes) -> bytes:
    body = b"".join(content)
    size = len(body)
    # The four byte form of the length: what every other muxer writes, and readers expect.
    return bytes((tag, size >> 21 | 0x80, size >> 14 & 127 | 0x80, size >> 7 & 127 | 0x80)) + (
        bytes((size & 127,)) + body
    )


def _esds(record: bytes) -> bytes:
    """ISO/IEC 14496-1, 7.2.6.5: MPEG-4 audio, audio stream, rates not stated."""
    decoder = _descriptor(4, struct.pack(">BB3xII", 0x40, 0x15, 0, 0), _descriptor(5, record))
    stream = _descriptor(3, struct.pack(">HB", TRACK_ID, 0), decoder, _descriptor(6, b"\x02"))
    return _full_box(b"esds", 0, 0, stream)


def _dops(head: bytes) -> bytes:
    """An OpusHead body (little-endian, RFC 7845, without its magic) as dOps (big-endian)."""
    version_channels = bytes((0, head[1]))
    pre_skip, rate, gain = struct.unpack_from("<HIh", head, 2)
    return version_channels + struct.pack(">HIh", pre_skip, rate, gain) + head[8 + 2 :]
