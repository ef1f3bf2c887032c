"""Reads AV1's sequence header, and cuts temporal units.

Source: AV1 bitstream specification (5.5) and AV1-ISOBMFF (av1C).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from hausd.wire.bits import BadRecord, Bits
from hausd.wire.picture import PictureFormat, sides


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
    bits = Bits(header + bytes(16))
    profile = bits.bits(3)
    bits.flag()
    rate = None
    if bits.flag():
        bits.bits(5)
    else:
        rate = _read_av1_operating_points(bits)
    width_bits, height_bits = bits.bits(4) + 1, bits.bits(4) + 1
    width, height = sides(bits.bits(width_bits) + 1, bits.bits(height_bits) + 1)
    level, flags = record[1] & 0x1F, record[2]
    tier = "H" if flags & 0x80 else "M"
    depth = 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    chroma = 0 if flags & 0x10 else {0: 3, 2: 2, 3: 1}.get((flags >> 2) & 3, 1)
    codecs = f"av01.{profile}.{level:02d}{tier}.{depth:02d}"
    return PictureFormat("av1", codecs, width, height, chroma, depth, rate)


def _read_av1_operating_points(bits: Bits) -> Fraction | None:
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
