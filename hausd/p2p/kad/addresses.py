"""Where a peer that others named may be dialled."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from hausd.core.peers import Endpoint, parse_endpoint
from hausd.p2p.lookups import looked_up
from hausd.policy.reach import Reach, reach
from hausd.wire.kad import Contact

_MAX_DIALLED = 4


async def dialable(contact: Contact, dials: frozenset[Reach]) -> list[Endpoint]:
    """Its addresses that are as far away as we dial. Names are resolved first, and then dialled
    by what they resolved to: a name may stand for this machine's own network."""
    found: dict[Endpoint, None] = {}
    for end in contact.addresses:
        for each in [end] if end.kind in ("ip4", "ip6") else await _resolved(end):
            if reach(each) in dials and len(found) < _MAX_DIALLED:
                found[replace(each, peer=None)] = None
    return list(found)


def subnet(address: Endpoint) -> str:
    """What a routing table counts peers by: an IPv4 /16 or an IPv6 /32; "" on local networks."""
    if reach(address) is not Reach.WORLD or address.kind not in ("ip4", "ip6"):
        return ""
    prefix = 16 if address.kind == "ip4" else 32
    return str(ipaddress.ip_network((address.host, prefix), strict=False))


async def _resolved(end: Endpoint) -> list[Endpoint]:
    try:
        names = await looked_up(end.host, end.port)
    except OSError:
        return []
    texts = {"ip4": "dns6", "ip6": "dns4"}
    found = []
    for name in names:
        host = str(name[0]).partition("%")[0]
        kind = "ip6" if ":" in host else "ip4"
        if end.kind != texts[kind]:
            found.append(parse_endpoint(f"/{kind}/{host}/tcp/{end.port}"))
    return found
