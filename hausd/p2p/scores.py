"""How well peers behave on topics, and what comes of it. Pure: the time is passed in."""

from __future__ import annotations

import math
from collections import OrderedDict
from enum import Enum

from hausd.core.peers import PeerId

FIRST_DELIVERY = 0.05
MAX_GOOD = 5.0
REJECTED = 10.0
"""A message that breaks the rules: bad signature, bad form, not its author's."""
BROKEN_RPC = 30.0
"""Bytes that are no RPC at all."""
DROP_BELOW = -50.0
BAN_BELOW = -100.0
BAN_S = 600.0
HALF_LIFE_S = 60.0
_MAX_PEERS = 4096
"""Beyond it, whoever did something longest ago is forgotten."""


class Consequence(Enum):
    """What is to be done about a peer."""

    NONE = "none"
    DROP = "drop"
    BAN = "ban"


class Scores:
    """A number for each peer, which returns to 0 with time. It outlives a connection."""

    def __init__(self) -> None:
        self._scores: OrderedDict[PeerId, tuple[float, float]] = OrderedDict()

    def score(self, peer: PeerId, now_s: float) -> float:
        value, at_s = self._scores.get(peer, (0.0, now_s))
        return value * math.pow(0.5, (now_s - at_s) / HALF_LIFE_S)

    def reward(self, peer: PeerId, now_s: float) -> None:
        """It was the first to deliver a good message."""
        self._set(peer, min(MAX_GOOD, self.score(peer, now_s) + FIRST_DELIVERY), now_s)

    def punish(self, peer: PeerId, penalty: float, now_s: float) -> Consequence:
        """It did wrong; gives what is to be done now."""
        before = self.score(peer, now_s)
        after = before - penalty
        self._set(peer, after, now_s)
        if after < BAN_BELOW:
            return Consequence.BAN
        return Consequence.DROP if after < DROP_BELOW <= before else Consequence.NONE

    def _set(self, peer: PeerId, score: float, now_s: float) -> None:
        self._scores.pop(peer, None)
        self._scores[peer] = (score, now_s)
        if len(self._scores) > _MAX_PEERS:
            self._scores.popitem(last=False)
