"""Reads what the codecs' own headers say: picture size, sampling, frame rate, colour.

Source: ITU-T H.264 (7.3.2.1, annex E), ITU-T H.265 (7.3.2.2), ISO/IEC 14496-15 (avcC, hvcC),
AV1 bitstream specification (5.5) and AV1-ISOBMFF (av1C), ATSC A/53 part 4 (captions in SEI).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

MAX_SIDE = 16_384
"""Pixels; more is no picture that a worker could hold."""


class BadRecord(ValueError):
    """A codec's configuration record makes no sense; the message says where."""


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


def read_av1c(untrusted_record: bytes) -> PictureFormat:
    """Reads an av1C body and the sequence header in it; raises BadRecord."""
    record = untrusted_record
    if len(record) < 4 or record[0] != 0x81:
        raise BadRecord("the av1C record is cut short or not version 1")
    header = av1_sequence_header(record[4:])
    if header is None:
        raise BadRecord("the av1C record has no sequence header")
    return _read_av1_sequence(header, record)


def av1_sequence_header(untrusted_obus: bytes) -> bytes | None:
    """The body of the first sequence header among low-overhead OBUs, or None."""
    for kind, _, body in _obus(untrusted_obus):
        if kind == 1:
            return body
    return None


def av1_sequence_obu(untrusted_unit: bytes) -> bytes | None:
    """The whole first sequence header OBU of a temporal unit, as an av1C record holds it."""
    for kind, whole, _ in _obus(untrusted_unit):
        if kind == 1:
            return whole
    return None


def av1_sample(untrusted_unit: bytes) -> bytes:
    """A temporal unit as an MP4 sample: without its temporal delimiter (AV1-ISOBMFF 2.4)."""
    if untrusted_unit[:2] == b"\x12\x00":
        return untrusted_unit[2:]
    return untrusted_unit


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


class _Bits:
    """Reads bits, most significant first; raises BadRecord at the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = len(data) * 8

    def bits(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise BadRecord("a parameter set is cut short")
        return (self._value >> self._left) & ((1 << count) - 1)

    def flag(self) -> bool:
        return bool(self.bits(1))

    def ue(self) -> int:
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > 32:
                raise BadRecord("a parameter set has a number of more than 32 bits")
        return (1 << zeros) - 1 + self.bits(zeros) if zeros else 0

    def se(self) -> int:
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)


def _unescape(unit: bytes) -> bytes:
    """Removes emulation prevention (7.4.1.1 of H.264)."""
    # A zero may precede an escaped triple (00 00 03 00 00 03), so this can't be one replace of
    # four bytes; a replace of three that keeps the zeros is what the standard says.
    return unit.replace(b"\0\0\x03", b"\0\0")


def _sides(width: int, height: int) -> tuple[int, int]:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise BadRecord(f"a picture of {width}x{height} is not possible")
    return width, height


_HIGH_PROFILES = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))


def _read_h264_sps(sps: bytes) -> PictureFormat:
    codecs = f"avc1.{sps[1]:02X}{sps[2]:02X}{sps[3]:02X}"
    bits = _Bits(_unescape(sps[1:]))
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
    width, height = _sides(width, height)
    rate, colour, aspect = _read_vui(bits) if bits.flag() else (None, None, (1, 1))
    return PictureFormat(
        "h264", codecs, width, height, chroma, depth, rate, colour, aspect, not frames_only
    )


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


_ASPECTS = (
    (1, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip


def _read_vui(bits: _Bits) -> tuple[Fraction | None, Colour | None, tuple[int, int]]:
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
    bits = _Bits(_unescape(unit[2:]))
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
    width, height = _sides(width, height)
    return PictureFormat("hevc", _hevc_codecs(record), width, height, chroma, depth)


def _hevc_codecs(record: bytes) -> str:
    """ISO/IEC 14496-15, annex E.3."""
    space = ("", "A", "B", "C")[record[1] >> 6]
    tier = "H" if record[1] & 0x20 else "L"
    compatibility = int(f"{int.from_bytes(record[2:6]):032b}"[::-1], 2)
    constraints = record[6:12].rstrip(b"\0")
    text = f"hvc1.{space}{record[1] & 0x1F}.{compatibility:X}.{tier}{record[12]}"
    return text + "".join(f".{byte:X}" for byte in constraints)


def _obus(untrusted: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Type, whole bytes and body of each OBU; stops where it makes no sense."""
    at = 0
    while at < len(untrusted):
        start, head = at, untrusted[at]
        at += 2 if head & 4 else 1
        size = shift = 0
        if head & 2:
            while at < len(untrusted) and shift < 56:
                byte = untrusted[at]
                at += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
        else:
            size = len(untrusted) - at
        if at + size > len(untrusted):
            return
        yield (head >> 3) & 15, untrusted[start : at + size], untrusted[at : at + size]
        at += size


def _read_av1_sequence(header: bytes, record: bytes) -> PictureFormat:
    bits = _Bits(header + bytes(16))
    profile = bits.bits(3)
    bits.flag()
    rate = None
    if bits.flag():
        bits.bits(5)
    else:
        rate = _read_av1_operating_points(bits)
    width_bits, height_bits = bits.bits(4) + 1, bits.bits(4) + 1
    width, height = _sides(bits.bits(width_bits) + 1, bits.bits(height_bits) + 1)
    level, flags = record[1] & 0x1F, record[2]
    tier = "H" if flags & 0x80 else "M"
    depth = 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    chroma = 0 if flags & 0x10 else {0: 3, 2: 2, 3: 1}.get((flags >> 2) & 3, 1)
    codecs = f"av01.{profile}.{level:02d}{tier}.{depth:02d}"
    return PictureFormat("av1", codecs, width, height, chroma, depth, rate)


def _read_av1_operating_points(bits: _Bits) -> Fraction | None:
    rate = None
    decoder_model = False
    delay_bits = 0
    if bits.flag():
        units, scale = bits.bits(32), bits.bits(32)
        if bits.flag():
            ticks = bits.ue() + 1
            if units and scale and 1 <= Fraction(scale, units * ticks) <= 240:
                rate = Fraction(scale, units * ticks)
        decoder_model = bits.flag()
        if decoder_model:
            delay_bits = bits.bits(5) + 1
            bits.bits(32)
            bits.bits(10)
    initial_delay = bits.flag()
    for _ in range(bits.bits(5) + 1):
        bits.bits(12)
        if bits.bits(5) > 7:
            bits.flag()
        if decoder_model and bits.flag():
            bits.bits(2 * delay_bits + 1)
        if initial_delay and bits.flag():
            bits.bits(4)
    return rate
