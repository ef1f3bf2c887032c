"""What is sealed to a key opens with it, for what it was sealed for, and never else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mangle import mangled

from hausd.core.sealing import OVERHEAD_BYTES, SealError, SealingKey, seal

KEY, OTHER = SealingKey.of_node(bytes(32)), SealingKey.of_node(bytes([1]) * 32)


@given(st.binary(max_size=4096), st.binary(max_size=64))
def test_its_holder_opens_it(clear: bytes, info: bytes) -> None:
    sealed = seal(clear, KEY.public, info)
    assert len(sealed) == len(clear) + OVERHEAD_BYTES
    assert KEY.open(sealed, info) == clear
    assert seal(clear, KEY.public, info) != sealed


@given(st.data())
def test_nobody_else_opens_it_nor_anything_changed(data: st.DataObject) -> None:
    sealed = seal(b"a key of 32 bytes, or whatever", KEY.public, b"for this")
    with pytest.raises(SealError):
        OTHER.open(sealed, b"for this")
    with pytest.raises(SealError):
        KEY.open(sealed, b"for that")
    changed = data.draw(mangled([sealed]))
    if changed != sealed:
        with pytest.raises(SealError):
            KEY.open(changed, b"for this")


@pytest.mark.parametrize("to", [bytes(32), b"\1" + bytes(31), b"short", b""])
def test_nothing_is_sealed_to_what_is_no_key(to: bytes) -> None:
    """A point of small order would give a key that everybody knows (RFC 7748, 6.1)."""
    with pytest.raises(SealError):
        seal(b"clear", to, b"")


def test_a_nodes_key_is_its_own_and_stays() -> None:
    assert SealingKey.of_node(bytes(32)).public == KEY.public
    assert KEY.public.hex() in repr(KEY)
    assert SealingKey.of_node(bytes(32)).open(seal(b"x", KEY.public, b""), b"") == b"x"
