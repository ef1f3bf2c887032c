"""One ASGI app behind hypercorn, where what a client sends ends its own connection and no other.

hypercorn's own loop expects an OSError and nothing else: what its parsers raise (a name that is no
ASCII, an HTTP/2 frame out of place) went through all of it, and ended whoever had begun it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import Framework
from hypercorn.utils import wrap_app

from hausd.serving.connections import Connections, plain_address
from hausd.serving.hypercorn_mends import MendedTCPServer
from hausd.serving.paced import Paced, cut_off
from hausd.telemetry import count_swallowed

log = structlog.get_logger("hausd.serving")

_HANDSHAKE_S = 10.0
_SEND_S = 20.0
_PIECE_BYTES = 32 * 1024
_BECAUSE_CHARS = 200


@asynccontextmanager
async def serving(
    app: object,
    config: Config,
    where: str,
    clear: Sequence[socket.socket],
    secure: Sequence[socket.socket] = (),
    tls: ssl.SSLContext | None = None,
    *,
    connections: Connections,
) -> AsyncIterator[None]:
    """Serves an ASGI app, from entry to exit, on sockets that listen, and closes them.

    ``where``: what the log and the metrics call it. ``secure``: these speak ``tls``.
    ``connections``: what is beyond is closed at once; on a Unix socket the address is "". At the
    exit answers under way have ``config.graceful_timeout``, and are cut off then.
    """
    async with trio.open_nursery() as nursery:
        server = _Server(app, config, where, connections)
        intake = trio.CancelScope()
        nursery.start_soon(server.take, clear, secure, tls, intake, nursery)
        try:
            yield
        finally:
            intake.cancel()
            await server.stop()
            nursery.cancel_scope.cancel()


class _Server:
    def __init__(self, app: object, config: Config, where: str, connections: Connections) -> None:
        config.ssl_handshake_timeout = _HANDSHAKE_S
        # Hypercorn spells the scopes out as typed dictionaries, starlette doesn't.
        self._app = wrap_app(cast(Framework, app), config.wsgi_max_body_size, "asgi")
        self._config = config
        self._where = where
        self._connections = connections
        self._context = WorkerContext(None)
        self._open: set[trio.SocketStream] = set()
        self._one_less = trio.Event()

    async def take(
        self,
        clear: Sequence[socket.socket],
        secure: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
        intake: trio.CancelScope,
        nursery: trio.Nursery,
    ) -> None:
        """Takes connections until the intake is cancelled; they go on in the nursery."""
        with intake:
            async with trio.open_nursery() as listening:
                for one in (*clear, *secure):
                    listener = trio.SocketListener(trio.socket.from_stdlib_socket(one))
                    connected = partial(self._connected, tls if one in secure else None)
                    listening.start_soon(
                        partial(
                            trio.serve_listeners, connected, [listener], handler_nursery=nursery
                        )
                    )

    async def stop(self) -> None:
        """Waits for the answers under way, but not for long, and for no client."""
        await self._context.terminated.set()
        with trio.move_on_after(self._config.graceful_timeout, shield=True):
            while self._open:
                await self._one_less.wait()
        cut_off(self._open)

    async def _connected(self, tls: ssl.SSLContext | None, stream: trio.SocketStream) -> None:
        peer = _address_of(stream)
        if peer is None or self._connections.admit(peer):
            await trio.aclose_forcefully(stream)
            return
        self._open.add(stream)
        try:
            await self._serve(tls, stream)
        finally:
            self._connections.release(peer)
            self._open.discard(stream)
            self._one_less.set()
            self._one_less = trio.Event()

    async def _serve(self, tls: ssl.SSLContext | None, stream: trio.SocketStream) -> None:
        paced = Paced(stream, _SEND_S, _PIECE_BYTES, self._too_slow)
        served: trio.abc.Stream = paced
        if tls is not None:
            served = trio.SSLStream(paced, tls, server_side=True, https_compatible=True)
        try:
            await MendedTCPServer(
                self._app,
                self._config,
                self._context,
                {},
                served,  # type: ignore[arg-type]  # it takes those in clear as well
            )
        except BaseExceptionGroup as group:
            # a fault of hypercorn or of a client costs this connection
            faults, rest = group.split(Exception)
            if faults is not None:
                self._failed(faults)
            if rest is not None:
                raise rest from None
        except Exception as fault:  # noqa: BLE001 the door: the same, outside hypercorn's task group
            self._failed(fault)
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    def _too_slow(self) -> None:
        log.info("client-too-slow", where=self._where)

    def _failed(self, fault: Exception) -> None:
        while isinstance(fault, ExceptionGroup):
            fault = fault.exceptions[0]
        count_swallowed(f"{self._where}.connection", fault)
        because = f"{type(fault).__name__}: {fault}"[:_BECAUSE_CHARS]
        log.warning("connection-failed", where=self._where, because=because)


def _address_of(stream: trio.SocketStream) -> str | None:
    """The other side's address, "" on a Unix socket; None where it is gone already."""
    try:
        address = stream.socket.getpeername()
    except OSError:
        return None
    return plain_address(str(address[0])) if isinstance(address, tuple) else ""
