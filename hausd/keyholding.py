"""Keys of gated rooms as the node has them: who is asked for them, who gets them, and what their
operator may do.

Without ``p2p.listen`` the keys are those of this node's own rooms, and of what was imported.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog
import trio

from hausd.chain.ticketing import Tickets
from hausd.config import Config
from hausd.config.home import Home, node_key
from hausd.core.clock import Clock
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey, open_room_authority
from hausd.core.peers import (
    MAX_ADDRESSES,
    PeerAddress,
    PeerId,
    PeerStream,
    is_address,
    parse_endpoint,
    peer_id_of,
)
from hausd.core.sealing import SealingKey
from hausd.events import NodeChain, NodeEvents
from hausd.keys.asking import KeyAsking
from hausd.keys.holder import KeyHolder
from hausd.keys.leases import open_leases
from hausd.keys.operating import Genesis, KeysOperator
from hausd.keys.playing import Playing
from hausd.keys.ports import GatedEvent
from hausd.keys.ring import KeyRing, open_ring
from hausd.keys.wrapping import WrapFault, WrapTerms, open_wrapper
from hausd.network import NodeNetwork
from hausd.p2p import Host
from hausd.policy.reach import Reach
from hausd.rooms.followed_room import FollowedRoom
from hausd.rooms.manager import Rooms
from hausd.rooms.origin_room import OriginRoom
from hausd.rooms.room import Room
from hausd.wire.keys import PROTOCOL
from hausd.wire.naming import MAX_NAMED

log = structlog.get_logger("hausd.keys")

_LOOK_S, _PAUSE_S = 10.0, 5.0


class KeysFailed(Exception):
    """The keys can't be opened; ``args[0]`` says why, ``hint`` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class NodeKeys:
    """``rooms`` is set once they are open."""

    def __init__(self, ring: KeyRing, operator: KeysOperator, holders: tuple[PeerAddress, ...]):
        self.ring = ring
        self.operator = operator
        self.holders = holders
        """This node and those that its operator chose: named in the heads of its gated rooms."""
        self.holder: KeyHolder | None = None
        self.rooms: Rooms | None = None
        self.playing: Playing | None = None

    def apply(self, config: Config) -> None:
        """Takes over what a running node can."""
        if self.playing is not None:
            self.playing.playbacks.each = config.keys.playbacks
            self.playing.grace_s = config.keys.epoch_s
        if self.holder is not None:
            self.holder.delegates = config.keys.delegates


@asynccontextmanager
async def open_keys(
    home: Home, config: Config, network: NodeNetwork | None, events: NodeEvents, clock: Clock
) -> AsyncIterator[NodeKeys]:
    """Keeps, gives and asks for keys until the context is left. Raises KeysFailed."""
    seed = node_key(home).private_bytes_raw()
    key, me = SealingKey.of_node(seed), peer_id_of(SigningKey(seed).public)
    terms = WrapTerms(config.keys.wrap, home.keys_dir, me, config.keys.wrap_command)
    async with AsyncExitStack() as stack:
        try:
            wrapper = await trio.to_thread.run_sync(open_wrapper, terms)
            ring = await stack.enter_async_context(open_ring(home.keys_dir, wrapper, clock))
        except WrapFault as fault:
            raise KeysFailed(str(fault), fault.hint) from fault
        except (sqlite3.Error, OSError) as fault:
            hint = "put keys/ in the home back from a backup, or move it away"
            raise KeysFailed(f"the keys in {home.keys_dir} can't be read: {fault}", hint) from fault
        now_s = clock.now_ms() / 1000
        leases = await stack.enter_async_context(open_leases(home.keys_dir, now_s))
        operator = KeysOperator(ring, key, me, _genesis(events.chain) if events.chain else None)
        nodes = NodeKeys(ring, operator, _holders(config, network))
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        playing = nodes.playing = Playing(
            ring,
            events.tickets,
            _Events(nodes, events),
            clock,
            leases,
            seed,
            (me, key.public),
            each=config.keys.playbacks,
            grace_s=config.keys.epoch_s,
        )
        nursery.start_soon(playing.run)
        if network is not None:
            _take_part(nodes, network, events, config, key, clock, nursery)
        yield nodes


def _take_part(
    nodes: NodeKeys,
    network: NodeNetwork,
    events: NodeEvents,
    config: Config,
    key: SealingKey,
    clock: Clock,
    nursery: trio.Nursery,
) -> None:
    ring, known = nodes.ring, _Events(nodes, events)
    asking = KeyAsking(ring, known, _Peers(network), key, clock)
    ring.ask_others, ring.told = asking.ask, asking.forget
    tickets = events.tickets
    if tickets is None:
        return
    me = network.host.peer_id
    holder = nodes.holder = KeyHolder(ring, tickets, known, clock, me, config.keys.delegates)
    nodes.operator.holder, tickets.passed_on = holder, holder.passed_on
    network.host.handle(PROTOCOL, holder.serve)
    nursery.start_soon(_renew, nodes, holder, tickets)


