"""Peer ids and addresses at the door."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.core.keys import PublicKey, SigningKey
from hausd.core.peers import (
    key_of,
    parse_endpoint,
    parse_multiaddr,
    parse_peer_id,
    parse_protocol,
    peer_id_of,
)

KEY = bytes.fromhex("1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
RSA_ID = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"


def test_an_ed25519_id_holds_its_key() -> None:
    peer = peer_id_of(PublicKey(KEY))
    assert parse_peer_id(peer) == peer
    key = key_of(peer)
    assert key is not None
    assert key.raw == KEY


def test_an_rsa_id_is_a_peer_whose_key_we_dont_know() -> None:
    assert key_of(parse_peer_id(RSA_ID)) is None


@given(st.binary(min_size=32, max_size=32))
def test_ids_are_those_of_libp2p(seed: bytes) -> None:
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.peer.id import ID

    theirs = ID.from_pubkey(create_new_key_pair(seed).public_key) if any(seed) else None
    if theirs is not None:
        assert str(theirs) == peer_id_of(SigningKey(seed).public)


@given(st.text(max_size=80))
def test_any_text_is_an_id_or_refused(untrusted: str) -> None:
    try:
        assert parse_peer_id(untrusted) == untrusted
    except ValueError:
        return


@given(st.text(max_size=120) | st.text("/ip46tcpdns.:0123456789abc").map("/".__add__))
def test_any_text_is_an_address_or_refused(untrusted: str) -> None:
    try:
        endpoint = parse_endpoint(untrusted)
    except ValueError:
        return
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("written", "one_form"),
    [
        ("/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/4001"),
        ("/ip6/0:0::1/tcp/1/", "/ip6/::1/tcp/1"),
        (
            f"/dns4/node.example.org/tcp/4001/ipfs/{RSA_ID}",
            f"/dns4/node.example.org/tcp/4001/p2p/{RSA_ID}",
        ),
    ],
)
def test_addresses_have_one_form(written: str, one_form: str) -> None:
    assert parse_multiaddr(written) == one_form


@pytest.mark.parametrize(
    "wrong",
    [
        "127.0.0.1:4001",
        "/ip4/127.0.0.1/udp/4001/quic-v1",
        "/ip4/127.0.0.1/tcp/70000",
        "/ip4/127.0.0.1/tcp/04001",
        "/ip4/::1/tcp/1",
        "/dns4/a b/tcp/1",
        f"/dns4/{'a' * 64}/tcp/1",
        f"/dns4/node.{'a' * 64}.org/tcp/1",
        "/dns4/a..b/tcp/1",
        "/dns4/.a/tcp/1",
        f"/dns4/{'a.' * 127}/tcp/1",
        "/ip4/1.2.3.4/tcp/1/p2p/nobody",
        "/ip4/1.2.3.4/tcp/1/p2p/12D3KooW/p2p-circuit",
    ],
)
def test_what_cannot_be_dialled_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):
        parse_multiaddr(wrong)


@pytest.mark.parametrize(
    "name", ["a", "9", "a.b.", "_dnsaddr.x.io", "xn--bcher-kva.example", "a-.b_", "a" * 63 + ".b"]
)
def test_names_are_those_that_dns_can_be_asked_for(name: str) -> None:
    assert parse_endpoint(f"/dns4/{name}/tcp/1").host == name


def test_loopback_and_wildcards_are_known() -> None:
    assert parse_endpoint("/ip4/127.3.0.1/tcp/1").loopback
    assert not parse_endpoint("/ip4/10.0.0.1/tcp/1").loopback
    assert parse_endpoint("/ip6/::/tcp/1").wildcard


def test_protocols_are_named_like_paths() -> None:
    assert parse_protocol("/haus/blocks/1") == "/haus/blocks/1"
    for wrong in ("haus", "/", "/a b", "/ä"):
        with pytest.raises(ValueError):
            parse_protocol(wrong)
