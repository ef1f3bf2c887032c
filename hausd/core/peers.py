"""Peers: their ids and addresses, what may be set about the host, what a node hears from them.

Nothing here knows how the network is spoken; ``hausd.p2p`` does.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NewType, Protocol

import msgspec

from hausd.core.keys import PUBLIC_BYTES, PublicKey

PeerId = NewType("PeerId", str)
"""A peer's id in base58, as in ``12D3KooW…``: a multihash of its public key."""

Multiaddr = NewType("Multiaddr", str)
"""``/ip4/A/tcp/P``, ``/ip6/A/tcp/P`` or ``/dns{,4,6}/NAME/tcp/P``, with or without ``/p2p/ID``."""

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{40,60}")
# labels of 63 letters at most, as DNS has them: each letter fits in one place only, so that no
# name takes long to refuse
_DNS_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(?:\.[A-Za-z0-9_-]{1,63})*\.?"
)
_PROTOCOL = re.compile(r"/[!-~]{1,127}")
_IDENTITY, _SHA2_256 = 0x00, 0x12
_ED25519_PREFIX = bytes((_IDENTITY, 36, 0x08, 0x01, 0x12, PUBLIC_BYTES))
_MAX_MULTIADDR = 512
_MAX_PEER_ID_BYTES = 44


def parse_peer_id(untrusted: str) -> PeerId:
    """Checks a peer id; raises ValueError that says what one looks like."""
    if _PEER_ID.fullmatch(untrusted):
        raw = _from_base58(untrusted)
        identity = raw[0] == _IDENTITY and len(raw) == 2 + raw[1] and 32 < raw[1] <= 42
        if identity or (raw[:2] == bytes((_SHA2_256, 32)) and len(raw) == 34):
            return PeerId(untrusted)
    raise ValueError("a peer id is base58 of a public key's multihash, as in 12D3KooW…")


def peer_id_of(key: PublicKey) -> PeerId:
    """The id of the node that holds this Ed25519 key. Source: libp2p peer ids."""
    return PeerId(_to_base58(_ED25519_PREFIX + key.raw))


def peer_id_from_bytes(untrusted: bytes) -> PeerId:
    """Checks a peer id in binary, which is a multihash; raises ValueError."""
    if len(untrusted) > _MAX_PEER_ID_BYTES:
        raise ValueError("a peer id has at most 44 bytes")
    return parse_peer_id(_to_base58(untrusted))


def peer_id_bytes(peer: PeerId) -> bytes:
    """A peer id in binary."""
    return _from_base58(peer)


def key_of(peer: PeerId) -> PublicKey | None:
    """The Ed25519 key that a peer id holds; None for other kinds of key."""
    raw = _from_base58(peer)
    prefix = len(_ED25519_PREFIX)
    if raw[:prefix] != _ED25519_PREFIX or len(raw) != prefix + PUBLIC_BYTES:
        return None
    return PublicKey(raw[prefix:])


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a multiaddr says: ``kind`` is ip4, ip6, dns, dns4 or dns6."""

    kind: str
    host: str
    port: int
    peer: PeerId | None

    @property
    def loopback(self) -> bool:
        """Whether it stays on this machine."""
        if self.kind not in ("ip4", "ip6"):
            return self.host == "localhost"
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def wildcard(self) -> bool:
        """Whether it stands for every address of this machine."""
        return self.kind in ("ip4", "ip6") and ipaddress.ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        peer = f"/p2p/{self.peer}" if self.peer else ""
        return f"/{self.kind}/{self.host}/tcp/{self.port}{peer}"

    @property
    def multiaddr(self) -> Multiaddr:
        return Multiaddr(str(self))


def parse_endpoint(untrusted: str) -> Endpoint:
    """Reads a multiaddr; raises ValueError that says what one looks like."""
    if len(untrusted) > _MAX_MULTIADDR:
        raise ValueError("a multiaddr has at most 512 characters")
    words = untrusted.removesuffix("/").split("/")
    if len(words) not in (5, 7) or words[0] or words[3] != "tcp":
        raise ValueError(_multiaddr_fault(untrusted))
    kind, host, port = words[1], words[2], words[4]
    peer = None
    if len(words) == 7:
        if words[5] not in ("p2p", "ipfs"):
            raise ValueError(_multiaddr_fault(untrusted))
        peer = parse_peer_id(words[6])
    if not re.fullmatch(r"0|[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise ValueError(f"{port!r:.20} is no port, 0 to 65535")
    try:
        if kind == "ip4":
            host = str(ipaddress.IPv4Address(host))
        elif kind == "ip6":
            host = str(ipaddress.IPv6Address(host.partition("%")[0]))
        elif kind not in ("dns", "dns4", "dns6") or not _DNS_NAME.fullmatch(host):
            raise ValueError
    except ValueError:
        raise ValueError(_multiaddr_fault(untrusted)) from None
    return Endpoint(kind, host, int(port), peer)


def parse_multiaddr(untrusted: str) -> Multiaddr:
    """Checks a multiaddr and writes it in one form; raises ValueError."""
    return parse_endpoint(untrusted).multiaddr


def _multiaddr_fault(untrusted: str) -> str:
    return f"{untrusted!r:.80} is not /ip4/ADDRESS/tcp/PORT, with /p2p/ID at the end or not"


class Direction(StrEnum):
    """Who began a connection."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What strangers may take. Beyond it they are refused, slowed or dropped, and counted."""

    connections: int = 256
    """In all. A quarter of them is kept for those that this node dials."""
    connections_per_address: int = 8
    connections_per_subnet: int = 32
    """A subnet is an IPv4 /24 or an IPv6 /48. Loopback has no such bound."""
    streams_per_peer: int = 64
    """Open at once, each way."""
    memory_per_peer_bytes: int = 16 * 1024 * 1024
    """Received and not yet read."""
    bytes_per_s_per_peer: int = 0
    """Each way; a peer above it is slowed. 0: no limit."""
    message_bytes: int = 64 * 1024
    messages_per_s: float = 50.0
    """Of one topic from one peer, on the average; twice as many at once. What is above is lost."""
    topic_queue: int = 256
    """Messages that wait for the topic's reader; beyond it the oldest is lost."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How a node takes part in the network."""

    listen: tuple[Multiaddr, ...] = ()
    announce: tuple[Multiaddr, ...] = ()
    """Told to others instead of the addresses listened on."""
    bootstrap: tuple[Multiaddr, ...] = ()
    """With ``/p2p/ID``. Kept connected as far as they let it."""
    mdns: bool = True
    """Finds peers on the local network, unless only loopback is listened on."""
    ping_interval_s: float = 10.0
    """A peer that leaves two pings unanswered is dead."""
    heartbeat_s: float = 1.0
    """Of gossip."""
    keep_peers: int = 12
    """Known peers are dialled while fewer are connected."""
    limits: HostLimits = HostLimits()


