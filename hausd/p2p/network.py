"""The connections of a node: who may come, who is dialled, one connection to each peer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import structlog
import trio

from hausd.core.clock import Clock
from hausd.core.peers import (
    Direction,
    Endpoint,
    Handler,
    HostLimits,
    PeerId,
    PeerUnreachable,
    StreamBroken,
)
from hausd.p2p import metrics, negotiate
from hausd.p2p.bans import Bans
from hausd.p2p.channel import SecureChannel
from hausd.p2p.connection import Connection
from hausd.p2p.dialling import connect_tcp, endpoint_of
from hausd.p2p.mux import Mux
from hausd.p2p.muxstream import MuxStream
from hausd.p2p.noise import Noise
from hausd.p2p.places import ConnectionRefused, Places
from hausd.p2p.rate import Bucket
from hausd.p2p.upgrade import UpgradeFailed, upgrade
from hausd.policy.reach import Reach
from hausd.telemetry import count_swallowed
from hausd.wire.multistream import MultistreamError
from hausd.wire.yamux import Yamux

log = structlog.get_logger("hausd.p2p")

UPGRADE_S = 10.0
"""From the TCP connection to one that carries streams; slower ones are dropped."""
DIAL_S = 15.0
_AGREE_S = 10.0

_LINES_PER_S, _LINES_AT_ONCE = 1.0, 120.0
"""In the log, of what strangers do. All of it is counted."""


class Watcher(Protocol):
    """Who wants to know of peers that come and go.

    ``connected`` has a task of its own, which ends with the connection; ``disconnected`` is
    waited for.
    """

    async def connected(self, peer: PeerId) -> None: ...

    async def disconnected(self, peer: PeerId) -> None: ...


class Network:
    """All connections. ``nursery`` owns their tasks; when it ends, they are closed."""

    def __init__(
        self,
        me: PeerId,
        noise: Noise,
        limits: HostLimits,
        *,
        ping_interval_s: float,
        nursery: trio.Nursery,
        clock: Clock,
    ) -> None:
        self.me = me
        self.limits = limits
        self.bans = Bans()
        self._noise = noise
        self._ping_interval_s = ping_interval_s
        self._nursery = nursery
        self._clock = clock
        self._peers: dict[PeerId, Connection] = {}
        self._leaving: dict[PeerId, trio.Event] = {}
        """Peers of whose end not all have been told; set when they are."""
        self._dialling: dict[PeerId, trio.Event] = {}
        self._places = Places(limits)
        self._handlers: dict[str, Handler] = {}
        self._watchers: list[Watcher] = []
        self._lines = Bucket(_LINES_PER_S, _LINES_AT_ONCE, trio.current_time())

    # -- what others ask --

    def watch(self, watcher: Watcher) -> None:
        """Tells ``watcher`` of peers from now on."""
        self._watchers.append(watcher)

    def connections(self) -> list[Connection]:
        return list(self._peers.values())

    def connection(self, peer: PeerId) -> Connection | None:
        return self._peers.get(peer)

    def handle(self, protocol: str, handler: Handler) -> None:
        """Hands streams of this protocol to ``handler`` from now on."""
        self._handlers[protocol] = handler

    def protocols(self) -> list[str]:
        return list(self._handlers)

    async def open_stream(self, peer: PeerId, *protocols: str) -> tuple[MuxStream, str]:
        """A stream to a connected peer, and which of the protocols it speaks, best first.

        Raises PeerUnreachable, ProtocolRefused, StreamBroken. The caller sets the deadline.
        """
        connection = self._peers.get(peer)
        if connection is None:
            raise PeerUnreachable("the peer is not connected")
        stream = connection.mux.open_stream()
        try:
            return stream, await negotiate.propose(stream, protocols)
        except MultistreamError as error:
            stream.reset()
            raise StreamBroken(str(error)) from error
        except BaseException:
            stream.reset()
            raise

    def drop(self, peer: PeerId, why: str) -> None:
        """Closes the connection to a peer, if there is one."""
        connection = self._peers.get(peer)
        if connection is not None:
            connection.mux.close(why)

    # -- coming in --

    async def serve(self, listener: trio.SocketListener) -> None:
        """Accepts connections until cancelled, and closes the listener."""
        await trio.serve_listeners(self._came, [listener])

    async def _came(self, stream: trio.SocketStream) -> None:
        metrics.CONNECTIONS.labels(Direction.IN).inc()
        try:
            address = endpoint_of(stream.socket.getpeername())
        except OSError:
            await trio.aclose_forcefully(stream)  # gone already
            return
        try:
            await self._hold(stream, address, address, None, trio.TASK_STATUS_IGNORED)
        except ConnectionRefused as refusal:
            metrics.REFUSED.labels(str(refusal)).inc()
        except UpgradeFailed as error:
            metrics.REFUSED.labels("handshake").inc()
            log.debug("handshake-failed", address=address.host, because=str(error))
        except Exception as error:  # noqa: BLE001 the door: a stranger's connection ends alone
            count_swallowed("p2p-connection", error)
            self._tell_log("connection-failed", error, address=address.host)
        finally:
            await trio.aclose_forcefully(stream)

    # -- going out --

    async def dial(
        self,
        peer: PeerId,
        endpoint: Endpoint,
        told_at: Reach = Reach.MACHINE,
        *,
        visit: bool = False,
    ) -> None:
        """Connects to a peer, unless it is connected. Raises PeerUnreachable.

        ``told_at``: from where the address was told, see ``policy.reach``. ``visit``: to be closed
        again before long, unless somebody dials the peer to keep it.
        """
        if peer == self.me:
            raise PeerUnreachable("that is this node itself")
        while (under_way := self._dialling.get(peer)) is not None:
            await under_way.wait()
        if (connection := self._peers.get(peer)) is not None:
            if not visit:
                connection.keep()
            return
        if self.bans.banned(peer, trio.current_time()):
            raise PeerUnreachable("the peer is banned for a while")
        self._dialling[peer] = trio.Event()
        metrics.CONNECTIONS.labels(Direction.OUT).inc()
        try:
            with trio.fail_after(DIAL_S):
                await self._nursery.start(self._go, peer, endpoint, told_at, visit)
        except trio.TooSlowError:
            raise PeerUnreachable(f"no answer within {DIAL_S:g} s") from None
        except PeerUnreachable:
            # both dialled each other at once, and the peer's connection stayed
            if peer not in self._peers:
                raise
        finally:
            self._dialling.pop(peer).set()

    async def _go(
        self,
        peer: PeerId,
        endpoint: Endpoint,
        told_at: Reach,
        visit: bool,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """Dials and serves the connection; ``started`` with nothing, or PeerUnreachable before."""
        began = _Once(task_status)
        try:
            stream, seen_at = await connect_tcp(endpoint, peer, told_at)
            try:
                await self._hold(stream, endpoint, seen_at, peer, began, visit=visit)
            finally:
                await trio.aclose_forcefully(stream)
        except (PeerUnreachable, ConnectionRefused, UpgradeFailed) as error:
            if not began.done:
                raise PeerUnreachable(str(error)) from error
        except Exception as error:  # the door: what a stranger's address leads to ends alone
            count_swallowed("p2p-connection", error)
            self._tell_log("connection-failed", error, address=endpoint.host)
            if not began.done:
                raise PeerUnreachable("the connection failed here") from error

    # -- both --

    async def _hold(
        self,
        stream: trio.SocketStream,
        address: Endpoint,
        seen_at: Endpoint,
        expected: PeerId | None,
        task_status: trio.TaskStatus[None],
        *,
        visit: bool = False,
    ) -> None:
        """A connection's whole life. Raises ConnectionRefused, UpgradeFailed."""
        inbound = expected is None
        with self._places.take(address, inbound=inbound):
            with self._places.upgrading(inbound=inbound):
                with trio.move_on_after(UPGRADE_S) as waited:
                    peer, channel = await upgrade(stream, self._noise, expected)
                if waited.cancelled_caught:
                    raise UpgradeFailed(f"no handshake within {UPGRADE_S:g} s")
            self._check(peer)
            connection = Connection(
                mux=self._mux(channel, peer, initiator=not inbound),
                address=address,
                seen_at=seen_at,
                direction=Direction.IN if inbound else Direction.OUT,
                since_ms=self._clock.now_ms(),
                visit=visit,
            )
            if not visit:
                connection.keep()
            await self._enter(connection)
            try:
                async with trio.open_nursery() as nursery:
                    for watcher in self._watchers:
                        nursery.start_soon(self._tell, watcher.connected, peer)
                    task_status.started()
                    await connection.mux.run(partial(self._opened, nursery, connection))
                    nursery.cancel_scope.cancel()
            finally:
                if self._peers.get(peer) is connection:
                    await self._leave(connection)
                self._tell_log("peer-gone", peer=peer, why=connection.mux.ended_by)

    def _mux(self, channel: SecureChannel, peer: PeerId, *, initiator: bool) -> Mux:
        limits, now = self.limits, trio.current_time()
        rate = limits.bytes_per_s_per_peer
        machine = Yamux(
            initiator=initiator,
            max_streams=limits.streams_per_peer,
            max_unread_bytes=limits.memory_per_peer_bytes,
        )
        return Mux(
            channel,
            peer,
            machine,
            max_streams=limits.streams_per_peer,
            ping_interval_s=self._ping_interval_s,
            receive_rate=Bucket(rate, rate, now) if rate else None,
            send_rate=Bucket(rate, rate, now) if rate else None,
        )

    def _check(self, peer: PeerId) -> None:
        if peer == self.me:
            raise ConnectionRefused("myself")
        if self.bans.banned(peer, trio.current_time()):
            raise ConnectionRefused("banned")

    async def _enter(self, connection: Connection) -> None:
        """Of two connections to one peer both ends keep the same; raises ConnectionRefused.

        One is gone for all who watch before the next enters.
        """
        peer = connection.peer
        while True:
            if (leaving := self._leaving.get(peer)) is not None:
                await leaving.wait()
                continue
            if (old := self._peers.get(peer)) is None:
                break
            smaller_dials = Direction.OUT if self.me < peer else Direction.IN
            if connection.direction is not old.direction and old.direction is smaller_dials:
                raise ConnectionRefused("connected-already")
            # else the same end dialled again: it has lost the old one
            old.mux.close("another connection took its place")
            await self._leave(old)
        self._check(peer)  # once more: it may have been banned while others left
        self._peers[peer] = connection
        metrics.PEERS.set(len(self._peers))
        self._tell_log(
            "peer-connected",
            peer=peer,
            address=str(connection.address),
            direction=str(connection.direction),
        )

    async def _leave(self, connection: Connection) -> None:
        del self._peers[connection.peer]
        self._leaving[connection.peer] = trio.Event()
        metrics.PEERS.set(len(self._peers))
        try:
            with trio.CancelScope(shield=True):
                for watcher in self._watchers:
                    await self._tell(watcher.disconnected, connection.peer)
        finally:
            self._leaving.pop(connection.peer).set()

    async def _tell(self, told: Callable[[PeerId], Awaitable[None]], peer: PeerId) -> None:
        try:
            await told(peer)
        except Exception as error:  # noqa: BLE001 a watcher's fault is not the connection's
            count_swallowed("p2p-watcher", error)
            self._tell_log("watcher-failed", error, peer=peer)

    def _tell_log(self, what: str, error: Exception | None = None, **facts: str) -> None:
        """A line in the log for what strangers can bring about; beyond a bound for debugging."""
        within = self._lines.try_take(1, trio.current_time())
        if error is None:
            (log.info if within else log.debug)(what, **facts)
        else:
            (log.error if within else log.debug)(what, exc_info=error, **facts)

    def _opened(self, nursery: trio.Nursery, connection: Connection, stream: MuxStream) -> None:
        if connection.handlers >= 2 * self.limits.streams_per_peer:
            # streams that are over for the peer, and not yet for our handlers
            metrics.STREAMS_REFUSED.labels("handlers").inc()
            stream.reset()
            return
        connection.handlers += 1
        nursery.start_soon(self._serve_stream, connection, stream)

    async def _serve_stream(self, connection: Connection, stream: MuxStream) -> None:
        try:
            with trio.move_on_after(_AGREE_S) as waited:
                protocol = await negotiate.agree(stream, self._handlers.__contains__)
            if waited.cancelled_caught:
                metrics.STREAMS_REFUSED.labels("slow").inc()
                stream.reset()
                return
            handler = self._handlers.get(protocol)
            if handler is None:
                stream.reset()  # no longer spoken
                return
            await handler(stream)
            await stream.aclose()
        # handlers have nurseries, whose faults come in groups
        except* (StreamBroken, MultistreamError):
            metrics.STREAMS_REFUSED.labels("broken").inc()
            stream.reset()
        except* Exception as error:  # noqa: BLE001 a handler's fault is its stream's alone
            count_swallowed("p2p-handler", error)
            self._tell_log("handler-failed", error, peer=connection.peer)
            stream.reset()
        finally:
            connection.handlers -= 1


class _Once(trio.TaskStatus[None]):
    """A task status that knows whether it was used."""

    def __init__(self, inner: trio.TaskStatus[None]) -> None:
        self._inner = inner
        self.done = False

    def started(self, value: None = None) -> None:
        self.done = True
        self._inner.started(value)
