"""Peers: what they are called, and what becomes of a message that one of them passes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NewType

PeerId = NewType("PeerId", str)
"""A peer's id in base58, as in ``12D3KooW…``: a multihash of its public key."""


class Verdict(Enum):
    """What becomes of a message on a topic."""

    ACCEPT = "accept"
    """Passed on and handed to the topic's reader."""
    IGNORE = "ignore"
    """Dropped, and nobody's fault."""
    REJECT = "reject"
    """Dropped, and whoever sent it loses score."""


Validator = Callable[[PeerId, bytes], Verdict]
"""Judges a message from a peer, at once and from what is at hand. Must not raise."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of a topic. ``peer`` is who delivered it first, not who wrote it."""

    peer: PeerId
    data: bytes
