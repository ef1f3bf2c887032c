"""CMAF fragments: samples in, ``moof`` and ``mdat`` out; the same samples give the same bytes.

One track, one ``traf``, one ``trun`` a fragment. Source: ISO/IEC 14496-12 (8.8), ISO/IEC
23000-19. Init segments are in ``wire.fmp4_init``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import msgspec

TRACK_ID = 1


class Sample(msgspec.Struct, gc=False):
    """One coded frame: times in the track's timescale; ``sync`` where decoding can begin."""

    dts: int
    pts: int
    duration: int
    sync: bool
    data: bytes


# sample_depends_on and sample_is_non_sync_sample (8.8.3.1).
_SYNC = 0x0200_0000
_NOT_SYNC = 0x0101_0000

_DATA_OFFSET = 0x001
_FIRST_FLAGS = 0x004
_DURATIONS = 0x100
_SIZES = 0x200
_FLAGS = 0x400
_OFFSETS = 0x800

_TFHD_DURATION = 0x08
_TFHD_FLAGS = 0x20
_TFHD_BASE_IS_MOOF = 0x02_0000

_MFHD = struct.Struct(">I4sII")
_TFHD = struct.Struct(">I4sIIII")
_TFDT = struct.Struct(">I4sIQ")
_TRUN = struct.Struct(">I4sIIi")
_BOX = struct.Struct(">I4s")


def fragment(sequence: int, samples: Sequence[Sample]) -> bytes:
    """One ``moof`` and ``mdat`` of at least one sample, in decoding order.

    ``sequence`` numbers the fragments of a track from 1. Durations must be positive; composition
    offsets (``pts - dts``) may be negative.
    """
    first = samples[0]
    durations = [sample.duration for sample in samples]
    flags = [_SYNC if sample.sync else _NOT_SYNC for sample in samples]
    offsets = [sample.pts - sample.dts for sample in samples]

    # What all samples share is said once: it keeps audio parts within 5 % of their samples.
    columns: list[Sequence[int]] = []
    run_flags = _DATA_OFFSET | _SIZES
    if any(duration != durations[0] for duration in durations):
        run_flags |= _DURATIONS
        columns.append(durations)
    columns.append([len(sample.data) for sample in samples])
    default_flags = flags[-1]
    if any(flag != default_flags for flag in flags[1:]):
        run_flags |= _FLAGS
        columns.append(flags)
    elif flags[0] != default_flags:
        run_flags |= _FIRST_FLAGS
    if any(offsets):
        run_flags |= _OFFSETS
        columns.append([offset & 0xFFFF_FFFF for offset in offsets])

    rows = [number for row in zip(*columns, strict=True) for number in row]
    table = struct.pack(f">{len(rows)}I", *rows)
    if run_flags & _FIRST_FLAGS:
        table = flags[0].to_bytes(4) + table
    run_bytes = _TRUN.size + len(table)
    traf_bytes = _BOX.size + _TFHD.size + _TFDT.size + run_bytes
    moof_bytes = _BOX.size + _MFHD.size + traf_bytes
    payload = [sample.data for sample in samples]
    payload_bytes = sum(map(len, payload))
    return b"".join(
        (
            _BOX.pack(moof_bytes, b"moof"),
            _MFHD.pack(_MFHD.size, b"mfhd", 0, sequence),
            _BOX.pack(traf_bytes, b"traf"),
            _TFHD.pack(
                _TFHD.size,
                b"tfhd",
                _TFHD_BASE_IS_MOOF | _TFHD_DURATION | _TFHD_FLAGS,
                TRACK_ID,
                durations[0],
                default_flags,
            ),
            _TFDT.pack(_TFDT.size, b"tfdt", 1 << 24, first.dts),
            _TRUN.pack(
                run_bytes, b"trun", 1 << 24 | run_flags, len(samples), moof_bytes + _BOX.size
            ),
            table,
            _BOX.pack(_BOX.size + payload_bytes, b"mdat"),
            *payload,
        )
    )


class BadFragment(ValueError):
    """Bytes are not a fragment as ``fragment`` writes them; the message says where."""


def boxes(untrusted: bytes | memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Type and body of each box; raises BadFragment."""
    view = memoryview(untrusted)
    at = 0
    while at < len(view):
        if len(view) - at < _BOX.size:
            raise BadFragment("a box's header is cut short")
        size, kind = _BOX.unpack_from(view, at)
        if size < _BOX.size or at + size > len(view):
            raise BadFragment(f"a box says it has {size} bytes, {len(view) - at} are there")
        yield kind, view[at + _BOX.size : at + size]
        at += size


def parse_fragment(untrusted: bytes) -> tuple[int, list[Sample]]:
    """Reads back what ``fragment`` wrote; raises BadFragment.

    Gives the sequence and the samples. Reads any one-track fragment with ``default-base-is-moof``
    whose ``tfhd`` has default duration and flags or whose ``trun`` has its own.
    """
    top = dict(boxes(untrusted))
    if b"moof" not in top or b"mdat" not in top:
        raise BadFragment("a fragment is a moof and an mdat")
    moof = dict(boxes(top[b"moof"]))
    traf = dict(boxes(moof.get(b"traf", memoryview(b""))))
    try:
        sequence = int.from_bytes(moof[b"mfhd"][4:8])
        tfhd, tfdt, trun = (traf[name] for name in (b"tfhd", b"tfdt", b"trun"))
        head_flags, _, duration, flags = struct.unpack(">IIII", tfhd)
        version_dts = struct.unpack(">IQ", tfdt)
        run_flags, count, offset = struct.unpack_from(">IIi", trun)
    except (KeyError, struct.error):
        raise BadFragment("a fragment lacks one of mfhd, tfhd, tfdt and trun") from None
    if head_flags != _TFHD_BASE_IS_MOOF | _TFHD_DURATION | _TFHD_FLAGS:
        raise BadFragment("the fragment's tfhd is of another kind")
    samples = _read_run(trun[12:], run_flags & 0xFFFFFF, count, version_dts[1], duration, flags)
    at = offset - (len(top[b"moof"]) + 2 * _BOX.size)
    data = top[b"mdat"]
    if at:
        raise BadFragment("the samples do not begin where the mdat does")
    for sample, size in samples:
        if at + size > len(data):
            raise BadFragment("the mdat is shorter than its samples")
        sample.data = bytes(data[at : at + size])
        at += size
    if at != len(data):
        raise BadFragment("the mdat is longer than its samples")
    return sequence, [sample for sample, _ in samples]


def _read_run(
    table: memoryview, run_flags: int, count: int, dts: int, duration: int, flags: int
) -> list[tuple[Sample, int]]:
    first_flags = flags
    if run_flags & _FIRST_FLAGS:
        first_flags, table = int.from_bytes(table[:4]), table[4:]
    names = [bit for bit in (_DURATIONS, _SIZES, _FLAGS, _OFFSETS) if run_flags & bit]
    if len(table) != 4 * len(names) * count or not count or not run_flags & _SIZES:
        raise BadFragment("the trun's table has another size than its head says")
    numbers = struct.unpack(f">{len(table) // 4}I", table)
    found = []
    for index in range(count):
        row = dict(zip(names, numbers[index * len(names) :], strict=False))
        own_flags = row.get(_FLAGS, first_flags if index == 0 else flags)
        offset = row.get(_OFFSETS, 0)
        offset -= (offset >> 31) << 32
        length = row.get(_DURATIONS, duration)
        sample = Sample(dts, dts + offset, length, not own_flags & 0x1_0000, b"")
        found.append((sample, row[_SIZES]))
        dts += length
    return found
