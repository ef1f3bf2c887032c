"""Connections that nobody needs for long: to peers that are asked something once, and from those
that ask us. Without this a node in a large DHT would fill its places with strangers."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import trio

from hausd.core.clock import Clock
from hausd.core.peers import Direction, Endpoint, PeerId, PeerUnreachable
from hausd.p2p import metrics
from hausd.p2p.network import Connection, Network

MAX_VISITS = 32
"""Kept open after their use, since one lookup asks whom the last one asked."""
_LOOK_S = 10.0
_STRANGER_MS = 60_000
"""A peer that came by itself has so long to show what it came for."""


class Visits:
    """``needed`` says whether a peer takes part in something that goes on."""

    def __init__(self, network: Network, clock: Clock, needed: Callable[[PeerId], bool]) -> None:
        self._network = network
        self._clock = clock
        self._needed = needed
        self._in_use: Counter[PeerId] = Counter()

    @asynccontextmanager
    async def visit(self, peer: PeerId, endpoints: Iterable[Endpoint]) -> AsyncIterator[Connection]:
        """A connection to a peer, by one of these addresses where there is none yet.

        Raises PeerUnreachable. The caller sets the deadline.
        """
        self._in_use[peer] += 1
        try:
            yield await self._reached(peer, endpoints)
        finally:
            self._in_use[peer] -= 1
            if not self._in_use[peer]:
                del self._in_use[peer]
                self._trim()

    async def run(self) -> None:
        """Closes now and then what is not needed, until cancelled."""
        while True:
            await trio.sleep(_LOOK_S)
            self._trim()

    async def _reached(self, peer: PeerId, endpoints: Iterable[Endpoint]) -> Connection:
        why = PeerUnreachable("nobody knows where the peer is")
        connection = self._network.connection(peer)
        for endpoint in endpoints if connection is None else ():
            try:
                await self._network.dial(peer, endpoint, visit=True)
            except PeerUnreachable as error:
                why = error
            else:
                break
        connection = self._network.connection(peer)
        if connection is None:
            raise why
        return connection

    def _trim(self) -> None:
        idle = [one for one in self._network.connections() if self._idle(one)]
        self._close([one for one in idle if one.visit], MAX_VISITS)
        # half of the places that strangers may have are kept for those who come for a room
        came = [one for one in idle if one.direction is Direction.IN]
        self._close(came, self._network.limits.connections * 3 // 8)

    def _idle(self, connection: Connection) -> bool:
        if self._in_use[connection.peer] or self._needed(connection.peer):
            return False
        old = self._clock.now_ms() - connection.since_ms >= _STRANGER_MS
        return connection.visit or (old and connection.direction is Direction.IN)

    def _close(self, connections: Sequence[Connection], most: int) -> None:
        """Those that began first go first."""
        for one in connections[: max(0, len(connections) - most)]:
            metrics.VISITS_CLOSED.labels(one.direction).inc()
            self._network.drop(one.peer, "it was not needed any more")
