"""Kademlia DHT messages: bytes to plain values within bounds, and back.

Source: libp2p's kad-dht specification, https://github.com/libp2p/specs/tree/master/kad-dht. On a
stream each message has its length before it, as a varint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

from google.protobuf.message import DecodeError

from hausd.core.cid import CID
from hausd.core.dagpb import DagPbError, read_varint
from hausd.core.peers import Endpoint, PeerId, peer_id_bytes, peer_id_from_bytes
from hausd.wire import libp2p_pb2 as pb
from hausd.wire import multiaddr
from hausd.wire.multistream import lengthened

OPEN_PROTOCOL = "/ipfs/kad/1.0.0"
"""Of the network of all IPFS nodes."""
NEAR_PROTOCOL = "/ipfs/lan/kad/1.0.0"
"""Of nodes that reach each other by private or loopback addresses, as Kubo has it."""

K = 20
"""Peers of a bucket, peers that an answer names, peers that keep a record."""
MAX_QUESTION_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 512 * 1024
"""A hundred providers with their addresses are some 50 KB."""
MAX_KEY_BYTES = 256
MAX_VALUE_BYTES = 10 * 1024
"""Source: the IPNS specification's limit for a record; the DHT holds nothing larger here."""
MAX_PROVIDERS = 128
"""Of one answer; further ones are left out."""
MAX_ADDRESSES = 8
"""Of one peer; further ones are left out."""
_MAX_LOOKED_AT = 32

_MULTIHASH_PREFIX = b"\x12\x20"
_IPNS_PREFIX = b"/ipns/"


class Kind(IntEnum):
    """What a message asks or answers."""

    PUT_VALUE = 0
    GET_VALUE = 1
    ADD_PROVIDER = 2
    GET_PROVIDERS = 3
    FIND_NODE = 4
    PING = 5


class KadFault(ValueError):
    """A peer's bytes are no message of the DHT, or one beyond its bounds; ``args[0]`` says how."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A peer and where it is said to be dialled; nothing of it is proven."""

    peer: PeerId
    addresses: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A value under a key. Whether it may stand there is for who knows its kind."""

    key: bytes
    untrusted_value: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A question or an answer. ``key``: a peer's id, a multihash, or a record's key."""

    kind: Kind
    key: bytes = b""
    record: Record | None = None
    closer: tuple[Contact, ...] = ()
    providers: tuple[Contact, ...] = ()


def place(key: bytes) -> bytes:
    """Where a key is in the space that distances are measured in: its SHA-256."""
    return hashlib.sha256(key).digest()


@lru_cache(maxsize=8192)
def peer_place(peer: PeerId) -> bytes:
    """Where a peer is in that space."""
    return place(peer_id_bytes(peer))


def provider_key(cid: CID) -> bytes:
    """What providers of a block are found under: its multihash, whatever its codec."""
    return _MULTIHASH_PREFIX + cid.digest


def ipns_key(name: PeerId) -> bytes:
    """What an IPNS record is found under; ``name`` is the id of the key that signs it."""
    return _IPNS_PREFIX + peer_id_bytes(name)


def ipns_name(untrusted_key: bytes) -> PeerId:
    """The name that a record's key is of; raises KadFault for other kinds of key."""
    if not untrusted_key.startswith(_IPNS_PREFIX):
        raise KadFault("a record's key is /ipns/ and a name")
    try:
        return peer_id_from_bytes(untrusted_key.removeprefix(_IPNS_PREFIX))
    except ValueError as error:
        raise KadFault(str(error)) from None


def encode(message: Message) -> bytes:
    """A message's bytes with their length before them, as they go on a stream."""
    packed = pb.KadMessage(type=message.kind, key=message.key)
    if message.record is not None:
        packed.record.key = message.record.key
        packed.record.value = message.record.untrusted_value
    for contact in message.closer:
        packed.closer.append(_packed(contact))
    for contact in message.providers[:MAX_PROVIDERS]:
        packed.providers.append(_packed(contact))
    return lengthened(packed.SerializeToString())


def decode(untrusted: bytes) -> Message:
    """Reads a message, without its length; raises KadFault.

    Peers whose id is none, and addresses that we can't dial, are left out; so is what goes beyond
    the bounds above.
    """
    try:
        packed = pb.KadMessage.FromString(untrusted)
    except DecodeError as error:
        raise KadFault("it is no message of the DHT") from error
    try:
        kind = Kind(packed.type)
    except ValueError:
        raise KadFault(f"no message has the type {packed.type}") from None
    record = None
    if packed.HasField("record"):
        record = Record(packed.record.key, packed.record.value)
        if len(record.key) > MAX_KEY_BYTES or len(record.untrusted_value) > MAX_VALUE_BYTES:
            raise KadFault(f"a record has at most {MAX_VALUE_BYTES} bytes")
    if len(packed.key) > MAX_KEY_BYTES:
        raise KadFault(f"a key has at most {MAX_KEY_BYTES} bytes")
    return Message(
        kind,
        packed.key,
        record,
        closer=_contacts(packed.closer, K),
        providers=_contacts(packed.providers, MAX_PROVIDERS),
    )


class MessageReader:
    """Cuts a stream into messages of at most ``max_bytes``."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, untrusted: bytes) -> Iterable[Message]:
        """Takes bytes, gives every whole message; raises KadFault."""
        self._buffer += untrusted
        while (span := self._span()) is not None:
            start, end = span
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[start:end])
            del self._buffer[:end]
            yield decode(body)

    def _span(self) -> tuple[int, int] | None:
        """Where the message is that the buffer begins with; None where that can't be said yet."""
        try:
            length, start = read_varint(bytes(self._buffer[:10]), 0)
        except DagPbError:
            if len(self._buffer) >= 10:
                raise KadFault("a message's length is none") from None
            return None
        if length > self._max_bytes:
            raise KadFault(f"a message of {length} bytes is over the limit of {self._max_bytes}")
        return start, start + length


def _packed(contact: Contact) -> pb.KadMessage.Peer:
    bare = (replace(each, peer=None) for each in contact.addresses[:MAX_ADDRESSES])
    return pb.KadMessage.Peer(
        id=peer_id_bytes(contact.peer), addrs=[multiaddr.encode(each) for each in bare]
    )


def _contacts(untrusted: Iterable[pb.KadMessage.Peer], most: int) -> tuple[Contact, ...]:
    found: dict[PeerId, Contact] = {}
    for packed in untrusted:
        if len(found) >= most:
            break
        try:
            peer = peer_id_from_bytes(packed.id)
        except ValueError:
            continue
        found.setdefault(peer, Contact(peer, _addresses(packed.addrs, peer)))
    return tuple(found.values())


def _addresses(untrusted: Iterable[bytes], peer: PeerId) -> tuple[Endpoint, ...]:
    found: dict[Endpoint, None] = {}
    for looked_at, raw in enumerate(untrusted):
        if looked_at == _MAX_LOOKED_AT or len(found) == MAX_ADDRESSES:
            break
        try:
            endpoint = multiaddr.decode(raw)
        except ValueError:
            continue  # QUIC, WebSocket, relays and the like
        if endpoint.peer in (None, peer) and endpoint.port and not endpoint.wildcard:
            found[replace(endpoint, peer=peer)] = None
    return tuple(found)
