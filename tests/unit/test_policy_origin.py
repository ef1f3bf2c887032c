"""The door: which Host and Origin may come in."""

from __future__ import annotations

import pytest

from hausd.policy.origin import HostNames, check_door, same_origin

LOOPBACK = HostNames(frozenset({"127.0.0.1"}), frozenset({"haus.example"}))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LOCALHOST:8080",
        "room.localhost:8080",
        "127.0.0.1:8080",
        "127.1.2.3",
        "[::1]:8080",
        "[::1]",
        "haus.example",
        "haus.example:443",
        "haus.example.",
        "Haus.Example",
    ],
)
def test_this_nodes_own_names_are_answered(host: str) -> None:
    assert LOOPBACK.allow(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "xlocalhost",
        "haus.example.evil.example",
        "192.168.1.5",
        "0.0.0.0",
        "127.0.0.1:80:80",
        "127.0.0.1:x",
        "[::1",
        "[::1]x",
        "::1",
        "localhost@evil.example",
        "localhost, evil.example",
        "2130706433",
        "127.1",
        "0x7f.0.0.1",
    ],
)
def test_a_rebound_or_malformed_name_is_not(host: str) -> None:
    assert not LOOPBACK.allow(host)


def test_an_address_of_its_own_is_answered_where_the_node_listens_on_it() -> None:
    lan = HostNames(frozenset({"192.168.1.5"}))
    assert lan.allow("192.168.1.5:8080")
    assert not lan.allow("192.168.1.6:8080")
    anywhere = HostNames(frozenset({"0.0.0.0"}))
    assert anywhere.allow("203.0.113.9:8080")
    assert HostNames(frozenset({"::"})).allow("[2001:db8::1]:8080")
    assert not anywhere.allow("evil.example:8080"), "rebinding takes a name"


def test_an_unknown_host_is_misdirected_whatever_it_asks() -> None:
    refused = check_door(LOOPBACK, "GET", "evil.example", None, None)
    assert refused is not None
    assert (refused.status, refused.code) == (421, "unknown-host")
    assert "http.hostnames" in refused.hint


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("origin", "site", "passes"),
    [
        (None, None, True),
        (None, "same-origin", True),
        (None, "none", True),
        (None, "cross-site", False),
        (None, "same-site", False),
        ("http://localhost:8080", "same-origin", True),
        ("http://localhost:8081", None, False),
        ("https://evil.example", "cross-site", False),
        ("null", None, False),
        ("", None, False),
    ],
)
def test_only_our_own_pages_change_anything(
    method: str, origin: str | None, site: str | None, passes: bool
) -> None:
    refused = check_door(LOOPBACK, method, "localhost:8080", origin, site)
    assert (refused is None) is passes
    if refused is not None:
        assert (refused.status, refused.code) == (403, "cross-origin")


def test_reading_is_the_browsers_own_check_but_websockets_are_ours() -> None:
    foreign = "https://evil.example"
    assert check_door(LOOPBACK, "GET", "localhost", foreign, "cross-site") is None
    assert check_door(LOOPBACK, "GET", "localhost", foreign, "cross-site", websocket=True)
    assert not check_door(LOOPBACK, "GET", "localhost", "http://localhost", None, websocket=True)


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost:8080", "localhost:8080", True),
        ("http://localhost", "localhost:80", True),
        ("https://haus.example", "haus.example:443", True),
        ("https://haus.example", "haus.example", True),
        ("https://haus.example", "haus.example:80", False),
        ("http://localhost:8080", "127.0.0.1:8080", False),
        ("ftp://localhost", "localhost", False),
        ("localhost", "localhost", False),
    ],
)
def test_origins_are_equal_with_their_default_ports(origin: str, host: str, same: bool) -> None:
    assert same_origin(origin, host) is same
