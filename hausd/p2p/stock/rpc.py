"""Gossip RPCs as bytes: the library's generated protobuf classes, with bounds around them."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2

from hausd.core.keys import SigningKey
from hausd.core.peers import parse_peer_id, peer_id_of
from hausd.p2p.rpc import MAX_ID_BYTES, MAX_TOPIC_BYTES, Message, Rpc, RpcFault

_SIGNING_PREFIX = b"libp2p-pubsub:"
_MAX_ENTRIES = 10_000
"""Subscriptions, ids and the like in one RPC; honest peers stay below 5000 ids."""
_MAX_MESSAGES = 1000


def decode(untrusted: bytes) -> Rpc:
    """Reads an RPC; raises RpcFault. Signatures are not checked here."""
    try:
        return _checked(rpc_pb2.RPC.FromString(untrusted))
    except (DecodeError, UnicodeDecodeError) as error:
        raise RpcFault("it is no RPC") from error
    except ValueError as error:
        raise RpcFault(str(error)) from error


def encode(rpc: Rpc) -> bytes:
    """An RPC's bytes, without their length."""
    packed = rpc_pb2.RPC()
    for wants, topic in rpc.subscriptions:
        packed.subscriptions.add(subscribe=wants, topicid=topic)
    for message in rpc.messages:
        packed.publish.append(_packed(message))
    for topic, ids in rpc.ihave:
        packed.control.ihave.add(topicID=topic, messageIDs=ids)
    if rpc.iwant:
        packed.control.iwant.add(messageIDs=rpc.iwant)
    for topic in rpc.graft:
        packed.control.graft.add(topicID=topic)
    for topic, backoff_s in rpc.prune:
        packed.control.prune.add(topicID=topic, backoff=backoff_s)
    return packed.SerializeToString()


def signed(key: SigningKey, topic: str, data: bytes, seqno: bytes) -> Message:
    """A message by the holder of ``key``."""
    author = peer_id_of(key.public)
    raw = ID.from_base58(author).to_bytes()
    to_sign = _to_sign(raw, topic, data, seqno)
    return Message(topic, data, author, raw + seqno, key.sign(to_sign), to_sign)


def _checked(packed: rpc_pb2.RPC) -> Rpc:
    control = packed.control
    entries = len(packed.subscriptions) + len(control.graft) + len(control.prune)
    entries += sum(1 + len(each.messageIDs) for each in control.ihave)
    entries += sum(1 + len(each.messageIDs) for each in control.iwant)
    if entries > _MAX_ENTRIES or len(packed.publish) > _MAX_MESSAGES:
        raise RpcFault("more than one RPC may hold")
    return Rpc(
        messages=[_message(each) for each in packed.publish],
        subscriptions=[(each.subscribe, _topic(each.topicid)) for each in packed.subscriptions],
        ihave=[(_topic(each.topicID), _ids(each.messageIDs)) for each in control.ihave],
        iwant=[each for wanted in control.iwant for each in _ids(wanted.messageIDs)],
        graft=[_topic(each.topicID) for each in control.graft],
        prune=[(_topic(each.topicID), each.backoff) for each in control.prune],
    )


def _message(packed: rpc_pb2.Message) -> Message:
    if len(packed.topicIDs) != 1 or len(packed.seqno) > 32:
        raise RpcFault("a message has one topic and a short sequence number")
    topic = _topic(packed.topicIDs[0])
    if len(packed.from_id) > 64:
        raise RpcFault("an author's id is too long")
    author = parse_peer_id(ID(packed.from_id).to_base58())
    raw = packed.from_id
    to_sign = _to_sign(raw, topic, packed.data, packed.seqno)
    return Message(topic, packed.data, author, raw + packed.seqno, packed.signature, to_sign)


def _to_sign(author: bytes, topic: str, data: bytes, seqno: bytes) -> bytes:
    bare = rpc_pb2.Message(data=data, topicIDs=[topic], from_id=author, seqno=seqno)
    return _SIGNING_PREFIX + bare.SerializeToString()


def _packed(message: Message) -> rpc_pb2.Message:
    packed = rpc_pb2.Message.FromString(message.to_sign[len(_SIGNING_PREFIX) :])
    packed.signature = message.signature
    return packed


def _topic(untrusted: str | bytes) -> str:
    if not isinstance(untrusted, str):
        raise RpcFault("a topic's name is no text")  # protobuf gives bytes where it isn't UTF-8
    if not 0 < len(untrusted.encode()) <= MAX_TOPIC_BYTES:
        raise RpcFault("a topic's name has 1 to 256 bytes")
    return untrusted


def _ids(untrusted: object) -> list[bytes]:
    ids = [each.encode() if isinstance(each, str) else bytes(each) for each in untrusted]  # type: ignore[attr-defined]  # protobuf's repeated field, of strings or bytes by version
    if any(len(each) > MAX_ID_BYTES for each in ids):
        raise RpcFault("a message id is too long")
    return ids
