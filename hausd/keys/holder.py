"""Gives epochs' keys to nodes whose user has a ticket: the answering side of ``/haus/keys/1``.

That is for the room's origin, for those that its head names, and for who got the keys from the
artist. A viewer's node gives nothing on: nobody told it who is banned, and each that answers is one
more that counts a ticket's delegates by itself.

What decides is ``policy.release``; here is what it decides from: the delegation, the chain, and
what this key holder remembers of who was given which key. That memory is bounded and ends with the
process; then a ticket may bring an epoch's key to as many nodes again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
import trio

from hausd.core.clock import Clock
from hausd.core.delegation import Delegation, DelegationError, verify
from hausd.core.gating import EpochId
from hausd.core.ids import RoomId
from hausd.core.peers import PeerId, PeerStream
from hausd.core.release import Held, Missing, Refusal, Ticket, Unknown
from hausd.core.sealing import SealError
from hausd.keys import metrics
from hausd.keys.ports import Events, GatedEvent, Tickets
from hausd.keys.ring import KeyRing
from hausd.policy.quota import Distinct, Quota
from hausd.policy.release import DELEGATES, Facts, Guest, gone_with, refused, refused_by_text
from hausd.wire.frames import ProtocolError
from hausd.wire.keys import KeyAnswer, KeyAnswerer, KeyQuestion, Shown, seal_keys

log = structlog.get_logger("hausd.keys")

_IDLE_S = 30.0
_STREAMS_OF_A_PEER = 16
_GIVEN = 64
"""Epochs that are remembered of a guest: as many as one question may be about."""
MAX_GUESTS = 16_384
MAX_DELEGATES_OF = 65_536
PEER_PER_S, PEER_BURST = 1.0, 30.0
"""Questions of one peer: one for each epoch and room is what an honest one needs."""
WALLET_PER_S, WALLET_BURST = 1.0, 30.0
ROOM_PER_S, ROOM_BURST = 200.0, 2_000.0
WALLETS, WALLETS_WINDOW_S = 64, 600.0
"""Wallets that one peer may come with."""
LOOKED_AT_ONCE = 100
"""Tickets that are looked at again together: as many as one call to the chain is about."""
T = TypeVar("T")


@dataclass(slots=True)
class _Tickets:
    """A wallet's in a room: how many, as the chain had it last, and the nodes that they brought
    each epoch's key."""

    count: int = 0
    brought: dict[EpochId, set[PeerId]] = field(default_factory=dict)


@dataclass(slots=True)
class _Guest:
    """A wallet's node in a room, see ``policy.release.Guest``."""

    given: OrderedDict[EpochId, None] = field(default_factory=OrderedDict)
    graced: EpochId | None = None

    @property
    def seen(self) -> Guest:
        return Guest(frozenset(self.given), self.graced)


