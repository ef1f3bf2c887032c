"""identify 1.0: what a peer tells of itself, as bytes.

Source: libp2p's identify specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from hausd.core.keys import PublicKey
from hausd.core.peers import Endpoint, Multiaddr, parse_endpoint
from hausd.wire import libp2p_pb2 as pb
from hausd.wire import multiaddr, peer_keys

PROTOCOL = "/ipfs/id/1.0.0"
MAX_BYTES = 64 * 1024
MAX_ADDRESSES = 16
"""Of one peer; further ones are left out."""
_MAX_LOOKED_AT = 64
_MAX_AGENT_CHARS = 128


class IdentifyFault(Exception):
    """A peer's bytes are no identify message."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a peer tells of itself. Nothing of it is proven."""

    addresses: tuple[Endpoint, ...]
    agent: str


def encode(
    key: PublicKey,
    addresses: Sequence[Multiaddr],
    protocols: Sequence[str],
    observed: Endpoint,
    agent: str,
) -> bytes:
    """What this node tells a peer that it sees at ``observed``."""
    return pb.Identify(
        protocol_version=b"ipfs/0.1.0",
        agent_version=agent.encode(),
        public_key=peer_keys.encode(key),
        listen_addrs=[multiaddr.encode(parse_endpoint(address)) for address in addresses],
        observed_addr=multiaddr.encode(observed),
        protocols=[protocol.encode() for protocol in protocols],
    ).SerializeToString()


def decode(untrusted: bytes) -> Told:
    """Reads what a peer tells; raises IdentifyFault. Addresses that we can't dial are left out."""
    try:
        packed = pb.Identify.FromString(untrusted)
    except DecodeError as error:
        raise IdentifyFault("it is no identify message") from error
    addresses: dict[Endpoint, None] = {}
    for raw in packed.listen_addrs[:_MAX_LOOKED_AT]:
        try:
            endpoint = multiaddr.decode(raw)
        except ValueError:
            continue  # QUIC, WebSocket and the like
        if len(addresses) < MAX_ADDRESSES:
            addresses[endpoint] = None
    return Told(tuple(addresses), _agent(packed.agent_version))


def _agent(untrusted: bytes) -> str:
    try:
        return untrusted.decode()[:_MAX_AGENT_CHARS]
    except UnicodeDecodeError:
        return ""
