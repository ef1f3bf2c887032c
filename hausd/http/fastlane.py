"""The fast lane: requests in clear on raw sockets, answered without a task where possible.

One task watches all idle connections (``poller``), reads and checks what arrives, asks the
responder and sends. A connection gets a task of its own only while it needs one: for an answer
that the socket does not take at once, or that has to be waited for, or for a request that is not
the responder's: that connection leaves for the ASGI lane with the bytes read so far.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog
import trio

from hausd.core.beat import beat
from hausd.core.clock import Clock
from hausd.http.composing import Composer
from hausd.http.conditional import reply_to
from hausd.http.connection import Connection
from hausd.http.door import Door
from hausd.http.files import OpenFiles
from hausd.http.head import BadRequest
from hausd.http.limits import Limits
from hausd.http.messages import (
    Accounting,
    Answer,
    Chunks,
    Fetch,
    NotMine,
    Request,
    Responder,
    Response,
    Wait,
    refusal,
)
from hausd.http.poller import open_poller
from hausd.http.ports import Audience
from hausd.http.sending import Outgoing, Pushed, SlowClient, linger
from hausd.serving.connections import Connections

_log = structlog.get_logger("hausd.http")

_READ_BYTES = 16 * 1024
_TURN = 64  # sockets served before the rest of the node gets its turn
_LINGER_S = 2.0

Leave = Callable[[socket.socket, str, bytes], Awaitable[None]]
"""Serves a connection to its end by ASGI (and closes it): socket, peer, bytes read so far."""


class FastLane:
    """Serves connections. Its tasks live in ``nursery``, where ``run`` and ``sweep`` must too."""

    def __init__(
        self,
        nursery: trio.Nursery,
        responder: Responder,
        door: Door,
        limits: Limits,
        connections: Connections,
        audience: Audience,
        leave: Leave,
        clock: Clock,
        files: OpenFiles,
    ) -> None:
        self._nursery = nursery
        self._respond = responder.respond
        self._door = door
        self._limits = limits
        self._connections = connections
        self._served = audience.served
        self._tally = door.tally
        self._leave = leave
        self._poller = open_poller()
        self._watched: dict[int, Connection] = {}
        self._files = files
        self._composer = Composer(files, door.tally, clock)
        self._now = 0.0
        self._busy = 0
        self._stopping = False
        self._over = False
        self._lingers: set[trio.CancelScope] = set()
        self._drained = trio.Event()

    def take(self, sock: socket.socket, peer: str) -> None:
        """A new connection, already admitted; its socket does not block."""
        self._watch(Connection(sock, peer, trio.current_time()))

    async def run(self) -> None:
        """Serves until cancelled; then closes what is idle."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._poller.fileno())
                while self._turn():
                    await trio.lowlevel.checkpoint()
        finally:
            for conn in list(self._watched.values()):
                self._drop(conn)
            self._over = True
            self._poller.close()

    async def sweep(self) -> None:
        """Closes connections whose time is over, until cancelled."""
        limits = self._limits
        pause_s = min(1.0, limits.head_timeout_s / 4, limits.idle_timeout_s / 4)
        while True:
            await beat(pause_s)
            now = trio.current_time()
            for conn in list(self._watched.values()):
                if conn.waiting is not None:
                    continue
                in_head = bool(conn.rest) or not conn.answered
                if now - conn.since > (limits.head_timeout_s if in_head else limits.idle_timeout_s):
                    self._tally.refused["head-timeout" if in_head else "idle-timeout"] += 1
                    self._drop(conn)
            self._files.sweep()

    def stop(self) -> None:
        """Answers what has arrived, closes what is idle, and any other after its answer."""
        while not self._over and self._turn():
            pass
        self._stopping = True
        for conn in list(self._watched.values()):
            if conn.waiting is None:
                self._drop(conn)
        for lingering in self._lingers:
            lingering.cancel()
        self._check_drained()

    async def drained(self) -> None:
        """Returns when all is answered after ``stop``."""
        await self._drained.wait()

    # -- A turn. All of it is synchronous: no connection waits for another's client.

    def _turn(self) -> bool:
        ready = self._poller.ready(_TURN)
        if not ready:
            return False
        self._look_at_clocks()
        watched = self._watched
        for fd, _ in ready:
            conn = watched.get(fd)
            if conn is not None:
                self._read(conn)
        return True

    def _look_at_clocks(self) -> None:
        self._now = trio.current_time()
        self._composer.look_at_clock()

    def _read(self, conn: Connection) -> None:
        if conn.waiting is not None:  # hung up while its answer is waited for
            self._unwatch(conn)
            conn.waiting.cancel()
            conn.waiting = None
            return
        try:
            data = conn.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(conn)
            return
        if not data:
            if conn.rest:
                self._tally.refused["half-sent"] += 1
            self._drop(conn)
            return
        if conn.rest:
            data = conn.rest + data
            conn.rest = b""
        else:
            conn.since = self._now
        self._serve(conn, data)

    def _serve(self, conn: Connection, data: bytes) -> bool:
        """Answers the requests in ``data``; False where the connection is no longer ours."""
        try:
            for _ in range(self._limits.pipelined_requests):
                request: Request | None
                if data == conn.block:
                    request, data = conn.request, b""
                else:
                    request, data = conn.next_request(data, self._door, self._limits)
                if request is None:
                    return True
                answer = conn.refused or (NotMine() if conn.leaves else self._respond(request))
                if isinstance(answer, Response):
                    if not self._send(conn, request, answer, data):
                        return False
                else:
                    self._postpone(conn, request, answer, data)
                    return False
                if not data:
                    return True
            # Pipelining is bounded: others get their turn before the rest of these.
            self._hold(conn, data)
            self._nursery.start_soon(self._go_on, conn)
        except BadRequest as fault:
            self._refuse(conn, fault)
        except OSError:
            self._drop(conn)
        except Exception:  # noqa: BLE001 the door: a fault of ours costs this connection, not the node
            self._failed(conn)
        return False

    def _postpone(
        self, conn: Connection, request: Request, answer: Wait | Fetch | NotMine, data: bytes
    ) -> None:
        if isinstance(answer, NotMine):
            self._hold(conn, b"")
            self._nursery.start_soon(self._leave_lane, conn, conn.block + data)
        else:
            self._hold(conn, data)
            self._nursery.start_soon(self._later, conn, request, answer)

    def _send(self, conn: Connection, request: Request, response: Response, data: bytes) -> bool:
        """Sends what the socket takes, a task the rest; False where that is under way."""
        if conn.plain and not self._stopping:
            wire = self._composer.wire(request, response)
            if wire is not None:
                return self._send_wire(conn, response, wire, data)
        keep = conn.keep and not self._stopping
        out, reply, conn.keep = self._composer.compose(request, reply_to(request, response), keep)
        self._tally.fast[reply.status] += 1
        conn.answered = True
        try:
            pushed = out.push(conn.sock)
        except OSError:
            out.release(self._files)
            raise
        chunks = reply.body if isinstance(reply.body, Chunks) else None
        if pushed is not Pushed.DONE or chunks is not None:
            self._hold(conn, data)
            self._nursery.start_soon(self._finish, conn, out, pushed, response.account, chunks)
            return False
        self._sent(conn, out, response.account)
        if conn.keep and not self._stopping:
            conn.since = self._now
            return True
        self._drop(conn)
        return False

    def _send_wire(self, conn: Connection, response: Response, wire: bytes, data: bytes) -> bool:
        try:
            sent = conn.sock.send(wire)
        except BlockingIOError:
            sent = 0
        tally = self._tally
        tally.fast[response.status] += 1
        conn.answered = True
        if sent == len(wire):
            tally.sent_bytes += sent
            account = response.account
            if account is not None:
                self._served(account.room, conn.viewer if account.watches else "", sent)
            conn.since = self._now
            return True
        out = Outgoing([memoryview(wire)[sent:]])
        out.sent = sent
        self._hold(conn, data)
        self._nursery.start_soon(self._finish, conn, out, Pushed.FULL, response.account, None)
        return False

    def _sent(self, conn: Connection, out: Outgoing, account: Accounting | None) -> None:
        out.release(self._files)
        self._tally.sent_bytes += out.sent
        if account is not None:
            self._served(account.room, conn.viewer if account.watches else "", out.sent)

    def _refuse(self, conn: Connection, fault: BadRequest) -> None:
        """Answers bytes that are no request, and closes."""
        self._tally.refused[fault.fault] += 1
        self._tally.fast[fault.status] += 1
        answer = refusal(fault.status, fault.fault, f"Malformed request: {fault}.")
        asked = Request("GET", "/", "", {}, "1.1", False, conn.peer, "")
        self._look_at_clocks()
        out, _, conn.keep = self._composer.compose(asked, reply_to(asked, answer), keep=False)
        self._hold(conn, b"")
        self._nursery.start_soon(self._part, conn, out)

    # -- Tasks of one connection. Whoever starts one holds the connection for it.

    async def _go_on(self, conn: Connection) -> None:
        with self._held(conn):
            await trio.lowlevel.checkpoint()
            self._resume(conn)

    async def _finish(
        self,
        conn: Connection,
        out: Outgoing,
        pushed: Pushed,
        account: Accounting | None,
        chunks: Chunks | None,
    ) -> None:
        with self._held(conn):
            try:
                await out.drain(conn.sock, self._limits, pushed)
                if chunks is not None:
                    asked = conn.request
                    framed = chunks.length is None and asked is not None and asked.version != "1.0"
                    await out.drain_chunks(conn.sock, self._limits, chunks, framed=framed)
            finally:
                self._sent(conn, out, account)
            self._resume(conn)

    async def _later(self, conn: Connection, request: Request, first: Wait | Fetch) -> None:
        with self._held(conn):
            answer: Answer = first
            deadline_s = first.deadline_s if isinstance(first, Wait) else float("inf")
            with trio.move_on_after(deadline_s) as conn.waiting:
                self._watch(conn, hangup=True)
                while isinstance(answer, Wait):
                    await answer.until()
                    answer = self._respond(request)
                if isinstance(answer, Fetch):
                    answer = await answer.get()
            gone, conn.waiting = conn.waiting is None, None
            self._unwatch(conn)
            if gone:
                self._drop(conn)
                return
            if isinstance(answer, Wait | Fetch) and isinstance(first, Wait):
                answer = first.expired
            if not isinstance(answer, Response):
                raise TypeError("a responder's Wait or Fetch led to no Response")
            self._look_at_clocks()
            if self._send(conn, request, answer, conn.rest):
                self._resume(conn)

    async def _part(self, conn: Connection, out: Outgoing) -> None:
        """Sends a last answer and closes so that the client gets to read it."""
        with self._held(conn):
            await out.drain(conn.sock, self._limits, out.push(conn.sock))
            with trio.move_on_after(0 if self._stopping else _LINGER_S) as lingering:
                self._lingers.add(lingering)
                await linger(conn.sock)
            self._lingers.discard(lingering)
            self._drop(conn)

    async def _leave_lane(self, conn: Connection, data: bytes) -> None:
        with self._held(conn):
            self._tally.handed_over += 1
            await self._leave(conn.sock, conn.peer, data)
            self._drop(conn)

    @contextmanager
    def _held(self, conn: Connection) -> Iterator[None]:
        """The door of a connection's task."""
        try:
            yield
        except SlowClient:
            self._tally.refused["slow-client"] += 1
            self._drop(conn)
        except OSError:
            self._drop(conn)
        except Exception:  # noqa: BLE001 the door: a fault of ours costs this connection, not the node
            self._failed(conn)
        except BaseException:
            self._drop(conn)
            raise
        finally:
            self._busy -= 1
            self._check_drained()

    # -- Who has a connection

    def _hold(self, conn: Connection, data: bytes) -> None:
        """A task is about to take the connection; ``data`` is for after its answer."""
        conn.rest = data
        self._unwatch(conn)
        self._busy += 1

    def _resume(self, conn: Connection) -> None:
        """A task has done with the connection."""
        if not conn.keep or self._stopping:
            self._drop(conn)
            return
        self._look_at_clocks()
        conn.since = self._now
        data, conn.rest = conn.rest, b""
        if not data or self._serve(conn, data):
            self._watch(conn)

    def _watch(self, conn: Connection, hangup: bool = False) -> None:
        if hangup:
            if not self._poller.add_hangup(conn.fd):
                return
        else:
            self._poller.add(conn.fd)
        self._watched[conn.fd] = conn

    def _unwatch(self, conn: Connection) -> None:
        # A hand-over closes the socket by itself, and its number may be another's by now.
        if self._watched.get(conn.fd) is conn:
            del self._watched[conn.fd]
            self._poller.remove(conn.fd)

    def _drop(self, conn: Connection) -> None:
        if conn.fd < 0:
            return
        self._unwatch(conn)
        conn.fd = -1
        conn.sock.close()
        self._connections.release(conn.peer)
        self._tally.connections -= 1

    def _failed(self, conn: Connection) -> None:
        self._tally.failed["fast-lane"] += 1
        _log.exception("http-answer-failed")
        self._drop(conn)

    def _check_drained(self) -> None:
        if self._stopping and not self._busy:
            self._drained.set()
