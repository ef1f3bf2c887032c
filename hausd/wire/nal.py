"""Reads what the codecs' own headers say: picture size, sampling, frame rate, colour.

Source: ITU-T H.264 (7.3.2.1, annex E), ITU-T H.265 (7.3.2.2), ISO/IEC 14496-15 (avcC, hvcC),
ATSC A/53 part 4 (captions in SEI). AV1's are in ``wire.av1``.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from hausd.wire.bits import BadRecord, Bits
from hausd.wire.picture import Colour, PictureFormat, sides


def read_avcc(untrusted_record: bytes) -> PictureFormat:
    """Reads an avcC body by its first SPS; raises BadRecord."""
    if len(untrusted_record) < 8 or untrusted_record[0] != 1:
        raise BadRecord("the avcC record is cut short or not version 1")
    if not untrusted_record[5] & 0x1F:
        raise BadRecord("the avcC record has no sequence parameter set")
    size = int.from_bytes(untrusted_record[6:8])
    sps = untrusted_record[8 : 8 + size]
    if len(sps) != size or size < 4:
        raise BadRecord("the avcC record's parameter set is cut short")
    return _read_h264_sps(sps)


def avcc_parameter_sets(untrusted_record: bytes) -> bytes:
    """The SPS and PPS of an avcC body as they stand within a sample, each after its length.

    Empty where the record is not whole: then a stream has to do with what is in its init.
    """
    if len(untrusted_record) < 7:
        return b""
    length_bytes = (untrusted_record[4] & 3) + 1
    found = bytearray()
    at = 5
    for mask in (0x1F, 0xFF):
        count = untrusted_record[at] & mask if at < len(untrusted_record) else 0
        at += 1
        for _ in range(count):
            size = int.from_bytes(untrusted_record[at : at + 2])
            unit = untrusted_record[at + 2 : at + 2 + size]
            if len(unit) != size or not size:
                return b""
            found += size.to_bytes(4)[-length_bytes:] + unit
            at += 2 + size
    return bytes(found)


def read_hvcc(untrusted_record: bytes) -> PictureFormat:
    """Reads an hvcC body by its first SPS; raises BadRecord."""
    record = untrusted_record
    if len(record) < 23:
        raise BadRecord("the hvcC record is cut short")
    at = 23
    for _ in range(record[22]):
        kind = record[at] & 0x3F if at < len(record) else 0
        count = int.from_bytes(record[at + 1 : at + 3])
        at += 3
        for _ in range(count):
            size = int.from_bytes(record[at : at + 2])
            unit = record[at + 2 : at + 2 + size]
            at += 2 + size
            if at > len(record):
                raise BadRecord("the hvcC record is cut short")
            if kind == 33:
                return _read_hevc_sps(unit, record)
    raise BadRecord("the hvcC record has no sequence parameter set")


def nal_units(untrusted_data: bytes, length_bytes: int = 4) -> Iterator[memoryview]:
    """The NAL units of a length-prefixed access unit; stops where it makes no sense."""
    view = memoryview(untrusted_data)
    at = 0
    while at + length_bytes < len(view):
        size = int.from_bytes(view[at : at + length_bytes])
        at += length_bytes
        if not size or at + size > len(view):
            return
        yield view[at : at + size]
        at += size


def has_captions(untrusted_h264: bytes, length_bytes: int = 4) -> bool:
    """Whether an H.264 access unit carries CEA-608/708 captions (ATSC ``GA94`` in SEI)."""
    # The search is C; only an access unit that might have captions is walked.
    if b"GA94\x03" not in untrusted_h264:
        return False
    return any(
        unit[0] & 0x1F == 6 and b"\xb5\x00\x31GA94\x03" in bytes(unit)
        for unit in nal_units(untrusted_h264, length_bytes)
    )


def _unescape(unit: bytes) -> bytes:
    """Removes emulation prevention (7.4.1.1 of H.264)."""
    # A zero may precede an escaped triple (00 00 03 00 00 03), so this can't be one replace of
    # four bytes; a replace of three that keeps the zeros is what the standard says.
    return unit.replace(b"\0\0\x03", b"\0\0")


_HIGH_PROFILES = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))


def _read_h264_sps(sps: bytes) -> PictureFormat:
    codecs = f"avc1.{sps[1]:02X}{sps[2]:02X}{sps[3]:02X}"
    bits = Bits(_unescape(sps[1:]))
    profile = bits.bits(8)
    bits.bits(16)
    bits.ue()
    chroma, depth = 1, 8
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        if chroma > 3:
            raise BadRecord(f"chroma format {chroma} does not exist")
        if chroma == 3:
            bits.flag()
        depth = 8 + max(bits.ue(), bits.ue())
        bits.flag()
        if bits.flag():
            for index in range(8 if chroma != 3 else 12):
                if bits.flag():
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.ue()
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.flag()
        bits.se()
        bits.se()
        cycle = bits.ue()
        if cycle > 255:
            raise BadRecord("a picture order cycle has at most 255 frames")
        for _ in range(cycle):
            bits.se()
    bits.ue()
    bits.flag()
    width = (bits.ue() + 1) * 16
    map_units = bits.ue() + 1
    frames_only = bits.flag()
    height = map_units * 16 * (1 if frames_only else 2)
    if not frames_only:
        bits.flag()
    bits.flag()
    if bits.flag():
        step_x = 1 if chroma in (0, 3) else 2
        step_y = (2 if chroma == 1 else 1) * (1 if frames_only else 2)
        width -= step_x * (bits.ue() + bits.ue())
        height -= step_y * (bits.ue() + bits.ue())
    width, height = sides(width, height)
    rate, colour, aspect = _read_vui(bits) if bits.flag() else (None, None, (1, 1))
    return PictureFormat(
        "h264", codecs, width, height, chroma, depth, rate, colour, aspect, not frames_only
    )


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


_ASPECTS = (
    (1, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip


def _read_vui(bits: Bits) -> tuple[Fraction | None, Colour | None, tuple[int, int]]:
    aspect = (1, 1)
    rate = colour = None
    try:
        if bits.flag():
            code = bits.bits(8)
            if code == 255:
                aspect = (bits.bits(16) or 1, bits.bits(16) or 1)
            elif code < len(_ASPECTS):
                aspect = _ASPECTS[code]
        if bits.flag():
            bits.flag()
        if bits.flag():
            bits.bits(3)
            full_range = bits.flag()
            if bits.flag():
                colour = Colour(bits.bits(8), bits.bits(8), bits.bits(8), full_range)
        if bits.flag():
            bits.ue()
            bits.ue()
        if bits.flag():
            units, scale, fixed = bits.bits(32), bits.bits(32), bits.flag()
            # A tick is a field: two to a frame. Encoders leave the flag out for what is in fact
            # constant, so it only serves to tell apart rates that no stream has.
            if units and scale and 1 <= Fraction(scale, 2 * units) <= 240 and fixed:
                rate = Fraction(scale, 2 * units)
    except BadRecord:
        # Usability information is a courtesy: a stream whose VUI is cut short still plays.
        pass
    return rate, colour, aspect


def _read_hevc_sps(unit: bytes, record: bytes) -> PictureFormat:
    bits = Bits(_unescape(unit[2:]))
    bits.bits(4)
    sub_layers = bits.bits(3)
    bits.bits(1)
    bits.bits(88)
    bits.bits(8)
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers)]
    if sub_layers:
        bits.bits(2 * (8 - sub_layers))
    for profile, level in present:
        bits.bits(88 * profile + 8 * level)
    bits.ue()
    chroma = bits.ue()
    if chroma > 3:
        raise BadRecord(f"chroma format {chroma} does not exist")
    if chroma == 3:
        bits.flag()
    width, height = bits.ue(), bits.ue()
    if bits.flag():
        step_x = 2 if chroma in (1, 2) else 1
        step_y = 2 if chroma == 1 else 1
        width -= step_x * (bits.ue() + bits.ue())
        height -= step_y * (bits.ue() + bits.ue())
    depth = 8 + max(bits.ue(), bits.ue())
    width, height = sides(width, height)
    return PictureFormat("hevc", _hevc_codecs(record), width, height, chroma, depth)


def _hevc_codecs(record: bytes) -> str:
    """ISO/IEC 14496-15, annex E.3."""
    space = ("", "A", "B", "C")[record[1] >> 6]
    tier = "H" if record[1] & 0x20 else "L"
    compatibility = int(f"{int.from_bytes(record[2:6]):032b}"[::-1], 2)
    constraints = record[6:12].rstrip(b"\0")
    text = f"hvc1.{space}{record[1] & 0x1F}.{compatibility:X}.{tier}{record[12]}"
    return text + "".join(f".{byte:X}" for byte in constraints)
