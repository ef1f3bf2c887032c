"""Who is not spoken to for a while. Pure: the time is passed in."""

from __future__ import annotations

from collections import OrderedDict

from hausd.core.peers import PeerId

_MAX_BANS = 4096
"""Beyond it the oldest ban is forgotten: a new id costs an attacker nothing anyway."""


class Bans:
    """Peers and until when they are banned."""

    def __init__(self) -> None:
        self._until_s: OrderedDict[PeerId, float] = OrderedDict()

    def ban(self, peer: PeerId, for_s: float, now_s: float) -> None:
        self._until_s.pop(peer, None)
        self._until_s[peer] = now_s + for_s
        if len(self._until_s) > _MAX_BANS:
            self._until_s.popitem(last=False)

    def banned(self, peer: PeerId, now_s: float) -> bool:
        until_s = self._until_s.get(peer)
        if until_s is None:
            return False
        if now_s < until_s:
            return True
        del self._until_s[peer]
        return False
