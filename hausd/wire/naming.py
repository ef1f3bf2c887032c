"""How protocols between nodes name other peers: ``[[peer id, addresses], …]``, all of it text."""

from __future__ import annotations

from collections.abc import Sequence

from hausd.core.dagcbor import Value
from hausd.core.forms import FormError
from hausd.core.peers import MAX_ADDRESSES, PeerAddress, is_address, parse_peer_id
from hausd.wire.frames import ProtocolError

MAX_NAMED = 8
"""Most peers that are named at once."""


def peers_form(peers: Sequence[PeerAddress]) -> list[object]:
    """The first MAX_NAMED of these peers, with those of their addresses that can be told."""
    return [
        [one.peer, [text for text in one.addresses if is_address(text)][:MAX_ADDRESSES]]
        for one in peers[:MAX_NAMED]
    ]


def read_named(untrusted: Value, what: str) -> tuple[PeerAddress, ...]:
    """The same in a signed form, where at least one is named; raises FormError."""
    try:
        named = read_peers(untrusted)
    except ProtocolError as fault:
        raise FormError(f"{what}: {fault}") from None
    if not named or len({one.peer for one in named}) != len(named):
        raise FormError(f"{what} is not a list of different peers")
    return named


def read_peers(untrusted: Value) -> tuple[PeerAddress, ...]:
    """Reads named peers; raises ProtocolError. Whether they exist is for who dials them."""
    if not isinstance(untrusted, list) or len(untrusted) > MAX_NAMED:
        raise ProtocolError(f"at most {MAX_NAMED} peers are named")
    return tuple(map(_read_peer, untrusted))


def _read_peer(untrusted: Value) -> PeerAddress:
    match untrusted:
        case [str(peer), list(addresses)] if len(addresses) <= MAX_ADDRESSES:
            texts = tuple(one for one in addresses if isinstance(one, str) and is_address(one))
            if len(texts) == len(addresses):
                try:
                    return PeerAddress(parse_peer_id(peer), texts)
                except ValueError as fault:
                    raise ProtocolError(str(fault)) from None
    raise ProtocolError("a peer is [peer id, addresses]")
