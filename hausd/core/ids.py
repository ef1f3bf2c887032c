"""Names of rooms and of the runs of their origins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

from hausd.core.cid import CID, base36

RoomId = NewType("RoomId", str)
"""Base58 address of an event account, or an open room's IPNS name (``k51…``)."""

_LIBP2P_KEY_CODEC = 0x72
_ED25519_KEY_BYTES = 32
_ROOM_ID = re.compile(r"k51[0-9a-z]{59}|[1-9A-HJ-NP-Za-km-z]{32,44}")


def open_room_id(public_key: bytes) -> RoomId:
    """The room id of an open room: the IPNS name of its Ed25519 public key (32 bytes).

    Source: libp2p peer ids (identity multihash over the protobuf-encoded key), IPNS names.
    """
    if len(public_key) != _ED25519_KEY_BYTES:
        raise ValueError(f"an Ed25519 public key has 32 bytes, this one {len(public_key)}")
    protobuf_key = bytes((0x08, 0x01, 0x12, _ED25519_KEY_BYTES)) + public_key
    identity_multihash = bytes((0x00, len(protobuf_key))) + protobuf_key
    return RoomId(base36(bytes((0x01, _LIBP2P_KEY_CODEC)) + identity_multihash))


def parse_room_id(untrusted: str) -> RoomId:
    """Checks the form of a room id; raises ValueError that says what one looks like."""
    if not is_room_id(untrusted):
        raise ValueError("a room id is an IPNS name (k51…) or a base58 account address")
    return RoomId(untrusted)


def is_room_id(untrusted: str) -> bool:
    """Whether this has the form of a room id."""
    return _ROOM_ID.fullmatch(untrusted) is not None


def room_cid(room: RoomId) -> CID:
    """What nodes that have a room are found under in the DHT: the raw block of these bytes."""
    return CID.of(b"/haus/1/room/" + room.encode())


@dataclass(frozen=True, slots=True, order=True)
class SessionId:
    """One continuous run of an origin's signing.

    ``counter`` is durable and only grows; ``nonce`` is 64 random bits. Both are on disk before
    the first signature, so a restored backup never makes an honest origin contradict itself.
    """

    counter: int
    nonce: int

    def __str__(self) -> str:
        return f"{self.counter}-{self.nonce:016x}"

    @classmethod
    def parse(cls, untrusted: str) -> SessionId:
        """Reads ``counter-nonce`` (decimal, 16 hex digits); raises ValueError."""
        match = re.fullmatch(r"(0|[1-9][0-9]{0,15})-([0-9a-f]{16})", untrusted)
        if match is None:
            raise ValueError("a session is written counter-nonce, as in 3-00f1e2d3c4b5a697")
        return cls(int(match[1]), int(match[2], 16))
