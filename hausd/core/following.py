"""What rooms and the network say to each other of a room that several nodes have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.peers import NO_COPIES, Copies, PeerAddress, PeerId


class Priority(IntEnum):
    """What goes first where an upload or a link is short; less is sooner."""

    LIVE = 0
    CATCH_UP = 1
    """What a player may still ask for, though newer is there."""
    ARCHIVE = 2


class LeafMissing(Exception):
    """Nobody gave a block within its deadline; ``cid`` names it."""

    def __init__(self, cid: CID) -> None:
        super().__init__(f"block {cid} was not to be had")
        self.cid = cid


class SourceFailed(LeafMissing):
    """A source could not say whether it has a block: ``because`` tells why.

    ``rest_s``: how long it asked to be left alone, 0 where it said nothing of that.
    """

    def __init__(self, cid: CID, because: str, rest_s: float = 0.0) -> None:
        super().__init__(cid)
        self.args = (because,)
        self.because = because
        self.rest_s = rest_s


class SourceLied(LeafMissing):
    """A source sent bytes that are not the block's."""


class BlockSource(Protocol):
    """Somewhere that blocks are to be had from: nodes of ours, IPFS peers, HTTP gateways."""

    @property
    def name(self) -> str:
        """What logs, metrics and the operator call it."""

    async def fetch(self, cid: CID, max_bytes: int, *, deadline_s: float) -> bytes:
        """A block of at most so many bytes, verified against its CID. Raises LeafMissing.

        ``deadline_s`` is a time of ``trio.current_time``. A source of one server tells by
        SourceFailed and SourceLied whom not to ask next; one of many peers sees to that itself.
        """


class Providers(Protocol):
    """Who says that it has a block: the DHT."""

    async def find(self, cid: CID, at_most: int, *, deadline_s: float) -> Sequence[PeerAddress]:
        """Peers that claim to have what ``cid`` names, unverified; none where nobody says so."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where this node stands among those that have a room; ``hops`` counts from the origin.

    ``below``: the copies of this node and those that have it from here, as far as they say.
    ``free``: how many it could still send itself.
    """

    hops: int | None
    parent: PeerId | None
    copies: int
    neighbours: int
    below: Copies = NO_COPIES
    free: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """What a follower wants to hear of a room, besides its newest tracks and head.

    ``missing`` are numbers of ticks of ``session``; where that is not the answerer's session,
    nothing is told of them. ``recent``: so many of the newest ticks, whatever their session.
    """

    session: SessionId | None
    missing: tuple[range, ...] = ()
    recent: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """An answer to ``Ask``: signed statements as their authority signed them, unverified.

    ``tracks``: the newest of each rendition; ``head``: the newest; ``kept``: an older one, where
    that is the newest whose manifest the answerer has read; ``ticks``: oldest first. ``by`` is who
    answered.
    """

    untrusted_tracks: tuple[bytes, ...] = ()
    untrusted_head: bytes | None = None
    untrusted_ticks: tuple[bytes, ...] = ()
    by: PeerId | None = None
    untrusted_kept: bytes | None = None
