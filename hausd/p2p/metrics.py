"""What the metrics say of peers. Labels are bounded: never a peer, an address or a topic's room."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

PEERS = Gauge("hausd_peers_connected", "Peers connected now")
CONNECTIONS = Counter("hausd_peers_connections", "Connections begun", ["direction"])
CONNECTIONS_OPEN = Gauge(
    "hausd_peers_connections_open", "Connections now, those in their handshake as well"
)
REFUSED = Counter("hausd_peers_refused", "Connections refused or failed", ["reason"])
STREAMS_REFUSED = Counter("hausd_peers_streams_refused", "Streams refused or broken", ["reason"])
BANNED = Counter("hausd_peers_banned", "Peers banned for a while")
DIALS_FAILED = Counter("hausd_peers_dials_failed", "Dials of known peers that failed")
MESSAGES = Counter("hausd_topics_messages", "Messages from peers, by what became of them", ["fate"])
MESSAGES_LOST = Counter("hausd_topics_lost", "Messages that a full queue dropped")
PUBLISHED = Counter("hausd_topics_published", "Messages published here")
