"""Bitswap: how IPFS peers ask each other for blocks. Bytes to plain values within bounds, and back.

Version 1.2.0, and what 1.1.0 and 1.0.0 say with the same message: those know no *have*, and 1.0.0
neither CIDv1. Each end writes on streams that it has opened itself; a message is a protobuf after
its varint length.

Source: https://specs.ipfs.tech/bitswap-protocol/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import islice

from google.protobuf.message import DecodeError

from hausd.core.cid import CID, CIDError, Codec
from hausd.core.dagpb import varint
from hausd.wire import bitswap_pb2 as pb
from hausd.wire.pieces import Pieces

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Without its length. Implementations must take that much, and nobody has to take more."""
MAX_BLOCK_BYTES = 2 * 1024 * 1024
MAX_ENTRIES = 8192
"""Wants and presences of one message that are looked at; further ones are as if never sent."""
MAX_CID_BYTES = 168
"""As in Kubo: four varints and a digest of 128 bytes."""

_LENGTH_BYTES = 4
_V0_PREFIX = bytes((0, Codec.DAG_PB, 0x12, 32))
_V0_BYTES = 34
_DIGEST_BYTES = 32


class BitswapFault(Exception):
    """A peer's bytes are no Bitswap, or beyond its bounds; ``args[0]`` says how."""


class Version(IntEnum):
    """What a peer understands."""

    V1_0 = 0
    V1_1 = 1
    """CIDv1."""
    V1_2 = 2
    """Asking who has a block, and being told who has it not."""


PROTOCOLS = {
    "/ipfs/bitswap/1.2.0": Version.V1_2,
    "/ipfs/bitswap/1.1.0": Version.V1_1,
    "/ipfs/bitswap/1.0.0": Version.V1_0,
}
"""By name, best first."""


