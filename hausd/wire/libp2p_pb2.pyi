from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublicKey(_message.Message):
    __slots__ = ("type", "data")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    type: int
    data: bytes
    def __init__(self, type: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class NoisePayload(_message.Message):
    __slots__ = ("identity_key", "identity_sig")
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_SIG_FIELD_NUMBER: _ClassVar[int]
    identity_key: bytes
    identity_sig: bytes
    def __init__(self, identity_key: _Optional[bytes] = ..., identity_sig: _Optional[bytes] = ...) -> None: ...

class Identify(_message.Message):
    __slots__ = ("public_key", "listen_addrs", "protocols", "observed_addr", "protocol_version", "agent_version")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    LISTEN_ADDRS_FIELD_NUMBER: _ClassVar[int]
    PROTOCOLS_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_ADDR_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    listen_addrs: _containers.RepeatedScalarFieldContainer[bytes]
    protocols: _containers.RepeatedScalarFieldContainer[bytes]
    observed_addr: bytes
    protocol_version: bytes
    agent_version: bytes
    def __init__(self, public_key: _Optional[bytes] = ..., listen_addrs: _Optional[_Iterable[bytes]] = ..., protocols: _Optional[_Iterable[bytes]] = ..., observed_addr: _Optional[bytes] = ..., protocol_version: _Optional[bytes] = ..., agent_version: _Optional[bytes] = ...) -> None: ...

class GossipMessage(_message.Message):
    __slots__ = ("author", "data", "seqno", "topics", "signature")
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SEQNO_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    author: bytes
    data: bytes
    seqno: bytes
    topics: _containers.RepeatedScalarFieldContainer[bytes]
    signature: bytes
    def __init__(self, author: _Optional[bytes] = ..., data: _Optional[bytes] = ..., seqno: _Optional[bytes] = ..., topics: _Optional[_Iterable[bytes]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class GossipRpc(_message.Message):
    __slots__ = ("subscriptions", "publish", "control")
    class Subscription(_message.Message):
        __slots__ = ("wants", "topic")
        WANTS_FIELD_NUMBER: _ClassVar[int]
        TOPIC_FIELD_NUMBER: _ClassVar[int]
        wants: bool
        topic: bytes
        def __init__(self, wants: bool = ..., topic: _Optional[bytes] = ...) -> None: ...
    class IHave(_message.Message):
        __slots__ = ("topic", "ids")
        TOPIC_FIELD_NUMBER: _ClassVar[int]
        IDS_FIELD_NUMBER: _ClassVar[int]
        topic: bytes
        ids: _containers.RepeatedScalarFieldContainer[bytes]
        def __init__(self, topic: _Optional[bytes] = ..., ids: _Optional[_Iterable[bytes]] = ...) -> None: ...
    class IWant(_message.Message):
        __slots__ = ("ids",)
        IDS_FIELD_NUMBER: _ClassVar[int]
        ids: _containers.RepeatedScalarFieldContainer[bytes]
        def __init__(self, ids: _Optional[_Iterable[bytes]] = ...) -> None: ...
    class Graft(_message.Message):
        __slots__ = ("topic",)
        TOPIC_FIELD_NUMBER: _ClassVar[int]
        topic: bytes
        def __init__(self, topic: _Optional[bytes] = ...) -> None: ...
    class Prune(_message.Message):
        __slots__ = ("topic", "backoff_s")
        TOPIC_FIELD_NUMBER: _ClassVar[int]
        BACKOFF_S_FIELD_NUMBER: _ClassVar[int]
        topic: bytes
        backoff_s: int
        def __init__(self, topic: _Optional[bytes] = ..., backoff_s: _Optional[int] = ...) -> None: ...
    class Control(_message.Message):
        __slots__ = ("ihave", "iwant", "graft", "prune")
        IHAVE_FIELD_NUMBER: _ClassVar[int]
        IWANT_FIELD_NUMBER: _ClassVar[int]
        GRAFT_FIELD_NUMBER: _ClassVar[int]
        PRUNE_FIELD_NUMBER: _ClassVar[int]
        ihave: _containers.RepeatedCompositeFieldContainer[GossipRpc.IHave]
        iwant: _containers.RepeatedCompositeFieldContainer[GossipRpc.IWant]
        graft: _containers.RepeatedCompositeFieldContainer[GossipRpc.Graft]
        prune: _containers.RepeatedCompositeFieldContainer[GossipRpc.Prune]
        def __init__(self, ihave: _Optional[_Iterable[_Union[GossipRpc.IHave, _Mapping]]] = ..., iwant: _Optional[_Iterable[_Union[GossipRpc.IWant, _Mapping]]] = ..., graft: _Optional[_Iterable[_Union[GossipRpc.Graft, _Mapping]]] = ..., prune: _Optional[_Iterable[_Union[GossipRpc.Prune, _Mapping]]] = ...) -> None: ...
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    subscriptions: _containers.RepeatedCompositeFieldContainer[GossipRpc.Subscription]
    publish: _containers.RepeatedCompositeFieldContainer[GossipMessage]
    control: GossipRpc.Control
    def __init__(self, subscriptions: _Optional[_Iterable[_Union[GossipRpc.Subscription, _Mapping]]] = ..., publish: _Optional[_Iterable[_Union[GossipMessage, _Mapping]]] = ..., control: _Optional[_Union[GossipRpc.Control, _Mapping]] = ...) -> None: ...

class KadMessage(_message.Message):
    __slots__ = ("type", "key", "record", "closer", "providers")
    class Record(_message.Message):
        __slots__ = ("key", "value", "time_received")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        TIME_RECEIVED_FIELD_NUMBER: _ClassVar[int]
        key: bytes
        value: bytes
        time_received: bytes
        def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., time_received: _Optional[bytes] = ...) -> None: ...
    class Peer(_message.Message):
        __slots__ = ("id", "addrs", "connection")
        ID_FIELD_NUMBER: _ClassVar[int]
        ADDRS_FIELD_NUMBER: _ClassVar[int]
        CONNECTION_FIELD_NUMBER: _ClassVar[int]
        id: bytes
        addrs: _containers.RepeatedScalarFieldContainer[bytes]
        connection: int
        def __init__(self, id: _Optional[bytes] = ..., addrs: _Optional[_Iterable[bytes]] = ..., connection: _Optional[int] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    CLOSER_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    type: int
    key: bytes
    record: KadMessage.Record
    closer: _containers.RepeatedCompositeFieldContainer[KadMessage.Peer]
    providers: _containers.RepeatedCompositeFieldContainer[KadMessage.Peer]
    def __init__(self, type: _Optional[int] = ..., key: _Optional[bytes] = ..., record: _Optional[_Union[KadMessage.Record, _Mapping]] = ..., closer: _Optional[_Iterable[_Union[KadMessage.Peer, _Mapping]]] = ..., providers: _Optional[_Iterable[_Union[KadMessage.Peer, _Mapping]]] = ...) -> None: ...

class IpnsRecord(_message.Message):
    __slots__ = ("value", "signature_v1", "validity_type", "validity", "sequence", "ttl", "public_key", "signature_v2", "data")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_V1_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_V2_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    signature_v1: bytes
    validity_type: int
    validity: bytes
    sequence: int
    ttl: int
    public_key: bytes
    signature_v2: bytes
    data: bytes
    def __init__(self, value: _Optional[bytes] = ..., signature_v1: _Optional[bytes] = ..., validity_type: _Optional[int] = ..., validity: _Optional[bytes] = ..., sequence: _Optional[int] = ..., ttl: _Optional[int] = ..., public_key: _Optional[bytes] = ..., signature_v2: _Optional[bytes] = ..., data: _Optional[bytes] = ...) -> None: ...
