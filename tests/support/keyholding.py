"""Key holders and askers over real hosts on loopback; what the chain says is the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from support.delegations import BEGIN_S, CHAIN, EVENT
from support.hosts import host, seed_of

from hausd.core.clock import Clock
from hausd.core.gating import Epoch, EpochKey, new_epoch
from hausd.core.ids import RoomId
from hausd.core.peers import PeerAddress, PeerId, PeerStream
from hausd.core.release import Missing, Ticket
from hausd.core.sealing import SealingKey
from hausd.keyholding import stream_to
from hausd.keys.asking import KeyAsking
from hausd.keys.holder import KeyHolder
from hausd.keys.ports import GatedEvent, Tickets
from hausd.keys.ring import KeyRing, open_ring
from hausd.keys.wrapping import Wrapper
from hausd.p2p import Host
from hausd.policy.reach import Reach
from hausd.wire.keys import PROTOCOL

from .chain import HandClock


class ScriptedTickets:
    """Implements ``keys.ports.Tickets``: what a test says."""

    def __init__(self) -> None:
        self.told: dict[tuple[RoomId, str], Ticket] = {}
        self.everybody: Ticket = Missing()
        self.asked = self.most_at_once = self._waiting = 0
        self._changed = trio.Event()

    async def ticket(self, room: RoomId, wallet: str, *, later: bool = False) -> Ticket:
        self.asked += 1
        self._waiting += 1
        self.most_at_once = max(self.most_at_once, self._waiting)
        await trio.lowlevel.checkpoint()
        self._waiting -= 1
        return self.told.get((room, wallet), self.everybody)

    async def changed(self) -> None:
        await self._changed.wait()

    def change(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


@dataclass
class ScriptedEvents:
    """Implements ``keys.ports.Events``."""

    events: dict[RoomId, GatedEvent] = field(default_factory=dict)
    asked: int = 0

    def event(self, room: RoomId) -> GatedEvent | None:
        self.asked += 1
        return self.events.get(room)


class HostPeers:
    """Implements ``keys.ports.Peers`` over a host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.near: list[PeerId] = []

    @property
    def me(self) -> PeerId:
        return self.host.peer_id

    def neighbours(self, room: RoomId) -> Sequence[PeerId]:
        return self.near

    def stream(self, peer: PeerAddress, protocol: str) -> AbstractAsyncContextManager[PeerStream]:
        return stream_to(self.host, peer, protocol, Reach.MACHINE)


@dataclass
class KeyNode:
    """A node as far as keys go."""

    name: str
    host: Host
    peers: HostPeers
    ring: KeyRing
    tickets: ScriptedTickets
    """Where the node is not on a real chain."""
    events: ScriptedEvents
    holder: KeyHolder
    asking: KeyAsking

    @property
    def seed(self) -> bytes:
        return seed_of(self.name)

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.host.peer_id, tuple(self.host.addresses))


@asynccontextmanager
async def key_node(
    name: str,
    folder: Path,
    *,
    clock: Clock | None = None,
    delegates: int = 3,
    chain: Tickets | None = None,
) -> AsyncIterator[KeyNode]:
    """A node that asks for keys and gives them; its tickets are the test's, or on a ``chain``."""
    clock = clock or HandClock(BEGIN_S * 1000)
    home = folder / name
    home.mkdir(exist_ok=True)
    async with host(name) as one, open_ring(home, Wrapper(bytes(32)), clock) as ring:
        peers, tickets, events = HostPeers(one), ScriptedTickets(), ScriptedEvents()
        holder = KeyHolder(ring, chain or tickets, events, clock, one.peer_id, delegates)
        one.handle(PROTOCOL, holder.serve)
        key = SealingKey.of_node(seed_of(name))
        asking = KeyAsking(ring, events, peers, key, clock)
        ring.ask_others, ring.told = asking.ask, asking.forget
        yield KeyNode(name, one, peers, ring, tickets, events, holder, asking)


def gated(*holders: PeerAddress, artist: str = "nobody", chain: bytes = CHAIN) -> GatedEvent:
    return GatedEvent(chain, artist, holders)


def epoch(n: int, room: RoomId = EVENT) -> tuple[Epoch, EpochKey]:
    """Always the same epochs, by number."""
    return new_epoch(room, lambda size: n.to_bytes(1, "big") * size)