def _genesis(chain: NodeChain) -> Genesis:
    async def genesis() -> str:
        return (await chain.chain()).genesis

    return genesis


async def _renew(nodes: NodeKeys, holder: KeyHolder, tickets: Tickets) -> None:
    """Who has a key and lost the ticket, or was banned, sees nothing of what comes after: the room
    begins another epoch."""
    while True:
        with trio.move_on_after(_LOOK_S):
            await tickets.changed()
        for room in nodes.rooms.origins() if nodes.rooms is not None else ():
            for wallet in await holder.lost(room.id):
                log.info("ticket-lost", room=room.id, wallet=wallet)
                room.epochs.renew()
        await trio.sleep(_PAUSE_S)


def _holders(config: Config, network: NodeNetwork | None) -> tuple[PeerAddress, ...]:
    if network is None:
        return ()
    host = network.host
    named = {host.peer_id: [str(each) for each in host.addresses]}
    for each in config.keys.holders:
        peer = parse_endpoint(each).peer
        if peer is not None:
            named.setdefault(peer, []).append(each)
    # what a head can't say would keep it from being signed
    told = {peer: tuple(filter(is_address, at))[:MAX_ADDRESSES] for peer, at in named.items()}
    return tuple(PeerAddress(peer, at) for peer, at in told.items())[:MAX_NAMED]


class _Events:
    """Implements ``keys.ports.Events``."""

    def __init__(self, nodes: NodeKeys, events: NodeEvents) -> None:
        self._nodes = nodes
        self._events = events

    def event(self, room: RoomId) -> GatedEvent | None:
        if open_room_authority(room) is not None:
            # no chain knows it: its keys are those of the nodes that its head names
            named = self._named(room)
            return GatedEvent(b"", "", named) if named else None
        known = self._events.known
        event = known.known(room) if known is not None else None
        if event is None:
            # of a room that is not here, and of which no key is, nothing has to be known
            if known is not None and (self._room(room) or self._nodes.ring.has_of(room)):
                known.want(room, own=True)
            return None
        if not event.gated and not self._sealed(room):
            return None
        return GatedEvent(event.chain, event.artist, self._named(room))

    def _sealed(self, room: RoomId) -> bool:
        """Whether anything of a room is sealed, as where its chain was not known when it began."""
        found = self._room(room)
        return found is not None and found.gated

    def _room(self, room: RoomId) -> Room | None:
        return self._nodes.rooms.get(room) if self._nodes.rooms is not None else None

    def _named(self, room: RoomId) -> tuple[PeerAddress, ...]:
        found = self._room(room)
        if isinstance(found, OriginRoom):
            return self._nodes.holders if found.gated else ()
        if isinstance(found, FollowedRoom) and found.newest is not None:
            return found.newest.holders
        return ()


class _Peers:
    """Implements ``keys.ports.Peers``."""

    def __init__(self, network: NodeNetwork) -> None:
        self._network = network

    @property
    def me(self) -> PeerId:
        return self._network.host.peer_id

    def neighbours(self, room: RoomId) -> Sequence[PeerId]:
        return self._network.exchange.neighbours(room)

    @asynccontextmanager
    async def stream(self, peer: PeerAddress, protocol: str) -> AsyncIterator[PeerStream]:
        host = self._network.host
        # heads come from neighbours in the room: what leads nearer than the nearest is left out
        near = [host.reach_of(one) for one in host.connected()]
        async with stream_to(host, peer, protocol, min(near, default=Reach.WORLD)) as stream:
            yield stream


@asynccontextmanager
async def stream_to(
    host: Host, peer: PeerAddress, protocol: str, told_at: Reach
) -> AsyncIterator[PeerStream]:
    """A stream to a peer, which is visited where it is not connected; it is reset at the end.

    ``told_at``: from where its addresses were told. Those of kinds that are not dialled here (QUIC,
    WebSocket) are left out. Raises PeerUnreachable, ProtocolRefused,
    StreamBroken.
    """
    ends = []
    for untrusted in peer.addresses:
        with suppress(ValueError):
            ends.append(parse_endpoint(untrusted))
    async with host.visit(peer.peer, ends, told_at):
        stream = await host.open_stream(peer.peer, protocol)
        try:
            yield stream
        finally:
            stream.reset()
