"""Connects with peers that are said to have a block."""

from __future__ import annotations

from collections import OrderedDict

import structlog
import trio

from hausd.core.peers import PeerAddress, PeerId, PeerUnreachable
from hausd.p2p.host import Host
from hausd.policy.reach import Reach, reach

log = structlog.get_logger("hausd.p2p")

_DIAL_S = 10.0
_AT_ONCE = 8
_MAX_KEPT = 16
"""Peers that were dialled for a block and stay connected; the first that came goes first."""


class Dialling:
    """Peers that are dialled for their blocks alone."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._places = trio.CapacityLimiter(_AT_ONCE)
        self._dialled: OrderedDict[PeerId, None] = OrderedDict()

    async def reach(self, named: PeerAddress) -> bool:
        """Whether the peer is connected now; dials it where it may be dialled.

        Nobody's word sends us to our own machine or network, unless that is where we are reached.
        """
        if named.peer in self._host.connected():
            return True
        if named.peer == self._host.peer_id:
            return False
        async with self._places:
            with trio.move_on_after(_DIAL_S):
                try:
                    await self._host.connect_told(named, self._nearest())
                except PeerUnreachable as fault:
                    log.debug("provider-unreachable", peer=named.peer, because=str(fault))
                    return False
                await self._keep(named.peer)
                return True
        return False

    def _nearest(self) -> Reach:
        """The nearest place from which this node is reached."""
        found = (reach(end) for end in self._host.bound)
        return min((each for each in found if each is not None), default=Reach.WORLD)

    async def _keep(self, peer: PeerId) -> None:
        self._dialled[peer] = None
        for gone in self._dialled.keys() - set(self._host.connected()):
            del self._dialled[gone]
        while len(self._dialled) > _MAX_KEPT:
            oldest, _ = self._dialled.popitem(last=False)
            await self._host.disconnect(oldest)
