"""CAR files from strangers: blocks that are what their CIDs say, or an error."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support.mangle import mangled, seeds

from hausd.wire.car import CarError, CarReader, child_links


@given(mangled(seeds("car")), st.integers(1, 400))
@example(b"\xff" * 20, 1)
@example(b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", 3)
def test_any_bytes_are_blocks_that_hash_to_their_cids_or_refused(
    untrusted: bytes, step: int
) -> None:
    reader = CarReader()
    try:
        for at in range(0, len(untrusted), step):
            for cid, block in reader.feed(untrusted[at : at + step]):
                assert cid.matches(block)
                child_links(cid, block)
        reader.finish()
    except CarError:
        return
    assert reader.roots
