"""Which addresses that others tell of may be dialled. Pure.

Whoever names an address makes this node dial it: a stranger must not have us knock at the doors of
our own machine or of our own network. So an address is only dialled where it reaches at least as
far as the place from which it was told: who is on this machine may tell of all, who is on our
network of it and of the world, who is in the world of the world alone.
"""

from __future__ import annotations

import ipaddress
from enum import IntEnum

from hausd.core.peers import Endpoint, PeerId


class Reach(IntEnum):
    """From where an address leads to the same machine."""

    MACHINE = 0
    NETWORK = 1
    """Private, link-local and shared addresses (RFC 1918, 4193, 3927, 6598)."""
    WORLD = 2


def reach(address: Endpoint) -> Reach | None:
    """How far an address reaches; None where it is nobody's (wildcard, multicast, reserved).

    A DNS name counts as the world's: what it leads to shows when it is looked up.
    """
    if address.kind not in ("ip4", "ip6"):
        return Reach.MACHINE if _is_localhost(address.host) else Reach.WORLD
    ip = ipaddress.ip_address(address.host)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return Reach.MACHINE
    if ip.is_unspecified or ip.is_multicast or ip.is_reserved:
        return None
    return Reach.WORLD if ip.is_global else Reach.NETWORK


def may_dial(told: Endpoint, peer: PeerId, told_at: Reach) -> bool:
    """Whether an address that was told to be ``peer``'s may be dialled.

    ``told_at``: the reach of the address at which we see who told it (``Reach.MACHINE`` for what
    the operator says).
    """
    if told.port == 0 or told.peer not in (None, peer):
        return False
    far = reach(told)
    return far is not None and far >= told_at


def _is_localhost(name: str) -> bool:
    name = name.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")
