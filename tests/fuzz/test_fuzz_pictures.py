"""Whatever bytes come as a node of pictures: they are read in one way, or refused in its words."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from support.mangle import mangled, seeds

from hausd.core.pictures import (
    PicturesError,
    decode_pictures,
    decode_sheets,
    encode_pictures,
    encode_sheets,
)

SEEDS = seeds("pictures")


@given(mangled(SEEDS) | st.binary(max_size=400))
def test_nodes_of_pictures(untrusted: bytes) -> None:
    with suppress(PicturesError):
        assert encode_pictures(decode_pictures(untrusted)) == untrusted
    with suppress(PicturesError):
        assert encode_sheets(decode_sheets(untrusted)) == untrusted
