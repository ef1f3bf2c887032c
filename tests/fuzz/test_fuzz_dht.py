"""What strangers say in the DHT: values within bounds, or one error."""

from __future__ import annotations

from random import Random

import trio
from hypothesis import given
from hypothesis import strategies as st
from support.hosts import host, seed_of
from support.mangle import mangled, seeds
from support.peers import peer

from hausd.core.clock import SystemClock
from hausd.core.keys import SigningKey
from hausd.core.peers import parse_endpoint, parse_peer_id, peer_id_of
from hausd.p2p.kad.kad import Kad, KadTerms
from hausd.p2p.kad.serving import Serving
from hausd.wire import ipns, kad
from hausd.wire.ipns import IpnsFault
from hausd.wire.kad import Contact, KadFault, Kind, Message, MessageReader, Record

KEY = SigningKey(seed_of("name"))
NAME = peer_id_of(KEY.public)
RECORD = ipns.sign(KEY, "/ipfs/x", 3, 10**18)
MESSAGES = [
    *seeds("dht"),
    kad.encode(Message(Kind.PUT_VALUE, kad.ipns_key(NAME), Record(b"k", RECORD.encoded))),
    kad.encode(
        Message(
            Kind.FIND_NODE,
            b"key",
            closer=(Contact(peer(1), (parse_endpoint("/ip4/192.0.2.1/tcp/1"),)),),
        )
    ),
]


@given(st.lists(mangled(MESSAGES), max_size=4).map(b"".join))
def test_any_stream_is_messages_within_bounds_or_a_fault(untrusted: bytes) -> None:
    try:
        for message in MessageReader(kad.MAX_QUESTION_BYTES).feed(untrusted):
            assert len(message.key) <= kad.MAX_KEY_BYTES
            assert len(message.closer) <= kad.K
            assert len(message.providers) <= kad.MAX_PROVIDERS
            for one in (*message.closer, *message.providers):
                assert parse_peer_id(one.peer) == one.peer
                assert len(one.addresses) <= kad.MAX_ADDRESSES
                assert all(end.peer == one.peer for end in one.addresses)
            assert list(MessageReader(1 << 20).feed(kad.encode(message))) == [message]
    except KadFault:
        return


@given(mangled([*seeds("dht"), RECORD.encoded]))
def test_any_record_is_the_one_that_was_signed_or_refused(untrusted: bytes) -> None:
    try:
        record = ipns.verify(untrusted, NAME)
    except IpnsFault:
        return
    assert (record.path, record.sequence, record.valid_until_ns) == ("/ipfs/x", 3, 10**18)


@given(st.binary(max_size=400))
def test_any_document_of_the_owner_is_a_record_or_a_fault(document: bytes) -> None:
    signature = KEY.sign(b"ipns-signature:" + document)
    packed = ipns.pb.IpnsRecord(data=document, signature_v2=signature)
    try:
        ipns.verify(packed.SerializeToString(), NAME)
    except IpnsFault:
        return


ANYTHING = st.builds(
    Message,
    st.sampled_from(Kind),
    st.binary(max_size=60) | st.sampled_from([kad.ipns_key(NAME), kad.ipns_key(peer(1))]),
    st.none()
    | st.builds(
        Record,
        st.binary(max_size=9) | st.just(kad.ipns_key(NAME)),
        st.binary(max_size=90) | st.just(RECORD.encoded),
    ),
    st.just(()),
    st.lists(
        st.builds(
            Contact,
            st.integers(0, 9).map(peer),
            st.just((parse_endpoint("/ip4/127.0.0.1/tcp/1"),)),
        ),
        max_size=3,
    ).map(tuple),
)


@given(st.lists(ANYTHING, max_size=8))
def test_any_question_is_answered_or_refused(questions: list[Message]) -> None:
    async def ask() -> None:
        terms = KadTerms("near", kad.NEAR_PROTOCOL, frozenset(), frozenset())
        async with host("server", listen=()) as one:
            serving = Serving(Kad(one, terms, SystemClock(), Random(1)))
            for question in questions:
                try:
                    answer = serving.answer(peer(1), question)
                except KadFault:
                    continue
                assert answer is None or len(kad.encode(answer)) < kad.MAX_ANSWER_BYTES

    trio.run(ask)
