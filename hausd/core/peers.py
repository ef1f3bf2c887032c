"""Names and addresses of other nodes, as text, and what they say they can give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

PeerId = NewType("PeerId", str)
"""A libp2p peer id in base58 (``12D3KooW…``, ``Qm…``)."""

MAX_ADDRESSES = 4
"""Most addresses of one peer that are told or taken."""
MAX_ADDRESS_CHARS = 256

_PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,64}")
_ADDRESS = re.compile(r"/[!-~]{1,255}")


def parse_peer_id(untrusted: str) -> PeerId:
    """Checks the form of a peer id; raises ValueError."""
    if not _PEER_ID.fullmatch(untrusted):
        raise ValueError("a peer id is base58 text of 32 to 64 characters")
    return PeerId(untrusted)


def is_address(untrusted: str) -> bool:
    """Whether this may be a multiaddr: it is short and printable; who dials it parses it."""
    return _ADDRESS.fullmatch(untrusted) is not None


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A peer and where it can be dialled: multiaddrs as text, at most MAX_ADDRESSES."""

    peer: PeerId
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gives:
    """How many copies of a room a node can send on: ``slots`` in all, ``free`` of them now.

    ``free`` counts those of the nodes below it too. Said by the node itself, so it may be a lie:
    it decides who is asked first, never whether something is believed.
    """

    slots: int = 0
    free: int = 0


GIVES_NOTHING = Gives()
MAX_GIVES = 65_535
"""More slots than this are said as so many."""
MAX_HOPS = 64
"""A node further from the origin than this does not let anyone wait for it."""
