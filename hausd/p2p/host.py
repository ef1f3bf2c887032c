"""A node's place in the network: its listeners, its peers, its streams and topics."""

from __future__ import annotations

import errno
import ipaddress
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace

import psutil
import structlog
import trio

from hausd.core.clock import Clock, SystemClock
from hausd.core.keys import SigningKey
from hausd.core.peers import (
    MAX_ADDRESSES,
    Endpoint,
    Handler,
    HostSettings,
    Multiaddr,
    PeerAddress,
    PeerId,
    PeerStream,
    PeerUnreachable,
    PeerView,
    Validator,
    parse_endpoint,
    parse_peer_id,
    parse_protocol,
    peer_id_of,
)
from hausd.p2p import metrics
from hausd.p2p.book import PeerBook
from hausd.p2p.connection import Connection
from hausd.p2p.gossip import Gossip
from hausd.p2p.identify import Identify
from hausd.p2p.mdns import local_peers
from hausd.p2p.network import Network, Watcher
from hausd.p2p.noise import Noise
from hausd.p2p.pubsub import Pubsub, Topic
from hausd.p2p.redial import Redial
from hausd.p2p.visits import Visits
from hausd.policy.reach import Reach
from hausd.wire.cards import TOPIC as EVENTS

log = structlog.get_logger("hausd.p2p")

_BACKLOG = 128


