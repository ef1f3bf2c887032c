"""What is sealed opens at its place with its key and nowhere else; no nonce is used twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from support.content import ROOM, SESSION

from hausd.core.gating import Epoch, EpochId, EpochKey, commitment, new_epoch
from hausd.core.ids import RoomId, SessionId
from hausd.core.media import LEAF_BYTES
from hausd.wire.leafseal import (
    CLEAR_LEAF_BYTES,
    MAX_OBJECT_BYTES,
    SEAL_BYTES,
    LeafCipher,
    ObjectCipher,
    ObjectClass,
    ObjectSealer,
    PartSealer,
    SealBroken,
    Stream,
    clear_size,
    sealed_leaves,
)

KEY = EpochKey(bytes(range(32)))
OTHER_KEY = EpochKey(bytes(range(1, 33)))
EPOCH = EpochId(b"an epoch's id 16")
STREAM = Stream(ROOM, SESSION, "720p", EPOCH)
OTHER_ROOM = RoomId("1" * 32)
PLACES = [(0, 0), (0, 1), (1, 0), (2**53 - 1, 7)]

sizes_ = st.one_of(
    st.integers(1, 64),
    st.sampled_from(
        [
            CLEAR_LEAF_BYTES - 1,
            CLEAR_LEAF_BYTES,
            CLEAR_LEAF_BYTES + 1,
            2 * CLEAR_LEAF_BYTES,
            LEAF_BYTES * 3,
        ]
    ),
)


def clear_of(size: int, seed: int = 1) -> bytes:
    return bytes((at * seed) & 0xFF for at in range(256)) * (size // 256 + 1)


@given(sizes_, st.sampled_from(PLACES))
@settings(max_examples=40, deadline=None)
def test_a_part_opens_where_it_was_sealed(size: int, place: tuple[int, int]) -> None:
    cipher, clear = LeafCipher(KEY, STREAM), clear_of(size)[:size]
    sealed = cipher.seal(*place, clear)
    assert LeafCipher(KEY, STREAM).open(*place, sealed) == clear
    # leaves are full but for the last, so a part's size alone says how many it has
    assert -(-len(sealed) // LEAF_BYTES) == sealed_leaves(size)
    assert len(sealed) == size + SEAL_BYTES * sealed_leaves(size)
    assert clear_size(len(sealed)) == size


@pytest.mark.parametrize(
    "stream",
    [
        replace(STREAM, room=OTHER_ROOM),
        replace(STREAM, rendition="480p"),
        replace(STREAM, session=SessionId(SESSION.counter, SESSION.nonce + 1)),
        replace(STREAM, epoch=EpochId(b"another epoch...")),
    ],
    ids=["room", "rendition", "session", "epoch"],
)
def test_a_leaf_of_another_room_rendition_session_or_epoch_does_not_open(stream: Stream) -> None:
    sealed = LeafCipher(KEY, STREAM).seal(3, 4, b"clear")
    with pytest.raises(SealBroken):
        LeafCipher(KEY, stream).open(3, 4, sealed)


def test_no_other_key_opens_it() -> None:
    sealed = LeafCipher(KEY, STREAM).seal(3, 4, b"clear")
    with pytest.raises(SealBroken):
        LeafCipher(OTHER_KEY, STREAM).open(3, 4, sealed)


@given(
    st.tuples(st.integers(0, 9), st.integers(0, 9)), st.tuples(st.integers(0, 9), st.integers(0, 9))
)
def test_a_leaf_that_was_moved_does_not_open(
    place: tuple[int, int], other: tuple[int, int]
) -> None:
    cipher = LeafCipher(KEY, STREAM)
    sealed = cipher.seal(*place, b"clear")
    if other == place:
        assert cipher.open(*other, sealed) == b"clear"
    else:
        with pytest.raises(SealBroken):
            cipher.open(*other, sealed)


def test_leaves_of_a_part_that_were_swapped_or_repeated_do_not_open() -> None:
    cipher = LeafCipher(KEY, STREAM)
    sealed = cipher.seal(0, 0, clear_of(2 * CLEAR_LEAF_BYTES, 3)[: 2 * CLEAR_LEAF_BYTES])
    first, second = sealed[:LEAF_BYTES], sealed[LEAF_BYTES:]
    for wrong in (second + first, first + first, second):
        with pytest.raises(SealBroken):
            cipher.open(0, 0, wrong)


@given(st.data())
@settings(deadline=None)
def test_what_was_truncated_or_changed_in_any_bit_does_not_open(data: st.DataObject) -> None:
    cipher = LeafCipher(KEY, STREAM)
    sealed = cipher.seal(0, 0, b"some clear bytes")
    size = data.draw(st.integers(1, len(sealed) - 1))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    changed = bytearray(sealed)
    changed[bit // 8] ^= 1 << bit % 8
    for wrong in (sealed[:size], bytes(changed), sealed + b"\0"):
        with pytest.raises(SealBroken):
            cipher.open(0, 0, wrong)


def test_objects_open_by_their_number_in_their_class_only() -> None:
    init = ObjectCipher(KEY, ROOM, EPOCH, ObjectClass.INIT)
    sealed = init.seal(1, b"an init segment")
    assert init.open(1, sealed) == b"an init segment"
    others = [
        (ObjectCipher(KEY, ROOM, EPOCH, ObjectClass.POSTER), 1),
        (ObjectCipher(KEY, OTHER_ROOM, EPOCH, ObjectClass.INIT), 1),
        (ObjectCipher(KEY, ROOM, EpochId(b"another epoch..."), ObjectClass.INIT), 1),
        (ObjectCipher(OTHER_KEY, ROOM, EPOCH, ObjectClass.INIT), 1),
        (init, 2),
    ]
    for cipher, n in others:
        with pytest.raises(SealBroken):
            cipher.open(n, sealed)
    # a rendition may have the name of a class
    with pytest.raises(SealBroken):
        LeafCipher(KEY, replace(STREAM, rendition="init")).open(1, 0, sealed)
    with pytest.raises(ValueError, match="more than one leaf"):
        init.seal(2, bytes(MAX_OBJECT_BYTES + 1))


class Counting:
    """Takes the cipher's place and notes each nonce."""

    def __init__(self, cipher: AESGCM) -> None:
        self.cipher, self.nonces = cipher, list[bytes]()

    def encrypt(self, nonce: bytes, data: bytes, about: bytes) -> bytes:
        self.nonces.append(nonce)
        return self.cipher.encrypt(nonce, data, about)


