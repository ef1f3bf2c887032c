"""The HTTP server: listening sockets, both lanes behind them, and how they stop."""

from __future__ import annotations

import errno
import resource
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog
import trio

from hausd.core.clock import Clock, SystemClock
from hausd.http.asgi import AsgiApp, Front
from hausd.http.door import Door
from hausd.http.fastlane import FastLane
from hausd.http.files import OpenFiles
from hausd.http.handover import SlowLane
from hausd.http.limits import Limits
from hausd.http.messages import Responder
from hausd.http.metrics import Tally
from hausd.http.ports import Audience
from hausd.http.tls import TlsFiles, load_context
from hausd.policy.origin import HostNames
from hausd.serving.connections import Connections, plain_address

_log = structlog.get_logger("hausd.http")

_BACKLOG = 1024
_ACCEPTS = 64  # in a row, before others get their turn
_SEND_BUFFER_BYTES = 512 * 1024
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}  # a dead peer: 60 s
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_NO_ROOM_PAUSE_S = 0.1
_DESCRIPTORS_FOR_OTHERS = 256


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 lets the system choose. Raises OSError (taken, not ours).

    ``::`` takes IPv4 too.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = infos[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Accepted sockets inherit these, which spares calls for each.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class HttpServer:
    """A running server."""

    def __init__(
        self,
        nursery: trio.Nursery,
        listeners: Sequence[socket.socket],
        context: ssl.SSLContext | None,
        fast: FastLane,
        slow: SlowLane,
        connections: Connections,
        tally: Tally,
    ) -> None:
        self._nursery = nursery
        self._listeners = listeners
        self._context = context
        self._fast = fast
        self._slow = slow
        self._connections = connections
        self._intake: list[trio.CancelScope] = []
        self._secure = 0
        self._secure_over = trio.Event()
        self._stopped = False
        self.tally = tally
        self.addresses = [_address_of(listener) for listener in listeners]

    def reload_tls(self, files: TlsFiles) -> None:
        """Connections from now on get this certificate; raises TlsFault and changes nothing."""
        if self._context is None:
            raise RuntimeError("this server was not started with TLS")
        self._context = load_context(files)

    async def stop_intake(self) -> None:
        """No new connection is taken, idle ones are closed; answers under way go on."""
        if self._stopped:
            return
        self._stopped = True
        for scope in self._intake:
            scope.cancel()
        for listener in self._listeners:
            trio.lowlevel.notify_closing(listener)
            listener.close()
        await self._slow.stop()
        self._fast.stop()
        if not self._secure:
            self._secure_over.set()

    async def drained(self) -> None:
        """Returns when every answer is sent, after ``stop_intake``."""
        await self._fast.drained()
        await self._secure_over.wait()

    async def accept(self, listener: socket.socket) -> None:
        """Takes connections until the intake stops."""
        with trio.CancelScope() as scope:
            self._intake.append(scope)
            while not self._stopped:
                await trio.lowlevel.wait_readable(listener)
                for _ in range(_ACCEPTS):
                    try:
                        sock, address = listener.accept()
                    except BlockingIOError:
                        break
                    except OSError as fault:
                        if fault.errno not in _NO_ROOM:
                            continue  # that client is gone already
                        self.tally.refused["no-descriptors"] += 1
                        _log.error("http-accept-failed", reason=fault.strerror)
                        await trio.sleep(_NO_ROOM_PAUSE_S)
                        break
                    self._take(sock, plain_address(address[0]))

    def _take(self, sock: socket.socket, peer: str) -> None:
        refused = self._connections.admit(peer)
        if refused:
            self.tally.refused[refused] += 1
            sock.close()
            return
        self.tally.accepted += 1
        self.tally.connections += 1
        sock.setblocking(False)
        if self._context is None:
            self._fast.take(sock, peer)
        else:
            self._secure += 1
            self._nursery.start_soon(self._serve_tls, sock, peer, self._context)

    async def _serve_tls(self, sock: socket.socket, peer: str, context: ssl.SSLContext) -> None:
        try:
            await self._slow.serve_tls(sock, context)
        except OSError:
            pass  # the client is gone
        except Exception:  # noqa: BLE001 the door: a fault of ours costs this connection only
            self.tally.failed["tls"] += 1
            _log.exception("http-connection-failed")
        finally:
            sock.close()
            self._connections.release(peer)
            self.tally.connections -= 1
            self._secure -= 1
            if self._stopped and not self._secure:
                self._secure_over.set()


@asynccontextmanager
async def serve(
    listeners: Sequence[socket.socket],
    *,
    responder: Responder,
    app: AsgiApp,
    audience: Audience,
    limits: Limits | None = None,
    tls: TlsFiles | None = None,
    hostnames: frozenset[str] = frozenset(),
    trusted_proxies: frozenset[str] = frozenset(),
    drain_s: float = 5.0,
    clock: Clock | None = None,
) -> AsyncIterator[HttpServer]:
    """Serves HTTP on sockets from ``listen`` (and closes them); with ``tls``, HTTPS and HTTP/2.

    ``hostnames`` are further names that requests may call this node by, in lower case. At the end
    the intake stops at once and answers under way have ``drain_s``. Raises TlsFault.
    """
    limits = _affordable(limits or Limits())
    tally = Tally()
    hosts = frozenset(_address_of(listener)[0] for listener in listeners)
    door = Door(HostNames(hosts, hostnames), trusted_proxies, secrets.token_bytes(32), tally)
    connections = Connections(
        limits.connections, limits.connections_per_address, exempt=trusted_proxies
    )
    files = OpenFiles(limits.open_files)
    try:
        context = load_context(tls) if tls is not None else None
        front = Front(app, responder, door, limits, audience, files)
        slow = SlowLane(front, limits, tally)
        async with trio.open_nursery() as nursery:
            fast = FastLane(
                nursery,
                responder,
                door,
                limits,
                connections,
                audience,
                slow.serve_plain,
                clock or SystemClock(),
                files,
            )
            server = HttpServer(nursery, listeners, context, fast, slow, connections, tally)
            nursery.start_soon(fast.run)
            nursery.start_soon(fast.sweep)
            for listener in listeners:
                nursery.start_soon(server.accept, listener)
            try:
                yield server
            finally:
                with trio.move_on_after(drain_s, shield=True):
                    await server.stop_intake()
                    await server.drained()
                slow.cut_off()
                nursery.cancel_scope.cancel()
    finally:
        for listener in listeners:
            listener.close()
        files.close()


def _affordable(limits: Limits) -> Limits:
    """No more connections than there are descriptors for, with some left for the node. Each takes
    two: its socket, and a file that it is given and that is in nobody else's hands."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(16, (soft - limits.open_files - _DESCRIPTORS_FOR_OTHERS) // 2)
    if soft == resource.RLIM_INFINITY or limits.connections <= most:
        return limits
    _log.info("http-connections-limited", connections=most, because="ulimit -n", descriptors=soft)
    return replace(limits, connections=most)


def _address_of(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return str(host), int(port)
