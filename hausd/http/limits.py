"""What a client may use of this server, and who has how much of it now.

Every limit ends in a counted refusal (``hausd_http_refused_total``), never in a queue.
"""

from __future__ import annotations

import ipaddress
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


class Connections:
    """Counts connections, in all and by address."""

    def __init__(self, limits: Limits, exempt: frozenset[str] = frozenset()) -> None:
        self._limits = limits
        self._exempt = exempt
        self._by_address: dict[str, int] = {}
        self.count = 0

    def admit(self, peer: str) -> str:
        """Counts a new connection and returns "", or returns what refuses it.

        ``peer`` is an address without port. Whoever is admitted must be released.
        """
        if self.count >= self._limits.connections:
            return "too-many-connections"
        bucket = self._bucket(peer)
        if bucket is not None:
            held = self._by_address.get(bucket, 0)
            if held >= self._limits.connections_per_address:
                return "too-many-connections-of-address"
            self._by_address[bucket] = held + 1
        self.count += 1
        return ""

    def release(self, peer: str) -> None:
        """An admitted connection is gone."""
        self.count -= 1
        bucket = self._bucket(peer)
        if bucket is None:
            return
        held = self._by_address[bucket] - 1
        if held:
            self._by_address[bucket] = held
        else:
            del self._by_address[bucket]

    def _bucket(self, peer: str) -> str | None:
        if peer in self._exempt or peer.startswith("127.") or peer == "::1":
            return None
        if ":" not in peer:
            return peer
        packed = ipaddress.IPv6Address(peer.partition("%")[0]).packed
        return packed[:8].hex()


def plain_address(address: str) -> str:
    """An address as it is compared and shown: IPv4 in its own form, also out of IPv6 sockets."""
    return address.removeprefix("::ffff:") if "." in address else address
