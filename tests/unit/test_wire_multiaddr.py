"""Binary multiaddrs: as the multiaddr library writes and reads them."""

from __future__ import annotations

import pytest

from hausd.core.peers import parse_endpoint
from hausd.wire import multiaddr


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.0.2.1/tcp/4001",
        "/ip6/2001:db8::1/tcp/0",
        "/dns/node.example.org/tcp/65535",
        "/dns4/node.example.org/tcp/1",
        "/dns6/node.example.org/tcp/1",
        "/ip4/192.0.2.1/tcp/4001/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
    ],
)
def test_bytes_are_those_of_the_library(text: str) -> None:
    from multiaddr import Multiaddr

    packed = multiaddr.encode(parse_endpoint(text))
    assert packed == Multiaddr(text).to_bytes()
    assert multiaddr.decode(packed) == parse_endpoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.0.2.1/udp/4001/quic-v1",
        "/ip4/192.0.2.1/tcp/4001/ws",
        "/ip6zone/eth0/ip6/fe80::1/tcp/1",
        "/dnsaddr/example.org",
        "/unix/tmp/socket",
    ],
)
def test_other_kinds_of_address_are_refused(text: str) -> None:
    from multiaddr import Multiaddr

    with pytest.raises(ValueError):
        multiaddr.decode(Multiaddr(text).to_bytes())


def test_a_name_cant_say_more_than_a_name() -> None:
    packed = multiaddr.encode(parse_endpoint("/dns4/node.example.org/tcp/1"))
    with pytest.raises(ValueError):
        multiaddr.decode(packed.replace(b"node.example", b"node/tcp/1/p"))
