"""How often an address may try a wrong stream key. Pure: the time is passed in."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    left: float
    at_s: float


class Attempts:
    """A bucket of attempts per address, refilled evenly.

    ``allowed`` failures at once, and ``allowed`` per ``window_s`` in the long run. At most
    ``max_addresses`` are remembered: beyond that the address whose last failure is the longest
    ago is forgotten, so guessing from very many addresses gains ``allowed`` tries for each.
    IPv6 addresses count by their /64, which one machine owns as a whole.
    """

    def __init__(self, allowed: int, window_s: float, max_addresses: int = 4096) -> None:
        if allowed < 1 or window_s <= 0 or max_addresses < 1:
            raise ValueError("attempts, their window and the number of addresses are above 0")
        self._allowed = float(allowed)
        self._per_s = allowed / window_s
        self._max_addresses = max_addresses
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, address: str, now_s: float) -> float:
        """Seconds until this address may try again; 0 where it may now."""
        bucket = self._buckets.get(_network(address))
        if bucket is None:
            return 0.0
        left = self._refilled(bucket, now_s)
        return 0.0 if left >= 1 else (1 - left) / self._per_s

    def failed(self, address: str, now_s: float) -> None:
        """Counts a failure of this address."""
        network = _network(address)
        bucket = self._buckets.pop(network, None) or _Bucket(self._allowed, now_s)
        left = self._refilled(bucket, now_s)
        self._buckets[network] = _Bucket(max(0.0, left - 1), now_s)
        if len(self._buckets) > self._max_addresses:
            self._buckets.popitem(last=False)

    def _refilled(self, bucket: _Bucket, now_s: float) -> float:
        elapsed_s = max(0.0, now_s - bucket.at_s)
        return min(self._allowed, bucket.left + elapsed_s * self._per_s)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address  # not an IP address, as in tests over memory streams
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
