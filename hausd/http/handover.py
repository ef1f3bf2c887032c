"""The slow lane: a connection served to its end by hypercorn, behind our gate and time limits.

hypercorn's connection class takes any stream that looks like trio's. Ours gives it only requests
that passed the ``gate``, ends reads and writes that make no progress, and has finished the TLS
handshake already.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from hausd.http.asgi import Front
from hausd.http.gate import Gate, Stage
from hausd.http.head import BadRequest
from hausd.http.limits import Limits
from hausd.http.metrics import Tally
from hausd.serving.hypercorn_mends import MendedTCPServer
from hausd.serving.paced import Paced, cut_off

_log = structlog.get_logger("hausd.http")

_REFUSED_BY_H11 = b"\x00\r\n\r\n"
"""Makes h11 answer 400 and close, after the answers that are still to come."""


class SlowLane:
    """Serves connections by ASGI."""

    def __init__(self, front: Front, limits: Limits, tally: Tally) -> None:
        config = Config()
        config.logger_class = _logger_class(tally)
        config.include_server_header = False
        config.keep_alive_timeout = limits.idle_timeout_s
        config.keep_alive_max_requests = 1 << 62  # a player's connection lasts as long as he
        config.h11_max_incomplete_size = 4 * limits.head_bytes
        config.h2_max_header_list_size = limits.head_bytes
        config.websocket_max_message_size = limits.websocket_message_bytes
        # hypercorn's own pings would hold a closed WebSocket until the next one is due; dead peers
        # are found by TCP keepalive.
        config.websocket_ping_interval = None
        self._config = config
        self._context = WorkerContext(None)
        self._app = ASGIWrapper(front)  # type: ignore[arg-type]  # hypercorn types scopes as TypedDicts
        self._limits = limits
        self._tally = tally
        self._open: set[trio.SocketStream] = set()
        self.closing = trio.Event()

    async def stop(self) -> None:
        """Connections end after the answers under way; WebSockets see ``state["closing"]``."""
        self.closing.set()
        await self._context.terminated.set()

    def cut_off(self) -> None:
        """What is still under way ends."""
        cut_off(self._open)

    async def serve_plain(self, sock: socket.socket, peer: str, data: bytes) -> None:
        """Serves and closes a connection in clear, of which ``data`` was read already."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        plain = _Plain(self._paced(stream), self._limits, self._tally, data)
        await self._serve(plain, stream)

    async def serve_tls(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Shakes hands, serves and closes."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        secure = trio.SSLStream(
            self._paced(stream),
            context,
            server_side=True,
            https_compatible=True,
        )
        try:
            with trio.fail_after(self._limits.tls_handshake_timeout_s):
                await secure.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError, trio.ClosedResourceError):
            self._tally.refused["tls-handshake"] += 1
            await trio.aclose_forcefully(stream)
            return
        await self._serve(_Secure(secure, stream.socket, self._limits, self._tally), stream)

    def _paced(self, stream: trio.SocketStream) -> Paced:
        limits = self._limits
        return Paced(stream, limits.send_timeout_s, limits.send_progress_bytes, self._too_slow)

    def _too_slow(self) -> None:
        self._tally.refused["slow-client"] += 1

    async def _serve(self, stream: _Plain, transport: trio.SocketStream) -> None:
        state: Any = {"closing": self.closing}
        self._open.add(transport)
        try:
            await MendedTCPServer(
                self._app,
                self._config,
                self._context,
                state,
                stream,  # type: ignore[arg-type]  # it asks no more of a stream than _Plain has
            )
        except BaseExceptionGroup as group:
            # hypercorn's task group; a bug of it or of a client costs this connection only.
            cancelled, faults = group.split(trio.Cancelled)
            if faults is not None:
                self._tally.failed["hypercorn"] += 1
                _log.error("http-connection-failed", exc_info=faults)
            if cancelled is not None:
                raise cancelled from None
        finally:
            self._open.discard(transport)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)


class _Plain(trio.abc.AsyncResource):
    """What hypercorn sees of a connection: reads pass the gate."""

    def __init__(
        self, stream: trio.abc.Stream, limits: Limits, tally: Tally, data: bytes = b""
    ) -> None:
        self._stream = stream
        self._limits = limits
        self._tally = tally
        self._gate: Gate | None = Gate(limits)
        self._data = data
        self._ended = False

    @property
    def socket(self) -> trio.socket.SocketType:
        assert isinstance(self._stream, Paced)
        return self._stream.socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        gate = self._gate
        if gate is None:
            return bytes(await self._stream.receive_some(max_bytes))
        while not self._ended:
            data, self._data = self._data, b""
            if not data:
                data = await self._receive(gate, max_bytes)
            if not data:
                self._ended = True
                break
            try:
                passed = gate.feed(data)
            except BadRequest as fault:
                self._tally.refused[fault.fault] += 1
                self._ended = True
                return _REFUSED_BY_H11
            if passed:
                return passed
        return b""

    async def _receive(self, gate: Gate, max_bytes: int | None) -> bytes:
        """What comes next; nothing where a begun request does not go on in time."""
        if gate.between_requests or gate.stage is Stage.TUNNEL:  # hypercorn's idle time applies
            return bytes(await self._stream.receive_some(max_bytes))
        in_head = gate.stage is Stage.HEAD
        limits = self._limits
        with trio.move_on_after(limits.head_timeout_s if in_head else limits.body_timeout_s):
            return bytes(await self._stream.receive_some(max_bytes))
        self._tally.refused["head-timeout" if in_head else "body-timeout"] += 1
        return b""

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        if isinstance(self._stream, Paced):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Secure(_Plain):
    """The same inside TLS. HTTP/2 has no gate: its framing can be read in one way only."""

    def __init__(
        self,
        stream: trio.SSLStream[Paced],
        sock: trio.socket.SocketType,
        limits: Limits,
        tally: Tally,
    ) -> None:
        super().__init__(stream, limits, tally)
        self._alpn: str | None = stream.selected_alpn_protocol()
        self.transport_stream = _Transport(sock)
        if self._alpn == "h2":
            self._gate = None

    async def do_handshake(self) -> None:
        """Was done."""

    def selected_alpn_protocol(self) -> str | None:
        return self._alpn


class _Transport:
    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.socket = sock


def _logger_class(tally: Tally) -> Any:
    class HypercornLog:
        """hypercorn's log: faults go to ours; requests are counted, not logged."""

        def __init__(self, config: Config) -> None:
            pass

        async def access(self, *_: object) -> None:
            pass

        async def exception(self, message: str, *args: object) -> None:
            tally.failed["asgi"] += 1
            _log.exception("http-asgi-failed")

        async def _other(self, message: str, *args: object) -> None:
            _log.info("hypercorn", text=message % args if args else message)

        critical = error = warning = info = debug = _other

    return HypercornLog
