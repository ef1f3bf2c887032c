from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Message(_message.Message):
    __slots__ = ("wantlist", "blocks", "payload", "presences", "pending_bytes")
    class Entry(_message.Message):
        __slots__ = ("cid", "priority", "cancel", "want_type", "send_dont_have")
        CID_FIELD_NUMBER: _ClassVar[int]
        PRIORITY_FIELD_NUMBER: _ClassVar[int]
        CANCEL_FIELD_NUMBER: _ClassVar[int]
        WANT_TYPE_FIELD_NUMBER: _ClassVar[int]
        SEND_DONT_HAVE_FIELD_NUMBER: _ClassVar[int]
        cid: bytes
        priority: int
        cancel: bool
        want_type: int
        send_dont_have: bool
        def __init__(self, cid: _Optional[bytes] = ..., priority: _Optional[int] = ..., cancel: bool = ..., want_type: _Optional[int] = ..., send_dont_have: bool = ...) -> None: ...
    class Wantlist(_message.Message):
        __slots__ = ("entries", "full")
        ENTRIES_FIELD_NUMBER: _ClassVar[int]
        FULL_FIELD_NUMBER: _ClassVar[int]
        entries: _containers.RepeatedCompositeFieldContainer[Message.Entry]
        full: bool
        def __init__(self, entries: _Optional[_Iterable[_Union[Message.Entry, _Mapping]]] = ..., full: bool = ...) -> None: ...
    class Payload(_message.Message):
        __slots__ = ("prefix", "data")
        PREFIX_FIELD_NUMBER: _ClassVar[int]
        DATA_FIELD_NUMBER: _ClassVar[int]
        prefix: bytes
        data: bytes
        def __init__(self, prefix: _Optional[bytes] = ..., data: _Optional[bytes] = ...) -> None: ...
    class Presence(_message.Message):
        __slots__ = ("cid", "type")
        CID_FIELD_NUMBER: _ClassVar[int]
        TYPE_FIELD_NUMBER: _ClassVar[int]
        cid: bytes
        type: int
        def __init__(self, cid: _Optional[bytes] = ..., type: _Optional[int] = ...) -> None: ...
    WANTLIST_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PRESENCES_FIELD_NUMBER: _ClassVar[int]
    PENDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    wantlist: Message.Wantlist
    blocks: _containers.RepeatedScalarFieldContainer[bytes]
    payload: _containers.RepeatedCompositeFieldContainer[Message.Payload]
    presences: _containers.RepeatedCompositeFieldContainer[Message.Presence]
    pending_bytes: int
    def __init__(self, wantlist: _Optional[_Union[Message.Wantlist, _Mapping]] = ..., blocks: _Optional[_Iterable[bytes]] = ..., payload: _Optional[_Iterable[_Union[Message.Payload, _Mapping]]] = ..., presences: _Optional[_Iterable[_Union[Message.Presence, _Mapping]]] = ..., pending_bytes: _Optional[int] = ...) -> None: ...