class Kind(IntEnum):
    """What is wanted: the block, or to know whether the peer has it."""

    BLOCK = 0
    HAVE = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a wantlist. ``name`` is the CID in the asker's bytes, which answers repeat.

    ``cid``: None where it is of a kind that hausd knows no blocks of.
    """

    name: bytes
    cid: CID | None
    kind: Kind = Kind.BLOCK
    priority: int = 1
    """More is sooner; it orders the wants of one peer."""
    cancel: bool = False
    send_dont_have: bool = False


@dataclass(frozen=True, slots=True)
class Payload:
    """A block. ``prefix`` is its CID without the digest: which block it is, its bytes say.

    CIDv0 has no bytes but the hash's; its prefix says what they stand for.
    """

    prefix: bytes
    data: bytes

    def cid(self) -> CID | None:
        """The CID that these bytes have; None for a kind that hausd knows not."""
        digest = hashlib.sha256(self.data).digest()
        return _cid((self.prefix[2:] if self.prefix == _V0_PREFIX else self.prefix) + digest)


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a peer has a block."""

    name: bytes
    cid: CID | None
    have: bool


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``full``: the entries are all that the peer wants, else they are news."""

    entries: tuple[Entry, ...] = ()
    full: bool = False
    payload: tuple[Payload, ...] = ()
    presences: tuple[Presence, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.entries or self.full or self.payload or self.presences)

    def fitted(self, version: Version) -> Message:
        """What of it a peer of this version understands.

        One that can't say *have* is asked for the block at once, as Kubo does.
        """
        if version is Version.V1_2:
            return self
        return replace(
            self,
            entries=tuple(
                replace(entry, kind=Kind.BLOCK, send_dont_have=False) for entry in self.entries
            ),
            presences=(),
        )


def want(cid: CID, kind: Kind, priority: int = 1) -> Entry:
    """A want of ours; who has it not is to say so."""
    return Entry(bytes(cid), cid, kind, priority, send_dont_have=True)


def cancel(cid: CID) -> Entry:
    """The end of a want of ours."""
    return Entry(bytes(cid), cid, cancel=True)


def payload(name: bytes, data: bytes) -> Payload:
    """The block that a peer asked for by this name."""
    if len(name) == _V0_BYTES:
        return Payload(_V0_PREFIX, data)
    return Payload(name[:-_DIGEST_BYTES], data)


def encode(message: Message, version: Version = Version.V1_2) -> list[bytes]:
    """A message's bytes after their length, in pieces, for a peer of this version.

    Raises ValueError for more than a message may hold.
    """
    message = message.fitted(version)
    packed = pb.Message()
    if message.entries or message.full:
        packed.wantlist.full = message.full
        for entry in message.entries:
            packed.wantlist.entries.add(
                cid=entry.name,
                priority=entry.priority,
                cancel=entry.cancel,
                want_type=entry.kind,
                send_dont_have=entry.send_dont_have,
            )
    for presence in message.presences:
        packed.presences.add(cid=presence.name, type=int(not presence.have))
    pieces = [packed.SerializeToString()]
    for block in message.payload:
        pieces += _packed(block, version)
    size = sum(map(len, pieces))
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {size} bytes is more than Bitswap's 4 MiB")
    return [varint(size) + pieces[0], *pieces[1:]]


def _packed(block: Payload, version: Version) -> tuple[bytes, bytes]:
    """A block as a field of the message: what protobuf would write, but its bytes not copied."""
    if version is Version.V1_0:
        return _field(pb.Message.BLOCKS_FIELD_NUMBER, len(block.data)), block.data
    prefix = _field(pb.Message.Payload.PREFIX_FIELD_NUMBER, len(block.prefix)) + block.prefix
    inner = prefix + _field(pb.Message.Payload.DATA_FIELD_NUMBER, len(block.data))
    size = len(inner) + len(block.data)
    return _field(pb.Message.PAYLOAD_FIELD_NUMBER, size) + inner, block.data


def _field(number: int, size: int) -> bytes:
    """What stands before a field of so many bytes."""
    return varint(number << 3 | 2) + varint(size)


def decode(untrusted: bytes) -> Message:
    """Reads a message without its length; raises BitswapFault. Blocks are not verified here."""
    try:
        packed = pb.Message.FromString(untrusted)
    except DecodeError as error:
        raise BitswapFault("it is no Bitswap message") from error
    blocks = [Payload(_V0_PREFIX, data) for data in packed.blocks]
    blocks += [Payload(each.prefix, each.data) for each in packed.payload]
    for block in blocks:
        if len(block.data) > MAX_BLOCK_BYTES or len(block.prefix) > MAX_CID_BYTES:
            raise BitswapFault(f"a block of {len(block.data)} bytes is more than Bitswap's 2 MiB")
    return Message(
        entries=tuple(map(_entry, islice(packed.wantlist.entries, MAX_ENTRIES))),
        full=packed.wantlist.full,
        payload=tuple(blocks),
        presences=tuple(map(_presence, islice(packed.presences, MAX_ENTRIES))),
    )


class MessageReader:
    """Cuts a stream into messages. Holds one of them, and what was fed last."""

    def __init__(self) -> None:
        self._length = bytearray()
        """What has come of a message's length."""
        self._body = Pieces()
        self.announced_bytes: int | None = None
        """How long the message is that has begun and is not whole; None where none has."""

    def feed(self, untrusted: bytes) -> Iterator[Message]:
        """Takes bytes, gives the messages that are whole; raises BitswapFault."""
        rest = memoryview(untrusted)
        while rest or self.announced_bytes == 0:
            if self.announced_bytes is None:
                self._length.append(rest[0])
                rest = rest[1:]
                self.announced_bytes = self._announced()
                continue
            piece = rest[: self.announced_bytes - len(self._body)]
            rest = rest[len(piece) :]
            self._body.add(piece)
            if len(self._body) < self.announced_bytes:
                return
            self.announced_bytes = None
            yield decode(self._body.take())

    def finish(self) -> None:
        """The peer sends no more; raises BitswapFault in the middle of a message."""
        if self._length or self.announced_bytes is not None:
            raise BitswapFault("the stream ended in the middle of a message")

    def _announced(self) -> int | None:
        """The length whose last byte has come; None before that."""
        if self._length[-1] >= 0x80:
            if len(self._length) >= _LENGTH_BYTES:
                raise BitswapFault("a message's length takes more than four bytes")
            return None
        length = sum((byte & 0x7F) << 7 * index for index, byte in enumerate(self._length))
        self._length.clear()
        if length > MAX_MESSAGE_BYTES:
            raise BitswapFault(f"a message of {length} bytes is more than 4 MiB")
        return length


def _entry(packed: pb.Message.Entry) -> Entry:
    try:
        kind = Kind(packed.want_type)
    except ValueError:
        raise BitswapFault(f"a want of the unknown kind {packed.want_type}") from None
    name = _name(packed.cid)
    return Entry(name, _cid(name), kind, packed.priority, packed.cancel, packed.send_dont_have)


def _presence(packed: pb.Message.Presence) -> Presence:
    if packed.type not in (0, 1):
        raise BitswapFault(f"a presence of the unknown kind {packed.type}")
    name = _name(packed.cid)
    return Presence(name, _cid(name), packed.type == 0)


def _name(untrusted: bytes) -> bytes:
    if not 0 < len(untrusted) <= MAX_CID_BYTES:
        raise BitswapFault(f"a CID of {len(untrusted)} bytes")
    return untrusted


def _cid(name: bytes) -> CID | None:
    """A CID from its bytes; None for other than SHA2-256 over raw, DAG-PB and DAG-CBOR."""
    if len(name) == _V0_BYTES and name[:2] == _V0_PREFIX[2:]:
        return CID(Codec.DAG_PB, name[2:])
    try:
        return CID.from_bytes(name)
    except CIDError:
        return None
