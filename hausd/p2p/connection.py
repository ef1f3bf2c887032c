"""What a node knows of one of its connections."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from hausd.core.peers import Direction, Endpoint, Multiaddr, PeerId
from hausd.p2p.mux import Mux
from hausd.policy.reach import Reach, reach


@dataclass(slots=True, eq=False)
class Connection:
    """A connection to a peer, from its handshake to its end."""

    mux: Mux
    address: Endpoint
    """Dialled, or come from."""
    seen_at: Endpoint
    """As the system says: where a name has led."""
    direction: Direction
    since_ms: int
    visit: bool = False
    """Dialled to ask something once, and closed again before long (see ``Visits``)."""
    kept: trio.Event = field(default_factory=trio.Event)
    """Set where it is no visit, or either end wants more of it. Till then there is no gossip."""
    asked_to_keep: bool = False
    handlers: int = 0
    known_addresses: list[Multiaddr] = field(default_factory=list)

    @property
    def peer(self) -> PeerId:
        return self.mux.peer

    def keep(self) -> None:
        """It is no visit from now on."""
        self.visit = False
        self.kept.set()

    @property
    def reach(self) -> Reach:
        """From where the peer tells of addresses."""
        seen = reach(self.seen_at)
        return seen if seen is not None else Reach.WORLD
