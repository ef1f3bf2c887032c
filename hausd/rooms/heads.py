"""Which of a followed room's heads is read next.

An origin that vanishes takes the blocks of its newest manifest along where nobody had fetched them
yet. So who is asked of a room also tells the head whose manifest it has read, and a newcomer starts
there.
"""

from __future__ import annotations

from dataclasses import dataclass

from hausd.core.peers import PeerId
from hausd.wire.announce import Signed, advances
from hausd.wire.statements import Head


@dataclass(slots=True)
class Heads:
    """``newest``: as signed or proven; ``read``: whose manifest was read last."""

    newest: Signed[Head] | None = None
    told_by: PeerId | None = None
    """Who told of one last, and so has what it names, or knows who does."""
    read: Signed[Head] | None = None
    _kept: Signed[Head] | None = None

    @property
    def unread(self) -> bool:
        """Whether there is one, and nobody here knows yet what any names."""
        return (self.newest is not None or self._kept is not None) and self.read is None

    def came(self, head: Signed[Head], told_by: PeerId | None) -> None:
        """A newer one."""
        self.newest, self.told_by = head, told_by

    def kept_by(self, peer: PeerId | None, head: Signed[Head]) -> bool:
        """``peer`` has what this one names; whether that is more than is known here."""
        known = [one.statement for one in (self.read, self._kept) if one is not None]
        if not all(advances(one, head.statement) for one in known):
            return False
        self._kept, self.told_by = head, peer
        return True

    def due(self) -> Signed[Head] | None:
        """The one to read: what somebody has goes before what perhaps nobody has."""
        if self._kept is not None:
            return self._kept
        if self.newest is None or self.read is None:
            return self.newest
        return self.newest if self.newest.statement != self.read.statement else None

    def was_read(self, head: Signed[Head]) -> None:
        """Its manifest is known."""
        self.read = head
        self.gave_up(head)

    def gave_up(self, head: Signed[Head]) -> bool:
        """Whether another one is due now; the newest is tried again later."""
        was_kept = head is self._kept
        if was_kept:
            self._kept = None
        return was_kept