class Verdict(Enum):
    """What becomes of a message on a topic."""

    ACCEPT = "accept"
    """Passed on and handed to the topic's reader."""
    IGNORE = "ignore"
    """Dropped, and nobody's fault."""
    REJECT = "reject"
    """Dropped, and whoever sent it loses score."""


Validator = Callable[[PeerId, bytes], Verdict]
"""Judges a message from a peer, at once and from what is at hand. Must not raise."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of a topic. ``peer`` is who delivered it first, not who wrote it."""

    peer: PeerId
    data: bytes


@dataclass(frozen=True, slots=True)
class PeerView:
    """A connected peer. Bytes are of payload; ``rtt_s`` is None until the first ping is back."""

    id: PeerId
    addresses: tuple[Multiaddr, ...]
    direction: Direction
    rtt_s: float | None
    since_ms: int
    received_bytes: int
    sent_bytes: int
    score: float


class PeerUnreachable(Exception):
    """A peer can't be connected to, or is not any more; ``args[0]`` says why."""


class StreamBroken(Exception):
    """A stream was reset, or its connection is gone; ``args[0]`` says which."""


class ProtocolRefused(Exception):
    """The peer doesn't speak the protocol; ``args[0]`` names it."""


class PeerStream(Protocol):
    """A stream to or from one peer: bytes in order, each direction closed by itself.

    One task may read while another sends. All raise StreamBroken when the stream is gone.
    """

    @property
    def peer(self) -> PeerId: ...

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        """At least one byte, at most ``max_bytes``; empty when the peer sends no more."""

    async def send_all(self, *data: bytes | bytearray | memoryview) -> None:
        """Sends it all, one after the other, waiting for the peer to read."""

    async def send_eof(self) -> None:
        """Says that nothing more will be sent; receiving goes on."""

    async def aclose(self) -> None:
        """Sends no more and reads no more; what was sent still arrives."""

    def reset(self) -> None:
        """Gives the stream up at once, both ways."""


Handler = Callable[[PeerStream], Awaitable[None]]


MAX_ADDRESSES = 4
"""Most addresses of one peer that are told or taken."""

_ADDRESS = re.compile(r"/[!-~]{1,255}")


def is_address(untrusted: str) -> bool:
    """Whether this may be a multiaddr: it is short and printable; who dials it parses it."""
    return _ADDRESS.fullmatch(untrusted) is not None


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A peer and where it can be dialled: multiaddrs as text, at most MAX_ADDRESSES."""

    peer: PeerId
    addresses: tuple[str, ...] = ()


class Gives(msgspec.Struct, frozen=True, gc=False):
    """How many copies of a room a node can send on: ``slots`` in all, ``free`` of them now.

    ``free`` counts those of the nodes below it too, and so does ``taken``, the copies that are
    sent. Said by the node itself, so it may be a lie: it decides who is asked first and how many
    relays a room seems to need, never whether something is believed.
    """

    slots: int = 0
    free: int = 0
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Copies:
    """What is known of all copies of a room: ``taken`` are sent, ``free`` could be."""

    taken: int = 0
    free: int = 0


NO_COPIES = Copies()


GIVES_NOTHING = Gives()
MAX_GIVES = 65_535
"""More slots than this are said as so many."""
MAX_HOPS = 64
"""A node further from the origin than this does not let anyone wait for it."""


def parse_protocol(untrusted: str) -> str:
    """Checks a protocol's name, as in ``/haus/blocks/1``; raises ValueError."""
    if not _PROTOCOL.fullmatch(untrusted):
        raise ValueError("a protocol is named as in /haus/blocks/1")
    return untrusted


def _from_base58(text: str) -> bytes:
    number = 0
    for letter in text:
        number = number * 58 + _BASE58.index(letter)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _to_base58(raw: bytes) -> str:
    number = int.from_bytes(raw, "big")
    letters: list[str] = []
    while number:
        number, rest = divmod(number, 58)
        letters.append(_BASE58[rest])
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(letters))
