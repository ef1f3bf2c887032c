"""Damaged versions of good bytes, for fuzzing what reads outside bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from hypothesis import strategies as st

VECTORS = Path(__file__).parents[1] / "vectors"


def seeds(name: str) -> list[bytes]:
    """Every hex string of a vector file, as bytes."""
    return sorted(set(_hex_strings(json.loads((VECTORS / f"{name}.json").read_text()))))


@st.composite
def mangled(draw: st.DrawFn, good: list[bytes]) -> bytes:
    """One of these with a few bytes changed, cut out, doubled or put in; or any bytes at all."""
    if not draw(st.integers(0, 9)):
        return draw(st.binary(max_size=200))
    data = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 9))
        match draw(st.sampled_from(["change", "cut", "double", "insert", "end"])):
            case "change" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "insert":
                data[at:at] = draw(st.binary(max_size=9))
            case "end":
                del data[at:]
    return bytes(data)


def _hex_strings(value: object) -> Iterator[bytes]:
    if isinstance(value, dict):
        for below in value.values():
            yield from _hex_strings(below)
    elif isinstance(value, list):
        for below in value:
            yield from _hex_strings(below)
    elif isinstance(value, str) and len(value) % 2 == 0:
        try:
            yield bytes.fromhex(value)
        except ValueError:
            return
