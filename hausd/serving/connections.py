"""Who has how many connections now."""

from __future__ import annotations

import ipaddress


class Connections:
    """Counts connections, in all and by address. An IPv6 /64 is one address; loopback has no bound
    of its own, since all who come through a proxy are there."""

    def __init__(self, most: int, most_of_one: int, exempt: frozenset[str] = frozenset()) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._exempt = exempt
        self._by_address: dict[str, int] = {}
        self.count = 0

    def admit(self, peer: str) -> str:
        """Counts a new connection and returns "", or returns what refuses it.

        ``peer`` is an address without port. Whoever is admitted must be released.
        """
        if self.count >= self._most:
            return "too-many-connections"
        bucket = self._bucket(peer)
        if bucket is not None:
            held = self._by_address.get(bucket, 0)
            if held >= self._most_of_one:
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