class ListenFailed(Exception):
    """An address can't be listened on; ``args[0]`` names ``p2p.listen`` and says why."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Host:
    """See ``open_host``. All of it may be used from any task until the context is left."""

    def __init__(
        self,
        peer_id: PeerId,
        network: Network,
        pubsub: Pubsub,
        listening: tuple[Endpoint, ...],
        announce: tuple[Multiaddr, ...],
        visits: Visits,
        identified: list[Callable[[Connection], None]],
    ) -> None:
        self.peer_id = peer_id
        self._network = network
        self._pubsub = pubsub
        self._listening = listening
        self._announce = announce
        self._visits = visits
        self._identified = identified

    @property
    def addresses(self) -> tuple[Multiaddr, ...]:
        """Where it can be dialled, with ``/p2p/ID``: what is announced, else what is bound.

        Bound to all of a machine's addresses, it is those, without loopback.
        """
        ends = [parse_endpoint(each) for each in self._announce]
        ends = ends or [end for bound in self._listening for end in _ends(bound)]
        return tuple(replace(each, peer=self.peer_id).multiaddr for each in ends)

    @property
    def bound(self) -> tuple[Endpoint, ...]:
        """Where it listens, as others may reach that."""
        return tuple(end for each in self._listening for end in _ends(each))

    def peers(self) -> list[PeerView]:
        """Who is connected now, without those that are only asked something (``visit``)."""
        return [
            PeerView(
                id=connection.peer,
                addresses=tuple(connection.known_addresses),
                direction=connection.direction,
                rtt_s=connection.mux.rtt_s,
                since_ms=connection.since_ms,
                received_bytes=connection.mux.received_bytes,
                sent_bytes=connection.mux.sent_bytes,
                score=self._pubsub.score(connection.peer),
            )
            for connection in self._network.connections()
            if connection.kept.is_set()
        ]

    def connected(self) -> list[PeerId]:
        """Who is connected now, without more about them."""
        return [connection.peer for connection in self._network.connections()]

    def watch(self, watcher: Watcher) -> None:
        """Tells ``watcher`` of peers that come and go from now on."""
        self._network.watch(watcher)

    async def connect(self, address: Multiaddr) -> PeerId:
        """Connects to the peer at an address with ``/p2p/ID``; gives its id.

        At once where it is connected already. Raises ValueError, PeerUnreachable.
        """
        endpoint = parse_endpoint(address)
        if endpoint.peer is None:
            raise ValueError("the address ends with /p2p/ID, so that nobody can pose as the peer")
        if not await self._kept(endpoint.peer):
            await self._network.dial(endpoint.peer, endpoint)
        return endpoint.peer

    def is_connected(self, peer: PeerId) -> bool:
        return self._network.connection(peer) is not None

    async def connect_told(self, told: PeerAddress, told_at: Reach) -> None:
        """Connects to a peer that another peer named; at once where it is connected already.

        Addresses that lead nearer than ``told_at`` (see ``reach_of``) are left out, as are those
        that can't be dialled at all. The caller sets the deadline. Raises PeerUnreachable.
        """
        if await self._kept(told.peer):
            return
        for untrusted in told.addresses[:MAX_ADDRESSES]:
            try:
                endpoint = parse_endpoint(untrusted)
                await self._network.dial(told.peer, endpoint, told_at)
            except (PeerUnreachable, ValueError):
                continue
            return
        raise PeerUnreachable("no address of it answers")

    def shares_topic(self, peer: PeerId) -> bool:
        """Whether a peer listens to a topic that is listened to here: a node of ours."""
        return self._pubsub.shares(peer, "")

    async def _kept(self, peer: PeerId) -> bool:
        """Whether a peer is connected; from now on to be kept, if it was a visit."""
        connection = self._network.connection(peer)
        if connection is not None and connection.visit:
            connection.keep()
            _tell_all(self._identified, connection)
        elif connection is not None:
            await self._visits.ask_to_keep(connection)
        return connection is not None

    def reach_of(self, peer: PeerId) -> Reach:
        """From where a peer tells of others' addresses: the world, where it is not connected."""
        connection = self._network.connection(peer)
        return connection.reach if connection is not None else Reach.WORLD

    async def disconnect(self, peer: PeerId) -> None:
        """Closes the connection to a peer; it may come back."""
        connection = self._network.connection(peer)
        if connection is not None:
            self._network.drop(peer, "this node closed it")
            await connection.mux.closed.wait()

    def ban(self, peer: PeerId, for_s: float, why: str) -> None:
        """Closes the connection to a peer and refuses it for a while."""
        self._network.bans.ban(parse_peer_id(peer), for_s, trio.current_time())
        metrics.BANNED.inc()
        log.warning("peer-banned", peer=peer, for_s=for_s, why=why)
        self._network.drop(peer, f"banned: {why}")

    def visit(
        self, peer: PeerId, endpoints: Iterable[Endpoint], told_at: Reach = Reach.MACHINE
    ) -> AbstractAsyncContextManager[Connection]:
        """See ``Visits``: a connection to ask something, not to be kept."""
        return self._visits.visit(peer, endpoints, told_at)

    def connection(self, peer: PeerId) -> Connection | None:
        """The connection to a peer, if there is one."""
        return self._network.connection(peer)

    def on_identified(self, told: Callable[[Connection], None]) -> None:
        """Calls ``told`` whenever it is learned where a connected peer can be dialled."""
        self._identified.append(told)

    def handle(self, protocol: str, handler: Handler) -> None:
        """Hands each stream of a protocol that a peer opens to ``handler``, in a task of its own.

        The stream is closed when it returns, reset when it raises, which is counted and harms
        nobody else. The task is cancelled with the connection.
        """
        self._network.handle(parse_protocol(protocol), handler)

    async def open_stream(self, peer: PeerId, protocol: str) -> PeerStream:
        """A stream to a connected peer. The caller sets the deadline.

        Raises PeerUnreachable, ProtocolRefused, StreamBroken.
        """
        stream, _ = await self._network.open_stream(peer, parse_protocol(protocol))
        return stream

    async def open_any_stream(
        self, peer: PeerId, protocols: Iterable[str]
    ) -> tuple[PeerStream, str]:
        """The same with the first of these protocols that the peer speaks, and which it is."""
        return await self._network.open_stream(peer, *map(parse_protocol, protocols))

    def topic(
        self, name: str, validator: Validator, *, retains: bool = False
    ) -> AbstractAsyncContextManager[Topic]:
        """Listens to a topic while the context is open; one at a time for a name.

        ``retains``: who subscribes to it after us is told what was said lately.
        """
        return self._pubsub.topic(name, validator, retains=retains)


