"""Faults of hypercorn 0.18 that clients can bring about, mended. Importing it changes hypercorn.

Each has a test that fails on the stock version: ``test_http2_bodies_and_paths_are_checked_as_well``
and ``test_who_leaves_gives_the_connection_back_at_once``.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import hypercorn.protocol
from hypercorn.events import Event, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.tcp_server import TCPServer

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
