"""Delegations: texts by which a wallet lets a node's key act for it. Built, read, verified; no I/O.

A delegation is a Sign-In-With-Solana message, which wallets show as what it is. Source: the
Solana wallet standard's ``solana:signIn``, and the ABNF that Phantom publishes
(https://github.com/phantom/sign-in-with-solana). Beyond that ABNF there is one text for one
delegation, its lines in one order, so that nothing in it can be read in two ways, nor be there
without being understood::

    hausd wants you to sign in with your Solana account:
    <wallet>

    Let the node <peer id> watch in the room <room id> in my name. This sends nothing and costs …

    Version: 1
    Nonce: <32 hexadecimal digits>
    Expiration Time: 2026-12-24T20:00:00Z
    Not Before: 2026-11-24T20:00:00Z
    Resources:
    - haus:chain/<genesis hash>
    - haus:room/<room id, or *>
    - haus:node/<peer id>
    - haus:sealing-key/<X25519 key, base58>
    - haus:scope/watch

The field *Chain ID* is left out because wallets take only their own names of a few clusters in it;
*Issued At* because wallets refuse one that is not now, while a delegation may begin later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property

from solders.pubkey import Pubkey

from hausd.core.ids import RoomId, is_room_id
from hausd.core.keys import SIGNATURE_BYTES, PublicKey, open_room_authority
from hausd.core.peers import PeerId, key_of, parse_peer_id

MAX_TEXT_BYTES = 2048
MAX_LIFE_S = 366 * 24 * 3600
NONCE_BYTES = 16
SEALING_KEY_BYTES = 32
ANY_ROOM = "*"
DOMAIN = "hausd"
"""The domain of a text that no web page asked for."""
_MAX_DOMAIN = 255
_MAX_TIME_S = 253_402_300_799
"""The end of the year 9999, the last that has four digits."""


class DelegationError(ValueError):
    """What came is no delegation; the message says why."""


class ForgedDelegation(DelegationError):
    """The text is one, and its wallet did not sign it."""


class Scope(StrEnum):
    """What a node may do for a wallet."""

    WATCH = "watch"
    CHAT = "chat"
    MODERATE = "moderate"


@dataclass(frozen=True)
class Delegation:
    """What a wallet allows. Raises DelegationError where no text could say it.

    ``chain``: genesis hash, 32 bytes. ``room``: None for every room on that chain. ``wallet``: an
    address in base58. ``node``: who may act; ``sealing_key`` its X25519 key. Times are seconds
    since 1970, both included. ``nonce``: fresh for each. ``domain``: who asked for the signature.
    """

    chain: bytes
    room: RoomId | None
    wallet: str
    node: PeerId
    sealing_key: bytes
    scopes: frozenset[Scope]
    not_before_s: int
    not_after_s: int
    nonce: bytes
    domain: str = DOMAIN

    def __post_init__(self) -> None:
        for right, what in (
            (len(self.domain) <= _MAX_DOMAIN and _DOMAIN.fullmatch(self.domain), "domain"),
            (len(self.chain) == 32, "chain"),
            (self.room is None or _is_room(self.room), "room"),
            (_address(self.wallet), "wallet"),
            (_is_node(self.node), "node"),
            (len(self.sealing_key) == SEALING_KEY_BYTES, "sealing key"),
            (self.scopes, "scope"),
            (0 <= self.not_before_s < self.not_after_s <= _MAX_TIME_S, "span of time"),
            (self.not_after_s - self.not_before_s <= MAX_LIFE_S, "end within 366 days"),
            (len(self.nonce) == NONCE_BYTES, "nonce"),
        ):
            if not right:
                raise DelegationError(f"a delegation without a right {what}")

    @cached_property
    def text(self) -> str:
        """What the wallet signs, as UTF-8."""
        room = self.room or ANY_ROOM
        named = f"the room {self.room}" if self.room else "every room"
        scopes = [scope for scope in Scope if scope in self.scopes]
        lines = [
            f"{self.domain} wants you to sign in with your Solana account:",
            self.wallet,
            "",
            f"Let the node {self.node} {' and '.join(scopes)} in {named} in my name. "
            "This sends nothing and costs nothing.",
            "",
            "Version: 1",
            f"Nonce: {self.nonce.hex()}",
            f"Expiration Time: {_time(self.not_after_s)}",
            f"Not Before: {_time(self.not_before_s)}",
            "Resources:",
            f"- haus:chain/{_base58(self.chain)}",
            f"- haus:room/{room}",
            f"- haus:node/{self.node}",
            f"- haus:sealing-key/{_base58(self.sealing_key)}",
            *(f"- haus:scope/{scope}" for scope in scopes),
        ]
        return "\n".join(lines)

    def covers(self, room: RoomId, scope: Scope) -> bool:
        """Whether it is about this room and lets the node do this."""
        return self.room in (None, room) and scope in self.scopes


@dataclass(frozen=True)
class SignedDelegation:
    """A delegation that its wallet signed."""

    delegation: Delegation
    signature: bytes


def parse(untrusted: str) -> Delegation:
    """Reads the text of a delegation, which proves nothing yet. Raises DelegationError."""
    if len(untrusted) > MAX_TEXT_BYTES or not untrusted.isascii():
        raise DelegationError(f"a delegation is at most {MAX_TEXT_BYTES} characters of ASCII")
    found = _TEXT.fullmatch(untrusted)
    if found is None:
        raise DelegationError("this is not the text of a delegation")
    chain, sealing_key = _raw(found["chain"]), _raw(found["sealing_key"])
    try:
        node = parse_peer_id(found["node"])
    except ValueError as fault:
        raise DelegationError(str(fault)) from None
    made = Delegation(
        chain=chain,
        room=None if found["room"] == ANY_ROOM else RoomId(found["room"]),
        wallet=found["wallet"],
        node=node,
        sealing_key=sealing_key,
        scopes=frozenset(map(Scope, _SCOPE.findall(found["scopes"]))),
        not_before_s=_seconds(found["begin"]),
        not_after_s=_seconds(found["end"]),
        nonce=bytes.fromhex(found["nonce"]),
        domain=found["domain"],
    )
    if made.text != untrusted:
        raise DelegationError("a delegation is written in one way only, and this is another")
    return made


def verify(untrusted_text: str, untrusted_signature: bytes) -> SignedDelegation:
    """The one door for delegations: form, then the wallet's signature over exactly this text.

    Raises DelegationError, ForgedDelegation. Whether it holds now, here and for this room is
    ``policy.release``'s.
    """
    delegation = parse(untrusted_text)
    wallet = PublicKey(_raw(delegation.wallet))
    if len(untrusted_signature) != SIGNATURE_BYTES or not wallet.verifies(
        untrusted_signature, untrusted_text.encode()
    ):
        raise ForgedDelegation("the signature is not the wallet's")
    return SignedDelegation(delegation, untrusted_signature)


_LINES = (
    r"(?P<domain>[^\n ]+) wants you to sign in with your Solana account:",
    r"(?P<wallet>[^\n]+)",
    r"",
    r"Let the node [^\n]+",
    r"",
    r"Version: 1",
    r"Nonce: (?P<nonce>[0-9a-f]{32})",
    r"Expiration Time: (?P<end>[0-9TZ:-]{20})",
    r"Not Before: (?P<begin>[0-9TZ:-]{20})",
    r"Resources:",
    r"- haus:chain/(?P<chain>[^\n]{32,44})",
    r"- haus:room/(?P<room>[^\n]{1,64})",
    r"- haus:node/(?P<node>[^\n]{1,64})",
    r"- haus:sealing-key/(?P<sealing_key>[^\n]{32,44})",
    r"(?P<scopes>- haus:scope/[a-z]+(?:\n- haus:scope/[a-z]+){0,2})",
)
_TEXT = re.compile("\n".join(_LINES))
_SCOPE = re.compile(rf"haus:scope/({'|'.join(Scope)})\b")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def _is_room(room: RoomId) -> bool:
    if not is_room_id(room):
        return False
    return open_room_authority(room) is not None or _address(room) is not None


def _is_node(node: PeerId) -> bool:
    try:
        return key_of(parse_peer_id(node)) is not None
    except ValueError:
        return False


def _address(untrusted: str) -> Pubkey | None:
    try:
        found = Pubkey.from_string(untrusted)
    except ValueError:
        return None
    return found if str(found) == untrusted else None


def _raw(untrusted: str) -> bytes:
    found = _address(untrusted)
    if found is None:
        raise DelegationError("a key or hash in it is not base58 text of 32 bytes")
    return bytes(found)


def _base58(raw: bytes) -> str:
    return str(Pubkey(raw))


def _time(seconds: int) -> str:
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at.year:04}-{at:%m-%dT%H:%M:%S}Z"


def _seconds(untrusted: str) -> int:
    try:
        return int(datetime.strptime(untrusted, _TIME).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise DelegationError("a time in it is not like 2026-11-24T20:00:00Z") from None
