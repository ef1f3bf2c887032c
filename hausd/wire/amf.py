"""AMF0, the value encoding of RTMP commands and FLV script data.

Source: Adobe "Action Message Format -- AMF 0". AMF3 values are not read; of AMF3 messages only the
wrapper byte is (:func:`without_amf3_wrapper`), which is all that encoders use.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TypeAlias

MAX_DEPTH = 16
"""Objects and arrays within each other; real messages need 3."""
MAX_VALUES = 4096
"""Values in one message, however nested; the largest onMetaData seen has some 40."""

_NUMBER = struct.Struct(">d")
_UINT16 = struct.Struct(">H")
_UINT32 = struct.Struct(">I")
_DATE_TAIL_BYTES = 2  # a time zone, "reserved, not supported" since ever

AmfValue: TypeAlias = "bool | float | str | list[AmfValue] | dict[str, AmfValue] | None"
"""What is read. Undefined and unsupported are None, dates are milliseconds since 1970."""

AmfWritable: TypeAlias = (
    "bool | float | str | Sequence[AmfWritable] | Mapping[str, AmfWritable] | None"
)
"""What can be written."""


class AMFError(ValueError):
    """The bytes are not AMF0, or beyond the bounds of this module; the message says how."""


class _Marker(IntEnum):
    NUMBER = 0x00
    BOOLEAN = 0x01
    STRING = 0x02
    OBJECT = 0x03
    NULL = 0x05
    UNDEFINED = 0x06
    ECMA_ARRAY = 0x08
    OBJECT_END = 0x09
    STRICT_ARRAY = 0x0A
    DATE = 0x0B
    LONG_STRING = 0x0C
    UNSUPPORTED = 0x0D
    XML_DOCUMENT = 0x0F
    TYPED_OBJECT = 0x10


def decode(untrusted: bytes) -> list[AmfValue]:
    """Reads the values that stand one after the other until the bytes end; raises AMFError."""
    reader = _Reader(untrusted)
    values = []
    while reader.at < len(untrusted):
        values.append(reader.value(MAX_DEPTH))
    return values


def encode(*values: AmfWritable) -> bytes:
    """Writes values one after the other: mappings as objects, sequences as strict arrays."""
    out = bytearray()
    for value in values:
        _write(out, value)
    return bytes(out)


def encode_ecma_array(values: Mapping[str, AmfWritable]) -> bytes:
    """Writes one ECMA array, the form that ``onMetaData`` has."""
    out = bytearray((_Marker.ECMA_ARRAY,))
    out += _UINT32.pack(len(values))
    _write_pairs(out, values)
    return bytes(out)


def without_amf3_wrapper(untrusted: bytes) -> bytes:
    """The AMF0 part of an AMF3 command or data message (types 17 and 15): what follows a zero.

    Raises AMFError where the message holds AMF3 values.
    """
    if untrusted[:1] != b"\0":
        raise AMFError("values are in AMF3, only AMF0 is supported")
    return untrusted[1:]


class _Reader:
    """Reads from ``at`` on, counting values."""

    __slots__ = ("at", "data", "values_left")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.values_left = MAX_VALUES

    def take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        if len(taken) != size:
            raise AMFError(f"the data ends within a value, at byte {len(self.data)}")
        self.at += size
        return taken

    def uint16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def text(self, size: int) -> str:
        return self.take(size).decode("utf-8", "replace")

    def value(self, depth_left: int) -> AmfValue:
        if depth_left == 0:
            raise AMFError(f"values are nested more than {MAX_DEPTH} deep")
        self.values_left -= 1
        if self.values_left < 0:
            raise AMFError(f"more than {MAX_VALUES} values")
        marker = self.take(1)[0]
        match marker:
            case _Marker.NUMBER:
                return _number(self.take(8))
            case _Marker.BOOLEAN:
                return self.take(1) != b"\0"
            case _Marker.STRING:
                return self.text(self.uint16())
            case _Marker.NULL | _Marker.UNDEFINED | _Marker.UNSUPPORTED:
                return None
            case _Marker.OBJECT:
                return self.pairs(depth_left)
            case _Marker.ECMA_ARRAY:
                self.uint32()  # a hint that encoders get wrong; the end marker counts
                return self.pairs(depth_left)
            case _Marker.TYPED_OBJECT:
                self.text(self.uint16())  # its class name
                return self.pairs(depth_left)
            case _Marker.STRICT_ARRAY:
                return [self.value(depth_left - 1) for _ in range(self.uint32())]
            case _Marker.DATE:
                milliseconds = _number(self.take(8))
                self.take(_DATE_TAIL_BYTES)
                return milliseconds
            case _Marker.LONG_STRING | _Marker.XML_DOCUMENT:
                return self.text(self.uint32())
        raise AMFError(f"value marker 0x{marker:02x} at byte {self.at - 1} is not AMF0")

    def pairs(self, depth_left: int) -> dict[str, AmfValue]:
        found: dict[str, AmfValue] = {}
        while True:
            name = self.text(self.uint16())
            if not name and self.data[self.at : self.at + 1] == bytes((_Marker.OBJECT_END,)):
                self.at += 1
                return found
            found[name] = self.value(depth_left - 1)


def _number(eight_bytes: bytes) -> float:
    number: float = _NUMBER.unpack(eight_bytes)[0]
    return number


def _write(out: bytearray, value: AmfWritable) -> None:
    if value is None:
        out.append(_Marker.NULL)
    elif isinstance(value, bool):
        out += bytes((_Marker.BOOLEAN, value))
    elif isinstance(value, int | float):
        out.append(_Marker.NUMBER)
        out += _NUMBER.pack(value)
    elif isinstance(value, str):
        text = value.encode()
        if len(text) > 0xFFFF:
            out.append(_Marker.LONG_STRING)
            out += _UINT32.pack(len(text)) + text
        else:
            out.append(_Marker.STRING)
            out += _UINT16.pack(len(text)) + text
    elif isinstance(value, Mapping):
        out.append(_Marker.OBJECT)
        _write_pairs(out, value)
    else:
        out.append(_Marker.STRICT_ARRAY)
        out += _UINT32.pack(len(value))
        for item in value:
            _write(out, item)


def _write_pairs(out: bytearray, values: Mapping[str, AmfWritable]) -> None:
    for name, value in values.items():
        text = name.encode()
        out += _UINT16.pack(len(text)) + text
        _write(out, value)
    out += bytes((0, 0, _Marker.OBJECT_END))
