"""Asks key holders for epochs' keys: the asking side of ``/haus/keys/1``.

The nodes that a room's signed head names are asked first, then neighbours in the room. No answer
is believed: a key has to be the one that the room's authority committed itself to, and a refusal
by one node only leads to the next.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
import trio

from hausd.core.clock import Clock
from hausd.core.delegation import SignedDelegation
from hausd.core.gating import Epoch, EpochId, EpochKey, Withheld
from hausd.core.ids import RoomId
from hausd.core.peers import (
    PeerAddress,
    PeerId,
    PeerStream,
    PeerUnreachable,
    ProtocolRefused,
    StreamBroken,
)
from hausd.core.release import Refusal
from hausd.core.sealing import SealError, SealingKey
from hausd.keys import metrics
from hausd.keys.ports import Events, Peers
from hausd.keys.ring import KeyRing
from hausd.keys.store import Source
from hausd.policy.release import CLOCK_TOLERANCE_S
from hausd.wire.frames import ProtocolError
from hausd.wire.keys import (
    MAX_EPOCHS,
    NONCE_BYTES,
    PROTOCOL,
    KeyAsker,
    KeyQuestion,
    Shown,
    open_keys,
)

log = structlog.get_logger("hausd.keys")

ANSWER_S = 5.0
"""A key holder that takes longer to be reached and to answer is passed over."""
AGAIN_S, AGAIN_MOST_S = 3.0, 30.0
"""What nobody gave is not asked for again so soon, and each time later: players ask again and
again, and a crowd without tickets must not keep the key holders busy."""
_MOST_ASKED = 8
_MOST_SHOWN = 4
"""Delegations that are shown in one go, each to all key holders."""
_OF_THE_WALLET = frozenset(
    (
        Refusal.NO_TICKET.value,
        Refusal.REFUNDED.value,
        Refusal.BANNED.value,
        Refusal.EXPIRED.value,
        Refusal.TOO_MANY_DELEGATES.value,
    )
)
_MAX_ROOMS = 256
_NO_DELEGATION = Withheld(
    "no-delegation",
    "no wallet has let this node watch with its ticket",
    "hausctl tickets use EVENT, or sign in",
)
_UNREACHED = Withheld("no-key-holder", "none of the room's key holders can be reached", "")
_WRONG = Withheld("wrong-key", "a key holder gave another key than the room's origin announced", "")
_BROKEN = (PeerUnreachable, ProtocolRefused, StreamBroken, ProtocolError, SealError)


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why, and until when it is not asked for again: for ``wait_s``."""

    why: Withheld
    until_s: float
    wait_s: float


@dataclass(slots=True, eq=False)
class _Room:
    """What is asked for of a room. One conversation at a time, about all that is wanted."""

    turn: trio.Lock = field(default_factory=trio.Lock)
    wanted: OrderedDict[EpochId, Epoch] = field(default_factory=OrderedDict)
    refused: OrderedDict[EpochId, _Refused] = field(default_factory=OrderedDict)
    gave: PeerId | None = None
    failed: set[PeerId] = field(default_factory=set)
    """Who was asked and did not answer, or gives no keys: they are asked last, so that one that is
    gone, or a crowd of viewers, does not take the time of all others."""
    spent: set[str] = field(default_factory=set)
    """Delegations that brought nothing: the others are shown first. Who signed in here and gave the
    ticket back does not lock out who has one."""

    def want(self, epoch: Epoch) -> None:
        """Takes it into the next question; what was wanted longest ago makes way."""
        self.wanted[epoch.id] = epoch
        self.wanted.move_to_end(epoch.id)
        if len(self.wanted) > MAX_EPOCHS:
            self.wanted.popitem(last=False)


