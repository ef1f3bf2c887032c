"""Whom a request is taken to come from."""

from __future__ import annotations

import pytest

from hausd.http.door import Door
from hausd.http.head import parse_fields, parse_line
from hausd.http.limits import Limits
from hausd.http.metrics import Tally
from hausd.policy.origin import HostNames

NEAR, FAR = "127.0.0.1", "192.0.2.80"
DOOR = Door(HostNames(), frozenset((NEAR, FAR)), bytes(32), Tally())


def peer_of(told: str, peer: str = NEAR) -> str:
    fields = "".join(f"X-Forwarded-For: {line}\r\n" for line in told.splitlines())
    head = parse_fields(f"Host: localhost\r\n{fields}".encode(), Limits())
    return DOOR.request(parse_line(b"GET / HTTP/1.1"), head, peer, secure=False).peer


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("203.0.113.7", "203.0.113.7"),
        # what the client claimed itself stands before it
        ("127.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1\n203.0.113.7", "203.0.113.7"),
        # two proxies, one behind the other
        (f"198.51.100.9, 203.0.113.7, {FAR}", "203.0.113.7"),
        (f"198.51.100.9, 203.0.113.7\n{FAR}", "203.0.113.7"),
        (FAR, FAR),
        # as some write it
        ("203.0.113.7:5555", "203.0.113.7"),
        ("[2001:db8::7]:5555", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::ffff:cb00:7107", "203.0.113.7"),
        # no address: the proxy itself
        ("unknown", NEAR),
        ("203.0.113.7, unknown", NEAR),
        ("", NEAR),
        (",", NEAR),
    ],
)
def test_who_asks_through_a_trusted_proxy(told: str, found: str) -> None:
    assert peer_of(told) == found


def test_nobody_else_is_believed() -> None:
    assert peer_of("203.0.113.7", peer="198.51.100.9") == "198.51.100.9"
