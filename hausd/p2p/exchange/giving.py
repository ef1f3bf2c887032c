"""Gives a room's blocks to other nodes, within the upload budget.

``policy.uploads`` says who is served and whom to ask instead, ``policy.sharing`` in which order.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial

import trio

from hausd.core.cid import CID
from hausd.core.following import Priority
from hausd.core.ids import RoomId
from hausd.core.peers import (
    MAX_ADDRESSES,
    MAX_GIVES,
    MAX_HOPS,
    Copies,
    Gives,
    PeerAddress,
    PeerId,
    PeerStream,
)
from hausd.p2p import metrics
from hausd.p2p.exchange.asking import Asking
from hausd.p2p.exchange.guests import Guest, OneOfFew, Rates
from hausd.p2p.exchange.ports import Shared, SharedRoom, UploadSettings
from hausd.p2p.host import Host
from hausd.p2p.uploading import UploadLine
from hausd.policy.sharing import ARCHIVE_WEIGHT, CATCH_UP_WEIGHT, LIVE_WEIGHT, weight
from hausd.policy.uploads import Uploads
from hausd.wire.blocks_protocol import Cancelled, Want, Wanted
from hausd.wire.frames import ProtocolError

_WEIGHTS = {
    Priority.LIVE: LIVE_WEIGHT,
    Priority.CATCH_UP: CATCH_UP_WEIGHT,
    Priority.ARCHIVE: ARCHIVE_WEIGHT,
}
_SPARE_S = 0.05
"""Until it is looked again what live leaves of the upload."""
_LEAST_COPY_BYTES_PER_S = 12_500.0
"""A room that sends nothing yet still counts as one that may."""
_STREAMS_OF_A_PEER = 2
_MOST_PIECES = 1024
"""Unsent on a stream: with more of them its peer is not listened to. Of all that may be open at
once on a stream, answered with blocks, it is twice as many."""
_REFUSALS_PER_S, _REFUSALS_AT_ONCE = 500.0, 2000.0
"""Blocks that a peer is told it can't have; it waits where it asks for more of those."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A block that is to be sent."""

    guest: Guest
    room: RoomId
    number: int
    index: int
    data: bytes | memoryview
    hops: int


