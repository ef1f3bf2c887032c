"""Parameter sets of an avcC stand in a sample as its length size says."""

from __future__ import annotations

from hausd.wire.nal import avcc_parameter_sets

SPS, PPS = b"\x67\x42\xc0\x0d\xaa", b"\x68\xce\x3c"


def avcc(length_bytes: int) -> bytes:
    head = bytes((1, 0x42, 0xC0, 0x0D, 0xFC | (length_bytes - 1), 0xE1))
    return head + len(SPS).to_bytes(2) + SPS + b"\x01" + len(PPS).to_bytes(2) + PPS


def test_each_set_stands_after_its_length() -> None:
    for length_bytes in (1, 2, 4):
        found = avcc_parameter_sets(avcc(length_bytes))
        assert found == (
            len(SPS).to_bytes(length_bytes) + SPS + len(PPS).to_bytes(length_bytes) + PPS
        )


def test_a_record_cut_short_anywhere_gives_nothing_and_raises_nothing() -> None:
    whole = avcc(4)
    for end in range(len(whole) - 1):
        found = avcc_parameter_sets(whole[:end])
        assert found in (b"", len(SPS).to_bytes(4) + SPS)