class Refused(Exception):
    """The whole question is refused, for this reason."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.words)
        self.refusal = refusal


class KeyHolder:
    """``serve`` handles streams. ``delegates``: nodes that get an epoch's key by one ticket."""

    def __init__(
        self,
        ring: KeyRing,
        tickets: Tickets,
        events: Events,
        clock: Clock,
        me: PeerId,
        delegates: int = DELEGATES,
    ) -> None:
        self._ring = ring
        self._me = me
        self._tickets = tickets
        self._events = events
        self._clock = clock
        self.delegates = delegates
        self._guests: OrderedDict[tuple[RoomId, str, PeerId], _Guest] = OrderedDict()
        self._held: OrderedDict[tuple[RoomId, str], _Tickets] = OrderedDict()
        self._brought = 0
        self._streams: dict[PeerId, int] = {}
        self._by_peer = Quota(PEER_PER_S, PEER_BURST)
        self._by_wallet = Quota(WALLET_PER_S, WALLET_BURST)
        self._by_room = Quota(ROOM_PER_S, ROOM_BURST)
        self._wallets = Distinct(WALLETS, WALLETS_WINDOW_S)
        self.graced = 0
        """Keys given while the chain did not answer."""

    async def lost(self, room: RoomId) -> set[str]:
        """The wallets that were given a key of a room, as far as that is remembered, and have no
        right to another now. They are told once, and forgotten."""
        inside = {wallet for at, wallet, _ in self._guests if at == room}
        event = self._events.event(room) if inside else None
        inside.discard(event.artist if event is not None else "")
        lost = {wallet for wallet in inside if self._ring.banned(room, wallet)}

        async def look(wallet: str) -> None:
            if isinstance(await self._tickets.ticket(room, wallet, later=True), Missing):
                lost.add(wallet)

        unsure = list(inside - lost)
        for at in range(0, len(unsure), LOOKED_AT_ONCE):
            async with trio.open_nursery() as nursery:
                for wallet in unsure[at : at + LOOKED_AT_ONCE]:
                    nursery.start_soon(look, wallet)
        for guest in [one for one in self._guests if one[0] == room and one[1] in lost]:
            del self._guests[guest]
        return lost

    def passed_on(self, room: RoomId, from_: str, to: str, count: int) -> None:
        """The chain tells that tickets went from one wallet to another: the nodes that they brought
        keys go with them. A ticket that is refunded is none any more, and the next one is new."""
        had, has = self._held.get((room, from_)), self._held.get((room, to))
        if has is not None:
            has.count += count
        event = self._events.event(room)
        if had is None or event is None or from_ == event.artist:
            return
        had.count = max(0, had.count - count)
        for epoch, nodes in had.brought.items():
            gone = gone_with(nodes, had.count, count, self.delegates)
            if gone:
                nodes -= gone
                self._brought_by(room, to, epoch).update(gone)

    async def serve(self, stream: PeerStream) -> None:
        """Answers a peer's questions until it closes the stream."""
        peer = stream.peer
        if self._streams.get(peer, 0) >= _STREAMS_OF_A_PEER:
            metrics.REFUSED_STREAMS.labels("too-many").inc()
            stream.reset()
            return
        self._streams[peer] = self._streams.get(peer, 0) + 1
        try:
            await self._listen(stream)
        except ProtocolError:
            metrics.REFUSED_STREAMS.labels("protocol").inc()
            stream.reset()
        finally:
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer]

    async def _listen(self, stream: PeerStream) -> None:
        answerer = KeyAnswerer()
        while True:
            with trio.move_on_after(_IDLE_S) as idle:
                data = await stream.receive_some()
            if idle.cancelled_caught or not data:
                return
            for question in answerer.feed(data):
                metrics.QUESTIONS.inc()
                with metrics.ANSWER_S.time():
                    answer = await self.answer(stream.peer, question)
                await stream.send_all(answerer.answer(answer))

    async def answer(self, peer: PeerId, question: KeyQuestion) -> KeyAnswer:
        """The answer to a question of a peer, whose connection proves who it is."""
        event: GatedEvent | None = None
        may = self._by_peer.take(peer, trio.current_time())
        if may:  # what is not known of the room is read of the chain
            event = self._events.event(question.room)
        holders = event.holders if event is not None else ()
        try:
            if not may:
                raise Refused(Refusal.TRY_LATER)
            outcome, to = await self._decide(peer, question, event)
            answer = seal_keys(question, peer, to, outcome, holders)
        except Refused as fault:
            refusals = dict.fromkeys(question.epochs, fault.refusal)
            answer = seal_keys(question, peer, b"", refusals, holders)
        except SealError:
            refusals = dict.fromkeys(question.epochs, Refusal.BAD_DELEGATION)
            answer = seal_keys(question, peer, b"", refusals, holders)
        for one in answer.outcome:
            metrics.OUTCOMES.labels("given" if one is None else one.value).inc()
        return answer

    async def _decide(
        self, peer: PeerId, question: KeyQuestion, event: GatedEvent | None
    ) -> tuple[dict[bytes, bytes | Refusal], bytes]:
        """What becomes of each epoch's key, and to which key those given are sealed."""
        if event is None or not self._ring.has_of(question.room):
            raise Refused(Refusal.NOT_A_HOLDER)
        if isinstance(question.by, Shown):
            if not self._by_right(event, question):
                raise Refused(Refusal.NOT_A_HOLDER)
            delegation = self._shown(peer, question.room, event, question.by)
            return await self._by_ticket(peer, question, event, delegation), delegation.sealing_key
        if not any(named.peer == peer for named in event.holders):
            raise Refused(Refusal.NOT_NAMED)
        return {id_: self._key(question.room, EpochId(id_)) for id_ in question.epochs}, question.by

    def _by_right(self, event: GatedEvent, question: KeyQuestion) -> frozenset[EpochId]:
        """The epochs whose keys this node may give to who has a ticket."""
        epochs = frozenset(map(EpochId, question.epochs))
        if any(named.peer == self._me for named in event.holders):
            return epochs
        return frozenset(id_ for id_ in epochs if self._ring.may_give(question.room, id_))

    def _shown(self, peer: PeerId, room: RoomId, event: GatedEvent, shown: Shown) -> Delegation:
        try:
            delegation = verify(shown.untrusted_text, shown.untrusted_signature).delegation
        except DelegationError:
            raise Refused(Refusal.BAD_DELEGATION) from None
        now_s = self._clock.now_ms() / 1000
        refusal = refused_by_text(delegation, peer, room, event.chain, now_s)
        if refusal is not None:
            raise Refused(refusal)
        wallet, at_s = delegation.wallet, trio.current_time()
        if not (
            self._by_wallet.take(wallet, at_s)
            and self._wallets.may(peer, wallet, at_s)
            # who is inside is not kept out by a crowd at the door
            and ((room, wallet, peer) in self._guests or self._by_room.take(room, at_s))
        ):
            raise Refused(Refusal.TRY_LATER)
        return delegation

    async def _by_ticket(
        self, peer: PeerId, question: KeyQuestion, event: GatedEvent, delegation: Delegation
    ) -> dict[bytes, bytes | Refusal]:
        room, wallet = question.room, delegation.wallet
        ticket: Ticket = Held(1)
        if wallet != event.artist:
            ticket = await self._tickets.ticket(room, wallet)
        ours = self._by_right(event, question)
        at = (room, wallet, peer)
        if isinstance(ticket, Missing) and at in self._guests:
            self._guests[at].given.clear()  # should the chain be gone next, it is no longer inside
        outcome: dict[bytes, bytes | Refusal] = {}
        held = self._held.get((room, wallet))
        for id_ in map(EpochId, question.epochs):
            guest = self._guests.get(at)
            key = self._key(room, id_) if id_ in ours else Refusal.NOT_A_HOLDER
            refusal = refused(
                id_,
                Facts(
                    peer,
                    ticket,
                    holds_key=isinstance(key, bytes),
                    banned=self._ring.banned(room, wallet),
                    guest=guest.seen if guest is not None else Guest(),
                    delegates=held.brought.get(id_, ()) if held is not None else (),
                    per_ticket=self.delegates,
                ),
            )
            outcome[id_] = refusal or key
            if refusal is None:
                self._remember(at, id_, ticket)
        return outcome

    def _key(self, room: RoomId, epoch: EpochId) -> bytes | Refusal:
        key = self._ring.get(room, epoch)
        return key.raw if key is not None else Refusal.NOT_A_HOLDER

    def _remember(self, at: tuple[RoomId, str, PeerId], epoch: EpochId, ticket: Ticket) -> None:
        room, wallet, peer = at
        guest = _kept(self._guests, at, _Guest(), MAX_GUESTS)
        if isinstance(ticket, Unknown):
            if epoch not in guest.given:
                guest.graced = epoch
                self.graced += 1
                metrics.GRACED.inc()
                log.warning("key-given-unchecked", room=room, wallet=wallet)
            return
        guest.graced = None
        guest.given[epoch] = None
        if len(guest.given) > _GIVEN:
            guest.given.popitem(last=False)
        self._brought_by(room, wallet, epoch).add(peer)
        if isinstance(ticket, Held):
            self._held[room, wallet].count = ticket.count

    def _brought_by(self, room: RoomId, wallet: str, epoch: EpochId) -> set[PeerId]:
        """The nodes to which a wallet's tickets brought a key; may be added to."""
        of = self._held.setdefault((room, wallet), _Tickets())
        self._held.move_to_end((room, wallet))
        self._brought += epoch not in of.brought
        found = of.brought.setdefault(epoch, set())
        while self._brought > MAX_DELEGATES_OF and len(self._held) > 1:
            self._brought -= len(self._held.popitem(last=False)[1].brought)
        return found


K = TypeVar("K", bound=Hashable)


def _kept(kept: OrderedDict[K, T], at: K, new: T, most: int) -> T:
    found = kept.setdefault(at, new)
    kept.move_to_end(at)
    if len(kept) > most:
        kept.popitem(last=False)
    return found
