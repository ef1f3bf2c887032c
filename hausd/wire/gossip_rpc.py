"""What gossipsub peers say to each other: bytes to plain values within bounds, and back.

Source: the pubsub and gossipsub 1.1 specifications of libp2p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, key_of, peer_id_bytes, peer_id_from_bytes, peer_id_of
from hausd.wire import libp2p_pb2 as pb

MAX_TOPIC_BYTES = 256
MAX_ID_BYTES = 128
_MAX_SEQNO_BYTES = 32
_MAX_ENTRIES = 10_000
"""Subscriptions, ids and the like in one RPC; honest peers stay below 5000 ids."""
_MAX_MESSAGES = 1000
_SIGNING_PREFIX = b"libp2p-pubsub:"


class RpcFault(Exception):
    """A peer's bytes are no RPC, or one beyond all bounds; ``args[0]`` says how."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of one topic, signed by the node that published it."""

    topic: str
    data: bytes
    author: PeerId
    id: bytes
    """Source: gossipsub's default: the author's id, then its sequence number."""
    signature: bytes
    to_sign: bytes = field(repr=False)
    """The bytes that the signature is over."""

    def is_authors(self) -> bool:
        """Whether the author signed it; for authors whose key isn't Ed25519, False."""
        key = key_of(self.author)
        return key is not None and key.verifies(self.signature, self.to_sign)


@dataclass(slots=True)
class Rpc:
    """One message on a gossip stream."""

    messages: list[Message] = field(default_factory=list)
    subscriptions: list[tuple[bool, str]] = field(default_factory=list)
    """Whether it is subscribed to from now on, and the topic."""
    ihave: list[tuple[str, list[bytes]]] = field(default_factory=list)
    iwant: list[bytes] = field(default_factory=list)
    graft: list[str] = field(default_factory=list)
    prune: list[tuple[str, int]] = field(default_factory=list)
    """Topics, and for how many seconds they are not to be grafted again."""

    def __bool__(self) -> bool:
        return bool(
            self.messages
            or self.subscriptions
            or self.ihave
            or self.iwant
            or self.graft
            or self.prune
        )


def decode(untrusted: bytes) -> Rpc:
    """Reads an RPC; raises RpcFault. Signatures are not checked here."""
    try:
        return _checked(pb.GossipRpc.FromString(untrusted))
    except DecodeError as error:
        raise RpcFault("it is no RPC") from error


def encode(rpc: Rpc) -> bytes:
    """An RPC's bytes, without their length."""
    packed = pb.GossipRpc()
    for wants, topic in rpc.subscriptions:
        packed.subscriptions.add(wants=wants, topic=topic.encode())
    for message in rpc.messages:
        packed.publish.append(_packed(message))
    for topic, ids in rpc.ihave:
        packed.control.ihave.add(topic=topic.encode(), ids=ids)
    if rpc.iwant:
        packed.control.iwant.add(ids=rpc.iwant)
    for topic in rpc.graft:
        packed.control.graft.add(topic=topic.encode())
    for topic, backoff_s in rpc.prune:
        packed.control.prune.add(topic=topic.encode(), backoff_s=backoff_s)
    return packed.SerializeToString()


def signed(key: SigningKey, topic: str, data: bytes, seqno: bytes) -> Message:
    """A message by the holder of ``key``."""
    author = peer_id_of(key.public)
    raw = peer_id_bytes(author)
    to_sign = _to_sign(raw, topic, data, seqno)
    return Message(topic, data, author, raw + seqno, key.sign(to_sign), to_sign)


def _checked(packed: pb.GossipRpc) -> Rpc:
    control = packed.control
    entries = len(packed.subscriptions) + len(control.graft) + len(control.prune)
    entries += sum(1 + len(each.ids) for each in control.ihave)
    entries += sum(1 + len(each.ids) for each in control.iwant)
    if entries > _MAX_ENTRIES or len(packed.publish) > _MAX_MESSAGES:
        raise RpcFault("more than one RPC may hold")
    return Rpc(
        messages=[_message(each) for each in packed.publish],
        subscriptions=[(each.wants, _topic(each.topic)) for each in packed.subscriptions],
        ihave=[(_topic(each.topic), _ids(each.ids)) for each in control.ihave],
        iwant=[each for wanted in control.iwant for each in _ids(wanted.ids)],
        graft=[_topic(each.topic) for each in control.graft],
        prune=[(_topic(each.topic), each.backoff_s) for each in control.prune],
    )


def _message(packed: pb.GossipMessage) -> Message:
    if len(packed.topics) != 1 or len(packed.seqno) > _MAX_SEQNO_BYTES:
        raise RpcFault("a message has one topic and a short sequence number")
    topic, raw = _topic(packed.topics[0]), packed.author
    try:
        author = peer_id_from_bytes(raw)
    except ValueError as error:
        raise RpcFault(str(error)) from error
    to_sign = _to_sign(raw, topic, packed.data, packed.seqno)
    return Message(topic, packed.data, author, raw + packed.seqno, packed.signature, to_sign)


def _to_sign(author: bytes, topic: str, data: bytes, seqno: bytes) -> bytes:
    bare = pb.GossipMessage(data=data, topics=[topic.encode()], author=author, seqno=seqno)
    return _SIGNING_PREFIX + bare.SerializeToString()


def _packed(message: Message) -> pb.GossipMessage:
    packed = pb.GossipMessage.FromString(message.to_sign[len(_SIGNING_PREFIX) :])
    packed.signature = message.signature
    return packed


def _topic(untrusted: bytes) -> str:
    if not 0 < len(untrusted) <= MAX_TOPIC_BYTES:
        raise RpcFault("a topic's name has 1 to 256 bytes")
    try:
        return untrusted.decode()
    except UnicodeDecodeError:
        raise RpcFault("a topic's name is no text") from None


def _ids(untrusted: Sequence[bytes]) -> list[bytes]:
    if any(len(each) > MAX_ID_BYTES for each in untrusted):
        raise RpcFault("a message id is too long")
    return list(untrusted)
