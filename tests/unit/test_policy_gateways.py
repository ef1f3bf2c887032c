"""A gateway leads nobody to where it does not belong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.gateways import is_public, pause_s, redirected

BASE = "https://gw.example"
CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        (f"https://{CID}.ipfs.gw.example/?format=raw",) * 2,
        ("/ipfs/other?format=raw#part", "https://gw.example/ipfs/other?format=raw"),
        ("http://gw.example/ipfs/x", None),
        ("https://gw.example:8443/", None),
        ("https://notgw.example/", None),
        ("https://gw.example.evil.example/", None),
        ("https://127.0.0.1/", None),
        ("https://user@gw.example/", None),
        ("file:///etc/passwd", None),
        ("https://gw.example:port/", None),
        ("//[::1", None),
    ],
)
def test_redirects_stay_with_the_gateway(location: str, leads_to: str | None) -> None:
    assert redirected(BASE, f"{BASE}/ipfs/{CID}", location) == leads_to


def test_nothing_is_below_an_address() -> None:
    assert redirected("http://127.0.0.1:8080", "http://127.0.0.1:8080/", "/a") is not None
    assert redirected("http://127.0.0.1", "http://127.0.0.1/", "http://9.127.0.0.1/") is None


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:192.168.0.1", False),
        ("name", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_how_long_a_pause_was_asked_for() -> None:
    assert pause_s("120", 0) == 120
    assert pause_s("Thu, 01 Jan 1970 00:02:00 GMT", 60) == 60
    assert pause_s("Thu, 01 Jan 1970 00:02:00 GMT", 600) == 0
    for nothing in (None, "", "soon", "-5", "1e9", "9" * 400, "Thu, 99 Jan 1970 00:02:00 GMT"):
        assert pause_s(nothing, 0) == 0


@given(st.text(max_size=80))
def test_no_text_of_a_gateway_harms(text: str) -> None:
    assert pause_s(text, 0) >= 0
    found = redirected(BASE, f"{BASE}/ipfs/{CID}", text)
    assert found is None or found.startswith("https://")
