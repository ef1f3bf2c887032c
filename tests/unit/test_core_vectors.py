"""The committed vectors, the schema and the code say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from support.content import KEY, ROOM, statements
from support.content_vectors import FOLDER, all_vectors, text_of
from support.exchange_vectors import head_of

from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import DagCborError, decode, encode
from hausd.core.delegation import verify as verify_delegation
from hausd.core.freeing import (
    MAX_FREE_KEYS,
    Freed,
    FreeingError,
    FreeKey,
    decode_freed,
    encode_freed,
)
from hausd.core.gating import EpochId
from hausd.core.keys import SigningKey
from hausd.core.manifest import decode_record, encode_record
from hausd.core.peers import peer_id_of
from hausd.core.pictures import decode_pictures, decode_sheets, encode_pictures, encode_sheets
from hausd.core.sealing import SealingKey
from hausd.wire.announce import Statement, sign, unpack, verify
from hausd.wire.car import CarReader
from hausd.wire.cards import sign_card, verify_card
from hausd.wire.keys import KeyAnswerer, KeyAsker, Shown, open_keys

SCHEMA = (Path(__file__).parents[2] / "hausd/wire/schema.cddl").read_text()
NAMES = ["dagcbor", "unixfs", "manifest", "announce", "car", "cards", "blocks", "room", "keys"]
NAMES += ["pictures", "free"]


class NotOfTheSchema(Exception):
    """What pycddl says."""


def check(name: str, encoded: bytes) -> None:
    """Validates bytes against a rule of the schema; raises NotOfTheSchema.

    pycddl 0.6 holds every member of a list to the .cbor of one of them, and can't take a map's
    key by .regexp: both are loosened here, and what is in byte strings is checked by itself.
    """
    pycddl = pytest.importorskip("pycddl")
    schema = re.sub(r"bytes \.cbor [a-z-]+", "bytes", SCHEMA)
    schema = schema.replace("* rendition-name =>", "* text =>")
    try:
        pycddl.Schema(f"begin = {name}\n{schema}").validate_cbor(encoded)
    except pycddl.ValidationError as fault:
        raise NotOfTheSchema(str(fault)) from None


def check_signed(encoded: bytes) -> None:
    """A signed statement and the body within it."""
    check("signed-statement", encoded)
    match decode(encoded):
        case [str(kind), bytes(said), bytes()]:
            check(kind.removeprefix("hausd/1/"), said)


def vectors(name: str) -> dict:  # type: ignore[type-arg] # JSON of each file's own shape
    return json.loads((FOLDER / f"{name}.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", NAMES)
def test_the_code_makes_what_was_committed(name: str) -> None:
    """A change here is a change of what other nodes read: a new version, not a new vector."""
    assert (FOLDER / f"{name}.json").read_text() == text_of(all_vectors()[name])


def test_no_vector_is_forgotten() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} >= set(NAMES)


def test_what_must_be_refused_is() -> None:
    for refused in vectors("dagcbor")["refused"].values():
        with pytest.raises(DagCborError):
            decode(bytes.fromhex(refused))
    for encoded in vectors("dagcbor")["encoded"].values():
        assert encode(decode(bytes.fromhex(encoded))).hex() == encoded


def test_the_signed_vectors_verify_and_fit_the_schema() -> None:
    found = vectors("announce")
    assert (found["public"], found["room"]) == (KEY.public.raw.hex(), ROOM)
    for name, one in found["statements"].items():
        signed = verify(bytes.fromhex(one["signed"]), KEY.public, ROOM)
        assert signed.digest.hex() == one["digest"]
        assert sign(signed.statement, KEY) == signed
        check_signed(signed.encoded)
        check(name.split()[0], bytes.fromhex(one["body"]))
    for message in found["messages"].values():
        assert unpack(bytes.fromhex(message), KEY.public, ROOM)
        check("message", bytes.fromhex(message))


def test_the_stored_vectors_are_their_cids_and_fit_the_schema() -> None:
    found = vectors("manifest")
    for record in (found["record"], found["sealed"]["record"]):
        encoded = bytes.fromhex(record)
        assert encode_record(decode_record(encoded)) == encoded
        check("segment-record", encoded)
    seen = set()
    for step in [*found["steps"], found["sealed"]]:
        for cid, block in step["blocks"].items():
            raw = bytes.fromhex(block)
            assert CID.parse(cid).matches(raw)
            kind = _kind(raw)
            seen.add(kind)
            check(kind, raw)
    assert seen == {"manifest", "manifest-node", "manifest-leaf"}


def test_the_nodes_of_pictures_are_read_again_and_fit_the_schema() -> None:
    found = vectors("pictures")
    for name in ("root", "empty", "sealed"):
        encoded = bytes.fromhex(found[name])
        assert encode_pictures(decode_pictures(encoded)) == encoded
        check("pictures", encoded)
    full = bytes.fromhex(found["full"])
    assert encode_sheets(decode_sheets(full)) == full
    check("pictures-full", full)
    root = decode_pictures(bytes.fromhex(found["root"]))
    assert root.older == (CID.of(full, Codec.DAG_CBOR),)
    with pytest.raises(NotOfTheSchema):
        check("pictures", encode({"v": 1, "room": ROOM, "sheets": [[1]], "older": []}))


def test_the_lists_of_free_keys_are_read_again_and_fit_the_schema() -> None:
    for name in ("part", "all", "nothing"):
        encoded = bytes.fromhex(vectors("free")[name])
        assert encode_freed(decode_freed(encoded)) == encoded
        check("free", encoded)
    with pytest.raises(NotOfTheSchema):
        check("free", encode({"v": 1, "room": ROOM, "keys": [[bytes(16), bytes(31)]]}))


def test_the_longest_list_of_free_keys_is_read_again_and_one_of_nonsense_is_not() -> None:
    ids = [EpochId(at.to_bytes(16, "big")) for at in range(MAX_FREE_KEYS)]
    longest = Freed(
        ROOM, tuple(FreeKey(one, ("rendition", "720p"), bytes(32)) for one in ids), all=True
    )
    assert decode_freed(encode_freed(longest)) == longest
    with pytest.raises(FreeingError, match="values allowed"):
        decode_freed(b"\x9a" + (10**6).to_bytes(4, "big") + b"\xa0" * 10**6)


@pytest.mark.parametrize("name", ["card", "with a preview"])
def test_the_card_vector_verifies_and_fits_the_schema(name: str) -> None:
    signed = verify_card(bytes.fromhex(vectors("cards")[name]))
    assert sign_card(signed.card, KEY) == signed
    check("signed-card", signed.encoded)
    match decode(signed.encoded):
        case [str(), bytes(said), bytes()]:
            check("card", said)


@pytest.mark.parametrize("name", ["blocks", "room", "keys"])
def test_the_frames_of_the_vectors_fit_the_schema(name: str) -> None:
    found = vectors(name)
    for form, encoded in (found["asker"] | found["answerer"]).items():
        check(form, head_of(bytes.fromhex(encoded)))


@pytest.mark.parametrize(
    ("form", "head"),
    [
        ("blocks-none", ["none", 0, 64, 0]),
        ("blocks-none", ["none", 0, 0, 65]),
        ("blocks-busy", ["busy", 0, [], []]),
        ("blocks-busy", ["busy", 0, [0], [["short", []]]]),
        ("blocks-want", ["want", 0, ROOM, 3, 0, 0, [0, 0, 0], bytes(36)]),
        ("room-ask", ["ask", ROOM, None, [[0]], 0]),
        ("room-edge", ["edge", "asleep", None, 0, 0, 0, []]),
        ("keys-ask", ["ask", ROOM, bytes(16), bytes(15), bytes(32)]),
        ("keys-answer", ["keys", ["because"], []]),
    ],
)
def test_the_schema_refuses_frames_that_the_code_refuses(form: str, head: list[object]) -> None:
    with pytest.raises(NotOfTheSchema):
        check(form, encode(head))


def test_the_key_that_was_sealed_once_opens_for_its_question_alone() -> None:
    """The one vector that no code makes anew: every sealing has a random key of its own."""
    found = vectors("keys")
    node = SigningKey(bytes.fromhex(found["seeds"]["node"]))
    sealing = SealingKey.of_node(bytes.fromhex(found["seeds"]["node"]))
    asker, answerer = KeyAsker(), KeyAnswerer()
    (question,) = answerer.feed(bytes.fromhex(found["asker"]["keys-ask"]))
    asker.ask(question)
    (answer,) = asker.feed(bytes.fromhex(found["answerer"]["keys-answer"]))
    assert isinstance(question.by, Shown)
    assert verify_delegation(question.by.untrusted_text, question.by.untrusted_signature)
    me = peer_id_of(node.public)
    assert open_keys(question, answer, me, sealing) == {
        question.epochs[1]: bytes.fromhex(found["key"])
    }


def test_the_car_vector_reads() -> None:
    found = vectors("car")
    reader = CarReader()
    assert len(list(reader.feed(bytes.fromhex(found["car"])))) == 3
    assert reader.roots == (CID.parse(found["root"]),)


@given(statements)
def test_whatever_is_signed_fits_the_schema(statement: Statement) -> None:
    check_signed(sign(statement, KEY).encoded)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tick 0", {"v": 2}),
        ("tick 0", {"before": b"short"}),
        ("tick 0", {"n": -1}),
        ("tick 0", {"more": 1}),
        ("tick 0", {"gops": [{}]}),
        ("track", {"init": bytes(36)}),
        ("track", {"target": 0}),
        ("head", {"state": "asleep"}),
        ("head", {"room": "a/b"}),
        ("end", {"session": [1]}),
        ("end", {"state": "live"}),
    ],
)
def test_the_schema_refuses_what_the_code_refuses(name: str, changes: dict[str, object]) -> None:
    body = decode(bytes.fromhex(vectors("announce")["statements"][name]["body"]))
    assert isinstance(body, dict)
    with pytest.raises(NotOfTheSchema):
        check(name.split()[0], encode(body | changes))


def _kind(block: bytes) -> str:
    form = decode(block)
    assert isinstance(form, dict)
    if "room" in form:
        return "manifest"
    return "manifest-node" if "level" in form else "manifest-leaf"
