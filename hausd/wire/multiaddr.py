"""Multiaddrs as bytes: those kinds that an Endpoint can be.

Source: the multiaddr specification and its table of protocols. Each part is a varint code and a
value; values of varying length have it before them as a varint.
"""

from __future__ import annotations

import ipaddress

from hausd.core.dagpb import read_varint, varint
from hausd.core.peers import Endpoint, parse_endpoint, peer_id_bytes, peer_id_from_bytes

_IP4, _TCP, _IP6, _P2P = 4, 6, 41, 421
_NAMES = {53: "dns", 54: "dns4", 55: "dns6"}
_NAME_CODES = {name: code for code, name in _NAMES.items()}


def encode(endpoint: Endpoint) -> bytes:
    """The endpoint's bytes."""
    if endpoint.kind == "ip4":
        host = varint(_IP4) + ipaddress.IPv4Address(endpoint.host).packed
    elif endpoint.kind == "ip6":
        host = varint(_IP6) + ipaddress.IPv6Address(endpoint.host).packed
    else:
        host = varint(_NAME_CODES[endpoint.kind]) + _lengthened(endpoint.host.encode())
    port = varint(_TCP) + endpoint.port.to_bytes(2, "big")
    if endpoint.peer is None:
        return host + port
    return host + port + varint(_P2P) + _lengthened(peer_id_bytes(endpoint.peer))


def decode(untrusted: bytes) -> Endpoint:
    """Reads an endpoint; raises ValueError for other multiaddrs, and for what is none."""
    code, at = read_varint(untrusted, 0)
    if code == _IP4:
        raw, at = _taken(untrusted, at, 4)
        text = f"/ip4/{ipaddress.IPv4Address(raw)}"
    elif code == _IP6:
        raw, at = _taken(untrusted, at, 16)
        text = f"/ip6/{ipaddress.IPv6Address(raw)}"
    elif code in _NAMES:
        raw, at = _prefixed(untrusted, at)
        text = f"/{_NAMES[code]}/{raw.decode('ascii')}"
    else:
        raise ValueError("an address that is neither IP's nor a name")
    code, at = read_varint(untrusted, at)
    if code != _TCP:
        raise ValueError("an address that is not TCP's")
    raw, at = _taken(untrusted, at, 2)
    text += f"/tcp/{int.from_bytes(raw, 'big')}"
    if at < len(untrusted):
        code, at = read_varint(untrusted, at)
        if code != _P2P:
            raise ValueError("an address with more to it than TCP")
        raw, at = _prefixed(untrusted, at)
        text += f"/p2p/{peer_id_from_bytes(raw)}"
    if at != len(untrusted):
        raise ValueError("an address with something behind its peer")
    return parse_endpoint(text)


def _lengthened(raw: bytes) -> bytes:
    return varint(len(raw)) + raw


def _prefixed(untrusted: bytes, at: int) -> tuple[bytes, int]:
    length, at = read_varint(untrusted, at)
    return _taken(untrusted, at, length)


def _taken(untrusted: bytes, at: int, length: int) -> tuple[bytes, int]:
    raw = untrusted[at : at + length]
    if len(raw) != length:
        raise ValueError("an address that is cut short")
    return raw, at + length
