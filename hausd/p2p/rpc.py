"""What gossipsub peers say to each other, as plain values within bounds.

``hausd.p2p.stock.rpc`` reads and writes the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hausd.core.peers import PeerId, key_of

MAX_TOPIC_BYTES = 256
MAX_ID_BYTES = 128


class RpcFault(Exception):
    """A peer's bytes are no RPC, or one beyond all bounds; ``args[0]`` says how."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of one topic, signed by the node that published it."""

    topic: str
    data: bytes
    author: PeerId
    id: bytes
    """Source: gossipsub's default: the author's id, then its sequence number."""
    signature: bytes
    to_sign: bytes = field(repr=False)
    """The bytes that the signature is over."""

    def is_authors(self) -> bool:
        """Whether the author signed it; for authors whose key isn't Ed25519, False."""
        key = key_of(self.author)
        return key is not None and key.verifies(self.signature, self.to_sign)


@dataclass(slots=True)
class Rpc:
    """One message on a gossip stream."""

    messages: list[Message] = field(default_factory=list)
    subscriptions: list[tuple[bool, str]] = field(default_factory=list)
    """Whether it is subscribed to from now on, and the topic."""
    ihave: list[tuple[str, list[bytes]]] = field(default_factory=list)
    iwant: list[bytes] = field(default_factory=list)
    graft: list[str] = field(default_factory=list)
    prune: list[tuple[str, int]] = field(default_factory=list)
    """Topics, and for how many seconds they are not to be grafted again."""

    def __bool__(self) -> bool:
        return bool(
            self.messages
            or self.subscriptions
            or self.ihave
            or self.iwant
            or self.graft
            or self.prune
        )
