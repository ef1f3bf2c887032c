"""The RTMP and RTMPS server: listens, keeps the number of connections in bounds, ends them.

Intake is cancelled at once when the context is left; the rooms drain what they were given.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
import trio

from hausd.ingest.connection import Connection, Desk
from hausd.ingest.metrics import CLOSED, CONNECTIONS, CONNECTIONS_OPEN, REFUSED
from hausd.ingest.ports import Publishing
from hausd.ingest.terms import Ending, Limits
from hausd.policy.attempts import Attempts
from hausd.telemetry import count_swallowed

__all__ = ["Door", "Limits", "RtmpIngest", "open_doors", "serve_rtmp"]

log = structlog.get_logger("hausd.ingest")

_TLS_HANDSHAKE_RECORD = 0x16
_RTMP_VERSION = 3
_LOGGED_PER_MINUTE = 10
"""Connections of one address that ended without media, in the log; all are counted."""


@dataclass(frozen=True, slots=True)
class Door:
    """A listening socket; with ``tls`` it speaks RTMPS."""

    listener: trio.SocketListener
    tls: ssl.SSLContext | None = None

    @property
    def protocol(self) -> str:
        return "rtmps" if self.tls is not None else "rtmp"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, as bound."""
        host, port, *_ = self.listener.socket.getsockname()
        return host, port


async def open_doors(host: str, port: int, tls: ssl.SSLContext | None = None) -> list[Door]:
    """Listens on every address that ``host`` stands for; raises OSError (a taken port)."""
    listeners = await trio.open_tcp_listeners(port, host=host or None)
    return [Door(listener, tls) for listener in listeners]


@asynccontextmanager
async def serve_rtmp(
    doors: Sequence[Door],
    publishing: Publishing,
    limits: Limits | None = None,
    *,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> AsyncIterator[RtmpIngest]:
    """Serves encoders at these doors, which it closes, until the context is left."""
    ingest = RtmpIngest(doors, publishing, limits or Limits(), random_bytes)
    async with trio.open_nursery() as nursery:
        for door in doors:
            nursery.start_soon(ingest.serve_door, door)
        yield ingest
        nursery.cancel_scope.cancel()


@dataclass(slots=True, eq=False)
class _Place:
    """A connection's place among those allowed."""

    address: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    connection: Connection | None = None
    made_room: bool = False


class RtmpIngest:
    """The connections of all doors. Made by :func:`serve_rtmp`."""

    def __init__(
        self,
        doors: Sequence[Door],
        publishing: Publishing,
        limits: Limits,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        attempts = Attempts(limits.max_attempts, limits.attempts_window_s)
        self._doors = tuple(doors)
        self._desk = Desk(publishing, limits, attempts, random_bytes)
        self._places: dict[_Place, None] = {}
        self._logged = Attempts(_LOGGED_PER_MINUTE, 60.0)

    @property
    def doors(self) -> tuple[Door, ...]:
        """Where it listens; ``address`` of each is what the system chose for port 0."""
        return self._doors

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._places)

    def set_limits(self, limits: Limits) -> None:
        """Takes over other limits, for connections from now on."""
        old, self._desk.limits = self._desk.limits, limits
        if (old.max_attempts, old.attempts_window_s) != (
            limits.max_attempts,
            limits.attempts_window_s,
        ):
            self._desk.attempts = Attempts(limits.max_attempts, limits.attempts_window_s)

    async def serve_door(self, door: Door) -> None:
        """Accepts connections at a door until cancelled, and closes it."""

        async def serve(stream: trio.SocketStream) -> None:
            try:
                host = str(stream.socket.getpeername()[0])
            except OSError:
                await trio.aclose_forcefully(stream)  # gone already
                return
            await self.serve_stream(stream, host, door.tls)

        await trio.serve_listeners(serve, [door.listener])

    async def serve_stream(
        self, stream: trio.abc.Stream, address: str, tls: ssl.SSLContext | None = None
    ) -> None:
        """Serves one encoder over a stream, which it closes; ``address`` is without port."""
        protocol = "rtmps" if tls is not None else "rtmp"
        CONNECTIONS.labels(protocol).inc()
        place = self._take_place(address)
        if isinstance(place, str):
            REFUSED.labels(place).inc()
            await trio.aclose_forcefully(stream)
            return
        ending = Ending("made-room", "it had not published when others wanted to connect")
        CONNECTIONS_OPEN.inc()
        try:
            with place.scope:
                async with stream:
                    ending = await self._serve(stream, place, tls)
        except Exception as error:
            count_swallowed("ingest", error)
            log.exception("connection-failed", address=address)
            ending = Ending("fault", "a fault of this node")
        finally:
            del self._places[place]
            CONNECTIONS_OPEN.dec()
        CLOSED.labels(ending.code).inc()
        if place.connection is None or not place.connection.published:
            self._log(ending, address, protocol)

    async def _serve(
        self, stream: trio.abc.Stream, place: _Place, tls: ssl.SSLContext | None
    ) -> Ending:
        if tls is None:
            place.connection = Connection(stream, place.address, "rtmp", self._desk)
            return await place.connection.serve()
        timeout_s = self._desk.limits.handshake_timeout_s
        secured = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        try:
            with trio.fail_after(timeout_s):
                if isinstance(stream, trio.SocketStream):
                    first = await stream.socket.recv(1, socket.MSG_PEEK)
                    if not first:
                        return Ending("left", "it left before it spoke TLS")
                    if first[0] != _TLS_HANDSHAKE_RECORD:
                        return _not_tls(first[0])
                await secured.do_handshake()
        except trio.TooSlowError:
            return Ending("handshake-timeout", f"no TLS handshake within {timeout_s:g} s")
        except OSError:
            return Ending("lost", "the connection broke before TLS was up")
        except trio.BrokenResourceError as error:
            why = getattr(error.__cause__, "reason", None) or "the connection broke"
            return Ending("tls", f"the TLS handshake failed: {why}")
        async with secured:
            place.connection = Connection(secured, place.address, "rtmps", self._desk)
            return await place.connection.serve()

    def _take_place(self, address: str) -> _Place | str:
        """A place, or why there is none.

        Where all are taken, the oldest connection that has not published makes room (of the same
        address, where that address has its share): idle connections keep no artist out.
        """
        limits = self._desk.limits
        of_address = [place for place in self._places if place.address == address]
        if len(of_address) >= limits.max_connections_per_address:
            if not _make_room(of_address):
                return "max-connections-per-address"
        elif len(self._places) >= limits.max_connections and not _make_room(list(self._places)):
            return "max-connections"
        place = _Place(address)
        self._places[place] = None
        return place

    def _log(self, ending: Ending, address: str, protocol: str) -> None:
        """Says why a connection ended that never published; of the others the rooms tell."""
        now = trio.current_time()
        if not self._logged.wait_s(address, now):
            self._logged.failed(address, now)
            log.info(
                "connection-closed",
                address=address,
                protocol=protocol,
                why=ending.code,
                reason=ending.reason,
            )


def _make_room(places: list[_Place]) -> bool:
    for place in places:
        publishing = place.connection is not None and place.connection.publishing
        if not publishing and not place.made_room:
            place.made_room = True
            place.scope.cancel()
            return True
    return False


def _not_tls(first_byte: int) -> Ending:
    if first_byte == _RTMP_VERSION:
        return Ending("plain", "plain RTMP was spoken to the RTMPS port: use rtmps://")
    return Ending("plain", "the RTMPS port was not spoken to in TLS")
