"""Rooms that other nodes have: their cards, as heard on the topic of events; and this node's own.

A card says what a room is, signed by its authority; where it can be had from is the network's.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from hausd.core.beat import beat
from hausd.core.clock import Clock
from hausd.core.ids import RoomId
from hausd.core.keys import PublicKey, SigningKey, open_room_authority
from hausd.core.live import RoomState
from hausd.core.peers import PeerId, Verdict
from hausd.core.shapes import CardShape, RenditionShape
from hausd.policy.newcomers import Newcomers
from hausd.rooms.followed_room import FollowedRoom
from hausd.rooms.manager import Rooms
from hausd.rooms.metrics import CARDS
from hausd.rooms.origin_room import OriginRoom
from hausd.rooms.ports import Chain, Events, Topic
from hausd.rooms.records import free_terms
from hausd.rooms.shape import free_shape
from hausd.wire.cards import Card, CardError, SignedCard, UnknownAuthority, replaces, sign_card
from hausd.wire.cards import verify_card as verified

MAX_CARDS = 1024
"""Rooms that are known of. Beyond it one is forgotten of the neighbour that told of most: the one
that was heard of longest ago."""
_AGAIN_S = 20.0
_FRESH_S = 3 * _AGAIN_S
_LOOK_S = 1.0
_FORGET_S = 3600.0


@dataclass(slots=True)
class _Heard:
    card: Card
    encoded: bytes
    heard_s: float
    heard_ms: int
    by: PeerId
    """Who told of it first, this time."""


class Directory:
    """``open`` takes part in the topic."""

    def __init__(self, rooms: Rooms, clock: Clock, chain: Chain | None = None) -> None:
        self._rooms = rooms
        self._chain = chain
        self._clock = clock
        self._heard: OrderedDict[RoomId, _Heard] = OrderedDict()
        self._shares: Counter[PeerId] = Counter()
        self._newcomers = Newcomers()
        self._told: dict[RoomId, tuple[tuple[object, ...], float]] = {}

    @asynccontextmanager
    async def open(self, events: Events) -> AsyncIterator[Directory]:
        """Hears and tells until the context is left."""
        async with events.join_events(self.judge) as topic, trio.open_nursery() as nursery:
            nursery.start_soon(self._tell, topic)
            yield self
            nursery.cancel_scope.cancel()

    def judge(self, peer: PeerId, untrusted: bytes) -> Verdict:
        """The one door: whether a message is passed on, and then its card is kept."""
        try:
            signed = verified(untrusted, self._authority)
        except UnknownAuthority:
            verdict = Verdict.IGNORE  # an event's room that was not looked up: perhaps the next
        except CardError:
            verdict = Verdict.REJECT
        else:
            news = self._is_news(signed.card) and self._admits(signed.card, peer)
            verdict = Verdict.ACCEPT if news else Verdict.IGNORE
            if verdict is Verdict.ACCEPT:
                self._keep(signed, peer)
        CARDS.labels(verdict.value).inc()
        return verdict

    def fresh(self) -> list[Card]:
        """The cards of rooms whose origin was heard of within the last minute."""
        least_s = trio.current_time() - _FRESH_S
        return [heard.card for heard in self._heard.values() if heard.heard_s >= least_s]

    def title(self, room: RoomId) -> str | None:
        """What a room that was heard of lately is called; None where it was not."""
        heard = self._heard.get(room)
        if heard is None or trio.current_time() - heard.heard_s >= _FORGET_S:
            return None
        return heard.card.title

    def card_of(self, room: RoomId) -> bytes | None:
        """A room's newest card as its authority signed it, for who asks."""
        own = self._rooms.get(room)
        if isinstance(own, OriginRoom):
            return self._card(own).encoded
        heard = self._heard.get(room)
        return heard.encoded if heard is not None else None

    def cards(self, search: str = "") -> list[CardShape]:
        """Rooms of other nodes whose title, artist or id has these words; live ones first."""
        words = search.casefold().split()
        found = []
        for room, heard in reversed(self._heard.items()):
            card = heard.card
            text = f"{card.title} {card.artist} {room}".casefold()
            if all(word in text for word in words):
                watch_url = self._rooms.urls.page(room, token=True)
                here = self._rooms.get(room) is not None
                found.append(_shape(heard, watch_url, followed=here))
        return sorted(found, key=lambda card: card.state is not RoomState.LIVE)

    def _authority(self, room: RoomId) -> PublicKey | None:
        """Who signs for a room, as far as is at hand; what is not is looked up."""
        open_ = open_room_authority(room)
        if open_ is not None or self._chain is None:
            return open_
        event = self._chain.known(room)
        if event is None:
            self._chain.want(room)
            return None
        return event.authority

    def _is_news(self, card: Card) -> bool:
        known = self._heard.get(card.room)
        ours = isinstance(self._rooms.get(card.room), OriginRoom)
        return not ours and replaces(known.card if known is not None else None, card)

    def _admits(self, card: Card, peer: PeerId) -> bool:
        known = card.room in self._heard or self._rooms.get(card.room) is not None
        return known or self._newcomers.admits(peer, trio.current_time())

    def _keep(self, signed: SignedCard, peer: PeerId) -> None:
        card = signed.card
        if card.room in self._heard:
            self._forget(card.room)
        now_s = trio.current_time()
        self._heard[card.room] = _Heard(card, signed.encoded, now_s, self._clock.now_ms(), peer)
        self._shares[peer] += 1
        while now_s - next(iter(self._heard.values())).heard_s >= _FORGET_S:
            self._forget(next(iter(self._heard)))
        if len(self._heard) > MAX_CARDS:
            ((most, _),) = self._shares.most_common(1)
            self._forget(next(room for room, heard in self._heard.items() if heard.by == most))
        room = self._rooms.get(card.room)
        if isinstance(room, FollowedRoom):
            room.call(card.title, card.free)

    def _forget(self, room: RoomId) -> None:
        by = self._heard.pop(room).by
        self._shares[by] -= 1
        if not self._shares[by]:
            del self._shares[by]

    async def _tell(self, topic: Topic) -> None:
        """Tells of each room that begins here: at once when it changes, else now and then."""
        while True:
            now_s = trio.current_time()
            for room in self._rooms.origins():
                says = _says(room)
                told, at_s = self._told.get(room.id, ((), 0.0))
                if says != told or now_s - at_s >= _AGAIN_S:
                    self._told[room.id] = (says, now_s)
                    topic.publish(self._card(room).encoded)
            await beat(_LOOK_S)

    def _card(self, room: OriginRoom) -> SignedCard:
        now_ms = self._clock.now_ms()
        place, event = room.place, room.event
        card = Card(
            room=room.id,
            n=room.cards.next(now_ms),
            time_ms=now_ms,
            title=room.title,
            artist=event.artist if event is not None else "",
            state=room.state,
            renditions=tuple(track.rendition for track in room.tracks.values() if track.active),
            rate_bps=room.rate_bps,
            copies=place.below if place is not None else None,
            gated=room.gated,
            chain=room.record.chain or None,
            starts_ms=event.starts_ms if event is not None else None,
            ends_ms=event.ends_ms if event is not None else None,
            free=free_terms(room.record),
        )
        return sign_card(card, SigningKey(room.record.seed))


def _says(room: OriginRoom) -> tuple[object, ...]:
    names = tuple(name for name, track in room.tracks.items() if track.active)
    return (room.title, room.state, names, free_terms(room.record))


def _shape(heard: _Heard, watch_url: str, *, followed: bool) -> CardShape:
    card = heard.card
    return CardShape(
        id=card.room,
        title=card.title,
        artist=card.artist,
        state=card.state,
        gated=card.gated,
        free=free_shape(card.free),
        followed=followed,
        watch_url=watch_url,
        bitrate=card.rate_bps,
        copies_taken=card.copies.taken if card.copies is not None else None,
        copies_free=card.copies.free if card.copies is not None else None,
        heard=datetime.fromtimestamp(heard.heard_ms / 1000, UTC),
        renditions=[
            RenditionShape(
                name=one.name,
                kind=one.kind,
                codecs=one.codecs,
                width=one.width,
                height=one.height,
                frame_rate=round(float(one.frame_rate), 3) if one.frame_rate else None,
                bitrate=one.bandwidth_bps,
            )
            for one in card.renditions
        ],
    )
