"""Gives blocks of the store to IPFS peers that ask for them, behind all that is live.

A want for what is not here is answered so, where the peer cares, and forgotten: whoever still
wants it asks again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
import trio

from hausd.core.peers import PeerId, PeerUnreachable, ProtocolRefused, StreamBroken
from hausd.p2p import metrics
from hausd.p2p.bitswap.ports import BlockReader, Upload
from hausd.p2p.bitswap.speaking import IDLE_S, Speaker
from hausd.p2p.host import Host
from hausd.policy.sharing import ARCHIVE_WEIGHT
from hausd.policy.wantlist import MAX_WANTS, Wantlist
from hausd.telemetry import count_swallowed
from hausd.wire.bitswap import Entry, Kind, Message, Presence, payload

log = structlog.get_logger("hausd.p2p")

MAX_GUESTS = 1024
_FLOW = "bitswap"
"""All peers together have one archive's share of the upload, and take turns in it."""
_ANSWERED_FIRST = 1 << 32
"""On top of a want's priority, where a few bytes answer it."""
_MAX_TOLD = 512
"""Presences in one message."""


@dataclass(slots=True, eq=False)
class _Guest:
    """A peer that wants something. At most one block of it is in memory."""

    peer: PeerId
    speaker: Speaker
    wants: Wantlist[Entry] = field(default_factory=Wantlist)
    overflow: list[Presence] = field(default_factory=list)
    """What it wants beyond the bound of its list, as not to be had here."""
    sending: bytes | None = None
    """The name of the block whose turn is awaited; None once it is cancelled."""
    stirred: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Giving:
    """All peers that want something. ``nursery`` owns their tasks."""

    def __init__(
        self, host: Host, blocks: BlockReader, upload: Upload, nursery: trio.Nursery
    ) -> None:
        self._host = host
        self._blocks = blocks
        self._upload = upload
        self._nursery = nursery
        self._guests: dict[PeerId, _Guest] = {}

    def wanted(self, peer: PeerId, message: Message) -> None:
        """A peer's wantlist, or news of it. Never waits."""
        if not message.entries and not message.full:
            return
        guest = self._guests.get(peer)
        if guest is None:
            if len(self._guests) >= MAX_GUESTS or all(one.cancel for one in message.entries):
                return
            guest = self._guests[peer] = _Guest(peer, Speaker(self._host, peer))
            self._nursery.start_soon(self._run, guest)
        if message.full:
            guest.wants.clear()
            guest.sending = None
        for entry in message.entries:
            self._note(guest, entry)
        guest.stirred.set()

    def gone(self, peer: PeerId) -> None:
        """A peer is not connected any more: what it wanted, it wanted of that connection."""
        guest = self._guests.pop(peer, None)
        if guest is not None:
            guest.scope.cancel()

    def _note(self, guest: _Guest, entry: Entry) -> None:
        if entry.cancel:
            guest.wants.cancel(entry.name)
            if guest.sending == entry.name:
                guest.sending = None
            return
        metrics.BITSWAP_WANTS.labels(entry.kind.name.lower()).inc()
        here = entry.cid is not None and self._blocks.has(entry.cid)
        if not here and not entry.send_dont_have:
            return
        at_once = entry.kind is Kind.HAVE or not here
        priority = entry.priority + (_ANSWERED_FIRST if at_once else 0)
        if guest.wants.add(entry.name, priority, entry):
            return
        metrics.BITSWAP_WANTS_REFUSED.inc()
        if entry.send_dont_have and len(guest.overflow) < MAX_WANTS:
            guest.overflow.append(Presence(entry.name, entry.cid, have=False))

    async def _run(self, guest: _Guest) -> None:
        try:
            with guest.scope:
                await self._answer(guest)
                self._forget(guest)  # from here on, who wants something is a new guest
                await guest.speaker.close()
        except (PeerUnreachable, ProtocolRefused, StreamBroken) as fault:
            log.debug("bitswap-not-answered", peer=guest.peer, because=str(fault))
        except Exception as fault:  # the door of a peer's task
            count_swallowed("bitswap-giving", fault)
            log.exception("bitswap-answer-failed", peer=guest.peer)
        finally:
            guest.speaker.abandon()
            self._forget(guest)

    def _forget(self, guest: _Guest) -> None:
        if self._guests.get(guest.peer) is guest:
            del self._guests[guest.peer]

    async def _answer(self, guest: _Guest) -> None:
        """Answers until nothing is wanted for a while."""
        while True:
            guest.stirred = trio.Event()
            presences, wanted, data = await self._next(guest)
            if presences:
                await guest.speaker.send(Message(presences=presences))
            if wanted is not None and data is not None:
                await self._give(guest, wanted, data)
            elif not presences:
                with trio.move_on_after(IDLE_S) as idle:
                    await guest.stirred.wait()
                if idle.cancelled_caught and not guest.stirred.is_set():
                    return

    async def _next(self, guest: _Guest) -> tuple[tuple[Presence, ...], Entry | None, bytes | None]:
        """What to say, and at most one block that was wanted."""
        told = guest.overflow[:_MAX_TOLD]
        del guest.overflow[:_MAX_TOLD]
        while len(told) < _MAX_TOLD and (entry := guest.wants.pop()) is not None:
            here = entry.cid is not None and self._blocks.has(entry.cid)
            if entry.kind is Kind.HAVE:
                if here or entry.send_dont_have:
                    told.append(Presence(entry.name, entry.cid, here))
                continue
            guest.sending = entry.name
            data = await self._blocks.block(entry.cid) if here and entry.cid is not None else None
            if data is not None:
                return tuple(told), entry, data
            if entry.send_dont_have:
                told.append(Presence(entry.name, entry.cid, have=False))
        return tuple(told), None, None

    async def _give(self, guest: _Guest, wanted: Entry, data: bytes) -> None:
        await self._upload.turn(_FLOW, ARCHIVE_WEIGHT, len(data))
        if guest.sending is None:
            return
        metrics.BITSWAP_BLOCKS_SENT.inc()
        metrics.BITSWAP_BYTES_SENT.inc(len(data))
        await guest.speaker.send(Message(payload=(payload(wanted.name, data),)))
