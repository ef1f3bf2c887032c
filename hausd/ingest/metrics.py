"""What ingest counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

CONNECTIONS = Counter(
    "hausd_ingest_connections", "Connections accepted from encoders", ["protocol"]
)
CONNECTIONS_OPEN = Gauge("hausd_ingest_connections_open", "Connections from encoders now")
PUBLISHING = Gauge("hausd_ingest_publishing", "Encoders that publish now")
REFUSED = Counter("hausd_ingest_refused", "Connections and publish requests refused", ["reason"])
ATTEMPTS_LIMITED = Counter(
    "hausd_ingest_attempts_limited",
    "Publish requests refused unread after too many wrong keys from their address",
)
CLOSED = Counter("hausd_ingest_closed", "Connections closed, by why", ["reason"])
BYTES = Counter("hausd_ingest_bytes", "Bytes received from encoders")
TAGS = Counter("hausd_ingest_tags", "FLV tags handed to rooms")
