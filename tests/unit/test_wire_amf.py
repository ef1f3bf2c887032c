"""AMF0 as encoders write it, and as attackers do."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.wire import amf

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(bool)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4)
)


@given(st.lists(values, max_size=4))
def test_what_is_written_is_read_back(written: list[amf.AmfValue]) -> None:
    assert amf.decode(amf.encode(*written)) == written


def test_a_connect_command_reads_as_name_transaction_and_properties() -> None:
    raw = (
        b"\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00"
        b"\x03\x00\x03app\x02\x00\x04live\x00\x04fpad\x01\x00\x00\x00\x09"
    )
    assert amf.decode(raw) == ["connect", 1.0, {"app": "live", "fpad": False}]
    assert amf.encode("connect", 1, {"app": "live", "fpad": False}) == raw


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\x05", None),
        (b"\x06", None),
        (b"\x0d", None),
        (b"\x08\xff\xff\xff\xff\x00\x01a\x01\x01\x00\x00\x09", {"a": True}),
        (b"\x10\x00\x03Cls\x00\x01a\x05\x00\x00\x09", {"a": None}),
        (b"\x0b" + struct.pack(">d", 86_400_000.0) + b"\x00\x00", 86_400_000.0),
        (b"\x0c\x00\x00\x00\x02hi", "hi"),
        (b"\x0f\x00\x00\x00\x04<a/>", "<a/>"),
        (b"\x0a\x00\x00\x00\x02\x05\x01\x01", [None, True]),
        (b"\x02\x00\x01\xff", "\ufffd"),
    ],
)
def test_every_amf0_type_is_read(raw: bytes, value: amf.AmfValue) -> None:
    assert amf.decode(raw) == [value]


def test_text_over_64_kib_is_written_as_a_long_string() -> None:
    text = "x" * 70_000
    assert amf.encode(text)[:1] == b"\x0c"
    assert amf.decode(amf.encode(text)) == [text]


def test_on_metadata_is_written_as_an_ecma_array() -> None:
    raw = amf.encode_ecma_array({"width": 320})
    assert raw[:5] == b"\x08\x00\x00\x00\x01"
    assert amf.decode(raw) == [{"width": 320.0}]


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"\x00\x3f", "ends within a value"),
        (b"\x02\x00\x09short", "ends within a value"),
        (b"\x03\x00\x01a\x05", "ends within a value"),
        (b"\x0a\xff\xff\xff\xff", "ends within a value"),
        (b"\x0a\xff\xff\xff\xff" + b"\x05" * 5000, "more than 4096 values"),
        (b"\x0a\x00\x00\x00\x01" * 40, "nested more than 16"),
        (b"\x03\x00\x01a" * 40, "nested more than 16"),
        (b"\x11\x01", "0x11 at byte 0"),
        (b"\x07\x00\x00", "0x07"),
    ],
)
def test_what_is_not_amf0_or_too_much_is_refused_in_plain_words(raw: bytes, complaint: str) -> None:
    with pytest.raises(amf.AMFError, match=complaint):
        amf.decode(raw)


def test_of_amf3_messages_the_amf0_part_is_read() -> None:
    assert amf.decode(amf.without_amf3_wrapper(b"\x00\x05")) == [None]
    for raw in (b"", b"\x11\x05"):
        with pytest.raises(amf.AMFError, match="AMF3"):
            amf.without_amf3_wrapper(raw)
