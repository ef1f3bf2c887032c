"""JSON-RPC over HTTP and WebSocket, on one port and on the next, as Solana's clients expect."""

from __future__ import annotations

import logging
import resource
import socket
import sqlite3
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
import trio
from hypercorn.config import Config
from solders.pubkey import Pubkey
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from hausd.chain.embedded import questions as ask
from hausd.chain.embedded.answers import CORS, Held, Sent, Share, refused
from hausd.chain.embedded.disk import Disk
from hausd.chain.embedded.disk import Held as Account
from hausd.chain.embedded.ledger import Changed, Ledger
from hausd.chain.embedded.metrics import EMBEDDED_CALLS, EMBEDDED_WRITES
from hausd.chain.embedded.questions import RpcFault
from hausd.chain.embedded.rpc import Rpc
from hausd.chain.embedded.subscriptions import Subscriber, Subscriptions
from hausd.core.clock import Clock
from hausd.core.foreign import UNREADABLE_JSON
from hausd.policy.origin import asks_from_here
from hausd.serving import Connections, serving

log = structlog.get_logger("hausd.chain")

_MAX_BODY_BYTES = 128 * 1024
_BODY_S = 20.0
_MAX_BATCH = 100
_MAX_CONNECTIONS = 512
_MAX_CONNECTIONS_OF_ONE = 64
_MAX_SOCKETS = 256
_MAX_SOCKETS_OF_ONE = 32
_CALLS_A_SECOND = 400.0
_BURST = 2_000.0
_TIMES_HERE = 20.0
"""So many times as much may its own machine ask: a node that reads everything anew."""
_MAX_ADDRESSES = 4_096
_GRACE_S = 0.5
_SLOT_LOOK_S = 0.2
_KEPT_S = 15.0
"""Who asks every ten seconds goes on on one connection."""


