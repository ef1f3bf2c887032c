"""The nodes of a room's pictures: small, read in one way, and refused where anything is odd."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.content import ROOM

from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import decode, encode
from hausd.core.pictures import (
    FULL,
    MAX_IMAGE_BYTES,
    MAX_NODE_BYTES,
    MAX_OLDER,
    Picture,
    Pictures,
    PicturesError,
    Sheet,
    decode_pictures,
    decode_sheets,
    encode_pictures,
    encode_sheets,
)

pictures_ = st.builds(Picture, st.binary(max_size=9).map(CID.of), st.integers(1, MAX_IMAGE_BYTES))
sheets_ = st.builds(
    Sheet,
    pictures_,
    st.integers(0, 2**40),
    st.integers(1, 3_600_000),
    st.integers(1, 100),
    st.integers(1, 100),
    st.integers(1, 4096),
    st.integers(1, 4096),
)
older_ = st.binary(max_size=9).map(lambda data: CID.of(data, Codec.DAG_CBOR))
SHEET = Sheet(Picture(CID.of(b"x"), 1), 0, 5000, 5, 25, 160, 90)
LARGEST = Pictures(
    ROOM,
    Picture(CID.of(b"p"), MAX_IMAGE_BYTES),
    (replace(SHEET, start_ms=2**53 - 1, tile_width=4096, tile_height=4096),) * FULL,
    (CID.of(b"", Codec.DAG_CBOR),) * MAX_OLDER,
)


@given(
    st.builds(
        Pictures,
        st.just(ROOM),
        st.none() | pictures_,
        st.lists(sheets_, max_size=FULL).map(tuple),
        st.lists(older_, max_size=MAX_OLDER).map(tuple),
    )
)
def test_what_is_written_is_read_again(pictures: Pictures) -> None:
    assert decode_pictures(encode_pictures(pictures)) == pictures


def test_the_largest_fit() -> None:
    assert len(encode_pictures(LARGEST)) <= MAX_NODE_BYTES
    full = (SHEET,) * FULL
    assert decode_sheets(encode_sheets(full)) == full


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"room": "a/b"},
        {"more": 1},
        {"poster": None},
        {"poster": [CID.of(b"x")]},
        {"poster": [CID.of(b"x"), 0]},
        {"poster": [CID.of(b"x"), MAX_IMAGE_BYTES + 1]},
        {"poster": [CID.of(b"x", Codec.DAG_CBOR), 1]},
        {"older": [CID.of(b"x")]},
        {"older": ["x"]},
        {"older": [CID.of(b"", Codec.DAG_CBOR)] * (MAX_OLDER + 1)},
        {"sheets": {}},
        {"sheets": [[]]},
        {"sheets": [[CID.of(b"x"), 1, 0, 0, 5, 25, 160, 90]]},
        {"sheets": [[CID.of(b"x"), 1, -1, 1, 5, 25, 160, 90]]},
        {"sheets": [[CID.of(b"x"), 1, 0, 1, 5, 101, 160, 90]]},
        {"sheets": [[CID.of(b"x"), 1, 0, 1, 5, True, 160, 90]]},
        {"sheets": [[CID.of(b"x"), 1, 0, 1, 5, 25, 160]]},
        {"sheets": [[CID.of(b"x"), 1, 0, 1, 5, 25, 160, 90]] * (FULL + 1)},
    ],
)
def test_what_is_odd_is_refused(changes: dict[str, object]) -> None:
    body = decode(encode_pictures(LARGEST))
    assert isinstance(body, dict)
    with pytest.raises(PicturesError):
        decode_pictures(encode(body | changes))


def test_a_full_node_is_full() -> None:
    for count in (0, FULL - 1, FULL + 1):
        with pytest.raises(PicturesError):
            decode_sheets(encode_sheets([SHEET] * count))
