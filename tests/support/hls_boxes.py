"""CMAF bytes looked at by someone who did not write them: inits and fragments.

Source: ISO/IEC 14496-12, -14, -15; AV1-ISOBMFF; RFC 6381.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


class BadBytes(ValueError):
    """The bytes are not what they are said to be."""


@dataclass(frozen=True)
class Init:
    """What an init segment says: ``codec`` as RFC 6381 writes it."""

    kind: str
    timescale: int
    codec: str
    width: int
    height: int
    track: int


@dataclass(frozen=True)
class Fragment:
    """One ``moof``: where it begins and how long it is in ticks, its samples, and whether it
    begins with a sync sample."""

    start: int
    duration: int
    samples: int
    sync: bool
    sequence: int


def boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[str, int, int]]:
    """Type, begin and end of the content of each box."""
    end = len(data) if end is None else end
    while at < end:
        if at + 8 > end:
            raise BadBytes("a box is cut short")
        size = int.from_bytes(data[at : at + 4])
        head = 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16]), 16
        if size < head or at + size > end:
            raise BadBytes(f"a box of {size} bytes does not fit")
        yield data[at + 4 : at + 8].decode("latin-1"), at + head, at + size
        at += size


def find(data: bytes, path: str) -> tuple[int, int]:
    """Begin and end of the box at a path such as ``moov/trak/mdia``."""
    begin, end = 0, len(data)
    for name in path.split("/"):
        for kind, at, stop in boxes(data, begin, end):
            if kind == name:
                begin, end = at, stop
                break
        else:
            raise BadBytes(f"there is no {path}")
    return begin, end


def read_init(data: bytes) -> Init:
    """Reads an init segment with one track."""
    if [kind for kind, _, _ in boxes(data)][:1] != ["ftyp"]:
        raise BadBytes("an init begins with ftyp")
    at, _ = find(data, "moov/trak/mdia/mdhd")
    timescale = int.from_bytes(data[at + (20 if data[at] else 12) :][:4])
    at, _ = find(data, "moov/trak/mdia/hdlr")
    handler = data[at + 8 : at + 12].decode("latin-1")
    at, _ = find(data, "moov/trak/tkhd")
    track = int.from_bytes(data[at + (20 if data[at] else 12) :][:4])
    find(data, "moov/mvex/trex")
    begin, end = find(data, "moov/trak/mdia/minf/stbl/stsd")
    entries = list(boxes(data, begin + 8, end))
    if len(entries) != 1:
        raise BadBytes("one sample entry is expected")
    kind, at, stop = entries[0]
    width = height = 0
    if handler == "vide":
        width = int.from_bytes(data[at + 24 : at + 26])
        height = int.from_bytes(data[at + 26 : at + 28])
        inner = {name: data[a:b] for name, a, b in boxes(data, at + 78, stop)}
    else:
        inner = {name: data[a:b] for name, a, b in boxes(data, at + 28, stop)}
    return Init(
        {"vide": "video", "soun": "audio"}.get(handler, handler),
        timescale,
        _codec(kind, inner),
        width,
        height,
        track,
    )


def read_fragments(data: bytes) -> list[Fragment]:
    """The fragments of a part or segment, in order."""
    found = []
    moof = False
    for kind, at, stop in boxes(data):
        if kind == "moof":
            found.append(_fragment(data, at, stop))
            moof = True
        elif kind == "mdat":
            if not moof:
                raise BadBytes("an mdat without its moof")
            moof = False
        elif kind not in ("styp", "prft", "emsg", "sidx"):
            raise BadBytes(f"a {kind} box in a segment")
    if moof or not found:
        raise BadBytes("a moof without its mdat")
    return found


def _fragment(data: bytes, begin: int, end: int) -> Fragment:
    sequence, start, duration, samples = 0, None, 0, 0
    first_flags: int | None = None
    for kind, at, stop in boxes(data, begin, end):
        if kind == "mfhd":
            sequence = int.from_bytes(data[at + 4 : at + 8])
        if kind != "traf":
            continue
        default_duration = default_flags = 0
        for inner, a, _ in boxes(data, at, stop):
            flags = int.from_bytes(data[a + 1 : a + 4])
            if inner == "tfhd":
                place = a + 8
                for bit, width in ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4), (0x20, 4)):
                    if flags & bit:
                        value = int.from_bytes(data[place : place + width])
                        place += width
                        if bit == 0x8:
                            default_duration = value
                        elif bit == 0x20:
                            default_flags = value
            elif inner == "tfdt":
                start = int.from_bytes(data[a + 4 : a + (12 if data[a] else 8)])
            elif inner == "trun":
                count = int.from_bytes(data[a + 4 : a + 8])
                samples += count
                place = a + 8 + (4 if flags & 0x1 else 0)
                if flags & 0x4:
                    first_flags = int.from_bytes(data[place : place + 4])
                    place += 4
                for index in range(count):
                    length = default_duration
                    for bit in (0x100, 0x200, 0x400, 0x800):
                        if flags & bit:
                            value = int.from_bytes(data[place : place + 4])
                            place += 4
                            if bit == 0x100:
                                length = value
                            elif bit == 0x400 and index == 0:
                                first_flags = value
                    duration += length
        if first_flags is None:
            first_flags = default_flags
    if start is None or not samples:
        raise BadBytes("a fragment without tfdt or samples")
    return Fragment(start, duration, samples, not (first_flags or 0) & 0x1_0000, sequence)


def _codec(entry: str, inner: dict[str, bytes]) -> str:
    if entry in ("avc1", "avc3") and "avcC" in inner:
        return f"{entry}.{inner['avcC'][1:4].hex()}"
    if entry in ("hvc1", "hev1") and "hvcC" in inner:
        record = inner["hvcC"]
        space = ("", "A", "B", "C")[record[1] >> 6]
        compatibility = int(f"{int.from_bytes(record[2:6]):032b}"[::-1], 2)
        tier = "H" if record[1] & 0x20 else "L"
        constraints = record[6:12].rstrip(b"\0")
        text = f"{entry}.{space}{record[1] & 0x1F}.{compatibility:X}.{tier}{record[12]}"
        return text + "".join(f".{byte:X}" for byte in constraints)
    if entry == "av01" and "av1C" in inner:
        record = inner["av1C"]
        profile, level = record[1] >> 5, record[1] & 0x1F
        tier = "H" if record[2] & 0x80 else "M"
        high, twelve = record[2] & 0x40, record[2] & 0x20
        depth = 12 if high and twelve else 10 if high else 8
        return f"av01.{profile}.{level:02}{tier}.{depth:02}"
    if entry == "mp4a" and "esds" in inner:
        return _mp4a(inner["esds"])
    if entry == "Opus":
        return "opus"
    raise BadBytes(f"a sample entry {entry} with {sorted(inner)}")


def _mp4a(esds: bytes) -> str:
    """``mp4a.<object type>[.<audio object type>]`` out of an elementary stream descriptor."""
    at = 4
    object_type, audio_type = 0, 0
    while at + 2 <= len(esds):
        tag = esds[at]
        at += 1
        while esds[at] & 0x80:
            at += 1
        at += 1
        if tag == 3:
            at += 3
        elif tag == 4:
            object_type = esds[at]
            at += 13
        elif tag == 5:
            audio_type = esds[at] >> 3
            if audio_type == 31:
                audio_type = 32 + ((esds[at] & 7) << 3 | esds[at + 1] >> 5)
            break
        else:
            break
    if not object_type:
        raise BadBytes("an esds without a decoder configuration")
    return f"mp4a.{object_type:x}" + (f".{audio_type}" if object_type == 0x40 else "")


def same_codec(stated: str, found: str) -> bool:
    """Whether a CODECS entry says what the bytes say."""
    if stated.lower() == found.lower():
        return True
    # AV1 may go on with what is optional; HEVC's constraints may be left out.
    return found.startswith("av01") and stated.startswith(found)


def seconds(ticks: int, timescale: int) -> Fraction:
    """Ticks as seconds."""
    return Fraction(ticks, timescale)
