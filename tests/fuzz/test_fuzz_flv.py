"""FLV tags from strangers: parsing never raises, and never invents bytes."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from hausd.wire.flv import Tag, is_header, parse

kinds = st.sampled_from([8, 9, 18, 0])
heads = st.sampled_from(
    [
        b"\x17\x00\x00\x00\x00",
        b"\x90hvc1",
        b"\x91avc1",
        b"\x97\x02\x00\x00\x01\x11av01",
        b"\x96\x11hvc1",
        b"\x96\x20",
        b"\x95\x20",
        b"\x97\xff\x00\x03",
        b"\x02\x00\x0aonMetaData",
        b"\xaf\x00",
        b"\x2f",
        b"",
    ]
)


@given(kinds, heads, st.binary(max_size=60))
@example(9, b"\x97\xff", b"\xff\xff")
@example(9, b"\x96\x11hvc1", b"\x00\xff\xff\xff")
@example(8, b"\x95\x20", b"Opus\x00\x00\x00\x00" * 40)
@example(9, b"\x97", b"\x00\x00\x07" * 40)
def test_any_tag_is_units_no_larger_than_itself(kind: int, head: bytes, rest: bytes) -> None:
    tag = Tag(kind, 0, head + rest)
    units = parse(tag)
    carried = sum(len(getattr(u, "data", b"")) + len(getattr(u, "record", b"")) for u in units)
    assert carried <= len(tag.data)
    assert len(units) <= 32
    assert is_header(tag) in (True, False)