class Giving:
    """All that this node sends. ``serve`` is the handler of the protocol's streams."""

    def __init__(self, host: Host, shared: Shared, settings: UploadSettings) -> None:
        self.asking: Asking | None = None
        """Set once both sides are there: what is on its way here may be waited for."""
        self._host = host
        self._shared = shared
        self._settings = settings
        self._uploads = Uploads(settings.bytes_per_s)
        self.line = UploadLine(settings.bytes_per_s)
        self._streams = OneOfFew(_STREAMS_OF_A_PEER)
        self._refusals = Rates(_REFUSALS_PER_S, _REFUSALS_AT_ONCE)

    def gives(self, room: RoomId) -> Gives:
        """What this node can send on of a room; told with each request."""
        one = self._shared.shared(room)
        if one is None:
            return Gives()
        self._open(room, one)
        return self._uploads.gives(room, trio.current_time())

    def copies(self, room: RoomId) -> int:
        """How many followers hold a slot of this room."""
        return len(self._uploads.holds(room))

    def below(self, room: RoomId) -> Copies:
        """All copies that are sent, or could be, by this node and those below it."""
        free = self.free(room)
        if not self._uploads.knows(room):
            return Copies(0, free)
        return self._uploads.copies(room, trio.current_time())

    def free(self, room: RoomId) -> int:
        """How many further copies this node could send itself."""
        one = self._shared.shared(room)
        if one is None:
            return 0
        if self._uploads.knows(room):
            self._open(room, one)
            return self._uploads.free(room, trio.current_time())
        rate, most = self._terms(one)  # nobody has asked yet
        copies = self._settings.bytes_per_s / rate
        return min(int(copies if most is None else min(most, copies)), MAX_GIVES)

    def close(self, room: RoomId) -> None:
        """The room is not served any more."""
        self._uploads.close(room)

    async def turn(self, flow: Hashable, weight: float, size_bytes: int) -> None:
        """Returns when so many bytes of another protocol may be sent: behind all that is live."""
        while not self._uploads.spare(size_bytes, trio.current_time()):
            await trio.sleep(_SPARE_S)
        await self.line.turn(flow, weight, size_bytes)

    async def serve(self, stream: PeerStream) -> None:
        """Answers a peer until it closes the stream."""
        guest = Guest(stream.peer)
        try:
            with self._streams.held(stream):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(guest.outbox.run, stream)
                    await self._listen(guest, stream, nursery)
                    nursery.cancel_scope.cancel()
        except* ProtocolError:
            metrics.STREAMS_REFUSED.labels("protocol").inc()
            stream.reset()

    async def _listen(self, guest: Guest, stream: PeerStream, nursery: trio.Nursery) -> None:
        while data := await stream.receive_some():
            for request in guest.answerer.feed(data):
                match request:
                    case Wanted():
                        self._wanted(guest, request, nursery)
                    case Cancelled(reply=reply):
                        guest.outbox.write(reply)
            await guest.outbox.below(_MOST_PIECES)
            refused, guest.refused = guest.refused, 0
            now_s = trio.current_time()
            await trio.sleep(self._refusals.wait_s(guest.peer, refused, now_s))

    # -- one want --

    def _wanted(self, guest: Guest, wanted: Wanted, nursery: trio.Nursery) -> None:
        room = self._shared.shared(wanted.want.room)
        if room is None:
            for index in range(len(wanted.want.cids)):
                guest.outbox.write(guest.answerer.none(wanted.id, index, MAX_HOPS))
            guest.refused += len(wanted.want.cids)
            return
        self._open(wanted.want.room, room)
        for index in range(len(wanted.want.cids)):
            nursery.start_soon(self._give, guest, wanted, index, room)

    async def _give(self, guest: Guest, wanted: Wanted, index: int, room: SharedRoom) -> None:
        want = wanted.want
        cid = want.cids[index]
        waits = want.priority is Priority.LIVE and want.wait_ms > 0
        data, may_wait = await self._look(room, want, cid)
        full = want.priority is Priority.LIVE and self._uploads.full(
            want.room, guest.peer, trio.current_time()
        )
        if data is None and waits and not (may_wait or full or room.is_origin):
            if self.asking is not None:
                await self.asking.heard_of(want.room, cid)
            data, may_wait = await self._look(room, want, cid)
        if not guest.answerer.is_open(wanted.id, index):
            return
        now_s = trio.current_time()
        if data is None and not may_wait:
            if full:
                self._busy(guest, wanted, index)
            else:
                self._none(guest, wanted, index, room)
            return
        # only who waits is given a slot; all else has what slots leave
        if not self._uploads.ask(
            want.room,
            guest.peer,
            want.gives,
            now_s,
            dialable=bool(self._addresses(guest.peer)),
            hedge_bytes=0 if waits or data is None else len(data),
        ):
            self._busy(guest, wanted, index)
            return
        if data is None:
            with trio.move_on_after(want.wait_ms / 1000):
                data = await room.leaf(cid, may_wait=True)
            if not guest.answerer.is_open(wanted.id, index):
                return
        if data is None:
            self._none(guest, wanted, index, room)
            return
        ready = _Ready(guest, want.room, wanted.id, index, data, self._hops(want.room, room))
        flow = (want.room, want.priority)
        share = _WEIGHTS[want.priority] * weight(premium=room.premium)
        if not self.line.put(flow, share, len(data), partial(self._send, ready)):
            self._busy(guest, wanted, index)

    async def _look(
        self, room: SharedRoom, want: Want, cid: CID
    ) -> tuple[bytes | memoryview | None, bool]:
        """A block, if it is here, and whether who asks for it may wait for it."""
        if want.priority is not Priority.LIVE or not want.wait_ms:
            return await room.leaf(cid, may_wait=False), False
        # asked before and after looking: it may arrive meanwhile
        may_wait = self._admits(want.room, cid, want.hops)
        data = await room.leaf(cid, may_wait=False)
        return data, may_wait or self._admits(want.room, cid, want.hops)

    def _send(self, ready: _Ready) -> bool:
        if not ready.guest.answerer.is_open(ready.number, ready.index):
            return False
        now_s = trio.current_time()
        self._uploads.sent(ready.room, ready.guest.peer, len(ready.data), now_s)
        metrics.LEAVES_SENT.inc()
        metrics.LEAF_BYTES_SENT.inc(len(ready.data))
        ready.guest.outbox.write(
            *ready.guest.answerer.block(ready.number, ready.index, ready.data, ready.hops)
        )
        return True

    def _busy(self, guest: Guest, wanted: Wanted, index: int) -> None:
        metrics.LEAVES_REFUSED.labels("busy").inc()
        guest.refused += 1
        named = self._uploads.names(wanted.want.room, guest.peer, trio.current_time())
        peers = [PeerAddress(peer, self._addresses(peer)) for peer in named]
        guest.outbox.write(guest.answerer.busy(wanted.id, [index], peers))

    def _none(self, guest: Guest, wanted: Wanted, index: int, room: SharedRoom) -> None:
        metrics.LEAVES_REFUSED.labels("none").inc()
        guest.refused += 1
        hops = self._hops(wanted.want.room, room)
        guest.outbox.write(guest.answerer.none(wanted.id, index, hops))

    # -- what is known --

    def _open(self, room: RoomId, one: SharedRoom) -> None:
        rate, copies = self._terms(one)
        self._uploads.open(room, rate, copies, weight(premium=one.premium))

    def _terms(self, one: SharedRoom) -> tuple[float, float | None]:
        """What a copy of a room takes, in bytes a second, and the most copies that are sent."""
        rate = max(one.copy_bytes_per_s, _LEAST_COPY_BYTES_PER_S)
        most = one.most_bytes_per_s
        if one.is_origin:
            return rate, self._settings.copies
        return rate, most / rate if most is not None else None

    def _admits(self, room: RoomId, cid: CID, hops: int) -> bool:
        return self.asking is not None and self.asking.admits(room, cid, hops)

    def _hops(self, room: RoomId, one: SharedRoom) -> int:
        if one.is_origin:
            return 0
        hops = self.asking.hops(room) if self.asking is not None else None
        return MAX_HOPS if hops is None else hops

    def _addresses(self, peer: PeerId) -> tuple[str, ...]:
        connection = self._host.connection(peer)
        if connection is None or not connection.kept.is_set():
            return ()
        return tuple(connection.known_addresses[:MAX_ADDRESSES])
