"""What this node asks of one peer: news of its wantlist, gathered into few messages."""

from __future__ import annotations

import trio

from hausd.core.cid import CID
from hausd.core.peers import PeerId
from hausd.p2p.bitswap.speaking import IDLE_S, Speaker
from hausd.p2p.host import Host
from hausd.wire.bitswap import Entry, Kind, Message, cancel, want

_MAX_ENTRIES = 512
"""In one message."""


class Line:
    """``run`` owns the stream; the rest never waits. Bounded by how many blocks are sought."""

    def __init__(self, host: Host, peer: PeerId) -> None:
        self.peer = peer
        self._speaker = Speaker(host, peer)
        self._news: dict[bytes, Entry] = {}
        self._told: set[bytes] = set()
        """What the peer knows that we want."""
        self._stirred = trio.Event()

    def ask(self, cid: CID, kind: Kind) -> None:
        """Wants a block, or to know whether the peer has it."""
        self._news[cid.digest] = want(cid, kind)
        self._stirred.set()

    def cancel(self, cid: CID) -> None:
        """Wants it no more; says so, if the peer was told at all."""
        self._news.pop(cid.digest, None)
        if cid.digest in self._told:
            self._news[cid.digest] = cancel(cid)
            self._stirred.set()

    def given(self, cid: CID) -> None:
        """The peer sent the block, and knows itself that we want it no more."""
        self._told.discard(cid.digest)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to say, and nothing that may have to be withdrawn."""
        return not self._news and not self._told

    async def run(self) -> None:
        """Says what there is to say, until there has been nothing for a while.

        Raises PeerUnreachable, ProtocolRefused, StreamBroken.
        """
        try:
            while True:
                self._stirred = trio.Event()
                while self._news:
                    await self._say()
                with trio.move_on_after(IDLE_S):
                    await self._stirred.wait()
                    continue
                await self._speaker.close()
                if self.idle:
                    return
        finally:
            self._speaker.abandon()

    async def _say(self) -> None:
        names = list(self._news)[:_MAX_ENTRIES]
        entries = tuple(self._news.pop(name) for name in names)
        for name, entry in zip(names, entries, strict=True):
            if entry.cancel:
                self._told.discard(name)
            else:
                self._told.add(name)
        await self._speaker.send(Message(entries=entries))
