"""What RTMP messages say: commands, and FLV tags single or aggregated. Pure functions.

Source: Adobe "Real-Time Messaging Protocol", section 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hausd.wire import amf
from hausd.wire.amf import AmfValue
from hausd.wire.flv import Tag
from hausd.wire.rtmp_chunks import Message, ProtocolError

ACKNOWLEDGEMENT = 3
USER_CONTROL = 4
WINDOW_ACK_SIZE = 5
SET_PEER_BANDWIDTH = 6
AMF3_DATA = 15
AMF3_COMMAND = 17
SCRIPT = 18
COMMAND = 20
AGGREGATE = 22
MEDIA = frozenset({8, 9, SCRIPT, AMF3_DATA, AGGREGATE})
"""Message types that carry FLV tags."""

_COMMAND_BYTES_MAX = 65_536
_AGGREGATED_TAGS_MAX = 4096
_SET_DATA_FRAME = amf.encode("@setDataFrame")
_CLEAR_DATA_FRAME = amf.encode("@clearDataFrame")


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it came, untrusted."""

    name: str
    transaction: float
    arguments: list[AmfValue]
    """From the command object on."""
    stream_id: int

    def argument(self, index: int) -> AmfValue:
        """One of ``arguments``; None where there are fewer."""
        return self.arguments[index] if index < len(self.arguments) else None


def text(value: AmfValue) -> str:
    """The value where it is text, else nothing."""
    return value if isinstance(value, str) else ""


def parse_command(message: Message) -> Command:
    """Reads a message of type COMMAND or AMF3_COMMAND; raises ProtocolError."""
    if len(message.data) > _COMMAND_BYTES_MAX:
        raise ProtocolError(f"a command of {len(message.data)} bytes")
    data = message.data
    try:
        if message.type == AMF3_COMMAND:
            data = amf.without_amf3_wrapper(data)
        values = amf.decode(data)
    except amf.AMFError as error:
        raise ProtocolError(f"a command that cannot be read: {error}") from None
    match values:
        case [str(name), float(transaction), *arguments]:
            return Command(name, transaction, arguments, message.stream_id)
        case [str(name), *arguments]:
            return Command(name, 0, arguments, message.stream_id)
    raise ProtocolError("a command without a name")


def stream_key(app: str, name: str) -> str:
    """The key that an encoder meant: ``live`` and ``KEY``, or ``live/KEY`` and nothing.

    Queries are dropped: encoders append their own (``?bwtest=true``).
    """
    for part in (name, app):
        path = part.partition("?")[0].strip("/")
        key = path.rpartition("/")[2]
        if key:
            return key
    return ""


def tags(message: Message) -> Iterator[Tag]:
    """The FLV tags of a message whose type is in MEDIA; raises ProtocolError.

    Script data comes without the ``@setDataFrame`` that asks servers to keep it.
    """
    if message.type == AGGREGATE:
        yield from _aggregated(message)
        return
    data = message.data
    tag_type = message.type
    if tag_type in (SCRIPT, AMF3_DATA):
        tag_type = SCRIPT
        if message.type == AMF3_DATA:
            data = data[1:]
        if data.startswith(_CLEAR_DATA_FRAME):
            return
        data = data.removeprefix(_SET_DATA_FRAME)
    if data:
        yield Tag(tag_type, message.timestamp_ms, data)


def _aggregated(message: Message) -> Iterator[Tag]:
    """FLV tags with their back pointers; times count from the first one on (RTMP 7.1.6)."""
    data = message.data
    at = 0
    first_ms: int | None = None
    for _ in range(_AGGREGATED_TAGS_MAX):
        if at == len(data):
            return
        body_at = at + 11
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        if body_at + size > len(data):
            raise ProtocolError("an aggregate message ends within a tag")
        time_ms = data[at + 7] << 24 | int.from_bytes(data[at + 4 : at + 7], "big")
        if first_ms is None:
            first_ms = time_ms
        if data[at] in (8, 9, SCRIPT):
            shifted_ms = (message.timestamp_ms + time_ms - first_ms) & 0xFFFFFFFF
            body = data[body_at : body_at + size]
            yield from tags(Message(data[at], shifted_ms, message.stream_id, body))
        at = min(body_at + size + 4, len(data))
    raise ProtocolError(f"more than {_AGGREGATED_TAGS_MAX} tags in an aggregate message")
