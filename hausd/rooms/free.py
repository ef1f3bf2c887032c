"""The keys of a gated room that are for everybody, as its authority signed them."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Collection, Iterable

from hausd.core.freeing import MAX_FREE_KEYS, Freed, FreeKey, in_order
from hausd.core.gating import WHOLE, Epoch, EpochId, EpochKey, Use, UseKey
from hausd.core.ids import RoomId
from hausd.rooms.metrics import FREE_KEYS_WRONG
from hausd.wire.leafseal import ObjectClass, object_use, rendition_use, use_key

_MAX_TOLD = 64
"""Keys that tracks named and the head's list has not yet."""


class FreeKeys:
    """One room's. Who serves others asks ``opens``: what is free is served without a ticket."""

    def __init__(self) -> None:
        self.all = False
        """The recording takes no ticket any more."""
        self._listed: dict[tuple[EpochId, Use], bytes] = {}
        self._told: OrderedDict[tuple[EpochId, Use], bytes] = OrderedDict()
        self._some: set[EpochId] = set()
        self._right: dict[EpochId, EpochKey] = {}
        self._agreed: dict[tuple[EpochId, Use, bytes], bool] = {}

    def __bool__(self) -> bool:
        return bool(self._listed or self._told)

    def tell(self, keys: Iterable[FreeKey]) -> None:
        """A verified track names these."""
        for key in keys:
            self._told[key.epoch, key.use] = key.raw
            self._told.move_to_end((key.epoch, key.use))
        while len(self._told) > _MAX_TOLD:
            self._told.popitem(last=False)
        self._note()

    def list(self, freed: Freed) -> None:
        """A verified head links to these: all there are, in the place of those from before."""
        self._right.clear()
        self._agreed.clear()
        self._listed = {(key.epoch, key.use): key.raw for key in freed.keys}
        self.all = freed.all
        self._note()

    def listed(self) -> tuple[FreeKey, ...]:
        """As ``list`` had them."""
        return tuple(FreeKey(epoch, use, raw) for (epoch, use), raw in self._listed.items())

    def opens(self, epoch: EpochId, use: Use) -> bool:
        """Whether everybody may open this use of an epoch."""
        return self._raw(epoch, WHOLE) is not None or self._raw(epoch, use) is not None

    def agrees(self, room: RoomId, epoch: EpochId, use: Use, own: EpochKey) -> bool:
        """Whether the key that is for everybody is this epoch's, which the node has itself: a list
        that a chain's endpoint made up gives nothing of the node's away."""
        return self._same(room, epoch, WHOLE, own) or self._same(room, epoch, use, own)

    def _same(self, room: RoomId, epoch: EpochId, use: Use, own: EpochKey) -> bool:
        raw = self._raw(epoch, use)
        if raw is None:
            return False
        at = (epoch, use, raw)
        if at not in self._agreed:
            if len(self._agreed) >= MAX_FREE_KEYS:
                self._agreed.clear()
            mine = own if use == WHOLE else use_key(own, room, epoch, use)
            self._agreed[at] = hmac.compare_digest(mine.raw, raw)
        return self._agreed[at]

    def some_of(self, epoch: EpochId) -> bool:
        """Whether everybody may open anything of an epoch."""
        return epoch in self._some

    def key(
        self, room: RoomId, epoch: EpochId, use: Use, said: Epoch | None
    ) -> EpochKey | UseKey | None:
        """A key for this use of an epoch. An epoch's own has to be the one that was announced, as
        ``said``; of a use's key the seal of what it opens is the proof."""
        raw = self._raw(epoch, WHOLE)
        if raw is not None and said is not None:
            found = EpochKey(raw)
            if self._right.get(epoch) == found or said.is_opened_by(room, found):
                self._right[epoch] = found
                return found
            FREE_KEYS_WRONG.inc()
        raw = self._raw(epoch, use)
        return UseKey(raw) if raw is not None and use != WHOLE else None

    def of_track(self, epochs: Collection[EpochId], rendition: str) -> tuple[FreeKey, ...]:
        """Those that a rendition's track has to name: what is sealed in these epochs. Its init may
        be of one in which nothing else of it is free."""
        uses = (WHOLE, rendition_use(rendition), object_use(ObjectClass.INIT))
        found: list[FreeKey] = []
        opens = False
        for epoch in set(epochs):
            whole, mine, inits = (self._raw(epoch, use) for use in uses)
            opens = opens or whole is not None or mine is not None
            of = ((WHOLE, whole),) if whole is not None else ((uses[1], mine), (uses[2], inits))
            found += [FreeKey(epoch, use, raw) for use, raw in of if raw is not None]
        if not opens:
            return ()
        return tuple(in_order(found))

    def _note(self) -> None:
        self._some = {epoch for epoch, _ in (*self._listed, *self._told)}

    def _raw(self, epoch: EpochId, use: Use) -> bytes | None:
        found = self._listed.get((epoch, use))
        return found if found is not None else self._told.get((epoch, use))
