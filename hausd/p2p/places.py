"""How many connections there may be: in all, in their handshake, of an address, of a subnet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

from hausd.core.peers import Endpoint, HostLimits
from hausd.p2p import metrics

_MAX_UPGRADING = 64
"""Connections in their handshake at once: what they cost is CPU, before anyone has a name. A
quarter is kept for those that we dial ourselves."""


class ConnectionRefused(Exception):
    """This node doesn't want the connection; ``args[0]`` is a short, fixed reason."""


class Places:
    """Counts connections, and refuses those beyond a bound."""

    def __init__(self, limits: HostLimits) -> None:
        self._limits = limits
        self._taken: dict[str, int] = {}
        self._open = 0
        self._upgrading = 0

    @contextmanager
    def take(self, address: Endpoint, *, inbound: bool) -> Iterator[None]:
        """A connection's place, from before its handshake to its end; raises ConnectionRefused."""
        limits = self._limits
        # a quarter is kept for those that we dial ourselves: strangers can't shut us in
        if self._open >= limits.connections - (limits.connections // 4 if inbound else 0):
            raise ConnectionRefused("max-connections")
        keys = networks(address) if inbound else ()
        bounds = (limits.connections_per_address, limits.connections_per_subnet)
        for key, bound, reason in zip(
            keys, bounds, ("max-per-address", "max-per-subnet"), strict=False
        ):
            if self._taken.get(key, 0) >= bound:
                raise ConnectionRefused(reason)
        self._count(keys, 1)
        try:
            yield
        finally:
            self._count(keys, -1)

    @contextmanager
    def upgrading(self, *, inbound: bool) -> Iterator[None]:
        """The time of a handshake; raises ConnectionRefused."""
        if self._upgrading >= _MAX_UPGRADING - (_MAX_UPGRADING // 4 if inbound else 0):
            raise ConnectionRefused("max-handshakes")
        self._upgrading += 1
        try:
            yield
        finally:
            self._upgrading -= 1

    def _count(self, keys: tuple[str, ...], by: int) -> None:
        self._open += by
        metrics.CONNECTIONS_OPEN.inc(by)
        for key in keys:
            left = self._taken.get(key, 0) + by
            if left:
                self._taken[key] = left
            else:
                del self._taken[key]


def networks(address: Endpoint) -> tuple[str, ...]:
    """What a connection counts for: its address and its subnet; nothing on loopback."""
    if address.loopback:
        return ()
    prefix = 24 if address.kind == "ip4" else 48
    subnet = ipaddress.ip_network((address.host, prefix), strict=False)
    return address.host, str(subnet)
