"""Answers what peers ask of the DHT."""

from __future__ import annotations

import structlog
import trio

from hausd.core.peers import PeerId, PeerStream
from hausd.p2p import metrics
from hausd.p2p.kad.kad import Kad
from hausd.p2p.rate import Bucket
from hausd.policy.reach import may_dial
from hausd.wire import ipns
from hausd.wire.kad import (
    MAX_QUESTION_BYTES,
    Contact,
    K,
    KadFault,
    Kind,
    Message,
    MessageReader,
    Record,
    encode,
    ipns_name,
    place,
)

log = structlog.get_logger("hausd.p2p")

_IDLE_S = 60.0
_QUESTIONS_PER_S, _QUESTIONS_AT_ONCE = 20.0, 100.0
"""Of one stream; who asks faster waits."""
_MULTIHASH_BYTES = range(4, 81)
_NS = 10**6


class Serving:
    """The server's side of one network."""

    def __init__(self, kad: Kad) -> None:
        self._kad = kad

    async def serve(self, stream: PeerStream) -> None:
        """Answers a peer's questions until it closes the stream."""
        reader = MessageReader(MAX_QUESTION_BYTES)
        bucket = Bucket(_QUESTIONS_PER_S, _QUESTIONS_AT_ONCE, trio.current_time())
        try:
            while True:
                with trio.move_on_after(_IDLE_S) as idle:
                    data = await stream.receive_some()
                if idle.cancelled_caught or not data:
                    return
                for question in reader.feed(data):
                    await trio.sleep(bucket.take(1, trio.current_time()))
                    answer = self.answer(stream.peer, question)
                    metrics.DHT_ANSWERED.labels(question.kind.name.lower()).inc()
                    if answer is not None:
                        await stream.send_all(encode(answer))
        except KadFault as fault:
            metrics.DHT_REFUSED.labels("protocol").inc()
            log.debug("dht-refused", peer=stream.peer, because=str(fault))
            stream.reset()

    def answer(self, peer: PeerId, question: Message) -> Message | None:
        """What a peer is answered; raises KadFault for what nobody may ask."""
        match question.kind:
            case Kind.FIND_NODE:
                return Message(Kind.FIND_NODE, question.key, closer=self._nodes(peer, question.key))
            case Kind.GET_PROVIDERS:
                return self._tell_providers(peer, _multihash(question.key))
            case Kind.ADD_PROVIDER:
                self._add_provider(peer, question)
                return None
            case Kind.GET_VALUE:
                return self._tell_value(peer, question.key)
            case Kind.PUT_VALUE:
                return self._put_value(question)
            case Kind.PING:
                return Message(Kind.PING)

    def _nodes(self, asker: PeerId, key: bytes) -> tuple[Contact, ...]:
        """The closest peers to a key; who asks for this node is told of it."""
        me = self._kad.contact(self._kad.host.peer_id)
        if not key:
            raise KadFault("no key was asked for")
        if place(key) == self._kad.table.here:
            return self._told(asker, [me])
        return self._closer(asker, key)

    def _closer(self, asker: PeerId, key: bytes) -> tuple[Contact, ...]:
        near = self._kad.table.closest(place(key), K + 1)
        return self._told(asker, [self._kad.contact(one) for one in near if one != asker][:K])

    def _told(self, asker: PeerId, contacts: list[Contact]) -> tuple[Contact, ...]:
        """With the addresses that may be of use to the asker: none nearer to us than it is."""
        connection = self._kad.host.connection(asker)
        if connection is None:
            return ()
        seen = connection.reach
        told = (
            Contact(one.peer, tuple(end for end in one.addresses if may_dial(end, one.peer, seen)))
            for one in contacts
        )
        return tuple(one for one in told if one.addresses)

    def _tell_providers(self, asker: PeerId, key: bytes) -> Message:
        kept = self._kad.providers.of(key, trio.current_time())
        me = self._kad.host.peer_id
        now = [self._kad.contact(one.peer) if one.peer == me else one for one in kept]
        providers = self._told(asker, now)
        return Message(Kind.GET_PROVIDERS, key, None, self._closer(asker, key), providers)

    def _add_provider(self, peer: PeerId, question: Message) -> None:
        """A peer speaks of itself alone, as everywhere in the DHT."""
        key = _multihash(question.key)
        connection = self._kad.host.connection(peer)
        for one in question.providers:
            if one.peer != peer or connection is None:
                metrics.DHT_REFUSED.labels("provider-of-others").inc()
                continue
            ends = self._kad.usable(one, connection)
            now = trio.current_time()
            if not ends or not self._kad.providers.add(key, Contact(peer, ends), now):
                metrics.DHT_REFUSED.labels("provider").inc()
        self._count()

    def _tell_value(self, asker: PeerId, key: bytes) -> Message:
        try:
            record = self._kad.values.get(ipns_name(key), trio.current_time())
        except KadFault:
            record = None  # other kinds of record are not kept here, but maybe by closer peers
        told = Record(key, record.encoded) if record is not None else None
        return Message(Kind.GET_VALUE, key, told, self._closer(asker, key))

    def _put_value(self, question: Message) -> Message:
        record = question.record
        if record is None or record.key != question.key:
            raise KadFault("a value comes in a record of the same key")
        name = ipns_name(question.key)
        try:
            now_ns = self._kad.clock.now_ms() * _NS
            verified = ipns.verify(record.untrusted_value, name, now_ns)
        except ipns.IpnsFault as fault:
            metrics.DHT_REFUSED.labels("value").inc()
            raise KadFault(str(fault)) from None
        if not self._kad.values.put(name, verified, trio.current_time()):
            metrics.DHT_REFUSED.labels("old-value").inc()
            raise KadFault("a newer record of this name is here")
        self._count()
        return Message(Kind.PUT_VALUE, question.key, record)

    def _count(self) -> None:
        name = self._kad.terms.name
        metrics.DHT_RECORDS.labels(name, "provider").set(len(self._kad.providers))
        metrics.DHT_RECORDS.labels(name, "value").set(len(self._kad.values))


def _multihash(untrusted: bytes) -> bytes:
    if len(untrusted) not in _MULTIHASH_BYTES:
        raise KadFault("providers are asked for by a multihash")
    return untrusted
