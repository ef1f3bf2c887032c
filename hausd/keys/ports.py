"""What keys need of the rest of the node, as Protocols. Only ``node`` knows who keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from hausd.core.ids import RoomId
from hausd.core.peers import PeerAddress, PeerId, PeerStream
from hausd.core.release import Ticket


class Tickets(Protocol):
    """What the chain says of tickets."""

    async def ticket(self, room: RoomId, wallet: str, *, later: bool = False) -> Ticket:
        """Of a wallet for an event; Unknown where the chain does not answer in time. ``later``:
        after all those that somebody waits for at the door."""

    async def changed(self) -> None:
        """Returns when some ticket changed on chain."""


@dataclass(frozen=True, slots=True)
class GatedEvent:
    """What decides in a room beside tickets. ``chain``: genesis hash, 32 bytes. ``artist``: a
    wallet, which needs no ticket. ``holders``: the nodes that the room's signed head names as key
    holders, the origin among them, with where they are."""

    chain: bytes
    artist: str
    holders: tuple[PeerAddress, ...] = ()


class Events(Protocol):
    """What is known of events' rooms."""

    def event(self, room: RoomId) -> GatedEvent | None:
        """What was read last; never waits. None: nothing yet, or it is no event's room."""


class Peers(Protocol):
    """Other nodes."""

    @property
    def me(self) -> PeerId: ...

    def neighbours(self, room: RoomId) -> Sequence[PeerId]:
        """Connected peers that take part in a room."""

    def stream(self, peer: PeerAddress, protocol: str) -> AbstractAsyncContextManager[PeerStream]:
        """A stream to a peer, which is connected with for as long where it is not. The caller sets
        the deadline. Raises PeerUnreachable, ProtocolRefused, StreamBroken."""
