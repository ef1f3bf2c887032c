"""The node's part in the network: opened from the configuration, seen and steered by its operator.

Without ``p2p.listen`` there is none, and the rooms of this node are its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from hausd.blocks.store import Store
from hausd.config import Config
from hausd.config.home import Home, node_key
from hausd.core.errors import Problem
from hausd.core.keys import SigningKey
from hausd.core.peers import (
    HostLimits,
    HostSettings,
    Multiaddr,
    PeerUnreachable,
    PeerView,
    parse_multiaddr,
    parse_peer_id,
)
from hausd.core.shapes import PeerShape
from hausd.p2p import Host, PeerBook, open_host
from hausd.p2p.bitswap import Bitswap, BlockReader, open_bitswap
from hausd.p2p.exchange import Exchange, Shared, UploadSettings, open_exchange
from hausd.p2p.kad import Dht, DhtMode, open_dht
from hausd.policy.watching import WatchKey
from hausd.presence import Presence
from hausd.rooms.directory import Directory
from hausd.rooms.manager import Rooms
from hausd.rooms.ondemand import OnDemand
from hausd.rooms.relaying import Relaying
from hausd.rooms.room import RoomParts

_CONNECT_S = 15.0


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """What the operator may ask of the network."""

    host: Host
    exchange: Exchange
    dht: Dht
    watch_key: WatchKey
    bitswap: Bitswap

    @property
    def address(self) -> Multiaddr | None:
        """Where other nodes reach this one."""
        return next(iter(self.host.addresses), None)

    def peers(self) -> Sequence[PeerShape]:
        """Who is connected."""
        return [_shape(view) for view in self.host.peers()]

    async def connect(self, untrusted_address: str) -> PeerShape:
        """Connects with a node. Raises Problem."""
        try:
            address = parse_multiaddr(untrusted_address)
            with trio.fail_after(_CONNECT_S):
                peer = await self.host.connect(address)
        except ValueError as fault:
            hint = "the other node's `hausctl status` shows its address"
            raise Problem("bad-address", str(fault), hint, 422) from fault
        except (PeerUnreachable, trio.TooSlowError) as fault:
            why = str(fault) or f"no answer within {_CONNECT_S:g} s"
            hint = "is it running, and does it listen where others can reach it (p2p.listen)?"
            raise Problem(
                "unreachable", f"{untrusted_address} can't be reached: {why}", hint, 502
            ) from fault
        for view in self.host.peers():
            if view.id == peer:
                return _shape(view)
        raise Problem("unreachable", f"{untrusted_address} closed the connection", status=502)

    def ban(self, untrusted_peer: str, for_s: float) -> None:
        """Disconnects a node and refuses it for a while. Raises Problem."""
        try:
            peer = parse_peer_id(untrusted_peer)
        except ValueError as fault:
            hint = "`hausctl peers list` shows who is connected"
            raise Problem("bad-peer", str(fault), hint, 422) from fault
        self.host.ban(peer, for_s, "the operator wished it")


@asynccontextmanager
async def open_network(
    home: Home, config: Config, shared: Shared, blocks: BlockReader
) -> AsyncIterator[NodeNetwork]:
    """Takes part in the network until the context is left. Raises p2p.ListenFailed.

    ``blocks``: what is in the store, which anyone may have.
    """
    seed = node_key(home).private_bytes_raw()
    key = SigningKey(seed)
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    book = PeerBook.read(home.path / "peers.json", now_ms)
    uploads = UploadSettings(config.p2p.upload / 8, config.p2p.origin_copies)
    async with (
        open_host(_settings(config), key, book) as host,
        open_exchange(host, shared, uploads) as exchange,
        open_dht(host, DhtMode(config.p2p.dht)) as dht,
        open_bitswap(host, blocks, exchange.uploads, dht) as bitswap,
    ):
        yield NodeNetwork(host, exchange, dht, WatchKey(seed), bitswap)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What this node knows of other nodes' rooms, and how it comes to be in them."""

    directory: Directory
    presence: Presence
    on_demand: OnDemand


@asynccontextmanager
async def open_elsewhere(
    network: NodeNetwork, rooms: Rooms, store: Store, parts: RoomParts
) -> AsyncIterator[Elsewhere]:
    """Hears of rooms, joins and relays them until the context is left."""
    host, exchange, dht = network.host, network.exchange, network.dht
    directory = Directory(rooms, parts.clock, parts.chain)
    presence = Presence(host, exchange, dht, rooms, directory, store, parts.clock)
    on_demand = OnDemand(rooms, directory, exchange, network.watch_key, presence.find_card)
    relaying = Relaying(rooms, directory, store, host.peer_id, lambda: parts.settings.relay)
    async with (
        directory.open(exchange),
        presence.open(),
        on_demand.open(),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(relaying.run)
        yield Elsewhere(directory, presence, on_demand)
        nursery.cancel_scope.cancel()


def _settings(config: Config) -> HostSettings:
    p2p = config.p2p
    return HostSettings(
        listen=(parse_multiaddr(p2p.listen),),
        announce=tuple(map(parse_multiaddr, p2p.announce)),
        bootstrap=tuple(map(parse_multiaddr, p2p.bootstrap)),
        mdns=p2p.mdns,
        limits=HostLimits(connections=p2p.max_peers, bytes_per_s_per_peer=p2p.peer_rate // 8),
    )


def _shape(view: PeerView) -> PeerShape:
    return PeerShape(
        id=view.id,
        addresses=list(view.addresses),
        direction="in" if view.direction == "in" else "out",
        since=datetime.fromtimestamp(view.since_ms / 1000, UTC),
        rtt_ms=round(view.rtt_s * 1000, 1) if view.rtt_s is not None else None,
        received_bytes=view.received_bytes,
        sent_bytes=view.sent_bytes,
        score=round(view.score, 1),
    )
