"""Sealing what a gated room is made of: leaves of parts, init segments, images.

AES-256-GCM (NIST SP 800-38D). What is stored and sent is ciphertext and its 16-byte tag, nothing
else: key, nonce and associated data follow from the place that signed statements give it.

- Key: HKDF-SHA256 (RFC 5869) of the epoch's key, salted with the epoch's id, for the room and the
  rendition or class of objects. So what is free of an epoch can be opened by a key of its own.
- Nonce, 96 bits: archive segment number (64) and leaf in the segment (32); of an object its
  number in its class (64) and 0. ``PartSealer`` and ``ObjectSealer`` use each once: they only
  count upwards, and an epoch never outlives the session that it began in, nor the process.
- Associated data: everything that names the place, so that a leaf opens there and nowhere else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hausd.core.dagcbor import encode
from hausd.core.forms import session_form
from hausd.core.gating import EpochId, EpochKey, Use, UseKey
from hausd.core.ids import RoomId, SessionId
from hausd.core.media import LEAF_BYTES

SEAL_BYTES = 16
"""What a sealed leaf has more than a clear one: the tag."""
CLEAR_LEAF_BYTES = LEAF_BYTES - SEAL_BYTES
"""A leaf of a gated room before it is sealed; then it has LEAF_BYTES, the last of a part less."""
MAX_OBJECT_BYTES = CLEAR_LEAF_BYTES

_MANY_LEAVES = 1024
_KEY = "hausd/1/leaf"
_NONCE = struct.Struct(">QI")


class SealBroken(ValueError):
    """What came is not what was sealed at this place with this key."""


class ObjectClass(StrEnum):
    """What is sealed whole, each under a key of its class."""

    INIT = "init"
    POSTER = "poster"
    STORYBOARD = "storyboard"


@dataclass(frozen=True, slots=True)
class Stream:
    """The leaves of one rendition in one epoch."""

    room: RoomId
    session: SessionId
    rendition: str
    epoch: EpochId


class LeafCipher:
    """Seals and opens the leaves of a stream by their place; ``PartSealer`` keeps the count."""

    __slots__ = ("_about", "_cipher")

    def __init__(self, key: EpochKey | UseKey, stream: Stream) -> None:
        self._cipher = _cipher(key, stream.room, stream.epoch, rendition_use(stream.rendition))
        names = [stream.room, session_form(stream.session), stream.rendition, stream.epoch]
        self._about = encode([*names, 0, 0])[:-2]
        """Of every leaf; its segment and its number follow."""

    def seal(self, segment: int, leaf: int, clear: bytes | memoryview) -> bytes:
        """The part's bytes that begin with this leaf of this segment, sealed leaf by leaf."""
        view = memoryview(clear)
        return b"".join(
            self._cipher.encrypt(
                *self._place(
                    segment, leaf + at // CLEAR_LEAF_BYTES, view[at : at + CLEAR_LEAF_BYTES]
                )
            )
            for at in range(0, len(view), CLEAR_LEAF_BYTES)
        )

    def open(self, segment: int, leaf: int, sealed: bytes | memoryview) -> bytes:
        """The clear bytes of a part that begins with this leaf. Raises SealBroken."""
        return b"".join(self.open_leaves(segment, leaf, sealed))

    def open_leaves(self, segment: int, leaf: int, sealed: bytes | memoryview) -> tuple[bytes, ...]:
        """The same, leaf by leaf."""
        view = memoryview(sealed)
        try:
            return tuple(
                self._cipher.decrypt(
                    *self._place(segment, leaf + at // LEAF_BYTES, view[at : at + LEAF_BYTES])
                )
                for at in range(0, len(view), LEAF_BYTES)
            )
        except InvalidTag:
            raise _broken() from None

    def open_into(
        self, segment: int, leaf: int, sizes: Sequence[int], sealed: memoryview, clear: memoryview
    ) -> int:
        """Opens leaves of these sizes, which lie one after the other, without making any bytes.

        Gives how many bytes ``clear`` has of them then. Raises SealBroken.
        """
        about, open_ = self._about + _said(segment), self._cipher.decrypt_into
        begin, end = 0, 0
        try:
            for number, size in enumerate(sizes, leaf):
                data, into = sealed[begin : begin + size], clear[end : end + size - SEAL_BYTES]
                end += open_(_NONCE.pack(segment, number), data, about + _said(number), into)
                begin += size
        except InvalidTag:
            raise _broken() from None
        return end

    def _place(self, segment: int, leaf: int, data: memoryview) -> tuple[bytes, memoryview, bytes]:
        return _NONCE.pack(segment, leaf), data, self._about + _said(segment) + _said(leaf)


@dataclass(slots=True)
class PartSealer:
    """Seals the parts of a stream in the order in which they were made."""

    cipher: LeafCipher
    _segment: int = -1
    _leaf: int = 0

    def seal(self, segment: int, clear: bytes | memoryview) -> tuple[int, bytes]:
        """Number of the part's first leaf in the segment, and the sealed part.

        Raises ValueError where the segment is one before the newest: its nonces may be used.
        """
        if segment < self._segment:
            raise ValueError(f"segment {segment} is sealed after segment {self._segment}")
        first = self._leaf if segment == self._segment else 0
        # counted before it is used: what fails half-way is never sealed again under its nonce
        self._segment, self._leaf = segment, first + sealed_leaves(len(clear))
        return first, self.cipher.seal(segment, first, clear)


class ObjectCipher:
    """Seals and opens the objects of a class in an epoch, by their numbers."""

    __slots__ = ("_about", "_cipher")

    def __init__(
        self, key: EpochKey | UseKey, room: RoomId, epoch: EpochId, of: ObjectClass
    ) -> None:
        self._cipher = _cipher(key, room, epoch, object_use(of))
        self._about = [room, of.value, epoch]

    def seal(self, n: int, clear: bytes | memoryview) -> bytes:
        """An object of at most MAX_OBJECT_BYTES, sealed; raises ValueError where it is larger."""
        if len(clear) > MAX_OBJECT_BYTES:
            raise ValueError(f"{len(clear)} bytes are more than one leaf can hold sealed")
        return self._cipher.encrypt(_NONCE.pack(n, 0), clear, encode([*self._about, n]))

    def open(self, n: int, sealed: bytes | memoryview) -> bytes:
        """The object's clear bytes. Raises SealBroken."""
        try:
            return self._cipher.decrypt(_NONCE.pack(n, 0), sealed, encode([*self._about, n]))
        except InvalidTag:
            raise SealBroken("an object is not what was sealed under its number") from None


@dataclass(slots=True)
class ObjectSealer:
    """Numbers the objects of a class in an epoch as it seals them."""

    cipher: ObjectCipher
    _next: int = field(default=0)

    def seal(self, clear: bytes | memoryview) -> tuple[int, bytes]:
        """The object's number, and the sealed object. Raises ValueError where it is too large."""
        n = self._next
        self._next += 1
        return n, self.cipher.seal(n, clear)


def sealed_leaves(clear_bytes: int) -> int:
    """How many leaves a part of so many clear bytes has when sealed."""
    return -(-clear_bytes // CLEAR_LEAF_BYTES)


def clear_size(sealed_bytes: int) -> int:
    """Clear bytes of a part that has so many sealed; each leaf has its tag."""
    return sealed_bytes - SEAL_BYTES * -(-sealed_bytes // LEAF_BYTES)


def rendition_use(rendition: str) -> Use:
    """What the key of a rendition's leaves is for."""
    return ("rendition", rendition)


def object_use(of: ObjectClass) -> Use:
    """What the key of a class of objects is for."""
    return ("object", of.value)


def use_key(key: EpochKey, room: RoomId, epoch: EpochId, use: Use) -> UseKey:
    """The key of one use in an epoch: what a rendition's leaves, or a class of objects, are sealed
    with."""
    derived = HKDF(SHA256(), length=32, salt=epoch, info=encode([_KEY, room, *use]))
    return UseKey(derived.derive(key.raw))


def _broken() -> SealBroken:
    return SealBroken("a leaf is not what was sealed at its place")


_said = lru_cache(_MANY_LEAVES)(encode)


def _cipher(key: EpochKey | UseKey, room: RoomId, epoch: EpochId, use: Use) -> AESGCM:
    made = key if isinstance(key, UseKey) else use_key(key, room, epoch, use)
    return AESGCM(made.raw)
