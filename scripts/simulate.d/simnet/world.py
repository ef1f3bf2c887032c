"""What the simulated internet is like. Every figure is an assumption; change them here."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from hausd.policy.uploads import ORIGIN_COPIES as ORIGIN_COPIES

STREAM_BPS = 3_000_000
PART_S = 0.4
PART_BYTES = int(STREAM_BPS * PART_S / 8)
ORIGIN_UPLINK_BPS = 20_000_000

UPLINKS: tuple[tuple[float, float], ...] = (
    (0.15, 2e6),
    (0.20, 6e6),
    (0.25, 12e6),
    (0.20, 25e6),
    (0.12, 50e6),
    (0.08, 200e6),
)
"""Share of nodes, and their uplink in bit/s: mobile and DSL, cable, fibre."""
USED_SHARE = 0.7
"""Of its uplink a node gives so much; gossip, acknowledgements and its owner have the rest."""
MOST_COPIES = 12
FREE_RIDERS = 0.2
"""Share of nodes that give nothing, whatever they have."""
ACCESS_S = (0.002, 0.020)
"""One-way delay of the last mile, evenly spread."""
WORLD_S = 0.080
"""One-way delay across the world; nodes are spread evenly over a square of this side's half."""
JITTER_S = 0.004
"""Mean of the exponential jitter of each message."""
RETRANSMITTED, RETRANSMISSION_S = 0.01, 0.2
"""Share of messages that lose a packet, and what that costs over TCP."""
LIFETIME_S = 300.0
"""Mean time that a node stays; it leaves without a word."""
NOTICE_S, SILENT, SILENT_NOTICE_S = 0.3, 0.2, 15.0
"""After so long peers notice that one left; of the share SILENT only by a missing ping."""
MESH = 8
"""Degree of the gossip mesh."""
GOSSIP_S = 0.002
"""A node's time to verify an announcement and pass it on."""
_PER_SIDE_S = WORLD_S / math.sqrt(2)


@dataclass(slots=True)
class Place:
    """Where a node is, and what it can send and gives (bit/s)."""

    x: float
    y: float
    access_s: float
    uplink_bps: float
    given_bps: float


class World:
    """Draws nodes and delays, from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._draw = self.random.random

    def origin(self) -> Place:
        """A home's uplink."""
        given = ORIGIN_COPIES * STREAM_BPS
        return Place(0.5, 0.5, 0.008, ORIGIN_UPLINK_BPS, given)

    def place(self, free_riders: float) -> Place:
        """A node somewhere."""
        draw = self.random
        chance, uplink = draw.random(), UPLINKS[-1][1]
        for share, bps in UPLINKS:
            if chance < share:
                uplink = bps
                break
            chance -= share
        given = min(uplink * USED_SHARE, MOST_COPIES * STREAM_BPS)
        if draw.random() < free_riders:
            given = 0.0
        return Place(draw.random(), draw.random(), draw.uniform(*ACCESS_S), uplink, given)

    def delay_s(self, a: Place, b: Place) -> float:
        """One way, for one message."""
        return least_s(a, b) + self.more_s()

    def more_s(self) -> float:
        """What a message takes beyond the least: jitter, and now and then a packet sent again."""
        more_s = -math.log(1.0 - self._draw()) * JITTER_S
        return more_s + RETRANSMISSION_S if self._draw() < RETRANSMITTED else more_s


def least_s(a: Place, b: Place) -> float:
    """One way, without jitter."""
    return a.access_s + b.access_s + math.hypot(a.x - b.x, a.y - b.y) * _PER_SIDE_S
