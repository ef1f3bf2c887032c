"""Counters of the HTTP server, kept as plain integers and read when someone asks.

A prometheus counter takes a lock at each step, which the fast lane would pay for each request; so
the lanes count in a ``Tally`` and a collector gives the sums.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector


class Tally:
    """What one server has done.

    ``answered`` counts by (lane, status), ``refused`` by a short reason out of a fixed set
    (limits, malformed requests, Host and Origin), ``failed`` by the place whose fault it was.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.handed_over = 0
        self.connections = 0
        self.sent_bytes = 0
        self.fast: Counter[int] = Counter()
        self.asgi: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        _TALLIES.add(self)


_TALLIES: weakref.WeakSet[Tally] = weakref.WeakSet()


class _HttpCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        tallies = list(_TALLIES)
        open_now = GaugeMetricFamily("hausd_http_connections", "HTTP connections open now")
        open_now.add_metric((), sum(tally.connections for tally in tallies))
        yield open_now
        for name, help_text in (
            ("accepted", "HTTP connections accepted"),
            ("handed_over", "Connections handed over to the ASGI lane"),
            ("sent_bytes", "Bytes sent by the fast lane"),
        ):
            total = CounterMetricFamily(f"hausd_http_{name}", help_text)
            total.add_metric((), sum(getattr(tally, name) for tally in tallies))
            yield total
        answered = CounterMetricFamily(
            "hausd_http_answered", "Requests answered", labels=("lane", "status")
        )
        for lane in ("fast", "asgi"):
            statuses: Counter[int] = sum((getattr(tally, lane) for tally in tallies), Counter())
            for status, count in sorted(statuses.items()):
                answered.add_metric((lane, str(status)), count)
        yield answered
        for name, label, help_text in (
            ("refused", "reason", "Connections and requests refused at the door"),
            ("failed", "where", "Faults of our own while answering"),
        ):
            family = CounterMetricFamily(f"hausd_http_{name}", help_text, labels=(label,))
            reasons: Counter[str] = sum((getattr(tally, name) for tally in tallies), Counter())
            for reason, count in sorted(reasons.items()):
                family.add_metric((reason,), count)
            yield family


REGISTRY.register(_HttpCollector())
