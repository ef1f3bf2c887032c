"""Who may have a room joined by only opening its URL. Pure.

A daemon on loopback is within reach of every page that its user opens, so a plain request begins
nothing: it has to come from the node's own page, or bring the room's token, which the node's
operator is given with the room's URL. A token is of one room: whoever gets to see it can have the
node join that room and no other.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from hausd.core.ids import RoomId

_TOKEN_BYTES = 16
_PURPOSE = b"hausd/1/watch"


@dataclass(frozen=True, slots=True)
class WatchKey:
    """Makes a node's tokens. ``secret`` is the node's own; the tokens are derived from it."""

    secret: bytes = field(repr=False)

    def token(self, room: RoomId) -> str:
        """A room's token: 32 hexadecimal digits, the same each time."""
        said = _PURPOSE + b"\0" + room.encode()
        return hmac.digest(self.secret, said, "sha256")[:_TOKEN_BYTES].hex()

    def admits(self, room: RoomId, untrusted_token: str) -> bool:
        """Whether this is the room's token; takes as long whatever is wrong with it."""
        told = untrusted_token.encode("utf-8", "surrogatepass")
        return hmac.compare_digest(self.token(room).encode(), told)
