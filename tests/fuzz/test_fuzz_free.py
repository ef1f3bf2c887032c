"""Whatever bytes come as a list of free keys: it is read in one way, or refused in its words."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from support.mangle import mangled, seeds

from hausd.core.freeing import FreeingError, decode_freed, encode_freed

SEEDS = seeds("free")


@given(mangled(SEEDS) | st.binary(max_size=400))
def test_lists_of_free_keys(untrusted: bytes) -> None:
    with suppress(FreeingError):
        assert encode_freed(decode_freed(untrusted)) == untrusted
