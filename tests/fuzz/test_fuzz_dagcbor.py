"""DAG-CBOR from strangers: the one value that these bytes are the encoding of, or an error."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support.content import ROOM
from support.mangle import mangled, seeds

from hausd.core.dagcbor import DagCborError, decode, encode, links
from hausd.core.manifest import ManifestError, decode_record, encode_record
from hausd.core.manifest_nodes import (
    decode_inner,
    decode_leaf,
    decode_root,
    encode_inner,
    encode_leaf,
    encode_root,
)

GOOD = seeds("dagcbor") + seeds("manifest") + seeds("announce")
heads = st.sampled_from([b"\x81", b"\xa1\x61a", b"\xd8\x2a", b"\xc4", b"\xd8\x1c", b"\xd8\x1d\0"])


@given(mangled(GOOD) | st.lists(heads | st.binary(max_size=5)).map(b"".join))
@example(b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\xd8\x1c\x82\xd8\x1d\x00\xd8\x1d\x00")
@example(b"\xd8\x23\x62\x28\x2b")
@example(b"\xd8\x24\x61\x0a")
@example(b"\xd9\x01\x00\x82\x63aaa\xd8\x19\x00")
@example(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff")
@example(b"\x81" * 5000)
@example(b"\xbf\x61a\x00\xff")
def test_any_bytes_are_a_value_of_which_they_are_the_encoding(untrusted: bytes) -> None:
    try:
        value = decode(untrusted)
    except DagCborError:
        return
    assert encode(value) == untrusted
    assert all(bytes(link) in untrusted for link in links(value))


@given(mangled(seeds("manifest")))
def test_any_bytes_are_a_manifest_node_that_encodes_to_them(untrusted: bytes) -> None:
    for again in (
        lambda: encode_root(decode_root(untrusted)),
        lambda: encode_record(decode_record(untrusted)),
        lambda: encode_inner(*decode_inner(untrusted)),
        lambda: encode_leaf(decode_leaf(ROOM, "720p", untrusted)),
    ):
        try:
            assert again() == untrusted
        except ManifestError:
            continue
