"""The server's side of RTMP, for those who publish. Sans-IO: bytes in, events out.

``receive`` takes what the encoder sent and gives events; ``data_to_send`` gives what is to be
sent back. A publish request waits for ``accept_publish`` or ``reject_publish``. Which command does
what in which state is the table ``_COMMANDS`` at the end.

Source: Adobe "Real-Time Messaging Protocol" 1.0; Enhanced RTMP v2 (Veovera) for ``connect``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum

from hausd.wire import amf
from hausd.wire.amf import AmfWritable
from hausd.wire.rtmp_chunks import (
    DEFAULT_CHUNK_BYTES,
    SET_CHUNK_SIZE,
    Begun,
    ChunkLimits,
    ChunkReader,
    Message,
    ProtocolError,
    write_message,
)
from hausd.wire.rtmp_events import (
    Connect,
    Event,
    PlayRefused,
    PublishRequested,
    Unpublished,
    Violated,
)
from hausd.wire.rtmp_messages import (
    ACKNOWLEDGEMENT,
    AMF3_COMMAND,
    COMMAND,
    MEDIA,
    SET_PEER_BANDWIDTH,
    USER_CONTROL,
    WINDOW_ACK_SIZE,
    Command,
    parse_command,
    stream_key,
    tags,
    text,
)

__all__ = [
    "HANDSHAKE_RANDOM_BYTES",
    "ChunkLimits",
    "Connect",
    "Event",
    "PlayRefused",
    "ProtocolError",
    "PublishRequested",
    "RtmpServer",
    "Unpublished",
    "Violated",
]

HANDSHAKE_RANDOM_BYTES = 1528
PLAIN_RTMP_VERSION = 3


class _State(Enum):
    HELLO = "C0 and C1 are awaited"
    ECHO = "C2 is awaited"
    CONNECTING = "connect is awaited"
    READY = "connected; nothing is published"
    ASKED = "publish awaits an answer"
    PUBLISHING = "media flows"
    REFUSED = "publish or play was refused; nothing more is done"
    BROKEN = "the peer broke the protocol"


class RtmpServer:
    """One connection. ``handshake_random`` are HANDSHAKE_RANDOM_BYTES of fresh random bytes."""

    def __init__(self, handshake_random: bytes, limits: ChunkLimits | None = None) -> None:
        if len(handshake_random) != HANDSHAKE_RANDOM_BYTES:
            raise ValueError(f"the handshake needs {HANDSHAKE_RANDOM_BYTES} random bytes")
        self._random = handshake_random
        self._reader = ChunkReader(limits or ChunkLimits())
        self._state = _State.HELLO
        self._handshake = bytearray()
        self._out = bytearray()
        self._out_chunk_bytes = DEFAULT_CHUNK_BYTES
        self._received_bytes = 0
        self._acknowledged_bytes = 0
        self._ack_every_bytes = _WINDOW_BYTES // 2
        self._app = ""
        self._streams = 0
        self._publishing_on = 0

    @property
    def buffered_bytes(self) -> int:
        """What is held of messages that are not whole."""
        return len(self._handshake) + self._reader.buffered_bytes

    @property
    def begun(self) -> Begun | None:
        """The message that is being received, None between messages."""
        return self._reader.begun

    def data_to_send(self) -> bytes:
        """What is to be sent to the peer now; empties the buffer."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive(self, untrusted: bytes) -> list[Event]:
        """Takes bytes as they came and gives what they mean.

        However the bytes are cut, the events are the same. A fault is told by ``Violated``, after
        the events before it; bytes after it are ignored.
        """
        events: list[Event] = []
        try:
            self._receive(untrusted, events)
        except ProtocolError as error:
            self._state = _State.BROKEN
            events.append(Violated(error.code, str(error)))
        return events

    def accept_publish(self) -> None:
        """Lets the encoder publish as it asked, unless it took that back meanwhile."""
        if self._state is _State.ASKED:
            self._state = _State.PUBLISHING
            self._send_control(USER_CONTROL, _STREAM_BEGIN + _uint32(self._publishing_on))
            self._send_status("status", "NetStream.Publish.Start", "You are publishing.")

    def reject_publish(self, code: str, reason: str) -> None:
        """Refuses, or ends what was accepted; nothing the peer sends counts any more.

        ``code`` is for encoders (``NetStream.Publish.BadName``), ``reason`` for the artist.
        """
        if self._state in _LIVE:
            self._state = _State.REFUSED
            self._send_status("error", code, reason)

    # -- bytes --

    def _receive(self, untrusted: bytes, events: list[Event]) -> None:
        if self._state is _State.BROKEN:
            return
        self._received_bytes += len(untrusted)
        if self._state in (_State.HELLO, _State.ECHO):
            untrusted = self._shake_hands(untrusted)
        messages: list[Message] = []
        try:
            self._reader.receive(untrusted, messages)
        finally:
            for message in messages:
                self._on_message(message, events)
        if self._received_bytes - self._acknowledged_bytes >= self._ack_every_bytes:
            self._acknowledged_bytes = self._received_bytes
            self._send_control(ACKNOWLEDGEMENT, _uint32(self._received_bytes))

    def _shake_hands(self, untrusted: bytes) -> bytes:
        """Gives the bytes that came after the handshake."""
        kept = self._handshake
        kept += untrusted
        if kept and self._state is _State.HELLO:
            if kept[0] != PLAIN_RTMP_VERSION:
                raise _not_rtmp(kept[0])
            if len(kept) < 1 + _HANDSHAKE_BYTES:
                return b""
            # Time and version 0 tell clients not to look for a digest in the random bytes.
            self._out += bytes((PLAIN_RTMP_VERSION,)) + bytes(8) + self._random
            self._out += kept[1 : 1 + _HANDSHAKE_BYTES]
            del kept[: 1 + _HANDSHAKE_BYTES]
            self._state = _State.ECHO
        if len(kept) < _HANDSHAKE_BYTES or self._state is not _State.ECHO:
            return b""
        # What C2 holds is of no use: clients that do not echo S1 are as good as others.
        rest = bytes(kept[_HANDSHAKE_BYTES:])
        self._handshake = bytearray()
        self._state = _State.CONNECTING
        return rest

    def _on_message(self, message: Message, events: list[Event]) -> None:
        if message.type in MEDIA:
            if self._state in _LIVE:
                events.extend(tags(message))
        elif message.type in (COMMAND, AMF3_COMMAND):
            events.extend(self._on_command(message))
        elif message.type == USER_CONTROL:
            self._on_user_control(message.data)
        elif message.type == WINDOW_ACK_SIZE:
            window = int.from_bytes(message.data[:4], "big")
            self._ack_every_bytes = min(max(window // 2, _ACK_EVERY_MIN), _WINDOW_BYTES // 2)
        # else acknowledgements, bandwidth, shared objects: nothing to do

    def _on_user_control(self, data: bytes) -> None:
        if data[:2] == _PING_REQUEST and len(data) >= 6:
            self._send_control(USER_CONTROL, _PING_RESPONSE + data[2:6])

    # -- commands --

    def _on_command(self, message: Message) -> Iterator[Event]:
        command = parse_command(message)
        known = _COMMANDS.get(command.name)
        if self._state is _State.REFUSED:
            return
        if self._state is _State.CONNECTING and command.name != "connect":
            raise ProtocolError("a command before connect")
        if known is None:
            self._send_error(command, "NetConnection.Call.Failed", "This command is not known.")
            return
        states, act = known
        if self._state in states:
            yield from act(self, command)
        else:
            self._send_error(
                command, "NetConnection.Call.Failed", f"Not possible now: {self._state.value}."
            )

    def _on_connect(self, command: Command) -> Iterator[Event]:
        properties = command.argument(0)
        if not isinstance(properties, dict):
            raise ProtocolError("connect without its properties")
        self._state = _State.READY
        self._app = text(properties.get("app"))
        self._send_control(WINDOW_ACK_SIZE, _uint32(_WINDOW_BYTES))
        self._send_control(SET_PEER_BANDWIDTH, _uint32(_WINDOW_BYTES) + _DYNAMIC_LIMIT)
        self._send_control(SET_CHUNK_SIZE, _uint32(_OUT_CHUNK_BYTES))
        self._out_chunk_bytes = _OUT_CHUNK_BYTES
        self._send_command(0, "_result", command.transaction, _SERVER_PROPERTIES, _CONNECT_SUCCESS)
        yield Connect(
            app=self._app,
            tc_url=text(properties.get("tcUrl")),
            flash_version=text(properties.get("flashVer")),
            enhanced="fourCcList" in properties or "videoFourCcInfoMap" in properties,
        )

    def _on_courtesy(self, command: Command) -> Iterator[Event]:
        self._send_command(0, "_result", command.transaction, None, None)
        if command.name == "FCPublish":
            status = _status("status", "NetStream.Publish.Start", "Go on with publish.")
            self._send_command(0, "onFCPublish", 0, None, status)
        yield from ()

    def _on_create_stream(self, command: Command) -> Iterator[Event]:
        if self._streams >= _STREAMS_MAX:
            raise ProtocolError(f"more than {_STREAMS_MAX} streams on one connection")
        self._streams += 1
        self._send_command(0, "_result", command.transaction, None, self._streams)
        yield from ()

    def _on_publish(self, command: Command) -> Iterator[Event]:
        self._state = _State.ASKED
        self._publishing_on = command.stream_id
        key = stream_key(self._app, text(command.argument(1)))
        yield PublishRequested(command.stream_id, key)

    def _on_play(self, command: Command) -> Iterator[Event]:
        self._state = _State.REFUSED
        self._publishing_on = command.stream_id
        self._send_status(
            "error", "NetStream.Play.Failed", "Watch over HTTP; RTMP is for publishing only."
        )
        yield PlayRefused()

    def _on_unpublish(self, command: Command) -> Iterator[Event]:
        stream_id = command.argument(1) if command.name == "deleteStream" else None
        other_stream = isinstance(stream_id, float) and stream_id != self._publishing_on
        if self._state in _LIVE and not other_stream:
            self._state = _State.READY
            self._send_status("status", "NetStream.Unpublish.Success", "You stopped publishing.")
            yield Unpublished(self._publishing_on)

    def _on_nothing(self, command: Command) -> Iterator[Event]:
        yield from ()

    # -- answers --

    def _send_control(self, message_type: int, data: bytes) -> None:
        write_message(self._out, Message(message_type, 0, 0, data), 2, self._out_chunk_bytes)

    def _send_command(self, stream_id: int, *values: AmfWritable) -> None:
        message = Message(COMMAND, 0, stream_id, amf.encode(*values))
        write_message(self._out, message, 5 if stream_id else 3, self._out_chunk_bytes)

    def _send_error(self, command: Command, code: str, description: str) -> None:
        if command.transaction:
            status = _status("error", code, description)
            self._send_command(0, "_error", command.transaction, None, status)

    def _send_status(self, level: str, code: str, description: str) -> None:
        status = _status(level, code, description)
        self._send_command(self._publishing_on, "onStatus", 0, None, status)


# -- details --

_HANDSHAKE_BYTES = 1536
_OUT_CHUNK_BYTES = 65_536  # ffmpeg takes this over for what it sends: fewer headers to read
_WINDOW_BYTES = 2_500_000
_ACK_EVERY_MIN = 16_384  # a peer that wants to hear more often must wait
_STREAMS_MAX = 16

_DYNAMIC_LIMIT = b"\x02"
_STREAM_BEGIN = b"\0\0"
_PING_REQUEST = b"\0\x06"
_PING_RESPONSE = b"\0\x07"

_CAN_DECODE_AND_FORWARD = 5
_CAPS_MOD_EX = 4
# Multitrack is read but not offered: an encoder would send tracks that nobody sees.
_SERVER_PROPERTIES: dict[str, AmfWritable] = {
    "fmsVer": "FMS/3,5,7,7009",  # old clients want to see a name they know
    "capabilities": 31,
    "mode": 1,
    "fourCcList": ["avc1", "hvc1", "av01", "mp4a", "Opus", ".mp3"],
    "videoFourCcInfoMap": dict.fromkeys(("avc1", "hvc1", "av01"), _CAN_DECODE_AND_FORWARD),
    "audioFourCcInfoMap": dict.fromkeys(("mp4a", "Opus", ".mp3"), _CAN_DECODE_AND_FORWARD),
    "capsEx": _CAPS_MOD_EX,
}


def _status(level: str, code: str, description: str) -> dict[str, AmfWritable]:
    return {"level": level, "code": code, "description": description}


_CONNECT_SUCCESS: dict[str, AmfWritable] = {
    **_status("status", "NetConnection.Connect.Success", "Connection succeeded."),
    "objectEncoding": 0,
}


def _not_rtmp(first_byte: int) -> ProtocolError:
    if first_byte == 0x16:
        return ProtocolError("TLS was spoken to the plain RTMP port: use rtmp://", "tls")
    if chr(first_byte) in "GPHOCDT":
        return ProtocolError("HTTP was spoken to the RTMP port", "http")
    if first_byte in (6, 8):
        return ProtocolError("encrypted RTMP (RTMPE) is not supported: use rtmps://", "rtmpe")
    return ProtocolError(f"not RTMP: the first byte is 0x{first_byte:02x}, not 0x03", "not-rtmp")


def _uint32(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, "big")


_CONNECTED = frozenset({_State.READY, _State.ASKED, _State.PUBLISHING})
_LIVE = frozenset({_State.ASKED, _State.PUBLISHING})

_Act = Callable[[RtmpServer, Command], Iterator[Event]]
_COMMANDS: dict[str, tuple[frozenset[_State], _Act]] = {
    "connect": (frozenset({_State.CONNECTING}), RtmpServer._on_connect),
    "releaseStream": (_CONNECTED, RtmpServer._on_courtesy),
    "FCPublish": (_CONNECTED, RtmpServer._on_courtesy),
    "getStreamLength": (_CONNECTED, RtmpServer._on_courtesy),
    "_checkbw": (_CONNECTED, RtmpServer._on_courtesy),
    "createStream": (_CONNECTED, RtmpServer._on_create_stream),
    "publish": (frozenset({_State.READY}), RtmpServer._on_publish),
    "play": (frozenset({_State.READY}), RtmpServer._on_play),
    "play2": (frozenset({_State.READY}), RtmpServer._on_play),
    "FCUnpublish": (_CONNECTED, RtmpServer._on_unpublish),
    "closeStream": (_CONNECTED, RtmpServer._on_unpublish),
    "deleteStream": (_CONNECTED, RtmpServer._on_unpublish),
    "_result": (_CONNECTED, RtmpServer._on_nothing),
    "_error": (_CONNECTED, RtmpServer._on_nothing),
    "onStatus": (_CONNECTED, RtmpServer._on_nothing),
}
