"""Who watches a gated room at a node from elsewhere: their tokens, and how many of them. Pure.

A token is given to who signed in with a wallet that has a ticket. It is of one wallet, room and
network (an address's first bits), ends soon, and is renewed by asking or by being used: players
that were given a URL can't ask. Only the node that made it can read more out of it than that.
"""

from __future__ import annotations

import binascii
import hmac
import ipaddress
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from enum import StrEnum

from hausd.core.ids import RoomId

TOKEN_S = 15 * 60
"""How long a token that is not used is good."""
IDLE_S = 60.0
"""A player that asked for nothing for so long watches no more."""
PLAYBACKS = 2
"""At one node, by one ticket."""
MAX_GUESTS = 4_096
_MAX_PLAYERS = 64
_ID_BYTES, _PLACE_BYTES, _MAC_BYTES = 8, 8, 16
_FIXED_BYTES = 1 + 4 + 4 + _ID_BYTES + _PLACE_BYTES
_MAX_TOKEN = 160
_VERSION = 1
_PURPOSE = b"hausd/1/playback"


class TurnedAway(StrEnum):
    """Why a token opens nothing. The values stand in answers and metrics."""

    BAD_TOKEN = "bad-token"  # noqa: S105 (no secret)
    EXPIRED = "token-expired"
    ELSEWHERE = "token-from-elsewhere"
    TOO_MANY = "too-many-playbacks"
    UNCHECKED = "ticket-unchecked"
    LOST = "no-ticket"

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]


_WORDS = {
    TurnedAway.BAD_TOKEN: "The token is not one of this node's for this room.",
    TurnedAway.EXPIRED: "The token's time is over.",
    TurnedAway.ELSEWHERE: "The token was given to another address.",
    TurnedAway.TOO_MANY: "As many players as may be watch with this ticket already.",
    TurnedAway.UNCHECKED: "The ticket is being looked up on chain.",
    TurnedAway.LOST: "The wallet has no ticket any more, or is banned from the room.",
}


@dataclass(frozen=True, slots=True)
class Playback:
    """What a token says. ``id``: 8 random bytes. Times are seconds since 1970: the token's end,
    and the end of all that are made from it."""

    id: bytes
    wallet: str
    ends_s: int
    last_s: int


@dataclass(frozen=True, slots=True)
class PlaybackKey:
    """Makes and reads a node's tokens."""

    secret: bytes = field(repr=False)

    def mint(self, room: RoomId, address: str, playback: Playback) -> str:
        """A token in the characters of base64url, at most 160 of them."""
        said = (
            bytes((_VERSION,))
            + playback.ends_s.to_bytes(4)
            + playback.last_s.to_bytes(4)
            + playback.id
            + self._place(playback.id, address)
            + playback.wallet.encode()
        )
        return urlsafe_b64encode(said + self._mac(room, said)).rstrip(b"=").decode()

    def read(
        self, room: RoomId, address: str, untrusted_token: str, now_s: float
    ) -> tuple[Playback | None, TurnedAway | None]:
        """What a token says, where this node made it for this room; and what speaks against it."""
        raw = _decoded(untrusted_token)
        if len(raw) <= _FIXED_BYTES + _MAC_BYTES or raw[0] != _VERSION:
            return None, TurnedAway.BAD_TOKEN
        said, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not hmac.compare_digest(self._mac(room, said), mac):
            return None, TurnedAway.BAD_TOKEN
        id_, place = said[9 : 9 + _ID_BYTES], said[9 + _ID_BYTES : _FIXED_BYTES]
        made = Playback(
            id_,
            said[_FIXED_BYTES:].decode(),
            int.from_bytes(said[1:5]),
            int.from_bytes(said[5:9]),
        )
        if not hmac.compare_digest(self._place(id_, address), place):
            return made, TurnedAway.ELSEWHERE
        return made, TurnedAway.EXPIRED if now_s >= min(made.ends_s, made.last_s) else None

    def nonce(self, text: str, address: str, fresh: bytes) -> bytes:
        """16 bytes, 8 ``fresh`` ones first, that only this node can have put into a challenge for
        this address; ``text`` is the challenge with zeros in their place."""
        said = (_PURPOSE, b"challenge", fresh, network_of(address).encode(), text.encode())
        return fresh + hmac.digest(self.secret, b"\0".join(said), "sha256")[:8]

    def lease(self, room: RoomId, said: bytes) -> bytes:
        """16 bytes in the place of a token's id, or of a player's name, on disk."""
        whole = b"\0".join((_PURPOSE, b"lease", room.encode(), said))
        return hmac.digest(self.secret, whole, "sha256")[:16]

    def _mac(self, room: RoomId, said: bytes) -> bytes:
        whole = b"\0".join((_PURPOSE, b"token", room.encode(), said))
        return hmac.digest(self.secret, whole, "sha256")[:_MAC_BYTES]

    def _place(self, id_: bytes, address: str) -> bytes:
        """Hides the address from who reads the token."""
        whole = b"\0".join((_PURPOSE, b"place", id_, network_of(address).encode()))
        return hmac.digest(self.secret, whole, "sha256")[:_PLACE_BYTES]


