"""Who says that it is a room's origin. Pure.

The origin is asked last, when nobody else has a leaf; that it is the origin, nobody can prove: the
room's key signs what is said, not from where. So everyone who says so may be asked, a few of them,
and who has given something before who has only said so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from hausd.core.peers import PeerId

MAX_ORIGINS = 4
"""Of a room; beyond it, who claimed first and has given nothing makes way."""


class Origins:
    """Iterates over them in the order in which they are to be asked."""

    def __init__(self, known: PeerId | None = None) -> None:
        self._gave: OrderedDict[PeerId, bool] = OrderedDict()
        if known is not None:
            self.claims(known)

    def __iter__(self) -> Iterator[PeerId]:
        yield from [peer for peer, gave in self._gave.items() if gave]
        yield from [peer for peer, gave in self._gave.items() if not gave]

    def __contains__(self, peer: object) -> bool:
        return peer in self._gave

    def claims(self, untrusted_peer: PeerId) -> None:
        """This peer says that it is the origin."""
        if untrusted_peer in self._gave:
            return
        if len(self._gave) >= MAX_ORIGINS:
            idle = next((peer for peer, gave in self._gave.items() if not gave), None)
            if idle is None:
                return
            del self._gave[idle]
        self._gave[untrusted_peer] = False

    def gave(self, peer: PeerId) -> None:
        """A leaf came from this peer."""
        if peer in self._gave:
            self._gave[peer] = True

    def failed(self, peer: PeerId) -> None:
        """This peer does not have what the origin has, or is gone: others go before it."""
        if peer in self._gave:
            self._gave[peer] = False
            self._gave.move_to_end(peer)

    def lied(self, peer: PeerId) -> None:
        """This peer sent bytes that are not a leaf's."""
        self._gave.pop(peer, None)
