"""The peers that ask this node for something, and what they may have open here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hausd.core.peers import PeerId, PeerStream
from hausd.p2p import metrics
from hausd.p2p.exchange.outbox import Outbox
from hausd.p2p.rate import Bucket
from hausd.wire.blocks_protocol import BlocksAnswerer

_MAX_RATES = 1024


class OneOfFew:
    """Streams that each peer has open here for one protocol; the oldest makes way for the newest.

    An honest peer needs one, and a second while it has not noticed that the first is broken.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[PeerId, list[PeerStream]] = {}

    @contextmanager
    def held(self, stream: PeerStream) -> Iterator[None]:
        """While this stream is served."""
        streams = self._open.setdefault(stream.peer, [])
        streams.append(stream)
        if len(streams) > self._most:
            metrics.STREAMS_REFUSED.labels("too-many").inc()
            streams.pop(0).reset()
        try:
            yield
        finally:
            if stream in streams:
                streams.remove(stream)
            if not streams and self._open.get(stream.peer) is streams:
                del self._open[stream.peer]


class Rates:
    """How often each peer may ask; who asks more often waits for the answer."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._buckets: OrderedDict[PeerId, Bucket] = OrderedDict()

    def wait_s(self, peer: PeerId, units: int, now_s: float) -> float:
        """Counts so many questions; gives how long their asker has to wait."""
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = Bucket(self._per_s, self._burst, now_s)
            if len(self._buckets) > _MAX_RATES:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(peer)
        return bucket.take(units, now_s)


@dataclass(slots=True, eq=False)
class Guest:
    """A peer that asks for blocks, on one stream. ``refused``: blocks since its last read."""

    peer: PeerId
    answerer: BlocksAnswerer = field(default_factory=BlocksAnswerer)
    outbox: Outbox = field(default_factory=Outbox)
    refused: int = 0