class KeyAsking:
    """``ask`` is what ``KeyRing.ask_others`` takes."""

    def __init__(
        self,
        ring: KeyRing,
        events: Events,
        peers: Peers,
        key: SealingKey,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._ring = ring
        self._events = events
        self._peers = peers
        self._key = key
        self._clock = clock
        self._random_bytes = random_bytes
        self._rooms: OrderedDict[RoomId, _Room] = OrderedDict()

    def forget(self) -> None:
        """A delegation came: what was refused is asked for again at once."""
        for room in self._rooms.values():
            room.refused.clear()
            room.spent.clear()

    async def ask(self, room: RoomId, epoch: Epoch) -> EpochKey | Withheld:
        """A key from who holds it, or why it is not to be had. The caller owns the deadline."""
        here = self._room(room)
        here.want(epoch)
        async with here.turn:
            found = self._ring.held(room, epoch)
            if found is not None:
                here.wanted.pop(epoch.id, None)
                return found  # it came with what others asked for
            here.want(epoch)
            refused = here.refused.get(epoch.id)
            if refused is not None and trio.current_time() < refused.until_s:
                here.wanted.pop(epoch.id, None)
                return refused.why
            wanted = list(here.wanted.values())
            why = await self._ask(room, here, wanted)
            for one in wanted:
                here.wanted.pop(one.id, None)
            key = self._ring.held(room, epoch)
            return key if key is not None else why.get(epoch.id, _UNREACHED)

    def _room(self, room: RoomId) -> _Room:
        found = self._rooms.setdefault(room, _Room())
        self._rooms.move_to_end(room)
        while len(self._rooms) > _MAX_ROOMS:
            self._rooms.popitem(last=False)
        return found

    async def _ask(self, room: RoomId, here: _Room, wanted: list[Epoch]) -> dict[EpochId, Withheld]:
        """Asks until all is there or nobody is left; gives why what is missing is."""
        missing = {epoch.id: epoch for epoch in wanted}
        why: dict[EpochId, Withheld] = {}
        shown = self._to_show(room, here)
        if not shown:
            return dict.fromkeys(missing, _NO_DELEGATION)
        for by in shown:
            heard = await self._go_round(room, here, by, missing)
            why = {**heard, **why}
            if not missing or not any(one.code in _OF_THE_WALLET for one in heard.values()):
                break
            if isinstance(by, Shown):
                here.spent.add(by.untrusted_text)
        for id_ in missing:
            before = here.refused.pop(id_, None)
            wait_s = min(AGAIN_MOST_S, 2 * before.wait_s) if before is not None else AGAIN_S
            told = why.get(id_, _UNREACHED)
            here.refused[id_] = _Refused(told, trio.current_time() + wait_s, wait_s)
            metrics.ASKED.labels(told.code).inc()
        while len(here.refused) > 2 * MAX_EPOCHS:
            here.refused.popitem(last=False)
        return why

    async def _go_round(
        self, room: RoomId, here: _Room, by: Shown | bytes, missing: dict[EpochId, Epoch]
    ) -> dict[EpochId, Withheld]:
        """Asks each key holder; takes from ``missing`` what they gave, and gives why not."""
        why: dict[EpochId, Withheld] = {}
        for asked, peer in enumerate(self._candidates(room, here)):
            if not missing or asked >= _MOST_ASKED:
                break
            here.failed.add(peer.peer)  # till it answers, should the caller not wait for it
            with trio.move_on_after(ANSWER_S):
                try:
                    gives = await self._converse(room, peer, by, missing, why)
                    if gives:
                        here.failed.discard(peer.peer)
                    here.gave = peer.peer if not missing else here.gave
                except _BROKEN as fault:
                    log.debug("key-holder-failed", peer=peer.peer, room=room, because=str(fault))
        return why

    def _to_show(self, room: RoomId, here: _Room) -> list[Shown | bytes]:
        """What is shown to key holders, one after the other: that this node is one, or the best
        delegations."""
        event = self._events.event(room)
        if event is not None and any(one.peer == self._peers.me for one in event.holders):
            return [self._key.public]
        now_s = self._clock.now_ms() / 1000
        found = [
            one
            for one in self._ring.delegations_for(room)
            if event is None or one.delegation.chain == event.chain
        ]
        # an old one too, where there is no other: its refusal says more than nothing does
        current = [one for one in found if _holds(one, now_s)] or found[:1]
        fresh = [one for one in current if one.delegation.text not in here.spent]
        if not fresh:
            here.spent.clear()
        return [
            Shown(one.delegation.text, one.signature) for one in (fresh or current)[:_MOST_SHOWN]
        ]

    def _candidates(self, room: RoomId, here: _Room) -> list[PeerAddress]:
        event = self._events.event(room)
        found = event.holders if event is not None else ()
        named = {one.peer for one in found}
        near = [PeerAddress(peer) for peer in self._peers.neighbours(room) if peer not in named]
        here.failed &= named | {one.peer for one in near}
        candidates = [one for one in (*found, *near) if one.peer != self._peers.me]
        candidates.sort(key=lambda one: (one.peer in here.failed, one.peer != here.gave))
        return candidates

    async def _converse(
        self,
        room: RoomId,
        peer: PeerAddress,
        by: Shown | bytes,
        missing: dict[EpochId, Epoch],
        why: dict[EpochId, Withheld],
    ) -> bool:
        """One question to one peer; takes from ``missing`` what it gave. Whether it gives keys."""
        question = KeyQuestion(room, tuple(missing), self._random_bytes(NONCE_BYTES), by)
        source = Source.ASKED if isinstance(by, Shown) else Source.HANDED
        async with self._peers.stream(peer, PROTOCOL) as stream:
            keys, refusals = await self._answer(stream, question)
        for id_, refusal in refusals.items():
            # what one that has the key says is told rather than that another has it not
            if id_ not in why or refusal is not Refusal.NOT_A_HOLDER:
                why[id_] = Withheld(refusal.value, refusal.words, "")
        for id_, key in keys.items():
            if not missing[id_].is_opened_by(room, key):
                metrics.WRONG_KEYS.inc()
                log.warning("wrong-key", peer=peer.peer, room=room)
                why[id_] = _WRONG
                continue
            await self._ring.take(room, missing.pop(id_), key, source)
            metrics.ASKED.labels("given").inc()
        return any(one is not Refusal.NOT_A_HOLDER for one in refusals.values()) or bool(keys)

    async def _answer(
        self, stream: PeerStream, question: KeyQuestion
    ) -> tuple[dict[EpochId, EpochKey], dict[EpochId, Refusal]]:
        asker = KeyAsker()
        await stream.send_all(asker.ask(question))
        while data := await stream.receive_some():
            for answer in asker.feed(data):
                opened = open_keys(question, answer, self._peers.me, self._key)
                told = zip(map(EpochId, question.epochs), answer.outcome, strict=True)
                refusals = {id_: one for id_, one in told if one is not None}
                return {EpochId(id_): EpochKey(raw) for id_, raw in opened.items()}, refusals
        asker.finish()
        raise StreamBroken("it was closed before the answer")


def _holds(signed: SignedDelegation, now_s: float) -> bool:
    made = signed.delegation
    begun = made.not_before_s - CLOCK_TOLERANCE_S <= now_s
    return begun and now_s <= made.not_after_s + CLOCK_TOLERANCE_S
