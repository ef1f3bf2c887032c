"""Connections that nobody needs for long: to peers that are asked something once, and from those
that ask us. Without this a node in a large DHT would fill its places with strangers."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from hausd.core.clock import Clock
from hausd.core.peers import (
    Direction,
    Endpoint,
    PeerId,
    PeerStream,
    PeerUnreachable,
    ProtocolRefused,
    StreamBroken,
)
from hausd.p2p import metrics
from hausd.p2p.connection import Connection
from hausd.p2p.network import Network
from hausd.policy.reach import Reach

MAX_VISITS = 32
"""Kept open after their use, since one lookup asks whom the last one asked; fewer where a node may
have few connections."""
_DIALS_AT_ONCE = 32
KEEP_PROTOCOL = "/haus/keep/1"
"""A stream of it says: do not take this connection for a visit, I want gossip of you. No bytes."""
_KEEP_S = 5.0
_LOOK_S = 10.0
_STRANGER_MS = 60_000
"""A peer that came by itself has so long to show what it came for."""


class Visits:
    """``needed`` says whether a peer takes part in a room of ours."""

    def __init__(self, network: Network, clock: Clock, needed: Callable[[PeerId], bool]) -> None:
        self._network = network
        self._clock = clock
        self._needed = needed
        self._in_use: Counter[PeerId] = Counter()
        self._dials = trio.CapacityLimiter(_DIALS_AT_ONCE)
        network.handle(KEEP_PROTOCOL, self._asked_to_keep)

    @asynccontextmanager
    async def visit(
        self, peer: PeerId, endpoints: Iterable[Endpoint], told_at: Reach = Reach.MACHINE
    ) -> AsyncIterator[Connection]:
        """A connection to a peer, by one of these addresses where there is none yet.

        ``told_at``: from where the addresses were told, see ``policy.reach``. Raises
        PeerUnreachable. The caller sets the deadline.
        """
        self._in_use[peer] += 1
        try:
            yield await self._reached(peer, endpoints, told_at)
        finally:
            self._in_use[peer] -= 1
            if not self._in_use[peer]:
                del self._in_use[peer]
                self._trim()

    async def ask_to_keep(self, connection: Connection) -> None:
        """Who came to us may have come for a question only; asks them to stay, once."""
        if connection.direction is Direction.OUT or connection.asked_to_keep:
            return
        connection.asked_to_keep = True
        with trio.move_on_after(_KEEP_S), suppress(PeerUnreachable, ProtocolRefused, StreamBroken):
            stream, _ = await self._network.open_stream(connection.peer, KEEP_PROTOCOL)
            await stream.aclose()

    async def _asked_to_keep(self, stream: PeerStream) -> None:
        """Gossip shows whether the peer has a room in common with us; else it is a visit still."""
        await trio.lowlevel.checkpoint()
        connection = self._network.connection(stream.peer)
        if connection is not None:
            connection.kept.set()

    async def run(self) -> None:
        """Closes now and then what is not needed, until cancelled."""
        while True:
            await trio.sleep(_LOOK_S)
            self._trim()

    async def _reached(
        self, peer: PeerId, endpoints: Iterable[Endpoint], told_at: Reach
    ) -> Connection:
        why = PeerUnreachable("nobody knows where the peer is")
        connection = self._network.connection(peer)
        for endpoint in endpoints if connection is None else ():
            try:
                async with self._dials:
                    await self._network.dial(peer, endpoint, told_at, visit=True)
            except PeerUnreachable as error:
                why = error
            else:
                break
        connection = self._network.connection(peer)
        if connection is None:
            raise why
        return connection

    def _trim(self) -> None:
        places = self._network.limits.connections
        idle = [one for one in self._network.connections() if not self._in_use[one.peer]]
        idle = [one for one in idle if not self._needed(one.peer)]
        self._close([one for one in idle if one.visit], min(MAX_VISITS, places // 8))
        # half of the places that strangers may have are kept for those who come for a room
        self._close([one for one in idle if self._stranger(one)], places * 3 // 8)

    def _stranger(self, connection: Connection) -> bool:
        """Who came long ago and asks nothing now. Nodes of ours keep a stream open for gossip."""
        old = self._clock.now_ms() - connection.since_ms >= _STRANGER_MS
        return old and connection.direction is Direction.IN and not connection.handlers

    def _close(self, connections: Sequence[Connection], most: int) -> None:
        """Those that began first go first."""
        for one in connections[: max(0, len(connections) - most)]:
            metrics.VISITS_CLOSED.labels(one.direction).inc()
            self._network.drop(one.peer, "it was not needed any more")
