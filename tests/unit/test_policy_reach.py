"""Whose word takes this node to which address."""

from __future__ import annotations

import pytest
from support.peers import peer

from hausd.core.peers import parse_endpoint
from hausd.policy.reach import Reach, may_dial, reach


@pytest.mark.parametrize(
    ("address", "reaches"),
    [
        ("/ip4/127.0.0.1/tcp/1", Reach.MACHINE),
        ("/ip4/127.8.8.8/tcp/1", Reach.MACHINE),
        ("/ip6/::1/tcp/1", Reach.MACHINE),
        ("/ip6/::ffff:127.0.0.1/tcp/1", Reach.MACHINE),
        ("/dns4/localhost/tcp/1", Reach.MACHINE),
        ("/dns/Some.LocalHost./tcp/1", Reach.MACHINE),
        ("/ip4/10.1.2.3/tcp/1", Reach.NETWORK),
        ("/ip4/192.168.0.1/tcp/1", Reach.NETWORK),
        ("/ip4/172.16.0.1/tcp/1", Reach.NETWORK),
        ("/ip4/100.64.0.1/tcp/1", Reach.NETWORK),
        ("/ip4/169.254.169.254/tcp/1", Reach.NETWORK),
        ("/ip6/fe80::1/tcp/1", Reach.NETWORK),
        ("/ip6/fd00::1/tcp/1", Reach.NETWORK),
        ("/ip6/::ffff:192.168.0.1/tcp/1", Reach.NETWORK),
        ("/ip4/9.9.9.9/tcp/1", Reach.WORLD),
        ("/ip6/2620:fe::fe/tcp/1", Reach.WORLD),
        ("/dns4/node.example.org/tcp/1", Reach.WORLD),
        ("/ip4/0.0.0.0/tcp/1", None),
        ("/ip6/::/tcp/1", None),
        ("/ip6/::ffff:0.0.0.0/tcp/1", None),
        ("/ip4/224.0.0.1/tcp/1", None),
        ("/ip4/255.255.255.255/tcp/1", None),
    ],
)
def test_how_far_an_address_reaches(address: str, reaches: Reach | None) -> None:
    assert reach(parse_endpoint(address)) is reaches


def test_only_who_is_as_near_may_tell_of_an_address() -> None:
    ends = [
        parse_endpoint(f"/ip4/{host}/tcp/4001") for host in ("127.0.0.1", "10.0.0.1", "9.9.9.9")
    ]
    allowed = {at: [may_dial(end, peer(1), at) for end in ends] for at in Reach}
    assert allowed == {
        Reach.MACHINE: [True, True, True],
        Reach.NETWORK: [False, True, True],
        Reach.WORLD: [False, False, True],
    }


def test_an_address_without_port_or_of_another_peer_is_none() -> None:
    assert not may_dial(parse_endpoint("/ip4/9.9.9.9/tcp/0"), peer(1), Reach.MACHINE)
    of_another = parse_endpoint(f"/ip4/9.9.9.9/tcp/1/p2p/{peer_of_a_key()}")
    assert not may_dial(of_another, peer(1), Reach.MACHINE)
    assert may_dial(of_another, of_another.peer or peer(1), Reach.MACHINE)


def peer_of_a_key() -> str:
    return "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