@dataclass(slots=True)
class _Allowance:
    left: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks. ``here``: a program or page of this machine, not all that is on its loopback."""

    address: str
    here: bool


class EmbeddedChain:
    """A chain of one's own, running. ``ledger`` may be read; transactions come over RPC."""

    def __init__(
        self, ledger: Ledger, random_bytes: Callable[[int], bytes], *, read_only: bool
    ) -> None:
        self.ledger = ledger
        self.subscriptions = Subscriptions(ledger)
        self.rpc = Rpc(ledger, random_bytes, self._sent, self._settled, read_only=read_only)
        self.port = 0
        self._due = trio.Event()
        self._done = trio.Event()
        self._allowances: OrderedDict[Asker, _Allowance] = OrderedDict()
        self._sockets: dict[str, int] = {}
        self._held = Held()

    # -- writing --

    async def keep_writing(self) -> None:
        """Writes what was executed, a batch at a time, until cancelled; then what is left."""
        try:
            while True:
                await self._due.wait()
                self._due = trio.Event()
                with trio.CancelScope(shield=True):
                    await self._write()
        finally:
            with trio.CancelScope(shield=True):
                await self._write()

    async def _write(self) -> None:
        while self.ledger.waits and not self.ledger.broken:
            write = self.ledger.take()
            try:
                await trio.to_thread.run_sync(write)
            except sqlite3.Error as fault:
                self.ledger.failed(f"the chain can't be written to disk ({fault}); mend that, and "
                                   "start the node again")  # fmt: skip
                log.error("chain-not-written", because=str(fault))
            else:
                changed = self.ledger.wrote()
                EMBEDDED_WRITES.inc(len(changed.entries))
                self._tell(changed)
            done, self._done = self._done, trio.Event()
            done.set()

    def _tell(self, changed: Changed) -> None:
        self.subscriptions.changed(changed)

    def _sent(self) -> None:
        self._due.set()

    async def _settled(self) -> None:
        # of what others send meanwhile, nothing is waited for
        number = self.ledger.count
        while self.ledger.written < number:
            if self.ledger.broken:
                return
            await self._done.wait()

    async def keep_slots(self) -> None:
        """Tells of each slot that somebody follows."""
        while True:
            await self.subscriptions.followed.wait()
            await trio.sleep(_SLOT_LOOK_S)
            self.subscriptions.slot()

    # -- HTTP --

    async def answer(self, request: Request) -> Response:
        """``POST /``."""
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=CORS)
        if request.method == "GET":
            words = b"This is a chain's JSON-RPC: POST to it, or open a WebSocket.\n"
            return Response(words, 200, {**CORS, "content-type": "text/plain"})
        body = b""
        with trio.move_on_after(_BODY_S) as scope:
            async for piece in request.stream():
                body += piece
                if len(body) > _MAX_BODY_BYTES:
                    return Response(b"too large\n", 413, CORS)
        if scope.cancelled_caught:
            return Response(b"too late\n", 408, CORS)
        who = _asker(request)
        try:
            untrusted = msgspec.json.decode(body)
        except UNREADABLE_JSON:
            return refused(RpcFault(ask.PARSE_ERROR, "Parse error"))
        calls = untrusted if isinstance(untrusted, list) else [untrusted]
        if not self._may(who, len(calls)):
            EMBEDDED_CALLS.labels("limited").inc()
            fault = RpcFault(ask.LIMITED, "Too many requests from your address")
            return refused(fault, 429, {"retry-after": "1"})
        if not 1 <= len(calls) <= _MAX_BATCH:
            return refused(RpcFault(ask.INVALID_REQUEST, "Invalid request"))
        share = Share(self._held)
        if share.full:
            EMBEDDED_CALLS.labels("limited").inc()
            fault = RpcFault(ask.LIMITED, "Too many answers are on their way")
            return refused(fault, 503, {"retry-after": "1"})
        try:
            answers = []
            for one in calls:
                answers.append(await self._one(one, who, share))
                await trio.lowlevel.checkpoint()  # others' turn: a hundred calls take long
        except BaseException:
            share.let_go()
            raise
        body = b"[%b]" % b",".join(answers) if isinstance(untrusted, list) else answers[0]
        return Sent(body, share)

    async def _one(self, untrusted: object, who: Asker, share: Share) -> bytes:
        match untrusted:
            case {"jsonrpc": "2.0", "method": str(method), **more}:
                number = more.get("id")
            case _:
                EMBEDDED_CALLS.labels("refused").inc()
                return share.fault(None, RpcFault(ask.INVALID_REQUEST, "Invalid request"))
        if number is not None and not isinstance(number, int | str | float):
            return share.fault(None, RpcFault(ask.INVALID_REQUEST, "Invalid request"))
        try:
            if share.full:
                raise ask.too_large()
            if method == "requestAirdrop" and not who.here:
                words = "this chain's faucet gives on its own machine only"
                raise RpcFault(ask.METHOD_NOT_FOUND, words)
            result = await self.rpc.call(method, more.get("params"))
        except RpcFault as fault:
            EMBEDDED_CALLS.labels("refused").inc()
            return share.fault(number, fault)
        EMBEDDED_CALLS.labels("answered").inc()
        return share.answer(number, result)

    def _may(self, who: Asker, calls: int) -> bool:
        now_s = trio.current_time()
        times = _TIMES_HERE if who.here else 1.0
        allowance = self._allowances.pop(who, None) or _Allowance(times * _BURST, now_s)
        passed_s, allowance.at_s = now_s - allowance.at_s, now_s
        earned = passed_s * times * _CALLS_A_SECOND
        allowance.left = min(times * _BURST, allowance.left + earned)
        self._allowances[who] = allowance
        if len(self._allowances) > _MAX_ADDRESSES:
            self._allowances.popitem(last=False)
        if allowance.left < calls:
            return False
        allowance.left -= calls
        return True

    # -- WebSocket --

    async def subscribe(self, socket_: WebSocket) -> None:
        """A client's WebSocket: calls and subscriptions."""
        who = _asker(socket_)
        address = who.address
        full = sum(self._sockets.values()) >= _MAX_SOCKETS
        if full or self._sockets.get(address, 0) >= _MAX_SOCKETS_OF_ONE:
            await socket_.close(1013)
            return
        await socket_.accept()
        self._sockets[address] = self._sockets.get(address, 0) + 1
        subscriber = self.subscriptions.join()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._push, socket_, subscriber, nursery.cancel_scope)
                await self._hear(socket_, subscriber, who)
                nursery.cancel_scope.cancel()
        finally:
            self.subscriptions.leave(subscriber)
            self._sockets[address] -= 1
            if not self._sockets[address]:
                del self._sockets[address]

    async def _hear(self, socket_: WebSocket, subscriber: Subscriber, who: Asker) -> None:
        while True:
            try:
                message = await socket_.receive()
            except WebSocketDisconnect:
                return
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text") or (message.get("bytes") or b"").decode("utf-8", "replace")
            if len(text) > _MAX_BODY_BYTES or not self._may(who, 1):
                await socket_.close(1008)
                return
            share = Share(self._held)
            try:
                subscriber.push(await self._heard(text, subscriber, who, share))
                await subscriber.taken()  # who reads nothing is not heard further
            finally:
                share.let_go()

    async def _heard(self, text: str, subscriber: Subscriber, who: Asker, share: Share) -> bytes:
        if share.full:
            EMBEDDED_CALLS.labels("limited").inc()
            return share.fault(None, RpcFault(ask.LIMITED, "Too many answers are on their way"))
        try:
            untrusted = msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
        except UNREADABLE_JSON:
            return share.fault(None, RpcFault(ask.PARSE_ERROR, "Parse error"))
        match untrusted:
            case {"jsonrpc": "2.0", "method": str(method), **more} if method.endswith("ubscribe"):
                number = more.get("id")
                try:
                    result = self.subscriptions.call(subscriber, method, more.get("params"))
                except RpcFault as fault:
                    return share.fault(number, fault)
                return share.answer(number, result)
        return await self._one(untrusted, who, share)

    async def _push(
        self, socket_: WebSocket, subscriber: Subscriber, scope: trio.CancelScope
    ) -> None:
        async for message in subscriber.messages():
            await socket_.send_text(message.decode())
        # too slow, and everything after this would be late
        await socket_.close(1008)
        scope.cancel()


