"""What an event's chain says of a followed room's manifests, beside what was signed.

A manifest on chain is as good as a head that is signed: its authority wrote it. But an RPC endpoint
may lie or lag. So what is signed and heard comes first; what only the chain says is used where
nothing newer is heard, and both are compared wherever both are known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.wire.announce import advances
from hausd.wire.statements import Head

Outcome = Literal["matches", "differs", "unseen", "alone"]
"""Whether the manifest on chain is the one that was signed. ``unseen``: what was signed in its
place is not known here; ``alone``: nothing that was signed is, the chain alone told of it."""


@dataclass(slots=True)
class Proving:
    """One room's. ``notice`` tells the operator."""

    notice: Callable[[str, str], None]
    outcome: Outcome = "unseen"
    matched: int = 0
    """Manifests on chain that are the signed ones, since this node's start."""
    head: Head | None = None
    """The newest that was taken from the chain."""
    _compared: tuple[SessionId, int, CID] | None = None

    def compare(self, written: Head, signed: Head | None, newest: Head | None) -> None:
        """``signed`` is what was in the place of what is ``written`` on chain, ``newest`` the
        newest that was signed, each None where it is not known here."""
        place = (written.session, written.n, written.manifest)
        if place == self._compared:
            return  # what was signed is remembered for a while only
        if signed is None:
            self.outcome = "alone" if newest is None else "unseen"
            return
        self._compared = place
        if signed.manifest == written.manifest:
            self.outcome = "matches"
            self.matched += 1
            return
        self.outcome = "differs"
        self.notice(
            "checkpoint-differs",
            "The manifest that the event has on chain is not the one that was signed here: "
            f"{written.manifest} there, {signed.manifest} here.",
        )

    def takes(self, written: Head, newest: Head | None) -> bool:
        """Whether the chain knows more than was heard, and than it said before."""
        if not all(advances(known, written) for known in (self.head, newest)):
            return False
        self.head = written
        return True
