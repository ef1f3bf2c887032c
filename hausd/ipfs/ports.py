"""What pinning elsewhere needs of the node, as Protocols, and what its places have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hausd.core.peers import PeerAddress
from hausd.core.unixfs import Getter
from hausd.ipfs.table import RemotePin
from hausd.policy.reach import Reach


class TryFailed(Exception):
    """A try came to nothing; ``because`` is in a user's words and holds no secret.

    ``pause_s``: not to be tried again before that, as the other side asked.
    """

    def __init__(self, because: str, pause_s: float = 0.0) -> None:
        super().__init__(because)
        self.because = because
        self.pause_s = pause_s


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the blocks are: with this node.

    ``get`` gives them. ``addresses`` are this node's multiaddrs with ``/p2p/ID``, for who fetches
    from it; ``connect`` dials a peer that a service at that reach names, and may fail without a
    word.
    """

    get: Getter
    addresses: Callable[[], Sequence[str]]
    connect: Callable[[PeerAddress, Reach], None]


class Place(Protocol):
    """Somewhere that keeps recordings: a pinning service, a Kubo node."""

    @property
    def name(self) -> str: ...

    async def pin(self, pin: RemotePin, changed: Callable[[], None]) -> None:
        """Comes back once it is pinned there; fills in how far it is, and calls ``changed``.

        Raises TryFailed.
        """

    async def holds(self, pin: RemotePin) -> bool:
        """Whether it is pinned there still. Raises TryFailed."""

    async def unpin(self, pin: RemotePin) -> None:
        """It need not be kept there any more; also where it isn't. Raises TryFailed."""

    async def check(self) -> str:
        """Whether it is there and lets us in: what it is, in words. Raises TryFailed."""