def renewed(playback: Playback, now_s: float) -> Playback:
    """The same playback for as long again, within its end."""
    return replace(playback, ends_s=min(int(now_s) + TOKEN_S, playback.last_s))


def network_of(untrusted_address: str) -> str:
    """Of an address what stays the same for one household: /24 of IPv4 (also where it is written
    as IPv6, ``::ffff:192.0.2.1``), /56 of IPv6."""
    try:
        address = ipaddress.ip_address(untrusted_address.partition("%")[0])
    except ValueError:
        return untrusted_address
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    bits = 24 if address.version == 4 else 56
    return str(ipaddress.ip_network((address, bits), strict=False))


@dataclass(slots=True)
class _Guest:
    """A wallet in a room. ``tickets``: 0 where it has none any more."""

    tickets: int
    checked_s: float
    players: OrderedDict[bytes, float] = field(default_factory=OrderedDict)
    used_s: float = 0.0


Who = tuple[RoomId, str]


class Playbacks:
    """Who watches now. Times here are of one clock that never goes back, in seconds.

    ``each``: players at once by one ticket. Beyond MAX_GUESTS, who was here the longest ago is
    forgotten, and looked up anew.
    """

    def __init__(self, each: int = PLAYBACKS) -> None:
        self.each = each
        self._guests: OrderedDict[Who, _Guest] = OrderedDict()

    def found(self, room: RoomId, wallet: str, tickets: int, now_s: float) -> None:
        """The chain says how many tickets a wallet has."""
        guest = self._guests.setdefault((room, wallet), _Guest(tickets, now_s, used_s=now_s))
        guest.tickets, guest.checked_s = tickets, now_s
        if len(self._guests) > MAX_GUESTS:
            self._guests.popitem(last=False)

    def forget(self, room: RoomId, wallet: str) -> None:
        """Nobody knows any more whether the wallet has tickets."""
        self._guests.pop((room, wallet), None)

    def knows(self, room: RoomId, wallet: str) -> bool:
        """Whether the wallet was let in before, and not forgotten."""
        return (room, wallet) in self._guests

    def tickets(self, room: RoomId, wallet: str) -> int:
        """How many a wallet has that is watching, or was a while ago."""
        guest = self._guests.get((room, wallet))
        return guest.tickets if guest is not None else 0

    def checked_s(self, room: RoomId, wallet: str) -> float:
        """When the chain was last heard of a wallet; minus infinity: never."""
        guest = self._guests.get((room, wallet))
        return guest.checked_s if guest is not None else float("-inf")

    def in_use(self, room: RoomId, wallet: str, player: bytes, now_s: float) -> bool:
        """Whether a player asked for something just now."""
        guest = self._guests.get((room, wallet))
        at_s = guest.players.get(player) if guest is not None else None
        return at_s is not None and now_s - at_s < IDLE_S

    def watch(self, room: RoomId, wallet: str, player: bytes, now_s: float) -> TurnedAway | None:
        """Counts what a player asks for; None: it may have it."""
        guest = self._guests.get((room, wallet))
        if guest is None:
            return TurnedAway.UNCHECKED
        if not guest.tickets:
            return TurnedAway.LOST
        players = guest.players
        if player not in players or now_s - players[player] >= IDLE_S:
            for gone in [one for one, at_s in players.items() if now_s - at_s >= IDLE_S]:
                del players[gone]
            if len(players) >= min(_MAX_PLAYERS, guest.tickets * self.each):
                return TurnedAway.TOO_MANY
        players[player] = guest.used_s = now_s
        self._guests.move_to_end((room, wallet))
        return None

    def leave(self, room: RoomId, wallet: str, id_: bytes) -> None:
        """The players whose names begin with ``id_`` stop: their places are free."""
        guest = self._guests.get((room, wallet))
        if guest is not None:
            for gone in [each for each in guest.players if each.startswith(id_)]:
                del guest.players[gone]

    def inside(self, now_s: float) -> list[Who]:
        """Whom it matters to look up again. Who came for nothing for a while is forgotten."""
        for who in [who for who, one in self._guests.items() if now_s - one.used_s >= TOKEN_S]:
            del self._guests[who]
        return list(self._guests)

    def players(self, now_s: float) -> list[tuple[RoomId, bytes]]:
        """Players that watch now; those last whose ticket was used last."""
        return [
            (room, player)
            for (room, _), one in self._guests.items()
            for player, at_s in one.players.items()
            if now_s - at_s < IDLE_S
        ]


def _decoded(untrusted_token: str) -> bytes:
    if not 0 < len(untrusted_token) <= _MAX_TOKEN or not untrusted_token.isascii():
        return b""
    try:
        raw = urlsafe_b64decode(untrusted_token + "=" * (-len(untrusted_token) % 4))
    except binascii.Error:
        return b""
    # one way of writing a token: what is between its characters, or over, is not ignored
    return raw if urlsafe_b64encode(raw).rstrip(b"=").decode() == untrusted_token else b""
