"""Relays rooms unasked: joins those that need relays most, as far as the operator lets it.

There is no coordinator. Each node decides for itself, now and then and at its own moment, by what
the rooms' cards say (``policy.roles``); here that is carried out, and kept within the budgets.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from hausd.core.beat import beat
from hausd.core.errors import Problem
from hausd.core.ids import RoomId
from hausd.core.peers import PeerId
from hausd.policy.roles import (
    DECIDE_EVERY_S,
    Budget,
    Offer,
    RelayTerms,
    Spend,
    Why,
    may_relay,
    moment_s,
    need,
    relay,
    split,
)
from hausd.rooms.directory import Directory
from hausd.rooms.followed_room import FollowedRoom
from hausd.rooms.manager import Rooms
from hausd.rooms.metrics import RELAYED
from hausd.rooms.ports import BlockStore
from hausd.wire.cards import Card

log = structlog.get_logger("hausd.rooms")

KEEP_S = 600.0
"""A room that is relayed has at least so much of its recording here, for who joins late."""
_LOOK_S = 5.0
_LEAST_BYTES_PER_S = 12_500.0
"""A room that sends nothing yet still counts as one that may."""


class Relaying:
    """``run`` owns it. ``terms`` are asked for each time, since they may be changed."""

    def __init__(
        self,
        rooms: Rooms,
        directory: Directory,
        store: BlockStore,
        own: PeerId,
        terms: Callable[[], RelayTerms],
    ) -> None:
        self._rooms = rooms
        self._directory = directory
        self._store = store
        self._own = own
        self._terms = terms
        self._turn = 0
        self._needy: dict[RoomId, float] = {}
        """Since when rooms have been in need."""

    async def run(self) -> None:
        """Looks, decides and trims until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_looking)
            await trio.sleep(moment_s(self._own))
            while True:
                await self.decide()
                await trio.sleep(DECIDE_EVERY_S)

    def look(self) -> None:
        """Notes which rooms are in need."""
        terms = self._terms()
        offers = [self._offer(card, terms) for card in self._directory.fresh()]
        now_s = trio.current_time()
        self._needy = {
            one.room: self._needy.get(one.room, now_s)
            for one in offers
            if may_relay(one) and need(one) > 0
        }

    async def decide(self) -> None:
        """Joins and leaves as things are now."""
        terms = self._terms()
        offers = {card.room: self._offer(card, terms) for card in self._directory.fresh()}
        now = frozenset(room.id for room in self._relayed())
        budget = Budget(terms.auto, terms.disk_bytes, terms.upload_bytes_per_s)
        self._turn += 1
        chosen = relay(offers.values(), budget, self._own, self._taken_part(), now, self._turn)
        for room in self._relayed():
            if room.id not in chosen:
                log.info("relays-no-more", room=room.id)
                room.relay(None)
        shares = split([offers[room] for room in chosen], budget)
        for room_id, share in shares.items():
            await self._relay(room_id, share)
        RELAYED.set(len(self._relayed()))

    async def _relay(self, room: RoomId, share: Spend) -> None:
        try:
            joined = await self._rooms.join(room, self._directory.title(room) or "")
        except (Problem, OSError) as fault:
            log.warning("not-relayed", room=room, because=str(fault))
            return
        if isinstance(joined, FollowedRoom):
            if joined.share is None:
                log.info("relays", room=room)
            joined.relay(share)

    def _relayed(self) -> list[FollowedRoom]:
        return [room for room in self._rooms.followed() if room.share is not None]

    def _taken_part(self) -> dict[RoomId, Why]:
        """Rooms that this node is in anyway."""
        whys = {room.id: Why.FOLLOWED for room in self._rooms.origins()}
        for room in self._rooms.followed():
            why = room.why
            if why is Why.FOLLOWED or (why is Why.WATCHED and room.share is None):
                whys[room.id] = why
        return whys

    def _offer(self, card: Card, terms: RelayTerms) -> Offer:
        room = self._rooms.get(card.room)
        # what a card says of its rate is believed until it can be measured here
        rate = max((room.rate_bps if room is not None else 0) or card.rate_bps, 0) / 8
        rate = max(rate, _LEAST_BYTES_PER_S)
        place = room.place if room is not None else None
        return Offer(
            card.room,
            card.state,
            copy_bytes_per_s=rate,
            disk_bytes=round(KEEP_S * rate),
            allowed=card.room in terms.allow,
            premium=card.room in terms.premium,
            taken=card.copies.taken if card.copies is not None else 0,
            # one that does not say how many there are is not in need
            free=card.copies.free if card.copies is not None else 1,
            own=place.free if place is not None else 0,
            needy_s=trio.current_time() - self._needy.get(card.room, trio.current_time()),
        )

    async def _keep_looking(self) -> None:
        while True:
            self.look()
            for room in self._relayed():
                share = room.share
                if share is None:
                    continue
                try:
                    await self._store.shrink(room.id, share.disk_bytes)
                except OSError as fault:
                    log.error("not-trimmed", room=room.id, error=fault.strerror)
            await beat(_LOOK_S)
