"""AMF from strangers: an error in plain words, or values within bounds; never anything else."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from hausd.wire import amf


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 1


markers = st.lists(st.binary(max_size=6) | st.sampled_from([b"\x03\x00\x01a", b"\x0a\0\0\0\2"]))


@given(st.binary(max_size=200) | markers.map(b"".join))
@example(b"\x0a\xff\xff\xff\xff" + b"\x05" * 100)
@example(b"\x08\0\0\0\0\0\0\x09")
@example(b"\x03\0\0\0\x09")
@example(b"\x03\0\0\0\0")
def test_any_bytes_are_values_or_an_amf_error(untrusted: bytes) -> None:
    try:
        values = amf.decode(untrusted)
    except amf.AMFError:
        return
    assert all(depth(value) <= amf.MAX_DEPTH for value in values)
    assert len(values) <= amf.MAX_VALUES
