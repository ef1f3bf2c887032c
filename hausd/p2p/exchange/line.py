"""One stream of ``/haus/blocks/1`` to a peer that this node asks for blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from hausd.core.cid import CID
from hausd.core.peers import PeerId, PeerStream, PeerUnreachable, ProtocolRefused, StreamBroken
from hausd.p2p.exchange.outbox import Outbox
from hausd.wire.blocks_protocol import PROTOCOL, Answer, Block, BlocksAsker, Want
from hausd.wire.frames import ProtocolError

OPEN_S = 5.0
"""A peer that takes longer to take a stream is of no use for the live edge."""
SILENT_S = 30.0
"""What is asked is answered within its wait (10 s); what is not live may have to queue."""
_MAX_PENDING = 4096

Opens = Callable[[PeerId, str], Awaitable[PeerStream]]


@dataclass(slots=True, eq=False)
class Asked:
    """Blocks of one want that were asked of a peer, for whoever asked."""

    want: Want
    on_answer: Callable[[Answer], None]
    number: int | None = None
    """On the stream; None while it waits to be sent."""
    withdrawn: set[CID] = field(default_factory=set)


class LineBroken(Exception):
    """The peer can't be asked any more; ``args[0]`` says why."""


class Line:
    """What is asked of one peer. ``run`` owns the stream; the rest never waits."""

    def __init__(self, peer: PeerId) -> None:
        self.peer = peer
        self.scope = trio.CancelScope()
        """To end it."""
        self.spoke_s = trio.current_time()
        """When the peer answered last, or the line began."""
        self.carried = False
        """Whether a block came."""
        self._asker = BlocksAsker()
        self._pending: deque[Asked] = deque()
        self._sent: dict[int, Asked] = {}
        self._outbox = Outbox()

    def ask(self, want: Want, on_answer: Callable[[Answer], None]) -> Asked | None:
        """Asks; every block is answered once, unless withdrawn. None where too much waits."""
        if len(self._pending) >= _MAX_PENDING:
            return None
        asked = Asked(want, on_answer)
        self._pending.append(asked)
        self._send_pending()
        return asked

    def withdraw(self, asked: Asked, cid: CID) -> None:
        """Has no more use for a block that was asked for."""
        asked.withdrawn.add(cid)
        if asked.number is not None:
            self._outbox.write(self._asker.cancel(asked.number, [cid]))

    async def run(self, open_stream: Opens) -> None:
        """Speaks with the peer until the stream ends; raises LineBroken, always in the end."""
        try:
            with trio.fail_after(OPEN_S):
                stream = await open_stream(self.peer, PROTOCOL)
        except (PeerUnreachable, ProtocolRefused, StreamBroken) as fault:
            raise LineBroken(str(fault)) from fault
        except trio.TooSlowError:
            raise LineBroken(f"it took no stream within {OPEN_S:g} s") from None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._outbox.run, stream)
                await self._read_all(stream)
                nursery.cancel_scope.cancel()
        except* StreamBroken as faults:
            raise LineBroken(str(faults.exceptions[0])) from faults
        except* ProtocolError as faults:
            raise LineBroken(f"it broke the protocol: {faults.exceptions[0]}") from faults
        finally:
            stream.reset()
        raise LineBroken("it closed the stream")

    async def _read_all(self, stream: PeerStream) -> None:
        owed = False
        while True:
            # one scope for as long as the peer speaks: to enter one costs more than a deadline
            with trio.CancelScope() as patience:
                while True:
                    owed = bool(self._sent)
                    patience.deadline = trio.current_time() + SILENT_S
                    data = await stream.receive_some()
                    if not data:
                        self._asker.finish()
                        return
                    self._took(data)
            if owed:
                raise LineBroken(f"it answered nothing for {SILENT_S:g} s")

    def _took(self, data: bytes) -> None:
        self.spoke_s = trio.current_time()
        for answer in self._asker.feed(data):
            self._answered(answer)
        self._send_pending()

    def _answered(self, answer: Answer) -> None:
        self.carried |= isinstance(answer, Block)
        asked = self._sent.get(answer.id)
        if asked is not None:
            asked.on_answer(answer)
        if not self._asker.is_open(answer.id):
            self._sent.pop(answer.id, None)

    def _send_pending(self) -> None:
        while self._pending:
            asked = self._pending[0]
            cids = tuple(cid for cid in asked.want.cids if cid not in asked.withdrawn)
            if cids and not self._asker.room_for(len(cids)):
                return
            self._pending.popleft()
            if cids:
                want = asked.want
                asked.number, data = self._asker.want(
                    Want(want.room, cids, want.wait_ms, want.hops, want.priority, want.gives)
                )
                self._sent[asked.number] = asked
                self._outbox.write(data)
