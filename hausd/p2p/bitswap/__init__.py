"""Blocks to and from the IPFS world by Bitswap. Live never depends on it.

What is wanted of whom is ``hausd.policy.seeking``'s, the bytes are ``hausd.wire.bitswap``'s.
"""

from __future__ import annotations

from hausd.p2p.bitswap.bitswap import Bitswap, open_bitswap
from hausd.p2p.bitswap.ports import BlockReader

__all__ = ["Bitswap", "BlockReader", "open_bitswap"]
