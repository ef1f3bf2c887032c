"""Faults of hypercorn 0.18 that clients can bring about, mended. Importing it changes hypercorn.

Each has a test that fails on the stock version:
``test_http2_bodies_and_paths_are_checked_as_well``,
``test_who_leaves_gives_the_connection_back_at_once``,
``test_a_message_that_is_too_large_ends_its_websocket`` and
``test_no_websocket_is_compressed``.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import hypercorn.protocol
from hypercorn.events import Event, Updated
from hypercorn.protocol import h2, h11, ws_stream
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.ws_stream import FrameTooLargeError, Handshake, WebsocketBuffer, WSStream
from hypercorn.trio.tcp_server import TCPServer
from wsproto.events import Message

if not version("hypercorn").startswith("0.18."):
    raise ImportError("these mends were made for hypercorn 0.18: look at each again")


class _Over:
    """Takes what still comes for a stream whose answer is out."""

    async def handle(self, event: object) -> None:
        pass


class _Streams(dict[int, Any]):
    def __missing__(self, stream_id: int) -> _Over:
        return _Over()


class MendedH2Protocol(H2Protocol):
    """DATA for a stream that was answered early (a body refused) raised KeyError, and all other
    streams of the connection died with it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.streams = _Streams()


vars(hypercorn.protocol)["H2Protocol"] = MendedH2Protocol


class MendedHandshake(Handshake):
    """Compression was agreed to: 20 KB unpacked to 20 MB before anybody looked at a size. A list
    that is no ASCII raised UnicodeDecodeError."""

    def __init__(self, headers: list[tuple[bytes, bytes]], http_version: str) -> None:
        heard = [
            (name, value)
            for name, value in headers
            if value.isascii() and name.lower() != b"sec-websocket-extensions"
        ]
        super().__init__(heard, http_version)


class MendedBuffer(WebsocketBuffer):
    """What came after a message had become too large was kept all the same, without end."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length)
        self.over = False

    def extend(self, event: Message[Any]) -> None:
        try:
            if self.over or len(event.data) > self.max_length - self.length:
                raise FrameTooLargeError
            super().extend(event)
        except FrameTooLargeError:
            self.over = True
            self.clear()
            raise


class MendedWSStream(WSStream):
    """Who did not answer the close frame after too large a message could go on sending, and of
    each read all but the first frame was kept."""

    buffer: MendedBuffer

    async def _handle_events(self) -> None:
        await super()._handle_events()
        if self.buffer.over and not self.closed:
            await self.send(StreamClosed(stream_id=self.stream_id))


vars(ws_stream).update(Handshake=MendedHandshake, WebsocketBuffer=MendedBuffer)
for protocol in (h2, h11):
    vars(protocol)["WSStream"] = MendedWSStream


class MendedTCPServer(TCPServer):
    """After the client's end the task of the keep-alive timeout went on, and held the connection
    and its descriptor until that time was over."""

    _ended = False

    async def protocol_send(self, event: Event) -> None:
        if not (self._ended and isinstance(event, Updated)):
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        await super()._read_data()
        self._ended = True
        await self.idle_task.stop()
