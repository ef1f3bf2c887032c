"""The TCP connection to an address, which may be a name that a stranger told of."""

from __future__ import annotations

import ipaddress

import trio

from hausd.core.peers import Endpoint, PeerId, PeerUnreachable, parse_endpoint
from hausd.p2p.lookups import looked_up
from hausd.policy.reach import Reach, may_dial


async def connect_tcp(
    endpoint: Endpoint, peer: PeerId, told_at: Reach
) -> tuple[trio.SocketStream, Endpoint]:
    """A connection, and where it has led. Raises PeerUnreachable.

    ``told_at``: from where the address was told (see ``policy.reach``). A name is looked up
    first, and must not lead nearer than that either.
    """
    if not may_dial(endpoint, peer, told_at):
        raise PeerUnreachable("who told of that address has no business there")
    try:
        host = await _host(endpoint, peer, told_at)
        stream = await trio.open_tcp_stream(host, endpoint.port)
    except OSError as error:
        raise PeerUnreachable(error.strerror or str(error)) from error
    except UnicodeError as error:  # of the system's resolver, for what DNS can't be asked
        raise PeerUnreachable("that name is none that can be looked up") from error
    try:
        return stream, endpoint_of(stream.socket.getpeername())
    except OSError as error:
        await trio.aclose_forcefully(stream)
        raise PeerUnreachable("it closed the connection") from error


async def _host(endpoint: Endpoint, peer: PeerId, told_at: Reach) -> str:
    if told_at is Reach.MACHINE or endpoint.kind in ("ip4", "ip6"):
        return endpoint.host
    for name in await looked_up(endpoint.host, endpoint.port):
        if may_dial(endpoint_of(name), peer, told_at):
            return str(name[0])
    raise PeerUnreachable("that name leads to where who told of it has no business")


def endpoint_of(name: tuple[object, ...]) -> Endpoint:
    """A socket's name as an endpoint; what is IPv4 in an IPv6 address becomes IPv4."""
    host, port = str(name[0]), name[1]
    parsed = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return parse_endpoint(f"/ip{(mapped or parsed).version}/{mapped or parsed}/tcp/{port}")
