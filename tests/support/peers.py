"""Peers, and a stream between two sides of a protocol in memory."""

from __future__ import annotations

from collections.abc import Iterator

from hausd.core.peers import PeerAddress, PeerId

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def peer(number: int) -> PeerId:
    """A peer id by number, of the form that Ed25519 keys have."""
    digits = ""
    for _ in range(8):
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return PeerId("12D3KooW" + "x" * 36 + digits)


def address(number: int) -> PeerAddress:
    """Where that peer is."""
    return PeerAddress(peer(number), (f"/ip4/192.0.2.{number % 250 + 1}/tcp/4001",))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """The bytes in pieces, as a stream may hand them over."""
    for at in range(0, len(data), size):
        yield data[at : at + size]
