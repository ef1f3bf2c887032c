"""How long a neighbour takes to answer and how fast its bytes come. Pure: times are passed in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from hausd.core.peers import PeerId

MAX_PEERS = 1024

_MEAN_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4
"""Gains of RFC 6298, which was made for the same question."""
_RATE_GAIN = 1 / 4


@dataclass(slots=True)
class Estimate:
    """A smoothed mean with its mean deviation; ``late`` is what hardly any value is above."""

    mean: float = 0.0
    deviation: float = 0.0
    known: bool = False

    def add(self, value: float) -> None:
        """Takes a measured value."""
        if not self.known:
            self.mean, self.deviation, self.known = value, value / 2, True
            return
        self.deviation += _DEVIATION_GAIN * (abs(value - self.mean) - self.deviation)
        self.mean += _MEAN_GAIN * (value - self.mean)

    def late(self, unknown: float) -> float:
        """Mean and four deviations; ``unknown`` where nothing was measured yet."""
        return self.mean + 4 * self.deviation if self.known else unknown


@dataclass(slots=True)
class _Peer:
    answer: Estimate = field(default_factory=Estimate)
    bytes_per_s: float = 0.0
    resting_until_s: float = 0.0
    rests: int = 0
    """How many there were since it carried something."""


class Estimates:
    """What is known of each peer's speed, for as many as were heard of last (MAX_PEERS).

    A peer that was busy, late or gone *rests*: nobody asks it on its own account until then. Each
    rest is twice as long as the one before, until it carries something. What is heard of it while
    it rests is no further rest: it refuses all that was asked of it, one by one.
    """

    def __init__(self, max_peers: int = MAX_PEERS) -> None:
        self._max_peers = max_peers
        self._peers: OrderedDict[PeerId, _Peer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._peers)

    def answered(self, peer: PeerId, took_s: float) -> None:
        """An answer without a block, to what did not wait: a round trip."""
        self._of(peer).answer.add(took_s)

    def carried(self, peer: PeerId, size_bytes: int, took_s: float, waited: bool) -> None:
        """A block came. ``waited``: the answerer may have waited for it itself."""
        one = self._of(peer)
        one.rests = 0
        one.resting_until_s = 0.0
        if waited:
            return
        transfer_s = max(took_s - (one.answer.mean if one.answer.known else 0.0), 1e-3)
        rate = size_bytes / transfer_s
        one.bytes_per_s += _RATE_GAIN * (rate - one.bytes_per_s) if one.bytes_per_s else rate
        if not one.answer.known:
            one.answer.add(took_s)

    def patience_s(self, peer: PeerId, size_bytes: int, unknown_s: float) -> float:
        """When an answer of so many bytes, asked for without a wait, has become late."""
        one = self._peers.get(peer)
        if one is None:
            return unknown_s
        transfer_s = size_bytes / one.bytes_per_s if one.bytes_per_s else 0.0
        return one.answer.late(unknown_s) + 2 * transfer_s

    def latency_s(self, peer: PeerId, unknown_s: float) -> float:
        """A round trip to this peer, as far as known."""
        one = self._peers.get(peer)
        return one.answer.mean if one is not None and one.answer.known else unknown_s

    def throughput_bytes_per_s(self, peer: PeerId) -> float:
        """What this peer's blocks came at; 0 where nothing is known."""
        one = self._peers.get(peer)
        return one.bytes_per_s if one is not None else 0.0

    def rest(self, peer: PeerId, now_s: float, first_s: float, most_s: float) -> None:
        """This peer is left alone for ``first_s``, at the next times for longer."""
        one = self._of(peer)
        if one.resting_until_s <= now_s:
            one.rests = min(one.rests + 1, 16)
        rest_s = min(first_s * 2 ** (one.rests - 1), most_s)
        one.resting_until_s = max(one.resting_until_s, now_s + rest_s)

    def rests(self, peer: PeerId, now_s: float) -> bool:
        """Whether this peer is to be left alone for now."""
        one = self._peers.get(peer)
        return one is not None and one.resting_until_s > now_s

    def _of(self, peer: PeerId) -> _Peer:
        one = self._peers.get(peer)
        if one is None:
            one = self._peers[peer] = _Peer()
            if len(self._peers) > self._max_peers:
                self._peers.popitem(last=False)
        else:
            self._peers.move_to_end(peer)
        return one
