"""identify 1.0: what a peer tells of itself, as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from libp2p.identity.identify.pb.identify_pb2 import Identify
from multiaddr import Multiaddr as StockMultiaddr

from hausd.core.keys import PublicKey
from hausd.core.peers import Endpoint, Multiaddr, parse_endpoint

PROTOCOL = "/ipfs/id/1.0.0"
MAX_BYTES = 64 * 1024
MAX_ADDRESSES = 16
"""Of one peer; further ones are left out."""
_ED25519 = bytes((0x08, 0x01, 0x12, 32))


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
    return Identify(
        protocol_version="ipfs/0.1.0",
        agent_version=agent,
        public_key=_ED25519 + key.raw,
        listen_addrs=[StockMultiaddr(address).to_bytes() for address in addresses],
        observed_addr=StockMultiaddr(str(observed)).to_bytes(),
        protocols=protocols,
    ).SerializeToString()


def decode(untrusted: bytes) -> Told:
    """Reads what a peer tells; raises IdentifyFault. Addresses that we can't dial are left out."""
    try:
        packed = Identify.FromString(untrusted)
        # protobuf gives bytes where it isn't UTF-8
        agent = packed.agent_version if isinstance(packed.agent_version, str) else ""
    except (DecodeError, UnicodeDecodeError) as error:
        raise IdentifyFault("it is no identify message") from error
    addresses: dict[Endpoint, None] = {}
    for raw in packed.listen_addrs[:64]:
        endpoint = _endpoint(raw)
        if endpoint is not None and len(addresses) < MAX_ADDRESSES:
            addresses[endpoint] = None
    return Told(tuple(addresses), agent[:128])


def _endpoint(untrusted: bytes) -> Endpoint | None:
    try:
        return parse_endpoint(str(StockMultiaddr(untrusted)))
    except Exception:  # noqa: BLE001 the library raises kinds of its own for each kind of address
        return None
