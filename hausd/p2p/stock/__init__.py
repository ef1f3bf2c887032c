"""Everything that touches py-libp2p: handshake, gossip, and the faces it needs to see.

Nothing of its types leaves this package. Importing it checks the version: what is mended here was
found in exactly this one (docs/decisions/0011-p2p.md lists the faults).
"""

from __future__ import annotations

from importlib.metadata import version

_VERSION = "0.8.1"

if version("libp2p") != _VERSION:
    raise ImportError(f"the mends were made for libp2p {_VERSION}: look at each again")
