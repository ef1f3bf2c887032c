"""What a node that pulls is to do next, as ``policy.parents`` decides it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

import msgspec

from hausd.core.peers import PeerId

K = TypeVar("K", bound=Hashable)
"""What names a leaf: a CID."""

EARLY_S = 0.25
"""A request that may wait, for a leaf that its answerer has not heard of, is held for so long: its
asker may have heard of it sooner, by about the way of an announcement. Nobody waits in a ring so:
who has not heard of a leaf asks nobody for it."""


# There are several of these for every leaf: a struct takes a tenth of a frozen dataclass's time.
class Ask(msgspec.Struct, Generic[K], frozen=True, gc=False):
    """Ask this peer for these leaves; ``wait_s`` 0: for an answer at once.

    ``hops`` goes with the request: see ``parents.Pull.admits``. So does what this node gives;
    without a wait only its own slots, or whoever is asked by many counts copies below them twice.
    A peer that isn't connected is dialled; where that fails, ``Pull.gone`` is told.
    """

    peer: PeerId
    leaves: tuple[K, ...]
    wait_s: float
    hops: int


class Withdraw(msgspec.Struct, Generic[K], frozen=True, gc=False):
    """Cancel what was asked of this peer for a leaf."""

    peer: PeerId
    leaf: K


class Lost(msgspec.Struct, Generic[K], frozen=True, gc=False):
    """The leaf's time is over. Whoever waits for it here gets a *none*."""

    leaf: K


Action = Ask[K] | Withdraw[K] | Lost[K]


def joined(actions: list[Action[K]]) -> list[Action[K]]:
    """Requests to one peer for several leaves become one."""
    made: list[Action[K]] = []
    places: dict[tuple[PeerId, float, int], int] = {}
    for action in actions:
        if isinstance(action, Ask):
            place = places.setdefault((action.peer, action.wait_s, action.hops), len(made))
            if place < len(made):
                earlier = made[place]
                assert isinstance(earlier, Ask)
                made[place] = Ask(
                    action.peer, (*earlier.leaves, *action.leaves), action.wait_s, action.hops
                )
                continue
        made.append(action)
    return made
