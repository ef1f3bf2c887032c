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
VISITS_CLOSED = Counter(
    "hausd_peers_visits_closed", "Connections closed since nobody needed them", ["direction"]
)
DIALS_FAILED = Counter("hausd_peers_dials_failed", "Dials of known peers that failed")
MESSAGES = Counter("hausd_topics_messages", "Messages from peers, by what became of them", ["fate"])
MESSAGES_LOST = Counter("hausd_topics_lost", "Messages that a full queue dropped")
PUBLISHED = Counter("hausd_topics_published", "Messages published here")
LEAVES_ASKED = Counter("hausd_leaves_asked", "Blocks asked of peers", ["how"])
LEAVES_GOT = Counter("hausd_leaves_got", "Blocks that peers sent, verified")
LEAVES_TWICE = Counter("hausd_leaves_twice", "Blocks that came more than once")
LEAVES_LOST = Counter("hausd_leaves_lost", "Blocks that nobody gave in time")
LEAVES_WRONG = Counter("hausd_leaves_wrong", "Answers whose bytes were not the block's")
LEAF_BYTES_GOT = Counter("hausd_leaves_got_bytes", "Bytes of blocks that peers sent")
LEAVES_SENT = Counter("hausd_leaves_sent", "Blocks sent to peers")
LEAF_BYTES_SENT = Counter("hausd_leaves_sent_bytes", "Bytes of blocks sent to peers")
LEAVES_REFUSED = Counter("hausd_leaves_refused", "Blocks not given to peers", ["reason"])
ROOM_QUESTIONS = Counter("hausd_room_questions", "Questions of peers about rooms")
DHT_PEERS = Gauge("hausd_dht_peers", "Peers in the routing table", ["network"])
DHT_RECORDS = Gauge("hausd_dht_records", "Records held for others", ["network", "kind"])
DHT_ASKED = Counter("hausd_dht_asked", "Questions to peers, by what became of them", ["outcome"])
DHT_ANSWERED = Counter("hausd_dht_answered", "Questions of peers that were answered", ["kind"])
DHT_REFUSED = Counter("hausd_dht_refused", "Messages of peers that were refused", ["reason"])
DHT_LOOKUPS = Counter("hausd_dht_lookups", "Lookups", ["kind"])
BITSWAP_WANTS = Counter("hausd_bitswap_wants", "Wants of Bitswap peers", ["kind"])
BITSWAP_WANTS_REFUSED = Counter(
    "hausd_bitswap_wants_refused", "Wants beyond what is kept of one peer"
)
BITSWAP_BLOCKS_SENT = Counter("hausd_bitswap_sent", "Blocks sent by Bitswap")
BITSWAP_BYTES_SENT = Counter("hausd_bitswap_sent_bytes", "Bytes of blocks sent by Bitswap")
BITSWAP_ASKED = Counter("hausd_bitswap_asked", "What was asked of Bitswap peers", ["kind"])
BITSWAP_GOT = Counter("hausd_bitswap_got", "Blocks that came by Bitswap, verified")
BITSWAP_BYTES_GOT = Counter("hausd_bitswap_got_bytes", "Bytes of blocks that came by Bitswap")
BITSWAP_TWICE = Counter("hausd_bitswap_twice", "Blocks that came when nobody waited any more")
BITSWAP_LATE = Counter("hausd_bitswap_late", "Blocks asked of another since a peer was silent")
BITSWAP_LOST = Counter("hausd_bitswap_lost", "Blocks that were not to be had in time")
BITSWAP_WRONG = Counter("hausd_bitswap_wrong", "Bytes of no block that was asked for")