@asynccontextmanager
async def open_host(
    settings: HostSettings,
    key: SigningKey,
    book: PeerBook,
    *,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[Host]:
    """Takes part in the network until the context is left; then every socket is closed.

    ``key`` is the node's identity; ``book`` the peers it knew, which it keeps up to date. Raises
    ListenFailed, and ValueError for an address that is of no use where it stands.
    """
    clock = clock or SystemClock()
    rng = rng or random.Random(os.urandom(16))  # noqa: S311 spreads load, keeps no secret
    me = peer_id_of(key.public)
    async with AsyncExitStack() as stack:
        listeners = await _listen(stack, settings.listen)
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        network = Network(
            me,
            Noise(key),
            settings.limits,
            ping_interval_s=settings.ping_interval_s,
            nursery=nursery,
            clock=clock,
        )
        pubsub = Pubsub(
            network,
            Gossip(rng),
            key,
            settings.limits,
            heartbeat_s=settings.heartbeat_s,
            clock=clock,
            ban=lambda peer, for_s, why: host.ban(peer, for_s, why),
            nursery=nursery,
        )
        bound = tuple(_bound(listener) for listener in listeners)
        visits = Visits(network, clock, lambda peer: pubsub.shares(peer, EVENTS))
        identified: list[Callable[[Connection], None]] = []
        host = Host(me, network, pubsub, bound, settings.announce, visits, identified)
        redial = Redial(
            network,
            book,
            map(parse_endpoint, settings.bootstrap),
            settings.keep_peers,
            clock=clock,
            rng=rng,
        )
        identified.append(redial.learned)
        Identify(
            network,
            key.public,
            lambda: _undressed(host.addresses),
            lambda connection: _tell_all(identified, connection),
        )
        if settings.mdns and (interfaces := _interfaces(bound)):
            await stack.enter_async_context(
                local_peers(host.addresses, redial.found, rng, interfaces=interfaces)
            )
        # nothing waits from here on: who connects is told of the protocols that are added next
        for listener in listeners:
            nursery.start_soon(network.serve, listener)
        nursery.start_soon(pubsub.run)
        nursery.start_soon(redial.run)
        nursery.start_soon(visits.run)
        log.info("p2p-open", peer=me, addresses=list(host.addresses))
        yield host


def _tell_all(listeners: Iterable[Callable[[Connection], None]], connection: Connection) -> None:
    for told in listeners:
        told(connection)


async def _listen(
    stack: AsyncExitStack, addresses: tuple[Multiaddr, ...]
) -> list[trio.SocketListener]:
    listeners: list[trio.SocketListener] = []
    for address in addresses:
        endpoint = parse_endpoint(address)
        try:
            opened = await trio.open_tcp_listeners(
                endpoint.port, host=endpoint.host, backlog=_BACKLOG
            )
        except OSError as fault:
            raise _listen_failed(address, fault) from fault
        for listener in opened:
            stack.push_async_callback(listener.aclose)
        listeners += opened
    return listeners


def _listen_failed(address: Multiaddr, fault: OSError) -> ListenFailed:
    if fault.errno == errno.EADDRINUSE:
        hint = "stop what listens there, or choose another port: --set p2p.listen=…/tcp/PORT"
        return ListenFailed(f"p2p.listen: {address} is taken by another program", hint)
    return ListenFailed(f"p2p.listen: {address} can't be listened on ({fault.strerror})")


def _bound(listener: trio.SocketListener) -> Endpoint:
    host, port = listener.socket.getsockname()[:2]
    return parse_endpoint(f"/ip{6 if ':' in host else 4}/{host.partition('%')[0]}/tcp/{port}")


def _ends(bound: Endpoint) -> list[Endpoint]:
    """A bound address as others may reach it."""
    if not bound.wildcard:
        return [bound]
    kinds = {"ip4"} if bound.kind == "ip4" else {"ip4", "ip6"}
    return [
        replace(bound, kind=kind, host=str(address))
        for address in _own_addresses()
        if (kind := f"ip{address.version}") in kinds
    ]


def _interfaces(bound: Iterable[Endpoint]) -> list[str]:
    """The IPv4 addresses on whose networks peers may be found; none on loopback alone."""
    hosts = {end.host for each in bound for end in _ends(each) if not end.loopback}
    return sorted(host for host in hosts if ":" not in host)


def _own_addresses() -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    found = [
        ipaddress.ip_address(address.address.partition("%")[0])
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    ]
    return [each for each in found if not each.is_loopback and not each.is_link_local]


def _undressed(addresses: tuple[Multiaddr, ...]) -> list[Multiaddr]:
    """Without ``/p2p/ID``, as identify has them."""
    return [replace(parse_endpoint(each), peer=None).multiaddr for each in addresses]
