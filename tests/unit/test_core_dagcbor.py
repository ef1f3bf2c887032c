"""Canonical DAG-CBOR: a value has one encoding, and no other is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.content import cids, leaf

from hausd.core import dagcbor
from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import (
    MAX_BLOCK_BYTES,
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_LISTED_ITEMS,
    DagCborError,
    Value,
    decode,
    encode,
    links,
)

values: st.SearchStrategy[Value] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.text()
    | st.binary()
    | st.sampled_from(Codec).flatmap(cids),
    lambda below: st.lists(below, max_size=5) | st.dictionaries(st.text(), below, max_size=5),
    max_leaves=20,
)


@given(values)
def test_what_is_encoded_is_decoded_to_the_same(value: Value) -> None:
    assert decode(encode(value)) == value


@given(st.dictionaries(st.text(), st.integers(0, 9)), st.randoms())
def test_the_encoding_does_not_depend_on_the_order_of_insertion(
    value: dict[str, int], random: object
) -> None:
    shuffled = list(value.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis gives a random.Random
    assert encode(dict(shuffled)) == encode(value)


def test_keys_stand_shorter_first() -> None:
    assert encode({"bb": 1, "c": 2, "a": 3}).hex() == "a3616103616302626262" + "01"


def test_a_link_is_tag_42_over_a_zero_byte_and_the_cid() -> None:
    cid = CID.of(b"hello")
    assert encode(cid) == bytes.fromhex("d82a582500") + bytes(cid)


def test_links_come_in_the_order_of_the_encoding() -> None:
    value: Value = {"bb": leaf(1), "a": [leaf(2), {"x": leaf(3)}], "c": 5}
    assert list(links(value)) == [leaf(2), leaf(3), leaf(1)]


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param("1800", id="integer longer than needed"),
        pytest.param("190018", id="integer longer than needed, two bytes"),
        pytest.param("580161", id="length longer than needed"),
        pytest.param("a2626161006161" + "00", id="keys out of order"),
        pytest.param("a2616200616100", id="keys of one length out of order"),
        pytest.param("a2616100616101", id="a key twice"),
        pytest.param("a10000", id="a key that is a number"),
        pytest.param("a1416100", id="a key that is bytes"),
        pytest.param("9fff", id="list of indefinite length"),
        pytest.param("bfff", id="map of indefinite length"),
        pytest.param("5f4161ff", id="bytes of indefinite length"),
        pytest.param("7f6161ff", id="text of indefinite length"),
        pytest.param("f93c00", id="half float"),
        pytest.param("fa3f800000", id="single float"),
        pytest.param("fb3ff199999999999a", id="double float"),
        pytest.param("f97e00", id="not a number"),
        pytest.param("f7", id="undefined"),
        pytest.param("f0", id="simple value"),
        pytest.param("f820", id="simple value, two bytes"),
        pytest.param("f814", id="false, two bytes"),
        pytest.param("c249010000000000000000", id="big number"),
        pytest.param("c24101", id="big number that is small"),
        pytest.param("c074323031332d30332d32315432303a30343a30305a", id="date"),
        pytest.param("c11b7fffffffffffffff", id="epoch date"),
        pytest.param("c5821b7fffffffffffffff01", id="float of a huge exponent"),
        pytest.param("d81c80", id="shareable"),
        pytest.param("d81c82d81d00d81d00", id="a list within itself"),
        pytest.param("d9010081d81900", id="string reference"),
        pytest.param("d82361" + "2e", id="regular expression"),
        pytest.param("d9d9f700", id="self-described"),
        pytest.param("d9ffff00", id="unknown tag"),
        pytest.param("d82a00", id="link that is a number"),
        pytest.param("d82a4100", id="empty link"),
        pytest.param("d82a5825" + "01" + bytes(leaf(0)).hex(), id="link without its zero"),
        pytest.param("d9002a5825" + "00" + bytes(leaf(0)).hex(), id="link tag longer than needed"),
        pytest.param("d82a5823" + "00" + "1220" + "00" * 32, id="link of version 0"),
        pytest.param("61ff", id="text that is not UTF-8"),
        pytest.param("63eda080", id="half a surrogate pair"),
        pytest.param("", id="nothing"),
        pytest.param("0000", id="two values"),
        pytest.param("8100ff", id="something after the value"),
        pytest.param("18", id="cut short"),
        pytest.param("9b7fffffffffffffff", id="list longer than memory"),
        pytest.param("5b7fffffffffffffff", id="bytes longer than memory"),
        pytest.param("81" * 10_000 + "00", id="nested deeper than the stack"),
    ],
)
def test_anything_but_the_canonical_form_is_refused(refused: str) -> None:
    with pytest.raises(DagCborError):
        decode(bytes.fromhex(refused))


@pytest.mark.parametrize(
    "refused", [1.0, 2**64, -(2**64) - 1, {1: 2}, {b"a": 1}, {1, 2}, object(), "\ud800"]
)
def test_what_dag_cbor_cannot_say_is_not_encoded(refused: object) -> None:
    with pytest.raises(DagCborError):
        encode([refused])


def test_depth_and_size_are_bounded() -> None:
    deepest = b"\x81" * MAX_DEPTH + b"\x00"
    assert encode(decode(deepest)) == deepest
    with pytest.raises(DagCborError, match="depth"):
        decode(b"\x81" + deepest)
    cyclic: list[object] = []
    cyclic.append(cyclic)
    with pytest.raises(DagCborError, match="deeper"):
        encode(cyclic)
    with pytest.raises(DagCborError, match="more than the 3 allowed"):
        decode(b"\x43abc", max_bytes=3)
    with pytest.raises(DagCborError, match="of a block"):
        encode(bytes(2**20))


def items(value: Value) -> int:
    match value:
        case CID():
            return 2
        case list():
            return 1 + sum(map(items, value))
        case dict():
            return 1 + sum(1 + items(each) for each in value.values())
    return 1


@given(values)
def test_the_bound_on_values_counts_each_of_them(value: Value) -> None:
    encoded = encode(value)
    assert decode(encoded, max_items=items(value)) == value
    with pytest.raises(DagCborError, match="values allowed"):
        decode(encoded, max_items=items(value) - 1)


@pytest.mark.parametrize("item", ["80", "a0", "00", "40", "60", "f6"])
def test_more_values_than_allowed_are_refused_before_one_is_built(
    item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listing(count: int) -> bytes:
        head = b"\x99" + count.to_bytes(2) if count < 65_536 else b"\x9a" + count.to_bytes(4)
        return head + bytes.fromhex(item) * count

    longest = decode(listing(MAX_LISTED_ITEMS - 1), max_items=MAX_LISTED_ITEMS)
    assert isinstance(longest, list)
    assert len(longest) == MAX_LISTED_ITEMS - 1

    def built(*_: object, **__: object) -> None:
        raise AssertionError("it is being built")

    monkeypatch.setattr(dagcbor.cbor2, "loads", built)
    for count, most in ((MAX_ITEMS, MAX_ITEMS), (MAX_BLOCK_BYTES - 5, MAX_LISTED_ITEMS)):
        with pytest.raises(DagCborError, match=f"more than the {most} values"):
            decode(listing(count), max_items=most)


def test_a_block_of_links_alone_is_within_the_bound_for_lists() -> None:
    most = (MAX_BLOCK_BYTES - 3) // (4 + 37)
    full = encode([leaf(at) for at in range(most)])
    assert len(full) > MAX_BLOCK_BYTES - 41
    assert len(list(links(decode(full, max_items=MAX_LISTED_ITEMS)))) == most
