"""What Bitswap needs of the node, as Protocols."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from hausd.core.cid import CID


class BlockReader(Protocol):
    """The blocks that this node has and that anyone may have."""

    def has(self, cid: CID) -> bool:
        """Whether a block is here; never looks at the disk."""

    async def block(self, cid: CID) -> bytes | None:
        """A block's bytes, compared with its CID; None where it is not here."""


class Upload(Protocol):
    """The node's upload budget, which all protocols share."""

    async def turn(self, flow: Hashable, weight: float, size_bytes: int) -> None:
        """Returns when so many bytes may be sent; ``flow`` has its weight's share."""