def _asker(asking: HTTPConnection) -> Asker:
    address = asking.client.host if asking.client is not None else ""
    return Asker(address, asks_from_here(address, asking.headers))


def _connections() -> Connections:
    """No more than an eighth of the descriptors that there are."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MAX_CONNECTIONS
    if soft != resource.RLIM_INFINITY:
        most = min(most, max(16, soft // 8))
    return Connections(most, _MAX_CONNECTIONS_OF_ONE)


@asynccontextmanager
async def open_embedded(
    path: Path,
    listeners: Sequence[socket.socket],
    clock: Clock,
    random_bytes: Callable[[int], bytes],
    *,
    programs: Mapping[Pubkey, bytes],
    genesis: Sequence[Account] = (),
    read_only: bool = False,
    tls: ssl.SSLContext | None = None,
    inside: Sequence[socket.socket] = (),
) -> AsyncIterator[EmbeddedChain]:
    """A chain in the file at ``path``, served on ``listeners`` (bound and listening).

    ``tls``: these speak TLS; those of ``inside`` never do.

    Raises disk.NotOurs, sqlite3.Error.
    """
    disk = await trio.to_thread.run_sync(Disk, path)
    try:
        ledger = Ledger(disk, clock, random_bytes, programs, genesis)
        chain = EmbeddedChain(ledger, random_bytes, read_only=read_only)
        app = Starlette(
            routes=[
                Route("/", chain.answer, methods=["GET", "POST", "OPTIONS"]),
                WebSocketRoute("/", chain.subscribe),
            ]
        )
        config = Config()
        config.graceful_timeout = _GRACE_S
        config.keep_alive_timeout = _KEPT_S
        config.accesslog = None
        config.errorlog = logging.getLogger("hypercorn.error")
        config.websocket_max_message_size = _MAX_BODY_BYTES
        config.h11_max_incomplete_size = 64 * 1024
        clear, secure = [*listeners, *inside], []
        if tls is not None:
            clear, secure = [*inside], [*listeners]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chain.keep_writing)
            nursery.start_soon(chain.keep_slots)
            try:
                async with serving(
                    app, config, "chain", clear, secure, tls, connections=_connections()
                ):
                    yield chain
            finally:
                nursery.cancel_scope.cancel()
    finally:
        disk.close()