@given(st.lists(st.tuples(st.integers(0, 5), sizes_), max_size=20))
@settings(max_examples=40, deadline=None)
def test_no_nonce_is_used_twice_whatever_the_worker_says(parts: list[tuple[int, int]]) -> None:
    cipher = LeafCipher(KEY, STREAM)
    counting = Counting(cipher._cipher)
    cipher._cipher = counting  # type: ignore[assignment]  # what stands in for it counts
    sealer, newest = PartSealer(cipher), -1
    for segment, size in parts:
        if segment < newest:
            with pytest.raises(ValueError, match="is sealed after"):
                sealer.seal(segment, bytes(size))
            continue
        newest = segment
        first, sealed = sealer.seal(segment, bytes(size))
        assert LeafCipher(KEY, STREAM).open(segment, first, sealed) == bytes(size)
    assert len(set(counting.nonces)) == len(counting.nonces)


def test_objects_get_a_number_each() -> None:
    sealer = ObjectSealer(ObjectCipher(KEY, ROOM, EPOCH, ObjectClass.STORYBOARD))
    numbers = [sealer.seal(b"a sheet")[0] for _ in range(5)]
    with pytest.raises(ValueError, match="more than one leaf"):
        sealer.seal(bytes(LEAF_BYTES))
    numbers.append(sealer.seal(b"a sheet")[0])
    assert len(set(numbers)) == 6


def test_a_commitment_fits_its_room_epoch_and_key_only() -> None:
    made = iter([bytes(EPOCH), KEY.raw])
    epoch, key = new_epoch(ROOM, lambda size: next(made))
    assert key == KEY
    assert epoch.is_opened_by(ROOM, KEY)
    assert not epoch.is_opened_by(ROOM, OTHER_KEY)
    assert not epoch.is_opened_by(OTHER_ROOM, KEY)
    other = Epoch(EpochId(b"another epoch..."), epoch.commitment)
    assert not other.is_opened_by(ROOM, KEY)
    assert epoch.commitment == commitment(ROOM, EPOCH, KEY)
    # a derived key is not in the announcement: it is one more hash away
    assert KEY.raw not in epoch.commitment


def test_a_key_never_shows_itself() -> None:
    shown = f"{KEY!r} {KEY} {[KEY]}"
    assert KEY.raw.hex() not in shown
    assert repr(KEY.raw) not in shown
    with pytest.raises(TypeError, match="unhashable"):
        hash(KEY)
    with pytest.raises(ValueError, match="32 bytes"):
        EpochKey(b"short")
