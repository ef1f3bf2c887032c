"""What a client may use of this server.

Every limit ends in a counted refusal (``hausd_http_refused_total``), never in a queue.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the HTTP server, for both lanes.

    ``head_*``: a request's line and fields, and how long they may take to arrive (slowloris).
    ``idle_timeout_s``: a connection without a request. ``send_timeout_s``: a client must take
    ``send_progress_bytes`` in this time, however long the whole answer lasts. ``body_*``: bodies
    of requests to the API; ``body_timeout_s`` between two pieces. ``connections_per_address``
    counts an IPv6 /64 as one address; loopback and trusted proxies are exempt from it.
    ``pipelined_requests``: answered from one read before others get their turn.
    """

    head_bytes: int = 16 * 1024
    head_fields: int = 100
    request_line_bytes: int = 8 * 1024
    head_timeout_s: float = 10.0
    idle_timeout_s: float = 65.0
    send_timeout_s: float = 20.0
    send_progress_bytes: int = 32 * 1024
    body_bytes: int = 1024 * 1024
    body_timeout_s: float = 20.0
    connections: int = 10_000
    connections_per_address: int = 256
    pipelined_requests: int = 16
    tls_handshake_timeout_s: float = 10.0
    websocket_message_bytes: int = 64 * 1024
    open_files: int = 256
